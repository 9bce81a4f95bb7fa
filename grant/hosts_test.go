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
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// attachHosts is a reload with a configuration that sends tokens to hosts.
func (w *world) attachHosts(hosts ...string) {
	w.keeper.Attach(map[string]*grant.Integration{"quickbooks": {
		Name: "quickbooks", Provider: "quickbooks", Environment: "sandbox",
		Client: w.client, RefreshBefore: 10 * time.Minute, Hosts: hosts,
	}})
}

// No token, and above all no refresh token, goes to a host that was configured
// after a human had authorized.
func TestTokensAreBoundToTheirHosts(t *testing.T) {
	const bound, other = "https://gateway.example.com", "https://other.example.com"
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.seed(func(r *tokenstore.Record) { *r = *w.record(); r.Hosts = []string{bound} })
	w.attachHosts(bound)
	w.intuit.ResetCounters()
	snap := w.token()
	for hosts, want := range map[string]bool{"": true, bound: true, other: false, bound + " " + other: false} {
		err := snap.Bound(strings.Fields(hosts))
		if want && err != nil {
			t.Errorf("configured %q: %v", hosts, err)
		}
		if !want {
			wantUnavailable(t, err, grant.ReasonHosts)
		}
	}

	w.attachHosts(other)
	clock.Advance(2 * time.Hour)
	_, err := w.keeper.Token(t.Context(), key)
	if e := wantUnavailable(t, err, grant.ReasonHosts); e.RetryAfter != 0 || !strings.Contains(e.Error(), other) {
		t.Errorf("%v, after %s", e, e.RetryAfter)
	}
	if _, err := w.keeper.Disconnect(t.Context(), key); err == nil && w.intuit.Counters().Revocations != 0 {
		t.Error("it was revoked at a host that its tokens are not bound to")
	}
	if n := len(w.intuit.TokenRequests()); n != 0 {
		t.Errorf("%d token requests", n)
	}
}

func TestRebind(t *testing.T) {
	const other = "https://other.example.com"
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.attachHosts(other)
	clock.Advance(2 * time.Hour)
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonHosts)
	if n, err := w.keeper.Rebind(t.Context()); n != 1 || err != nil {
		t.Fatalf("rebind: %d, %v", n, err)
	}
	if w.call(w.token()) != 200 || w.refreshes() != 1 {
		t.Errorf("after it there were %d refreshes", w.refreshes())
	}
	if n, err := w.keeper.Rebind(t.Context()); n != 0 || err != nil {
		t.Errorf("a second time: %d, %v", n, err)
	}
	// It is remembered, and one that is not in memory is not taken there.
	w.open(w.store.Copy())
	w.attachHosts(other)
	clock.Advance(2 * time.Hour)
	w.token()
	w.open(w.store.Copy())
	w.attachHosts(other, "https://third.example.com")
	if n, err := w.keeper.Rebind(t.Context()); n != 1 || err != nil {
		t.Errorf("of a cold connection: %d, %v", n, err)
	}
	clock.Advance(2 * time.Hour)
	w.token()
}

// A rebind in the middle of a refresh costs neither the new tokens nor the
// binding.
func TestRebindInMidRefresh(t *testing.T) {
	const other = "https://other.example.com"
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	for range 20 {
		w.seed(func(r *tokenstore.Record) {
			*r = *w.record()
			r.Hosts = nil
			r.AccessExpiresAt = w.clock.Now().Add(-time.Second)
		})
		w.open(w.store.Copy())
		_, errs := all(2, func(i int) (int, error) {
			if i == 0 {
				_, err := w.keeper.Token(t.Context(), key)
				return 0, err
			}
			w.attachHosts(other)
			return w.keeper.Rebind(t.Context())
		})
		if errs[1] != nil {
			t.Fatal(errs[1])
		}
		w.eventually("the connection works", func() bool {
			snap, err := w.keeper.Token(t.Context(), key)
			return err == nil && snap.Bound([]string{other}) == nil && w.call(snap) == 200
		})
	}
}
