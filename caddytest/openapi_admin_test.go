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
	"net/url"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/getkin/kin-openapi/openapi3"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// adminURL is where an operation is, with what it needs to name a connection.
func (s *system) adminURL(op operation, realm string, more ...string) string {
	query := url.Values{}
	for _, p := range op.Parameters {
		switch value := map[string]string{"integration": "quickbooks", "connection": realm, "caller": "app", "id": "none", "recipient": ageRecipient}[p.Value.Name]; {
		case p.Value.Required:
			query.Set(p.Value.Name, value)
		}
	}
	for i := 0; i < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return "http://" + s.Admin + op.path + "?" + query.Encode()
}

// ageRecipient is the public key of age's own manual.
const ageRecipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

func names(parameter string) func(operation) bool {
	return func(op operation) bool {
		return op.Parameters.GetByInAndName(openapi3.ParameterInQuery, parameter) != nil
	}
}

func anything(operation) bool { return true }

// Whatever operators can be told is what docs/openapi/admin.yaml says, and it
// says nothing that cannot be.
func TestOpenAPIAdmin(t *testing.T) {
	doc := readContract(t, "admin")
	t.Cleanup(repairFaulty)
	s := start(t, func(s *system) {
		s.Store, s.Admin = "faulty", freeAddress(t)
		s.addKey("former")
		s.Globals = []string{"lingering"}
		s.Sites[0].Options = []string{"return_urls https://app.example.com"}
	})
	s.connect(realmOne)
	s.connect(realmTwo)
	c := client(t)
	at := func(path string) string { return "http://" + s.Admin + "/freshbearer/" + path }
	about := func(path, realm string) string { return at(path + "?integration=quickbooks&connection=" + realm) }
	ndjson := "Content-Type: application/x-ndjson"

	// What works.
	page := doc.want(200, c, "GET", at("connections?limit=1&integration=quickbooks&text=a"), nil)
	doc.want(200, c, "GET", at("connections"+nextOf(t, page)), nil)
	for _, state := range []string{"connected", "suspect", "needs_reauth", "disconnected", "revoke_pending"} {
		doc.want(200, c, "GET", at("connections?state="+state), nil)
	}
	doc.want(200, c, "GET", about("connections/show", realmOne), nil)
	doc.want(200, c, "POST", about("connections/refresh", realmOne), nil)
	doc.want(429, c, "POST", about("connections/refresh", realmOne), nil)
	doc.want(200, c, "POST", about("recheck", realmOne), nil)
	doc.want(201, c, "POST", at("links?integration=quickbooks&caller=app&return_url=https://app.example.com/x"), nil)
	doc.want(201, c, "POST", about("links", realmOne), nil)
	grant := s.Intuit.Connect(realmTwo)
	line := func(members string) string { return `{"connection":"` + realmTwo + `",` + members + "}\n" }
	doc.want(200, c, "POST", at("import?replace"), []byte(line(`"refresh_token":"`+grant.RefreshToken+`","access_token":"`+grant.AccessToken+`","expires_in":3600`)), ndjson)
	doc.want(200, c, "POST", at("import"), []byte("\n"), ndjson)
	for _, replace := range []string{"", "?replace=false", "?replace=true"} {
		doc.want(200, c, "POST", at("import"+replace), []byte(line(`"refresh_token":"`+grant.RefreshToken+`"`)+line(`"refresh_token":"another"`)+line(`"refresh_token":"another","owner":"nobody"`)), ndjson)
	}
	doc.want(200, c, "GET", at("health"), nil)
	doc.want(200, c, "GET", at("ready"), nil)
	doc.want(200, c, "GET", at("doctor"), nil)
	var made struct{ ID, Key string }
	a := doc.want(201, c, "POST", at("keys?caller=app"), nil)
	if err := json.Unmarshal(a.Body, &made); err != nil {
		t.Fatal(err)
	}
	s.secrets = append(s.secrets, made.Key)
	doc.want(200, c, "GET", at("keys"), nil)
	doc.want(200, c, "DELETE", at("keys?id="+made.ID), nil)
	doc.want(200, c, "GET", at("backup"), nil)
	doc.want(200, c, "POST", at("resume"), nil)
	doc.exports(c, at)
	doc.want(200, c, "POST", at("rebind"), nil)
	doc.want(200, c, "POST", at("rekey"), nil)
	doc.want(200, c, "GET", at("audit?limit=1000"), nil)
	doc.want(200, c, "GET", at("audit/verify"), nil)
	doc.otherMethods(c, func(path string) string { return "http://" + s.Admin + path })

	// A grant that is dead, and one that is given up.
	s.dies(c)
	doc.want(200, c, "POST", about("recheck", realmOne), nil)
	doc.want(200, c, "POST", about("connections/refresh", realmOne), nil)
	doc.want(200, c, "GET", at("connections?state=needs_reauth"), nil)
	doc.want(200, c, "GET", about("connections/show", realmOne), nil)
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.RevokeThrottled = true })
	doc.want(200, c, "POST", about("connections/disconnect", realmTwo), nil)
	doc.want(200, c, "POST", about("recheck", realmTwo), nil)
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.RevokeThrottled = false })
	doc.want(200, c, "POST", about("connections/disconnect", realmTwo), nil)
	s.connect(realmOne)
	s.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1})
	doc.want(503, c, "POST", about("recheck", realmOne), nil)
	doc.want(503, c, "POST", about("connections/refresh", realmOne), nil)
	s.Intuit.ClearFaults()

	// What is wrong with a request.
	for _, op := range doc.operations(anything) {
		doc.want(403, c, op.method, s.adminURL(op, realmOne), nil, "Origin: http://evil.example.com", ndjson)
	}
	for _, op := range doc.operations(names("store")) {
		doc.want(404, c, op.method, s.adminURL(op, realmOne, "store", "/nowhere"), nil, ndjson)
	}
	for _, op := range doc.operations(names("connection")) {
		if op.OperationID != "createLink" {
			doc.want(404, c, op.method, s.adminURL(op, realmNone), nil)
			doc.want(400, c, op.method, s.adminURL(op, ""), nil)
		}
		doc.want(400, c, op.method, s.adminURL(op, realmOne, "integration", ""), nil)
	}
	for _, target := range []string{"links?integration=x", "links?integration=quickbooks&caller=nobody", "keys?caller=nobody", "export?integration=x&recipient=" + ageRecipient} {
		doc.want(404, c, "POST", at(target), nil)
	}
	doc.want(404, c, "DELETE", at("keys?id=none"), nil)
	for _, target := range []string{"connections?limit=0", "connections?limit=1001", "connections?offset=x", "connections?state=x", "audit?limit=0", "audit?limit=10001"} {
		doc.want(400, c, "GET", at(target), nil)
	}
	doc.want(400, c, "DELETE", at("keys"), nil)
	for _, target := range []string{
		"keys", "links?integration=quickbooks&connection=x", "links?integration=quickbooks&return_url=https://evil.example.com", "import?replace=x",
		"export?hold", "export?hold=x&recipient=" + ageRecipient, "export?hold&recipient=age1x", "export?recipient=" + ageRecipient + "&recipient=ssh-ed25519+AAAA",
	} {
		doc.want(400, c, "POST", at(target), nil, ndjson)
	}

	// What is wrong with the disk.
	key := doc.want(201, c, "POST", at("keys?caller=app"), nil)
	if err := json.Unmarshal(key.Body, &made); err != nil {
		t.Fatal(err)
	}
	s.secrets = append(s.secrets, made.Key)
	s.Apps = false
	s.reload()
	for _, op := range doc.operations(anything) {
		doc.want(503, c, op.method, s.adminURL(op, realmOne), nil, ndjson)
	}
	faulty.place.Add(1)
	s.Apps = true
	s.reload()
	doc.want(503, c, "GET", at("ready"), nil)
	full := fmt.Errorf("writing: %w", tokenstore.ErrFull)
	faulty.writes.Store(&full)
	doc.want(507, c, "POST", at("resume"), nil)
	doc.want(507, c, "POST", at("keys?caller=app"), nil)
	doc.want(507, c, "DELETE", at("keys?id="+made.ID), nil)
	broken := errors.New("input/output error")
	faulty.writes.Store(&broken)
	doc.want(500, c, "POST", at("resume"), nil)
	doc.want(500, c, "POST", at("keys?caller=app"), nil)
	doc.want(500, c, "DELETE", at("keys?id="+made.ID), nil)
	doc.want(200, c, "POST", at("rebind"), nil)
	doc.want(200, c, "GET", at("doctor"), nil)
	repairFaulty()
	faulty.reads.Store(&broken)
	doc.want(500, c, "GET", at("connections"), nil)
	doc.want(500, c, "GET", about("connections/show", realmOne), nil)
	doc.want(500, c, "GET", at("keys"), nil)
	doc.want(500, c, "GET", at("backup"), nil)
	doc.want(500, c, "GET", at("audit/verify"), nil)
	doc.want(500, c, "GET", at("audit"), nil)
	doc.want(500, c, "POST", at("export?recipient="+ageRecipient), nil)
	for _, target := range []string{"connections/disconnect", "connections/refresh", "recheck", "links"} {
		doc.want(503, c, "POST", about(target, realmNone), nil)
	}
	doc.want(200, c, "POST", at("rekey"), nil)
	repairFaulty()
	doc.want(200, c, "POST", at("resume"), nil)
	for status, err := range map[int]*error{507: &full, 500: &broken} {
		faulty.writes.Store(err)
		doc.want(status, c, "POST", at("export?hold&recipient="+ageRecipient), nil)
	}
	repairFaulty()

	s.twoStores(func(former string) {
		for _, op := range doc.operations(names("store")) {
			if op.OperationID != "doctor" { // it is about the running configuration
				doc.want(400, c, op.method, s.adminURL(op, realmOne), nil, ndjson)
			}
			if has(409)(op) {
				doc.want(409, c, op.method, s.adminURL(op, realmOne, "store", former), nil, ndjson)
			}
		}
	})
	doc.complete(map[string]string{})
}

// exports hands the grants over, with a hold and without, and ends the hold.
func (c *contract) exports(hc *http.Client, at func(path string) string) {
	c.t.Helper()
	other, err := age.GenerateX25519Identity()
	if err != nil {
		c.t.Fatal(err)
	}
	for query, want := range map[string]string{
		"recipient=" + ageRecipient + "&integration=quickbooks&recipient=" + other.Recipient().String(): `"hold":null`,
		"hold&recipient=" + other.Recipient().String():                                                  `"reason":"exported"`,
		"hold=false&recipient=" + other.Recipient().String():                                            `"hold":null`,
		"hold=true&recipient=" + other.Recipient().String():                                             `"reason":"exported"`,
	} {
		a := c.want(200, hc, "POST", at("export?"+query), nil)
		const field = "Freshbearer-Export"
		if summary := a.Trailer.Get(field); a.Header.Get(field) != "" || !strings.Contains(summary, `"connections":2,`) || !strings.Contains(summary, want) {
			c.t.Errorf("%s: %v, and after the body %v", query, a.Header, a.Trailer)
		}
		r, err := age.Decrypt(bytes.NewReader(a.Body), other)
		if err != nil {
			c.t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			c.t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			c.validImport(line)
		}
		if a := c.want(200, hc, "POST", at("resume"), nil); strings.Contains(string(a.Body), `"exported"`) != strings.Contains(want, `"exported"`) {
			c.t.Errorf("the hold that was ended: %s", a.Body)
		}
	}
}

// validImport finds that a line is one that import takes.
func (c *contract) validImport(line []byte) {
	c.t.Helper()
	var value any
	if err := json.Unmarshal(line, &value); err != nil {
		c.t.Fatal(err)
	}
	if err := c.doc.Components.Schemas["ImportLine"].Value.VisitJSON(value, openapi3.EnableJSONSchema2020()); err != nil {
		c.t.Errorf("import does not take what was exported: %v", err)
	}
}

// twoStores calls do while a configuration with another store is in force, and
// the former one is still being stopped.
func (s *system) twoStores(do func(former string)) {
	s.t.Helper()
	s.logHoldsNoSecret() // the other configuration writes another one
	former := s.Dir + "/store"
	s.Dir = s.t.TempDir()
	loaded := make(chan error, 1)
	stopping, stopped := lingerOnce()
	go func() { loaded <- s.load() }()
	select {
	case <-stopping:
	case err := <-loaded:
		s.t.Fatalf("the former configuration did not linger: %v", err)
	}
	do(former)
	close(stopped)
	if err := <-loaded; err != nil {
		s.t.Error(err)
	}
}
