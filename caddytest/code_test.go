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
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

// exchange redeems a code as another program with the same keys would.
func (s *system) exchange(code string) {
	s.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {s.Proxy + "/oauth/callback"}}
	req, err := http.NewRequest(http.MethodPost, s.Intuit.TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(intuittest.DefaultClientID, intuittest.DefaultClientSecret)
	resp, err := client(s.t).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("the other program's exchange: %s", resp.Status)
	}
}

// otherClientID is a client of another app.
const otherClientID = "other-client-id"

// codeOfAnotherClient lets the human consent to the other app.
func (s *system) codeOfAnotherClient() string {
	s.t.Helper()
	query := url.Values{
		"client_id": {otherClientID}, "redirect_uri": {"https://other.example.com/"}, "response_type": {"code"},
		"scope": {"com.intuit.quickbooks.accounting"}, "state": {"x"},
	}
	_, location := step(s.t, client(s.t), s.Intuit.AuthorizeURL()+"?"+query.Encode())
	return location.Query().Get("code")
}

var (
	caseItem = regexp.MustCompile(`<li><strong>(.*?)</strong><br><em>(.*?):</em> (.*?)</li>`)
	traceID  = regexp.MustCompile(`<dt>intuit_tid</dt><dd>1-[0-9a-f]{8}-[0-9a-f]{24}</dd>`)
)

// The last page names the cause of an invalid_grant, who repairs it, how, and
// the id that Intuit's support asks for.
func TestConnectCodeRefused(t *testing.T) {
	const you, operator = "You", "The person who runs the app"
	for name, c := range map[string]struct {
		behaviour func(b *intuittest.Behaviour)
		meanwhile func(s *system, callback *url.URL)
		lead      string
		causes    string
		// cases are what the page lists: what, who, and a part of how.
		cases [][3]string
	}{
		"redirect URL": {
			meanwhile: func(s *system, _ *url.URL) {
				s.Intuit.RegisterRedirectURI(intuittest.DefaultClientID, "https://other.example.com/oauth/callback")
			},
			lead:   "QuickBooks refused the code of this sign-in.",
			causes: "<dt>cause</dt><dd>redirect_url_differs</dd>",
			cases:  [][3]string{{"The redirect URL is not the one", operator, "redirect URIs that are registered for these keys at QuickBooks"}},
		},
		"another client": {
			meanwhile: func(s *system, callback *url.URL) {
				query := callback.Query()
				query.Set("code", s.codeOfAnotherClient())
				callback.RawQuery = query.Encode()
			},
			lead:   "QuickBooks refused the code of this sign-in.",
			causes: "<dt>cause</dt><dd>wrong_client</dd>",
			cases:  [][3]string{{"The code is for another client ID.", operator, "development keys belong to environment sandbox"}},
		},
		"expired": {
			behaviour: func(b *intuittest.Behaviour) { b.CodeTTL = 1 },
			lead:      "QuickBooks refused the code of this sign-in.",
			causes:    "<dt>cause</dt><dd>code_expired</dd>",
			cases:     [][3]string{{"The code was too old.", you, "start again"}},
		},
		"used, and Intuit does not say so": {
			behaviour: func(b *intuittest.Behaviour) { b.IgnorePKCE, b.Descriptions = true, intuittest.DescriptionAbsent },
			meanwhile: func(s *system, callback *url.URL) { s.exchange(callback.Query().Get("code")) },
			lead:      "QuickBooks refused the code of this sign-in, and does not say why.",
			causes:    "<dt>possible_causes</dt><dd>code_used, redirect_url_differs, wrong_client, code_expired</dd>",
			cases: [][3]string{
				{"The code was already used.", you, "start again"},
				{"The redirect URL is not the one", operator, "Compare redirect_url"},
				{"The code is for another client ID.", operator, "Compare client_id"},
				{"The code was too old.", you, "start again"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			if c.behaviour != nil {
				s.Intuit.SetBehaviour(c.behaviour)
			}
			browser := walker(t)
			callback := s.begin(browser, s.link(`{}`), realmOne)
			code := callback.Query().Get("code")
			if c.meanwhile != nil {
				c.meanwhile(s, callback)
			}
			page := s.finish(browser, callback)
			refused(t, page, "<p class=\"lead\">"+c.lead+"</p>")
			text := html.UnescapeString(string(page.Body))
			found := caseItem.FindAllStringSubmatch(text, -1)
			if len(found) != len(c.cases) {
				t.Fatalf("%d cases, want %d:\n%s", len(found), len(c.cases), text)
			}
			for i, want := range c.cases {
				if got := found[i]; !strings.Contains(got[1], want[0]) || got[2] != want[1] || !strings.Contains(got[3], want[2]) {
					t.Errorf("case %d: %q, want %q", i, got[1:], want)
				}
			}
			for _, want := range []string{c.causes, "<dt>error</dt><dd>code_refused</dd>", "<dt>provider_error</dt><dd>invalid_grant</dd>"} {
				if !strings.Contains(text, want) {
					t.Errorf("the page lacks %s:\n%s", want, text)
				}
			}
			if !traceID.MatchString(text) {
				t.Errorf("the page lacks Intuit's id:\n%s", text)
			}
			if page.Status != http.StatusBadGateway || strings.Contains(text, code) || s.works(realmOne) {
				t.Errorf("%d:\n%s", page.Status, text)
			}
		})
	}
}

// A code that the proxy has redeemed is not sent again.
func TestConnectCodeUsedHere(t *testing.T) {
	s := start(t)
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.IgnorePKCE = true })
	c := walker(t)
	first, second := s.begin(c, s.link(`{}`), realmOne), s.begin(c, s.link(`{}`), realmOne)
	if page := s.finish(c, first); !bytes.Contains(page.Body, connected) {
		t.Fatalf("%d:\n%s", page.Status, page.Body)
	}
	query := second.Query()
	query.Set("code", first.Query().Get("code"))
	second.RawQuery = query.Encode()
	page := s.finish(c, second)
	refused(t, page, "was not sent to QuickBooks a second time")
	if bytes.Contains(page.Body, []byte("invalid_grant")) || !bytes.Contains(page.Body, []byte("<dt>cause</dt><dd>code_used_here</dd>")) {
		t.Errorf("%d:\n%s", page.Status, page.Body)
	}
	if n := s.Intuit.Counters(); n.CodeExchanges != 1 || n.CodeReuses != 0 || !s.works(realmOne) {
		t.Errorf("%v", n.TokenRequests)
	}
}

// A callback under another host name than that of redirect_url spends nothing,
// and says where this page is.
func TestConnectAtAnotherHost(t *testing.T) {
	s := start(t)
	c := walker(t)
	callback := s.begin(c, s.link(`{}`), realmOne)
	req, err := http.NewRequest(http.MethodGet, callback.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "127.0.0.1:1" // Caddy's host matcher does not look at the port
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	a, err := read(resp)
	if err != nil {
		t.Fatal(err)
	}
	if p := a.problem(t); a.Status != http.StatusMisdirectedRequest || !strings.Contains(p.Detail, "This page is at "+s.Proxy+",") ||
		!strings.Contains(p.Detail, "redirect_url") || strings.Contains(p.Detail, req.Host+"/") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if page := s.finish(c, callback); !bytes.Contains(page.Body, connected) {
		t.Errorf("%d:\n%s", page.Status, page.Body)
	}
}
