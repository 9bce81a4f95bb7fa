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

package freshbearer

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/provider"
)

func TestInScope(t *testing.T) {
	query := provider.Target{Connection: "1", Resource: "/query", Query: true}
	invoice := provider.Target{Connection: "1", Resource: "/invoice/7/pdf"}
	for _, c := range []struct {
		caller Caller
		method string
		target provider.Target
		allow  bool
	}{
		{Caller{}, http.MethodDelete, invoice, true},
		{Caller{ReadOnly: true}, http.MethodGet, invoice, true},
		{Caller{ReadOnly: true}, http.MethodHead, invoice, true},
		{Caller{ReadOnly: true}, http.MethodPost, query, true},
		{Caller{ReadOnly: true}, http.MethodPut, query, false},
		{Caller{ReadOnly: true}, http.MethodPost, invoice, false},
		{Caller{ReadOnly: true}, http.MethodDelete, invoice, false},
		{Caller{ReadOnly: true}, http.MethodPatch, invoice, false},
		{Caller{ReadOnly: true}, http.MethodPost, provider.Target{Resource: "/graphql"}, false},
		{Caller{ReadOnly: true}, http.MethodPost, provider.Target{Resource: "/batch"}, false},
		{Caller{Paths: []string{"/invoice"}}, http.MethodPost, invoice, true},
		{Caller{Paths: []string{"/invoice/7/pdf"}}, http.MethodPost, invoice, true},
		{Caller{Paths: []string{"/invoice/7/pdf/x"}}, http.MethodPost, invoice, false},
		{Caller{Paths: []string{"/inv"}}, http.MethodGet, invoice, false},
		{Caller{Paths: []string{"/Invoice"}}, http.MethodGet, invoice, false},
		{Caller{Paths: []string{"/bill", "/query"}}, http.MethodGet, query, true},
		{Caller{Paths: []string{"/bill"}}, http.MethodGet, query, false},
		{Caller{Paths: []string{"/bill"}}, http.MethodGet, provider.Target{}, false},
		{Caller{Paths: []string{"/query"}, ReadOnly: true}, http.MethodPost, invoice, false},
	} {
		err := c.caller.inScope(c.method, c.target)
		var p *problem
		if c.allow != (err == nil) || err != nil && (!errors.As(err, &p) || p.Kind != kindOutOfScope) {
			t.Errorf("read_only %v, paths %q: %s %s: %v", c.caller.ReadOnly, c.caller.Paths, c.method, c.target.Resource, err)
		}
	}
}

func TestRateLimit(t *testing.T) {
	c := Caller{RateLimit: 3, RateLimitWindow: caddy.Duration(time.Minute)}
	if err := c.provisionScope(); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	enter := func() time.Duration {
		err := c.enter(clock)
		var p *problem
		switch {
		case err == nil:
			c.leave()
			return 0
		case !errors.As(err, &p) || p.Kind != kindCallerLimited || p.RetryAfter <= 0:
			t.Fatalf("refused with %v", err)
		}
		return p.RetryAfter
	}
	for i := range 3 {
		if wait := enter(); wait != 0 {
			t.Errorf("request %d must wait %v", i, wait)
		}
	}
	// Who is refused does not push the next one back.
	for range 100 {
		if wait := enter(); wait != 20*time.Second {
			t.Fatalf("a fourth request must wait %v, not a third of the window", wait)
		}
	}
	now = now.Add(20 * time.Second)
	if first, second := enter(), enter(); first != 0 || second != 20*time.Second {
		t.Errorf("after a third of the window: %v, then %v", first, second)
	}
	if n := c.limits.underWay.Load(); n != 0 {
		t.Errorf("%d requests are under way", n)
	}
}

func TestMaxConcurrent(t *testing.T) {
	c := Caller{MaxConcurrent: 2}
	if err := c.provisionScope(); err != nil {
		t.Fatal(err)
	}
	clock := time.Now
	if first, second, third := c.enter(clock), c.enter(clock), c.enter(clock); first != nil || second != nil || third == nil {
		t.Errorf("%v, %v, %v", first, second, third)
	}
	c.leave()
	if err := c.enter(clock); err != nil {
		t.Error(err)
	}
	if err := c.enter(clock); err == nil {
		t.Error("a refused request has made room")
	}
}
