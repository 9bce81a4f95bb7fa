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

package grant_test

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
)

// The human reloads the page while the callback is being worked on: the
// browser hangs up, and shows only the second answer.
func TestReloadOfTheCallback(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{Latency: 50 * time.Millisecond})
	a := w.begin(grant.Link{Caller: "billing", ReturnURL: "https://app.example.com/"})
	query := w.consent(a)
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	cb := grant.Callback{
		Integration: "quickbooks", Query: query, Cookie: a.CookieValue,
		MayReplace: func(caller, owner, _ string) bool { return caller == owner },
	}
	_, _ = w.keeper.FinishAuthorization(gone, cb)
	result, err := w.finish(a, query)
	if err != nil || result.Connection != realm || result.Account == "" || result.ReturnURL == "" {
		t.Errorf("%+v, %v", result, err)
	}
	if n := w.intuit.Counters(); n.CodeExchanges != 1 || n.CodeReuses != 0 || w.call(w.token()) != 200 {
		t.Errorf("%d exchanges", n.CodeExchanges)
	}
}

func TestCallbackThatWasUsed(t *testing.T) {
	stranger := &grant.Authorization{CookieValue: "another"}
	for name, c := range map[string]struct {
		// first and second are who comes, change what is else about the second.
		firstIsStranger, secondIsStranger bool
		change                            func(w *world, query url.Values)
		returnURL                         bool
	}{
		"from another browser":          {secondIsStranger: true},
		"by another browser":            {firstIsStranger: true, returnURL: true},
		"and another company is chosen": {change: func(w *world, q url.Values) { q.Set("code", "another") }, returnURL: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
			a := w.begin(grant.Link{Caller: "billing", ReturnURL: "https://app.example.com/"})
			query := w.consent(a)
			first, second := a, a
			if c.firstIsStranger {
				first = stranger
			}
			if c.secondIsStranger {
				second = stranger
			}
			_, err := w.finish(first, query)
			if c.firstIsStranger {
				wantFailure(t, err, grant.FailureState)
			} else if err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				c.change(w, query)
			}
			result, err := w.finish(second, query)
			wantFailure(t, err, grant.FailureUsed)
			var e *grant.AuthorizationError
			if errors.As(err, &e); (e.ReturnURL != "") != c.returnURL || !reflect.DeepEqual(result, grant.Result{}) {
				t.Errorf("%+v, %+v", e, result)
			}
			if n := w.intuit.Counters().CodeExchanges; (n == 0) != c.firstIsStranger || n > 1 {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}

func TestCallbacksAreForgotten(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	for _, state := range []string{"made-up", "made-up", "another"} {
		_, err := w.finish(&grant.Authorization{}, url.Values{"state": {state}, "code": {"x"}})
		wantFailure(t, err, grant.FailureState)
	}
	if n := w.keeper.Arrivals(); n != 0 {
		t.Errorf("%d callbacks of strangers are remembered", n)
	}
	a := w.begin(grant.Link{Caller: "billing"})
	query := w.consent(a)
	if _, err := w.finish(a, query); err != nil {
		t.Fatal(err)
	}
	clock.Advance(10*time.Minute - 1)
	if _, err := w.finish(a, query); err != nil {
		t.Errorf("the cookie outlives the memory: %v", err)
	}
	clock.Advance(1)
	w.eventually("the callback is forgotten", func() bool { return w.keeper.Arrivals() == 0 })
	_, err := w.finish(a, query)
	wantFailure(t, err, grant.FailureState)
}
