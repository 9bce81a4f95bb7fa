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
	"strings"
	"sync"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

// A caller that may only read, and only a part of the API, is refused anything
// else, with the same answer for each company.
func TestCallerScope(t *testing.T) {
	var reports *caller
	s := start(t, func(s *system) {
		reports = s.addCaller("reports", realmOne)
		reports.Options = []string{"read_only", "paths /companyinfo /query /customer"}
	})
	s.connect(realmOne)
	s.connect(realmTwo)
	s.Intuit.ResetCounters()
	c, key := client(t), "Authorization: Bearer "+reports.Key
	company := func(realm, rest string) string { return s.Proxy + "/v3/company/" + realm + rest }
	for _, request := range [][2]string{
		{http.MethodPost, "/customer"},
		{http.MethodPost, "/customer?operation=delete"},
		{http.MethodPut, "/query"},
		{http.MethodDelete, "/customer/1"},
		{http.MethodPatch, "/customer/1"},
		{http.MethodPost, "/batch"},
		{http.MethodPost, "/query/1"},
		{http.MethodGet, "/invoice/1"},
		{http.MethodGet, "/customers/1"},
		{http.MethodGet, "/Customer/1"},
	} {
		var first answer
		for i, realm := range []string{realmOne, realmTwo, realmNone} {
			a := mustDo(t, c, request[0], company(realm, request[1]), []byte("{}"), key, "Content-Type: application/json")
			if a.Status != http.StatusForbidden || a.problem(t).Error != "out_of_scope" {
				t.Errorf("%s %s of company %d: %d %s", request[0], request[1], i, a.Status, a.Body)
			}
			a.Body = a.Body[:max(0, bytes.Index(a.Body, []byte(`"time"`)))]
			if i == 0 {
				first = a
			} else if !bytes.Equal(first.Body, a.Body) {
				t.Errorf("%s %s: the answers differ by company:\n%s\n%s", request[0], request[1], first.Body, a.Body)
			}
		}
	}
	for _, request := range [][2]string{
		{http.MethodPost, "/oauth/links"},
		{http.MethodPost, "/oauth/connections/" + realmOne + "/refresh"},
		{http.MethodDelete, "/oauth/connections/" + realmOne},
	} {
		a := mustDo(t, c, request[0], s.Proxy+request[1], nil, key)
		if a.Status != http.StatusForbidden || a.problem(t).Error != "out_of_scope" {
			t.Errorf("%s %s: %d %s", request[0], request[1], a.Status, a.Body)
		}
	}
	if n := s.Intuit.Counters(); n.APIRequests != 0 || n.Refreshes != 0 {
		t.Errorf("%d requests and %d refreshes went up", n.APIRequests, n.Refreshes)
	}

	if a := mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmTwo), nil, key); a.Status != http.StatusForbidden || a.problem(t).Error != "connection_forbidden" {
		t.Errorf("in scope, of another's company: %d %s", a.Status, a.Body)
	}
	if a := mustDo(t, c, http.MethodGet, s.Proxy+"/oauth/connections/"+realmOne, nil, key); a.Status != http.StatusOK {
		t.Errorf("looking at a connection: %d %s", a.Status, a.Body)
	}
	for _, request := range [][2]string{{http.MethodGet, "/companyinfo/" + realmOne}, {http.MethodPost, "/query"}, {http.MethodGet, "/query?query=select%20*%20from%20Customer"}} {
		s.Intuit.ResetCounters()
		var body []byte
		if request[0] == http.MethodPost {
			body = []byte("select * from Customer")
		}
		_ = mustDo(t, c, request[0], company(realmOne, request[1]), body, key, "Content-Type: application/text")
		if r := s.Intuit.APIRequests(); len(r) != 1 || r[0].Method != request[0] || !strings.HasSuffix(r[0].Target, request[1]) {
			t.Errorf("%s %s went up as %+v", request[0], request[1], r)
		}
	}
}

// The limits of a caller hold for all that it sends, and for nobody else.
func TestCallerLimits(t *testing.T) {
	var limited *caller
	s := start(t, func(s *system) {
		limited = s.addCaller("limited", "*")
		limited.Options = []string{"rate_limit 5 1h"}
	})
	s.connect(realmOne)
	s.Intuit.ResetCounters()
	c, key := client(t), "Authorization: Bearer "+limited.Key
	paths := []string{companyInfo(realmOne), "/nothing", "/oauth/connections", companyInfo(realmNone), companyInfo(realmOne)}
	for _, path := range paths {
		if a := mustDo(t, c, http.MethodGet, s.Proxy+path, nil, key); a.Status == http.StatusTooManyRequests {
			t.Errorf("%s: %s", path, a.Body)
		}
	}
	for _, path := range paths {
		a := mustDo(t, c, http.MethodGet, s.Proxy+path, nil, key)
		if a.Status != http.StatusTooManyRequests || a.problem(t).Error != "caller_limited" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s after the limit: %d %v %s", path, a.Status, a.Header, a.Body)
		}
	}
	if n := s.Intuit.Counters().APIRequests; n != 2 {
		t.Errorf("%d requests went up", n)
	}
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Errorf("another caller: %d %s", a.Status, a.Body)
	}
}

func TestCallerConcurrency(t *testing.T) {
	var limited *caller
	s := start(t, func(s *system) {
		limited = s.addCaller("limited", "*")
		limited.Options = []string{"max_concurrent 2"}
	})
	s.connect(realmOne)
	s.Intuit.ResetCounters()
	c, key := client(t), "Authorization: Bearer "+limited.Key
	gates := []*intuittest.Gate{s.Intuit.Hold(intuittest.EndpointAPI, realmOne), s.Intuit.Hold(intuittest.EndpointAPI, realmOne)}
	var held sync.WaitGroup
	for _, gate := range gates {
		held.Go(func() {
			if a, err := do(c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, key); err != nil || a.Status != http.StatusOK {
				t.Errorf("under way: %d %s %v", a.Status, a.Body, err)
			}
		})
		<-gate.Arrived()
	}
	for range 3 {
		a := mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, key)
		if a.Status != http.StatusTooManyRequests || a.problem(t).Error != "caller_limited" || a.Header.Get("Retry-After") != "1" {
			t.Errorf("a third one: %d %v %s", a.Status, a.Header, a.Body)
		}
	}
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Errorf("another caller: %d %s", a.Status, a.Body)
	}
	for _, gate := range gates {
		gate.Release()
	}
	held.Wait()
	if a := mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, key); a.Status != http.StatusOK {
		t.Errorf("after they have ended: %d %s", a.Status, a.Body)
	}
}
