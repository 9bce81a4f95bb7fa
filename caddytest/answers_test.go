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
	"encoding/xml"
	"net/http"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

// Who has no key of the proxy learns nothing, and costs nothing.
func TestWrongKey(t *testing.T) {
	resetCounted()
	s := start(t, func(s *system) { s.Store = "counted" })
	s.connect(realmOne)
	s.Intuit.ResetCounters()
	c := client(t)
	// The first one is told to the audit log at once. The others of a minute are
	// counted there in memory.
	mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, "Authorization: Bearer wrong")
	atRest()
	reads, writes := counted.reads.Load(), counted.writes.Load()
	grant, _ := s.Intuit.Tokens(realmOne)
	for _, lines := range [][]string{
		{},
		{"Authorization: Bearer "},
		{"Authorization: Bearer wrong"},
		{"Authorization: Bearer " + s.Key + "x"},
		{"Authorization: Bearer " + s.Key[:len(s.Key)-1]},
		{"Authorization: Bearer " + strings.ToLower(s.Key)},
		{"Authorization: " + s.Key},
		{"Authorization: Basic " + s.Key},
		{"Authorization: Bearer " + s.Key, "Authorization: Bearer " + s.Key},
		{"Authorization: Bearer wrong", "Authorization: Bearer " + s.Key},
		{"Proxy-Authorization: Bearer " + s.Key},
		{"Cookie: Authorization=Bearer " + s.Key},
		// An access token is no proxy key, not even the right one.
		{"Authorization: Bearer " + grant.AccessToken},
	} {
		for _, target := range []string{
			companyInfo(realmOne), companyInfo(realmTwo), companyInfo(realmNone), "/v3/company/x/y",
		} {
			a := mustDo(t, c, http.MethodGet, s.Proxy+target, nil, lines...)
			if p := a.problem(t); a.Status != http.StatusUnauthorized || p.Error != "invalid_proxy_key" {
				t.Errorf("%.60q: %d %s", lines, a.Status, a.Body)
			}
			if challenge := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(challenge, "Bearer ") {
				t.Errorf("WWW-Authenticate is %q", challenge)
			}
		}
		a := mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/links", []byte(`{}`), lines...)
		if a.Status != http.StatusUnauthorized {
			t.Errorf("%.60q gets a link: %d %s", lines, a.Status, a.Body)
		}
	}
	counters := s.Intuit.Counters()
	if counters.APIRequests != 0 || counters.Refreshes != 0 {
		t.Errorf("%d API requests and %d refreshes", counters.APIRequests, counters.Refreshes)
	}
	if r, w := counted.reads.Load()-reads, counted.writes.Load()-writes; r != 0 || w != 0 {
		t.Errorf("%d reads and %d writes of the store", r, w)
	}
	// The steady state reads memory only.
	if a := s.get(c, realmOne); a.Status != http.StatusOK || counted.reads.Load() != reads {
		t.Errorf("a good request: %d, with %d reads of the store", a.Status, counted.reads.Load()-reads)
	}
}

// Whether a connection exists is not for everybody to know.
func TestForbidden(t *testing.T) {
	var listed, none *caller
	s := start(t, func(s *system) {
		listed = s.addCaller("listed", realmTwo)
		none = s.addCaller("none", "")
	})
	s.connect(realmOne)
	s.connect(realmTwo)
	s.Intuit.ResetCounters()
	c := client(t)
	for _, who := range []*caller{listed, none} {
		key := "Authorization: Bearer " + who.Key
		for _, accept := range []string{"application/json", "application/xml", "text/html"} {
			exists := mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, key, "Accept: "+accept)
			unknown := mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmNone), nil, key, "Accept: "+accept)
			if exists.Status != http.StatusForbidden || unknown.Status != http.StatusForbidden {
				t.Errorf("%s: %d and %d, not 403", who.Name, exists.Status, unknown.Status)
			}
			if !bytes.Equal(exists.Body, unknown.Body) {
				t.Errorf("%s, %s: the answers differ:\n%s\n%s", who.Name, accept, exists.Body, unknown.Body)
			}
			exists.Header.Del("Date")
			unknown.Header.Del("Date")
			for name := range exists.Header {
				if exists.Header.Get(name) != unknown.Header.Get(name) {
					t.Errorf("%s: %s differs: %q, %q", who.Name, name, exists.Header.Get(name), unknown.Header.Get(name))
				}
			}
			if len(exists.Header) != len(unknown.Header) {
				t.Errorf("%s: the header fields differ: %v, %v", who.Name, exists.Header, unknown.Header)
			}
		}
		a := mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/links", []byte(`{"connection":"`+realmOne+`"}`), key)
		if a.Status != http.StatusForbidden {
			t.Errorf("%s gets a link for a company of somebody else: %d %s", who.Name, a.Status, a.Body)
		}
	}
	if n := s.Intuit.Counters().APIRequests; n != 0 {
		t.Errorf("%d requests went up", n)
	}
	a := mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmTwo), nil, "Authorization: Bearer "+listed.Key)
	if a.Status != http.StatusOK {
		t.Errorf("a listed connection: %d %s", a.Status, a.Body)
	}
}

// A grant that died is one clear answer, in the form that the client reads, with
// the address where it is repaired.
func TestReauthorization(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.Intuit.KillGrant(realmOne)
	c := client(t)
	a := s.get(c, realmOne)
	p := a.problem(t)
	if a.Status != http.StatusPreconditionRequired || p.Error != "reauthorization_required" || p.Cause != "revoked_or_replaced" ||
		p.Connection != realmOne || p.Since == "" || p.Fault.Type != "AuthenticationFault" ||
		len(p.Fault.Error) != 1 || !strings.Contains(p.Fault.Error[0].Message, p.ReauthURL) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if ct := a.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("Content-Type is %q", ct)
	}
	refreshes := s.Intuit.Counters().Refreshes

	xmlAnswer := s.get(c, realmOne, "Accept: application/xml")
	var envelope struct {
		XMLName xml.Name
		Fault   struct {
			Type  string `xml:"type,attr"`
			Error struct {
				Code    string `xml:"code,attr"`
				Message string
			}
		}
	}
	if err := xml.Unmarshal(xmlAnswer.Body, &envelope); err != nil || xmlAnswer.Status != http.StatusPreconditionRequired ||
		envelope.XMLName.Local != "IntuitResponse" || envelope.Fault.Type != "AuthenticationFault" ||
		envelope.Fault.Error.Code != "428" || !strings.Contains(envelope.Fault.Error.Message, "/oauth/connect?link=") {
		t.Errorf("as XML: %d %s (%v)", xmlAnswer.Status, xmlAnswer.Body, err)
	}
	html := s.get(c, realmOne, "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
	if html.Status != http.StatusPreconditionRequired || !strings.HasPrefix(html.Header.Get("Content-Type"), "text/html") ||
		!bytes.Contains(html.Body, []byte("/oauth/connect?link=")) {
		t.Errorf("as HTML: %d %s", html.Status, html.Body)
	}
	// A dead grant costs Intuit nothing more.
	if n := s.Intuit.Counters().Refreshes; n != refreshes {
		t.Errorf("%d refreshes of a dead grant", n-refreshes)
	}

	s.repair(p.ReauthURL, realmOne)
}

// repair opens a reauth_url in a browser, and expects the connection to work.
func (s *system) repair(reauthURL, realm string) {
	s.t.Helper()
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = realm })
	c := browser(s.t)
	first := mustDo(s.t, c, http.MethodGet, reauthURL, nil)
	page := mustDo(s.t, c, http.MethodGet, actionOf(first), nil)
	if page.Status != http.StatusOK || !bytes.Contains(page.Body, []byte("Connected to QuickBooks")) {
		s.t.Errorf("the repair ended with %d:\n%s", page.Status, page.Body)
	}
	if a := s.get(client(s.t), realm); a.Status != http.StatusOK {
		s.t.Errorf("after the repair: %d %s", a.Status, a.Body)
	}
}

func TestNeverConnected(t *testing.T) {
	s := start(t)
	a := s.get(client(t), realmTwo)
	p := a.problem(t)
	if a.Status != http.StatusPreconditionRequired || p.Cause != "never_connected" || p.Connection != realmTwo || p.Since != "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if n := s.Intuit.Counters(); n.Refreshes+n.APIRequests != 0 {
		t.Errorf("%d refreshes and %d API requests", n.Refreshes, n.APIRequests)
	}
	s.repair(p.ReauthURL, realmTwo)
}

func TestReauthStatus(t *testing.T) {
	s := start(t, func(s *system) { s.Sites[0].Options = []string{"reauth_status 401"} })
	a := s.get(client(t), realmTwo)
	if p := a.problem(t); a.Status != http.StatusUnauthorized || p.Cause != "never_connected" || a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
}
