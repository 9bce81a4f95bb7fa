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
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

func directive(lines ...string) func(*system) {
	return func(s *system) { s.Sites[0].Directive = lines }
}

// One dead grant, one caller that hangs up or one bad body says nothing of the
// upstream: with passive health checks, the others go on.
func TestPassiveHealthChecks(t *testing.T) {
	s, c := connectedAndAccepted(t, directive("reverse_proxy {", "fail_duration 30s", "max_fails 1", "lb_retries 2", "}"))
	s.connect(realmTwo)
	s.Intuit.KillGrant(realmOne)
	for range 3 {
		if a := s.get(c, realmOne); a.Status != http.StatusPreconditionRequired || a.problem(t).Error != "reauthorization_required" {
			t.Fatalf("the dead one: %d %s", a.Status, a.Body)
		}
		if a := s.get(c, realmTwo); a.Status != http.StatusOK {
			t.Fatalf("the other one, after a dead one: %d %s", a.Status, a.Body)
		}
	}
	if n := s.Intuit.Counters().TokenRequests["refresh_token invalid_grant"]; n > 2 {
		t.Errorf("Caddy's retries cost the provider %d token requests", n)
	}

	gate := s.Intuit.Hold(intuittest.EndpointAPI, realmTwo)
	ctx, hangUp := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Proxy+companyInfo(realmTwo), nil)
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+s.Key)
			_, err = c.Do(req)
		}
		left <- err
	}()
	<-gate.Arrived()
	hangUp()
	if err := <-left; err == nil {
		t.Error("the caller that hung up got an answer")
	}
	gate.Release()
	for range 3 {
		if a := s.get(c, realmTwo); a.Status != http.StatusOK {
			t.Fatalf("after a caller hung up: %d %s", a.Status, a.Body)
		}
	}
}

// Active health checks have no caller, so they go out without a token.
func TestActiveHealthChecks(t *testing.T) {
	s, c := connectedAndAccepted(t, directive(
		"reverse_proxy {", "health_uri /.well-known/openid_configuration", "health_interval 50ms", "}"))
	for range 5 {
		if a := s.get(c, realmOne); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		time.Sleep(30 * time.Millisecond) // some checks come to pass in between
	}
}

// The challenge of a refusal can name the token, and Caddy logs it.
func TestChallengeNamesToken(t *testing.T) {
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			var api *http.Server
			address := freeAddress(t)
			s := start(t, change, func(s *system) { s.Sites[0].API = "http://" + address })
			api = &http.Server{Addr: address, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				if strings.Contains(r.URL.Path, "/companyinfo/") {
					fmt.Fprint(w, `{"CompanyInfo":{"CompanyName":"A"}}`)
					return
				}
				w.Header().Set("WWW-Authenticate", `Bearer realm="Intuit", error="invalid_token", error_description="Token expired: `+token+`"`)
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprintf(w, `{"fault":{"error":[{"code":"3200","detail":"Token expired: %s"}]}}`, token)
			})}
			go func() { _ = api.ListenAndServe() }()
			t.Cleanup(func() { _ = api.Close() })
			s.connect(realmOne)
			c := client(t)
			a := mustDo(t, c, http.MethodGet, s.Proxy+"/v3/company/"+realmOne+"/customer/1", nil, s.bearer())
			if a.Status != http.StatusUnauthorized || !strings.Contains(a.Header.Get("WWW-Authenticate"), "invalid_token") {
				t.Errorf("%d %v", a.Status, a.Header)
			}
			for _, token := range tokensOf(s.Intuit) {
				if strings.Contains(fmt.Sprint(a.Header), token) || strings.Contains(string(a.Body), token) {
					t.Errorf("the answer names a token: %v %s", a.Header, a.Body)
				}
			}
		})
	}
}

// A POST that the API may have carried out is not sent again, whatever field
// the caller adds.
func TestIdempotencyKeyIsNoLicence(t *testing.T) {
	s, c := connectedAndAccepted(t)
	for i, field := range []string{"Idempotency-Key: 1", "X-Idempotency-Key: 2", "Accept: application/json"} {
		s.get(c, realmOne) // leaves an idle connection to be reused
		before := s.Intuit.Counters().Creates
		s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultResetAfter})
		a := mustDo(t, c, http.MethodPost, s.Proxy+"/v3/company/"+realmOne+"/customer", customer(fmt.Sprintf("once-%d", i), 100), s.bearer(), field)
		if n := s.Intuit.Counters().Creates - before; n != 1 || a.Status != http.StatusBadGateway {
			t.Errorf("%s: %d creates, answered %d", field, n, a.Status)
		}
		if field != "Accept: application/json" {
			if r := s.Intuit.APIRequests(); !strings.Contains(strings.ToLower(fmt.Sprint(r[len(r)-1].Lines)), strings.ToLower(field)) {
				t.Errorf("%s did not reach the API", field)
			}
		}
	}
}
