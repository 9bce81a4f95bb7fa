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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// reload is load, where an error ends the test.
func (s *system) reload() {
	s.t.Helper()
	if err := s.load(); err != nil {
		s.t.Fatal(err)
	}
}

// appsURL is where an operation about a company is.
func appsURL(s *system, path, realm string) string {
	return s.Proxy + strings.NewReplacer("{connection}", realm, "{resource}", "companyinfo", "{id}", realm).Replace(path)
}

func isAPI(op operation) bool    { return slices.Contains(op.Tags, "api") }
func isPublic(op operation) bool { return op.Security != nil && len(*op.Security) == 0 }
func needsKey(op operation) bool { return !isPublic(op) }

// has tells whether an operation can be answered so.
func has(status int) func(operation) bool {
	return func(op operation) bool { return op.Responses.Status(status) != nil }
}

// Whatever apps can be told is what docs/openapi/apps.yaml says, and it says
// nothing that cannot be.
func TestOpenAPIApps(t *testing.T) {
	doc := readContract(t, "apps")
	t.Cleanup(repairFaulty)
	var other, reader, limited *caller
	s := start(t, func(s *system) {
		s.Store, s.Admin = "faulty", freeAddress(t)
		other, reader, limited = s.addCaller("other", ""), s.addCaller("reader", "*"), s.addCaller("limited", "*")
		reader.Options, limited.Options = []string{"read_only"}, []string{"rate_limit 1 1h"}
		s.Sites[0].Options = []string{"return_urls https://app.example.com", "pacing {", "at_once 1", "queue 1", "}"}
		s.Sites[0].Routes = []string{"@api path /v3/*", "request_body @api {", "max_size 1KB", "}"}
	})
	s.connect(realmOne)
	s.connect(realmTwo)
	c, key := client(t), s.bearer()
	as := func(c *caller) string { return "Authorization: Bearer " + c.Key }
	links, connections, script := s.Proxy+"/oauth/links", s.Proxy+"/oauth/connections", s.Proxy+"/oauth/connect.js"
	one := connections + "/" + realmOne
	asJSON := "Content-Type: application/json"
	invoice := s.Proxy + "/v3/company/" + realmOne + "/customer"

	// What works.
	for _, body := range []string{``, `{}`, `{"connection":"` + realmOne + `","return_url":"https://app.example.com/x"}`, `{"purpose":"disconnect","connection":"` + realmOne + `"}`} {
		doc.want(201, c, "POST", links, []byte(body), key, asJSON)
	}
	page := doc.want(200, c, "GET", connections+"?limit=1", nil, key)
	doc.want(200, c, "GET", nextOf(t, page), nil, key)
	for _, state := range []string{"connected", "suspect", "needs_reauth", "disconnected", "revoke_pending"} {
		doc.want(200, c, "GET", connections+"?state="+state, nil, key)
	}
	doc.want(200, c, "GET", one, nil, key)
	doc.want(200, c, "POST", one+"/refresh", nil, key)
	doc.want(429, c, "POST", one+"/refresh", nil, key)
	for _, method := range []string{"GET", "HEAD"} {
		tag := doc.want(200, c, method, script, nil).Header.Get("Etag")
		doc.want(304, c, method, script, nil, "If-None-Match: "+tag)
		doc.want(206, c, method, script, nil, "Range: bytes=0-9")
		doc.want(416, c, method, script, nil, "Range: bytes=10000000-")
	}
	doc.want(200, c, "GET", s.Proxy+companyInfo(realmOne), nil, key)
	doc.want(200, c, "GET", s.Proxy+"/v3/company/"+realmOne+"/query?query=select%20*%20from%20CompanyInfo", nil, key)
	doc.want(200, c, "POST", invoice, customer("Amy", 10), key, asJSON)

	// Who may not.
	for _, op := range doc.operations(needsKey) {
		doc.want(401, c, op.method, appsURL(s, op.path, realmOne), nil, asJSON)
		doc.ask(c, op.method, appsURL(s, op.path, realmOne), nil, as(limited), asJSON)
		doc.want(429, c, op.method, appsURL(s, op.path, realmOne), nil, as(limited), asJSON)
	}
	for _, op := range doc.operations(has(403)) {
		body := []byte(nil)
		if op.OperationID == "createLink" {
			body = []byte(`{"connection":"` + realmOne + `"}`)
		}
		doc.want(403, c, op.method, appsURL(s, op.path, realmOne), body, as(other), asJSON)
		if op.method != "GET" {
			doc.want(403, c, op.method, appsURL(s, op.path, realmOne), nil, as(reader), asJSON)
		}
	}
	doc.otherMethods(c, func(path string) string {
		if strings.HasPrefix(path, "/v3") { // all methods of HTTP go up
			return ""
		}
		return appsURL(s, path, realmOne)
	}, key)

	// What is wrong with a request.
	for _, body := range []string{`{`, `{"realm":"1"}`, `{"purpose":"x"}`, `{"connection":"x"}`, `{"purpose":"disconnect"}`, `{"return_url":"https://evil.example.com"}`} {
		doc.want(400, c, "POST", links, []byte(body), key, asJSON)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "offset=-1", "state=x"} {
		doc.want(400, c, "GET", connections+"?"+query, nil, key)
	}
	for _, op := range doc.operations(has(404)) {
		doc.want(404, c, op.method, appsURL(s, op.path, "x"), nil, key)
		if op.OperationID != "refreshConnection" {
			doc.want(404, c, op.method, appsURL(s, op.path, realmNone), nil, key)
		}
	}
	for _, op := range doc.operations(isAPI) {
		doc.want(400, c, op.method, appsURL(s, op.path, "x"), nil, key)
		doc.want(400, c, op.method, appsURL(s, op.path, realmOne)+"?access_token=x", nil, key)
		doc.want(501, c, op.method, appsURL(s, op.path, realmOne), nil, key, "Connection: Upgrade", "Upgrade: websocket")
	}
	long := bytes.Repeat([]byte(" "), 20<<10)
	doc.want(413, c, "POST", links, long, key, asJSON)
	// One whose length is told beforehand Caddy refuses itself.
	if a := doc.check(sendChunked(t, c, invoice, long, key), "POST", invoice, nil, key); a.Status != 413 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	s.fullQueue(c, func() { doc.want(429, c, "GET", s.Proxy+companyInfo(realmOne), nil, key) })

	// What Intuit does wrong.
	dead := func(realm string) {
		for _, op := range doc.operations(has(428)) {
			for _, accept := range []string{"*/*", "application/json", "application/xml", "text/html"} {
				doc.want(428, c, op.method, appsURL(s, op.path, realm), nil, key, "Accept: "+accept)
			}
		}
		doc.want(200, c, "GET", connections, nil, key)
	}
	dead(realmNone)
	s.dies(c)
	dead(realmOne)
	s.connect(realmOne)
	unavailable := func(want string) {
		t.Helper()
		if !s.works(realmOne) { // only of a token that was good is a 401 believed
			t.Errorf("before %s", want)
		}
		s.Intuit.RevokeAccess(realmOne)
		refresh := func(op operation) bool { return op.OperationID == "refreshConnection" }
		for _, op := range append(doc.operations(isAPI), doc.operations(refresh)...) {
			// Waiting is part of it: the first answer may come before the verdict.
			if err := eventually(20*time.Second, func() error {
				if a := doc.ask(c, op.method, appsURL(s, op.path, realmOne), nil, key); a.Status != 503 || a.problem(t).Error != want {
					return fmt.Errorf("%s: %d %s", op.OperationID, a.Status, a.Body)
				}
				return nil
			}); err != nil {
				t.Errorf("%s: %v", want, err)
			}
		}
		s.Intuit.CloseIncident()
		s.Intuit.ClearFaults()
		s.connect(realmOne)
	}
	s.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1})
	unavailable("token_unavailable")
	s.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidClient, Times: -1})
	unavailable("client_refused")
	for _, op := range doc.operations(isAPI) {
		s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultRedirect})
		doc.want(502, c, op.method, appsURL(s, op.path, realmOne), nil, key)
	}
	s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultReset})
	doc.want(502, c, "POST", invoice, customer("Bob", 10), key, asJSON)
	s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultForbidden})
	doc.want(403, c, "GET", s.Proxy+companyInfo(realmOne), nil, key)
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.RevokeThrottled = true })
	doc.want(202, c, "DELETE", connections+"/"+realmTwo, nil, key)
	doc.want(200, c, "GET", connections, nil, key)
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.RevokeThrottled = false })
	s.connect(realmTwo)
	doc.want(200, c, "DELETE", connections+"/"+realmTwo, nil, key)
	s.Sites[0].Options = append(s.Sites[0].Options, "status_page "+s.Intuit.URL())
	s.reload()
	s.Intuit.OpenIncident()
	s.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant, Times: -1})
	unavailable("grant_suspect")

	// What the operator must mend.
	broken := errors.New("input/output error")
	faulty.reads.Store(&broken)
	for _, op := range doc.operations(func(op operation) bool { return needsKey(op) && op.OperationID != "listConnections" }) {
		body, who := []byte(nil), key
		if op.OperationID == "createLink" {
			body, who = []byte(`{"connection":"`+realmNone+`"}`), as(other)
		}
		doc.want(503, c, op.method, appsURL(s, op.path, realmNone), body, who, asJSON)
	}
	repairFaulty()
	s.Apps = false
	s.reload()
	faulty.place.Add(1)
	s.Apps = true
	faultyOn := func(want string) {
		t.Helper()
		s.reload()
		s.Intuit.RevokeAccess(realmOne)
		if a := doc.want(503, c, "GET", s.Proxy+companyInfo(realmOne), nil, key); a.problem(t).Error != want {
			t.Errorf("%s: %s", want, a.Body)
		}
	}
	faultyOn("on_hold")
	faulty.reads.Store(&broken) // before anybody has asked for a list
	doc.want(503, c, "GET", connections, nil, key)
	repairFaulty()
	mustDo(t, c, "POST", "http://"+s.Admin+"/freshbearer/resume", nil)
	s.Sites[0].API = "http://" + freeAddress(t)
	faultyOn("host_unconfirmed")
	s.Sites[0].API = ""

	// An API that is not there, or slow, behind Caddy's own reverse proxy.
	s.Sites[0].Directive = []string{"reverse_proxy {", "fail_duration 1h", "max_fails 4", "transport http {", "response_header_timeout 1s", "}", "}"}
	s.reload()
	doc.want(200, c, "GET", s.Proxy+companyInfo(realmOne), nil, key)
	for _, op := range doc.operations(isAPI) {
		s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultHang})
		doc.want(504, c, op.method, appsURL(s, op.path, realmOne), nil, key)
	}
	s.Intuit.Close()
	doc.want(502, c, "GET", s.Proxy+companyInfo(realmOne), nil, key)
	doc.want(503, c, "GET", s.Proxy+companyInfo(realmOne), nil, key)

	handler := "only what Caddy's reverse proxy fails with in ways of its own; answers.go"
	doc.complete(map[string]string{
		"readAPI 500": handler, "readAPIOne 500": handler, "writeAPI 500": handler,
		"writeAPI 425": "needs TLS early data, which Go's clients do not send; TestEarlyData",
	})
	var kinds []string
	for _, word := range doc.doc.Components.Schemas["Problem"].Value.Properties["error"].Value.Enum {
		kinds = append(kinds, fmt.Sprint(word))
	}
	unseen := []string{
		"internal_error", "too_early", // as above
		"misdirected_request", "link_invalid", "link_expired", "form_refused", // the browser's
	}
	for _, kind := range kinds {
		if doc.kinds[kind] == slices.Contains(unseen, kind) {
			t.Errorf("%s: seen %v", kind, doc.kinds[kind])
		}
	}
}

// sendChunked sends a body whose length is not told beforehand.
func sendChunked(t *testing.T, c *http.Client, url string, body []byte, bearer string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, io.MultiReader(bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", strings.TrimPrefix(bearer, "Authorization: "))
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	a, err := read(resp)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func nextOf(t *testing.T, a answer) string {
	t.Helper()
	var page struct{ Next string }
	if err := json.Unmarshal(a.Body, &page); err != nil || page.Next == "" {
		t.Fatalf("no next page: %s", a.Body)
	}
	return page.Next
}

// fullQueue calls do while as many requests of the first company wait as may.
func (s *system) fullQueue(c *http.Client, do func()) {
	s.t.Helper()
	gate := s.Intuit.Hold(intuittest.EndpointAPI, realmOne)
	var held sync.WaitGroup
	held.Go(func() { s.get(c, realmOne) })
	select {
	case <-gate.Arrived():
	case <-time.After(20 * time.Second):
		s.t.Fatal("no request arrives")
	}
	held.Go(func() { s.get(c, realmOne) })
	s.expect(c, map[string]float64{`pacing_waiting{integration="quickbooks"}`: 1})
	do()
	gate.Release()
	held.Wait()
}
