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
	"fmt"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const day = 24 * time.Hour

// pass lets days go by without a request.
func (w *world) pass(clock *clockwork.FakeClock, days int) {
	w.t.Helper()
	for range days {
		clock.Advance(day)
		if err := w.keeper.AttendDue(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
}

func TestGrantThatNobodyUsesLivesOn(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	keys := w.many(20)
	clock.Advance(2 * time.Hour)
	for _, key := range keys {
		if _, err := w.keeper.Token(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	w.intuit.ResetCounters()
	w.pass(clock, 49)
	if n := w.refreshes(); n != 0 {
		t.Errorf("%d refreshes in the first half of the refresh tokens' life", n)
	}
	// After a restart too: nothing has to be in memory.
	w.open(w.store.Copy())
	w.pass(clock, 351)
	// 400 days are seven or eight halves of 101 days.
	if n := w.refreshes(); n < 7*len(keys) || n > 8*len(keys) {
		t.Errorf("%d refreshes of %d grants in 400 days", n, len(keys))
	}
	for _, key := range keys {
		s, err := w.keeper.Token(t.Context(), key)
		if err != nil || s.State != tokenstore.StateConnected {
			t.Fatalf("after 400 days without a request: %v", err)
		}
	}
	if c := w.intuit.Counters(); c.SupersededReuses != 0 || c.OverlappingRefreshes != 0 || c.MostRefreshes > 16 {
		t.Errorf("%d reuses, %d overlapping, %d at once", c.SupersededReuses, c.OverlappingRefreshes, c.MostRefreshes)
	}
}

// A provider that gives the same refresh token again does not prolong it: that
// is no reason to ask all the time from its half on.
func TestIdleGrantWhoseTokenStaysTheSame(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateNever})
	clock.Advance(2 * time.Hour)
	w.token()
	w.intuit.ResetCounters()
	w.pass(clock, 52)
	for range 24 {
		clock.Advance(time.Hour)
		if err := w.keeper.AttendDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.refreshes(); n != 1 {
		t.Errorf("%d refreshes in the days after the half of its life", n)
	}
	w.pass(clock, 30)
	if n := w.refreshes(); n < 2 || n > 4 {
		t.Errorf("%d refreshes in 83 of 101 days", n)
	}
}

func TestIdleGrantOutlivesAnOutage(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	clock.Advance(2 * time.Hour)
	w.token()
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1})
	w.pass(clock, 60)
	w.intuit.ClearFaults(intuittest.EndpointToken)
	w.pass(clock, 60)
	if w.token().State != tokenstore.StateConnected {
		t.Error("the touch that failed was not tried again")
	}
}

func TestEndOfTheAuthorizationIsAnnounced(t *testing.T) {
	const message = "an authorization ends soon, and only a human can renew it"
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{HardTTL: 60 * day})
	clock.Advance(2 * time.Hour)
	w.token()
	w.pass(clock, 59)
	w.open(w.store.Copy())
	var days []string
	for _, entry := range w.logs.FilterMessage(message).All() {
		days = append(days, fmt.Sprint(entry.ContextMap()["days"]))
	}
	if len(days) != 0 {
		t.Errorf("warned again after a restart: %v", days)
	}
	r := w.record()
	if r.Warned != 4 || r.AuthorizationExpiresAt.IsZero() {
		t.Errorf("%d warnings were given", r.Warned)
	}
	// A new authorization is warned of anew.
	w.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.HardTTL = 40 * day })
	a := w.begin(grant.Link{Caller: "billing"})
	if _, err := w.finish(a, w.consent(a)); err != nil {
		t.Fatal(err)
	}
	w.pass(clock, 39)
	for _, entry := range w.logs.FilterMessage(message).All() {
		days = append(days, fmt.Sprint(entry.ContextMap()["days"]))
	}
	if got := fmt.Sprint(days); got != "[29 13 6 0]" && got != "[30 14 7 1]" {
		t.Errorf("warned with so many days left: %s", got)
	}
}
