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
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

// A 401 of the service is not about the token: a refresh does not help, and the
// answer is the caller's to see.
func TestRefusalNotAboutToken(t *testing.T) {
	s, c := connectedAndAccepted(t)
	for kind, code := range map[intuittest.FaultKind]string{
		intuittest.FaultRealmMismatch: "100", intuittest.FaultAccessLost: "120", intuittest.FaultWrongCluster: "130",
	} {
		for _, lines := range [][]string{{}, {"Accept-Encoding: gzip"}, {"Accept: application/json"}} {
			s.Intuit.FailAPI(intuittest.Fault{Kind: kind})
			a := s.get(c, realmOne, lines...)
			if a.Status != http.StatusUnauthorized || !bytes.Contains(a.Body, []byte(`<Error code="`+code+`">`)) ||
				!strings.HasPrefix(a.Header.Get("Content-Type"), "application/xml") || a.Header.Get("Proxy-Status") != "" {
				t.Errorf("%s %v: %d %v %s", kind, lines, a.Status, a.Header, a.Body)
			}
		}
	}
	if n := s.Intuit.Counters(); n.Refreshes != 0 || n.APIRequests != 9 {
		t.Errorf("%d refreshes and %d API requests for 9 requests", n.Refreshes, n.APIRequests)
	}
}

// anyToken finds what looks like one of Intuit's tokens or their ids.
var anyToken = regexp.MustCompile(`AB[01][0-9A-Za-z]{8,}|RT1-[0-9]|eyJ[0-9A-Za-z_-]{8,}`)

// The 401 about the token may name it. Whatever its form and encoding: a newer
// token is tried, and if that is refused as well, what is passed on names none.
func TestRefusalNamesToken(t *testing.T) {
	for name, shape := range map[string]intuittest.Shape{"usual": intuittest.ShapeUsual, "xml": intuittest.ShapeXML} {
		for _, encoding := range []string{"", "gzip", "gzip, deflate, br", "br", "identity"} {
			t.Run(name+" "+encoding, func(t *testing.T) {
				s, c := connectedAndAccepted(t)
				s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.TokenDetail, b.Shape401 = intuittest.DetailTokenID, shape })
				var lines []string
				if encoding != "" {
					lines = []string{"Accept-Encoding: " + encoding}
				}
				// Refused once: nobody notices.
				s.Intuit.RevokeAccess(realmOne)
				if a := s.get(c, realmOne, lines...); a.Status != http.StatusOK {
					t.Errorf("a token that was revoked: %d %s", a.Status, a.Body)
				}
				// Refused twice: passed on.
				s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTokenRefused, Times: 2})
				a := s.get(c, realmOne, lines...)
				if a.Status != http.StatusUnauthorized || !bytes.Contains(a.Body, []byte("3200")) {
					t.Errorf("refused twice: %d %s", a.Status, a.Body)
				}
				if got := anyToken.Find(a.Body); got != nil {
					t.Errorf("the answer names a token: %s", a.Body)
				}
				if !bytes.Contains(a.Body, []byte("[redacted]")) {
					t.Errorf("nothing was redacted, was there anything? %s", a.Body)
				}
				if encoding := a.Header.Get("Content-Encoding"); encoding != "" {
					t.Errorf("Content-Encoding is %q", encoding)
				}
				if n := s.Intuit.Counters().Refreshes; n != 2 {
					t.Errorf("%d refreshes", n)
				}
			})
		}
	}
}

// An API that refuses every token must not drive a refresh for every request.
func TestRefusalForEver(t *testing.T) {
	s, c := connectedAndAccepted(t)
	s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTokenRefused, Times: -1})
	const n = 50
	for range n {
		if a := s.get(c, realmOne); a.Status != http.StatusUnauthorized || a.Header.Get("Proxy-Status") != "" {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	if refreshes := s.Intuit.Counters().Refreshes; refreshes < 1 || refreshes > 2 {
		t.Errorf("%d refreshes for %d requests that were refused", refreshes, n)
	}
}

// The API must not set cookies here, or send the caller with its proxy key
// somewhere else.
func TestRedirectsAndCookies(t *testing.T) {
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			var sunk atomic.Int64
			var sink, front *httptest.Server
			s, c := connectedAndAccepted(t, change, func(s *system) {
				intuit := s.Sites[0].Intuit.Handler()
				front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					h := w.Header()
					h.Add("Set-Cookie", "session=1; Path=/")
					h.Add("Set-Cookie", "other=2")
					h.Set("Strict-Transport-Security", "max-age=31536000")
					h.Set("Alt-Svc", `h3=":443"`)
					h.Set("Connection", "X-Hop")
					h.Set("X-Hop", "1")
					h.Set("X-Kept", "1")
					intuit.ServeHTTP(w, r)
				}))
				t.Cleanup(front.Close)
				sink = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sunk.Add(1) }))
				t.Cleanup(sink.Close)
				s.Sites[0].API = front.URL
			})
			a := s.get(c, realmOne)
			for _, field := range []string{"Set-Cookie", "Strict-Transport-Security", "Alt-Svc", "X-Hop"} {
				if values := a.Header.Values(field); values != nil {
					t.Errorf("%s came through: %q", field, values)
				}
			}
			if a.Status != http.StatusOK || a.Header.Get("X-Kept") != "1" {
				t.Errorf("%d %v", a.Status, a.Header)
			}

			here := "/v3/company/" + realmOne + "/companyinfo/2?a=b"
			for location, want := range map[string]string{
				sink.URL + "/v3/company/1/x":                             "",
				"https://other-origin.invalid/":                          "",
				"//other-origin.invalid/x":                               "",
				strings.Replace(front.URL, "http://", "https://", 1):     "",
				strings.Replace(front.URL, "http://", "http://user@", 1): "",
				"http://[::1":    "",
				front.URL + here: here,
				here:             here,
			} {
				s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultRedirect, Location: location})
				a := s.get(c, realmOne)
				if want == "" {
					if p := a.problem(t); a.Status != http.StatusBadGateway || p.Error != "upstream_redirect" || a.Header.Get("Location") != "" {
						t.Errorf("a redirect to %s: %d %v %s", location, a.Status, a.Header, a.Body)
					}
				} else if a.Status != http.StatusTemporaryRedirect || a.Header.Get("Location") != want {
					t.Errorf("a redirect to %s: %d to %q", location, a.Status, a.Header.Get("Location"))
				}
			}
			if n := sunk.Load(); n != 0 {
				t.Errorf("the sink got %d requests", n)
			}
		})
	}
}
