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
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// While Intuit's token endpoint is down, a valid token is served to its end;
// after it the answer is 503, with the time of the next try. An outage is never
// taken for a dead grant.
func TestTokenEndpointDown(t *testing.T) {
	for name, fault := range map[string]intuittest.Fault{
		"unavailable": {Kind: intuittest.FaultUnavailable, Times: -1},
		"throttled":   {Kind: intuittest.FaultThrottled, Times: -1},
		"reset":       {Kind: intuittest.FaultReset, Times: -1},
		"garbage":     {Kind: intuittest.FaultGarbage, Times: -1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *system) {
				s.Sites[0].Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = shortLife })
			})
			s.connect(realmOne)
			connected := time.Now()
			s.Intuit.FailToken(fault)
			c := client(t)
			served := 0
			var last answer
			if err := eventually(20*time.Second, func() error {
				last = s.get(c, realmOne)
				if last.Status == http.StatusOK {
					served++
					return errors.New("the token is still served")
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if life := time.Since(connected); served == 0 || life < shortLife-time.Second/4 {
				t.Errorf("%d requests were served, for %s of %s", served, life, shortLife)
			}
			p := last.problem(t)
			after, err := strconv.Atoi(last.Header.Get("Retry-After"))
			if last.Status != http.StatusServiceUnavailable || p.Error != "token_unavailable" || err != nil || after < 1 {
				t.Errorf("%d, Retry-After %q: %s", last.Status, last.Header.Get("Retry-After"), last.Body)
			}
			// It heals by itself.
			s.Intuit.ClearFaults()
			if err := eventually(20*time.Second, func() error {
				if a := s.get(c, realmOne); a.Status != http.StatusOK {
					return fmt.Errorf("%d %s", a.Status, a.Body)
				}
				return nil
			}); err != nil {
				t.Errorf("after the outage: %v", err)
			}
			neverTwoAtOnce(t, s.Intuit)
		})
	}
}

// Keys of the operator that Intuit refuses are not a matter of waiting.
func TestClientRefused(t *testing.T) {
	s, c := connectedAndAccepted(t)
	s.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidClient, Times: -1})
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Errorf("with a valid token: %d", a.Status)
	}
	s.Intuit.RevokeAccess(realmOne)
	for range 3 {
		a := s.get(c, realmOne)
		if p := a.problem(t); a.Status != http.StatusServiceUnavailable || p.Error != "client_refused" || a.Header.Get("Retry-After") != "" {
			t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
		}
	}
	if n := s.Intuit.Counters().Refreshes; n != 1 {
		t.Errorf("%d refreshes with keys that are refused", n)
	}
}

// viaReverseProxy has Caddy's own reverse proxy forward, with short timeouts.
func viaReverseProxy(s *system) {
	s.Sites[0].Directive = []string{"reverse_proxy {", "transport http {", "response_header_timeout 1s", "}", "}"}
}

func TestAPIDown(t *testing.T) {
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s, c := connectedAndAccepted(t, change)
			s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultReset})
			a := mustDo(t, c, http.MethodPost, s.Proxy+"/v3/company/"+realmOne+"/customer", customer("reset", 100), s.bearer())
			if p := a.problem(t); a.Status != http.StatusBadGateway || p.Error != "upstream_failed" {
				t.Errorf("a reset: %d %s", a.Status, a.Body)
			}
			if name == "reverse_proxy" { // the forwarder's limit is 130 s
				s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultHang})
				a := s.get(c, realmOne)
				if p := a.problem(t); a.Status != http.StatusGatewayTimeout || p.Error != "upstream_timeout" {
					t.Errorf("no answer: %d %s", a.Status, a.Body)
				}
			}
			// Half an answer is not passed on as a whole one. (A client with a
			// connection from before would try again by itself.)
			s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTruncated})
			if a, err := s.raw(s.rawGet(http.MethodGet, companyInfo(realmOne))); err == nil {
				t.Errorf("half an answer was passed on as a whole one: %d %s", a.Status, a.Body)
			}
			// The API's own errors are the caller's to see.
			for _, fault := range []intuittest.Fault{
				{Kind: intuittest.FaultServerError}, {Kind: intuittest.FaultThrottled}, {Kind: intuittest.FaultUnavailable}, {Kind: intuittest.FaultForbidden},
			} {
				s.Intuit.FailAPI(fault)
				a := s.get(c, realmOne)
				r := s.Intuit.APIRequests()
				if a.Status != r[len(r)-1].Status || a.Header.Get("Proxy-Status") != "" || a.Header.Get("Intuit_tid") != r[len(r)-1].TraceID {
					t.Errorf("%s: %d %v %s", fault.Kind, a.Status, a.Header, a.Body)
				}
			}
			if n := s.Intuit.Counters().Refreshes; n != 0 {
				t.Errorf("%d refreshes for errors of the API", n)
			}
			s.Intuit.Close()
			a = s.get(c, realmOne)
			if p := a.problem(t); a.Status != http.StatusBadGateway || p.Error != "upstream_unreachable" {
				t.Errorf("nobody there: %d %s", a.Status, a.Body)
			}
		})
	}
}
