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
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// hostile are header lines that must not change who the API believes to talk
// to, each set in a request of its own.
var hostile = [][]string{
	{"Connection: authorization"},
	{"Connection: close, Authorization, x-custom", "X-Custom: listed"},
	{"Connection: AUTHORIZATION", "Connection: content-length, host, user-agent"},
	{"Proxy-Connection: authorization", "Keep-Alive: authorization"},
	{"Cookie: session=1", "Cookie: other=2"},
	{"X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: evil.example.com", "X-Forwarded-Proto: https", "X-Forwarded-Anything: 1"},
	{"Forwarded: for=10.0.0.1;host=evil.example.com", "X-Real-Ip: 10.0.0.1"},
	{"X-Original-Url: /v3/company/" + realmTwo, "X-Rewrite-Url: /x", "X-Http-Method-Override: DELETE", "X-Method-Override: DELETE"},
	{"Authorization_: Bearer smuggled", "Author_ization: Bearer smuggled"},
	{"Proxy-Authorization: Basic c211Z2dsZWQ=", "Proxy_Authorization: smuggled"},
	{"X_Forwarded_Host: evil.example.com", "x.forwarded.for: 10.0.0.1"},
	{"Freshbearer-Connection: " + realmOne, "Freshbearer_Connection: " + realmTwo},
	{"Te: trailers", "Trailer: Authorization"},
	{"Expect: 100-continue"},
	{"Accept-Encoding: br, zstd;q=1, gzip;q=0"},
}

// smuggled are names that the API must never see, in lower case and with
// hyphens.
var smuggled = []string{
	"cookie", "forwarded", "x-real-ip", "x-original-url", "x-rewrite-url", "x-http-method-override", "x-method-override",
	"proxy-authorization", "proxy-connection", "keep-alive", "freshbearer-connection", "te", "trailer", "expect", "upgrade",
}

func TestHeadersUp(t *testing.T) {
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s := start(t, change)
			s.connect(realmOne)
			grant, _ := s.Intuit.Tokens(realmOne)
			for _, lines := range hostile {
				for _, body := range []bool{false, true} {
					s.Intuit.ResetCounters()
					request := s.rawGet(http.MethodGet, companyInfo(realmOne), append(lines, "X-Kept: yes", "Request-Id: 7")...)
					if body {
						content := string(customer("x", 50))
						request = s.rawGet(http.MethodPost, "/v3/company/"+realmOne+"/customer", append(lines,
							"Content-Type: application/json", "Transfer-Encoding: chunked", "X-Kept: yes", "Request-Id: 7")...) +
							fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(content), content)
					}
					a, err := s.raw(request)
					if err != nil || a.Status != http.StatusOK {
						t.Errorf("%q: %d %s %v", lines, a.Status, a.Body, err)
						continue
					}
					requests := s.Intuit.APIRequests()
					if len(requests) != 1 || !requests[0].RawLines {
						t.Errorf("%q: %d requests went up", lines, len(requests))
						continue
					}
					s.checkLines(lines, requests[0].Lines, "Authorization: Bearer "+grant.AccessToken)
				}
			}
			if n := s.Intuit.Counters().Refreshes; n != 0 {
				t.Errorf("%d refreshes", n)
			}
		})
	}
}

// checkLines looks at the header lines of a request as they came on the wire.
func (s *system) checkLines(sent, got []string, bearer string) {
	s.t.Helper()
	authorizations, kept := 0, 0
	for _, line := range got {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if strings.Contains(line, s.Key) {
			s.t.Errorf("%q: the proxy key went up: %s", sent, line)
		}
		if strings.Contains(line, "smuggled") || strings.Contains(line, "evil.example.com") {
			s.t.Errorf("%q: this was smuggled: %s", sent, line)
		}
		plain := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
		switch {
		case plain == "authorization":
			authorizations++
			if name+": "+value != bearer {
				s.t.Errorf("%q: another bearer went up", sent)
			}
		case plain == "x-kept" && value == "yes", plain == "request-id" && value == "7":
			kept++
		case plain == "host" && value != strings.TrimPrefix(s.Intuit.URL(), "http://") && s.Sites[0].Directive == nil:
			s.t.Errorf("%q: the host that went up is %s", sent, value)
		case strings.HasPrefix(plain, "x-forwarded"), plain == "x-custom":
			s.t.Errorf("%q: this went up: %s", sent, line)
		case plain == "accept-encoding" && value != "gzip" && value != "identity":
			s.t.Errorf("%q: an encoding that cannot be read here was asked for: %s", sent, line)
		}
		for _, no := range smuggled {
			if plain == no {
				s.t.Errorf("%q: this went up: %s", sent, line)
			}
		}
	}
	if authorizations != 1 {
		s.t.Errorf("%q: %d Authorization lines went up", sent, authorizations)
	}
	if kept != 2 {
		s.t.Errorf("%q: %d of 2 harmless lines went up: %q", sent, kept, got)
	}
}
