// Copyright 2026 The freshbearer authors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

package caddytest_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// contract is one of the documents in docs/openapi. What is asked through it,
// and what is answered, must be as it says.
type contract struct {
	t      *testing.T
	doc    *openapi3.T
	router routers.Router
	// seen are the answers that came: the operation and the status. kinds are
	// the problems.
	seen, kinds map[string]bool
}

func readContract(t *testing.T, name string) *contract {
	t.Helper()
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", decodeLines)
	openapi3filter.RegisterBodyDecoder("application/xml", decodeIntuitXML)
	openapi3filter.RegisterBodyDecoder("text/html", openapi3filter.PlainBodyDecoder)
	openapi3filter.RegisterBodyDecoder("text/javascript", openapi3filter.PlainBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromFile("../docs/openapi/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // they are examples
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &contract{t: t, doc: doc, router: router, seen: make(map[string]bool), kinds: make(map[string]bool)}
}

// decodeLines reads lines of JSON as a list.
func decodeLines(body io.Reader, header http.Header, schema *openapi3.SchemaRef, enc openapi3filter.EncodingFn) (any, error) {
	all, err := io.ReadAll(body)
	lines := []any{}
	for line := range bytes.Lines(all) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		value, err := openapi3filter.JSONBodyDecoder(bytes.NewReader(line), header, schema, enc)
		if err != nil {
			return nil, err
		}
		lines = append(lines, value)
	}
	return lines, err
}

// decodeIntuitXML reads Intuit's envelope as the schema has it.
func decodeIntuitXML(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	var envelope struct {
		XMLName xml.Name `xml:"http://schema.intuit.com/finance/v3 IntuitResponse"`
		Time    string   `xml:"time,attr"`
		Fault   struct {
			Type  string `xml:"type,attr"`
			Error []struct {
				Code    string `xml:"code,attr"`
				Element string `xml:"element,attr"`
				Message string
				Detail  string
			}
		}
	}
	if err := xml.NewDecoder(body).Decode(&envelope); err != nil {
		return nil, err
	}
	var faults []any
	for _, e := range envelope.Fault.Error {
		faults = append(faults, map[string]any{"code": e.Code, "element": e.Element, "Message": e.Message, "Detail": e.Detail})
	}
	value := map[string]any{"Fault": map[string]any{"type": envelope.Fault.Type, "Error": faults}}
	if envelope.Time != "" {
		value["time"] = envelope.Time
	}
	return value, nil
}

// ask is mustDo for a request that the document describes.
func (c *contract) ask(hc *http.Client, method, url string, body []byte, lines ...string) answer {
	c.t.Helper()
	a, err := do(hc, method, url, body, lines...)
	for try := 0; err != nil && closedByServer(err) && try < 5; try++ { // right after a reload
		a, err = do(hc, method, url, body, lines...)
	}
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, url, err)
	}
	return c.check(a, method, url, body, lines...)
}

// check finds that a request and its answer are documented.
func (c *contract) check(a answer, method, url string, body []byte, lines ...string) answer {
	c.t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		c.t.Errorf("%s %s is not in the document: %v", method, url, err)
		return a
	}
	input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: contractOptions}
	invalid := openapi3filter.ValidateRequest(c.t.Context(), input)
	for name := range req.URL.Query() {
		if route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil && !passedOn(route.Operation) {
			invalid = errors.New("the parameter " + name + " is not documented")
		}
	}
	if invalid != nil && a.Status < http.StatusBadRequest {
		c.t.Errorf("%s %s is answered %d, and the document does not allow it: %v", method, url, a.Status, invalid)
	}
	status := strconv.Itoa(a.Status)
	if passedOn(route.Operation) && !strings.HasPrefix(a.Header.Get("Proxy-Status"), "freshbearer;") {
		status = "default"
	} else if err := c.valid(input, a); err != nil {
		c.t.Errorf("%s %s is answered as the document does not say: %v\n%d %v %s", method, url, err, a.Status, a.Header, a.Body)
	}
	c.seen[route.Operation.OperationID+" "+status] = true
	return a
}

// want is ask for a request whose answer must have a status.
func (c *contract) want(status int, hc *http.Client, method, url string, body []byte, lines ...string) answer {
	c.t.Helper()
	a := c.ask(hc, method, url, body, lines...)
	if a.Status != status {
		c.t.Errorf("%s %s: %d, want %d: %s", method, url, a.Status, status, a.Body)
	}
	return a
}

// passedOn tells of an operation whose answers can be the API's.
func passedOn(op *openapi3.Operation) bool { return op.Responses.Default() != nil }

var contractOptions = &openapi3filter.Options{
	IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true, MultiError: true,
	AuthenticationFunc: func(_ context.Context, in *openapi3filter.AuthenticationInput) error {
		if !strings.HasPrefix(in.RequestValidationInput.Request.Header.Get("Authorization"), "Bearer ") {
			return errors.New("no bearer key")
		}
		return nil
	},
}

// valid finds out whether an answer of the proxy's own is documented.
func (c *contract) valid(input *openapi3filter.RequestValidationInput, a answer) error {
	response := input.Route.Operation.Responses.Status(a.Status)
	if response == nil {
		return errors.New("this status is not documented")
	}
	if media := response.Value.Content.Get(a.Header.Get("Content-Type")); media == nil && len(a.Body) > 0 {
		return errors.New("this content type is not documented")
	}
	if details := a.Header.Get("Proxy-Status"); details != "" {
		_, code, _ := strings.Cut(strings.TrimSuffix(details, `"`), `details="`)
		c.kinds[code] = true
	}
	// OpenAPI has no place for what is in the trailer, but among the headers.
	header := maps.Clone(a.Header)
	maps.Copy(header, a.Trailer)
	return openapi3filter.ValidateResponse(c.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.Status, Header: header,
		Body: io.NopCloser(bytes.NewReader(a.Body)), Options: contractOptions,
	})
}

// operation is one of the document's.
type operation struct {
	method, path string
	*openapi3.Operation
}

// operations returns those that a test keeps, in order.
func (c *contract) operations(keep func(operation) bool) []operation {
	var kept []operation
	for _, path := range slices.Sorted(maps.Keys(c.doc.Paths.Map())) {
		operations := c.doc.Paths.Value(path).Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			if op := (operation{method, path, operations[method]}); keep(op) {
				kept = append(kept, op)
			}
		}
	}
	return kept
}

// otherMethods finds that all methods that are not documented are answered so.
func (c *contract) otherMethods(hc *http.Client, origin func(path string) string, lines ...string) {
	c.t.Helper()
	refusal := c.doc.Components.Responses["MethodNotAllowed"]
	for path, item := range c.doc.Paths.Map() {
		url := origin(path)
		if url == "" {
			continue
		}
		documented := slices.Sorted(maps.Keys(item.Operations()))
		for _, method := range []string{"DELETE", "GET", "HEAD", "PATCH", "POST", "PROPFIND", "PUT", "OST", "ET"} {
			if slices.Contains(documented, method) {
				continue
			}
			a := mustDo(c.t, hc, method, url, nil, lines...)
			allow := strings.Split(a.Header.Get("Allow"), ", ")
			if slices.Sort(allow); a.Status != http.StatusMethodNotAllowed || !slices.Equal(allow, documented) {
				c.t.Errorf("%s %s: %d, Allow %q; the document has %q", method, path, a.Status, allow, documented)
			}
			op := &openapi3.Operation{Responses: openapi3.NewResponses(openapi3.WithStatus(http.StatusMethodNotAllowed, refusal))}
			req, _ := http.NewRequest(method, url, nil)
			input := &openapi3filter.RequestValidationInput{Request: req, Route: &routers.Route{Spec: c.doc, Operation: op, Method: method}}
			if err := c.valid(input, a); err != nil && method != http.MethodHead {
				c.t.Errorf("%s %s: %v: %v %s", method, path, err, a.Header, a.Body)
			}
		}
	}
}

// complete finds that every answer that is documented has come, but for those
// that cannot be had here, for a reason.
func (c *contract) complete(unseen map[string]string) {
	c.t.Helper()
	for _, op := range c.operations(func(operation) bool { return true }) {
		for status := range op.Responses.Map() {
			name := op.OperationID + " " + status
			if _, excused := unseen[name]; c.seen[name] == excused {
				c.t.Errorf("%s: seen %v, excused %v", name, c.seen[name], excused)
			}
			delete(unseen, name)
		}
	}
	for name := range unseen {
		c.t.Errorf("%s is excused, and not in the document", name)
	}
}
