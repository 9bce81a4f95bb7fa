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
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/goleak"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// witness is an observer that remembers.
type witness struct {
	mu     sync.Mutex
	events []grant.Event
	// hold, if not nil, keeps the observer until it is closed.
	hold chan struct{}
}

func (w *witness) observe(e grant.Event) bool {
	if w.hold != nil {
		<-w.hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	return true
}

func (w *witness) types() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, e := range w.events {
		all = append(all, strings.TrimPrefix(string(e.Type), "grant_"))
	}
	return strings.Join(all, " ")
}

// observed attaches a configuration that wants all events, as notices too.
func (w *world) observed() *witness {
	w.t.Helper()
	seen := new(witness)
	w.observedBy(seen)
	return seen
}

func (w *world) observedBy(seen *witness) *grant.Attachment {
	all := make(map[grant.EventType]bool)
	for _, t := range grant.EventTypes {
		all[t] = true
	}
	return w.keeper.Attach(map[string]*grant.Integration{"quickbooks": {
		Name: "quickbooks", Provider: "quickbooks", Environment: "sandbox",
		Client: w.client, RefreshBefore: 10 * time.Minute, Observe: seen.observe, Notices: all,
	}})
}

// notices returns the events in the outbox, in order.
func (w *world) notices() (events []grant.Event) {
	w.t.Helper()
	vault := w.keeper.Vault()
	var refs []tokenstore.NoticeRef
	if err := vault.Notices(w.t.Context(), func(ref tokenstore.NoticeRef) bool {
		refs = append(refs, ref)
		return true
	}); err != nil {
		w.t.Fatal(err)
	}
	for _, ref := range refs {
		n, err := vault.ReadNotice(w.t.Context(), ref)
		if err != nil {
			w.t.Fatal(err)
		}
		var e grant.Event
		if err := json.Unmarshal(n.Body, &e); err != nil {
			w.t.Fatal(err)
		}
		if n.ID != e.ID || !n.Time.Equal(e.Time) || n.Minor != (e.Type == grant.EventRefreshed) {
			w.t.Errorf("the notice %+v is of %+v", n, e)
		}
		events = append(events, e)
	}
	return events
}

func typesOf(events []grant.Event) string { return (&witness{events: events}).types() }

func TestEventsOfAGrant(t *testing.T) {
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	seen := w.observed()
	w.token()
	w.intuit.KillGrant(realm)
	last := w.token()
	for range 3 { // told once, however many ask
		_, _ = w.keeper.Reject(t.Context(), last)
	}
	a := w.begin(grant.Link{Caller: "billing", Connection: realm})
	if _, err := w.finish(a, w.consent(a)); err != nil {
		t.Fatal(err)
	}
	const want = "refreshed needs_reauth connected"
	w.eventually("all events are told", func() bool { return len(seen.types()) >= len(want) })
	if got := seen.types(); got != want {
		t.Errorf("told: %s", got)
	}
	if got := typesOf(w.notices()); got != want {
		t.Errorf("in the outbox: %s", got)
	}
	for i, e := range w.notices() {
		if told := seen.events[i]; told.ID != e.ID {
			t.Errorf("%s has two IDs", e.Type)
		}
		if e.Connection != realm || e.Integration != "quickbooks" || e.Owner != "billing" || e.Since.IsZero() || e.Time.IsZero() {
			t.Errorf("the event does not say enough: %+v", e)
		}
	}
	dead := w.notices()[1]
	if dead.Cause != tokenstore.CauseRevokedOrReplaced || dead.ProviderError != "invalid_grant" || dead.TraceID == "" ||
		dead.State != tokenstore.StateNeedsReauth || dead.Generation != 2 {
		t.Errorf("the event does not say what died: %+v", dead)
	}
}

func TestEventsBeforeTheEnd(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{HardTTL: 60 * day})
	clock.Advance(2 * time.Hour)
	w.token()
	w.observed()
	w.pass(clock, 59)
	var days []string
	for _, e := range w.notices() {
		if e.Type == grant.EventExpiring {
			days = append(days, fmt.Sprint(e.Days))
			if left := e.ExpiresAt.Sub(e.Time); int(left/day) != e.Days {
				t.Errorf("%d days, and it ends in %s", e.Days, left)
			}
		}
	}
	if got := fmt.Sprint(days); got != "[29 13 6 0]" && got != "[30 14 7 1]" {
		t.Errorf("told with so many days left: %s", got)
	}
}

// A change that is only in memory brings its notice with it when it is stored:
// once, also if the write that was reported as lost had happened.
func TestEventOfAChangeThatCannotBeStoredAtOnce(t *testing.T) {
	for name, when := range map[string]storetest.When{"lost": storetest.BeforeApply, "applied, but reported as lost": storetest.AfterApply} {
		t.Run(name, func(t *testing.T) {
			w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
			seen := w.observed()
			w.store.FailApply(2, when, errors.New("input/output error")) // 1 is the intent
			w.token()
			w.eventually("the event is told", func() bool { return seen.types() != "" })
			if told, stored := seen.types(), typesOf(w.notices()); told != "refreshed" || stored != "refreshed" {
				t.Errorf("told %q, in the outbox %q", told, stored)
			}
		})
	}
}

// The crash between a change and its notice does not exist.
func TestCrashLeavesBothOrNeither(t *testing.T) {
	for name, when := range map[string]storetest.When{"before": storetest.BeforeApply, "after": storetest.AfterApply} {
		t.Run(name, func(t *testing.T) {
			w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
			w.observed()
			w.intuit.KillGrant(realm)
			for n := 2; n < 20; n++ { // 1 is the intent
				w.store.FailApply(n, when, errors.New("the machine is off"))
			}
			_, _ = w.keeper.Token(t.Context(), key)
			w.open(w.store.Copy())
			dead, told := w.record().State == tokenstore.StateNeedsReauth, typesOf(w.notices()) == "needs_reauth"
			if dead != told || dead != (when == storetest.AfterApply) {
				t.Errorf("dead: %t, told: %t", dead, told)
			}
		})
	}
}

// An observer that hangs costs events, and nothing else.
func TestSlowObserverHoldsUpNobody(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	seen := &witness{hold: make(chan struct{})}
	w.observedBy(seen)
	const n = 1100 // more than the queue holds
	start := time.Now()
	for i := range n {
		s := w.token()
		s.Accepted()
		if _, err := w.keeper.Reject(t.Context(), s); err != nil {
			t.Fatalf("refresh %d: %v", i, err)
		}
	}
	t.Logf("%d refreshes in %s", n, time.Since(start))
	close(seen.hold)
	w.eventually("what was dropped is logged", func() bool {
		return w.logs.FilterMessage("event handlers are too slow; events were not handed to them").Len() > 0
	})
	if got := len(w.notices()); got != n {
		t.Errorf("%d of %d events are in the outbox", got, n)
	}
}

func TestNewestObserverCounts(t *testing.T) {
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	first, second := new(witness), new(witness)
	w.observedBy(first)
	newer := w.observedBy(second)
	w.token()
	w.eventually("the newest is told", func() bool { return second.types() == "refreshed" })
	newer.Detach()
	w.intuit.KillGrant(realm)
	_, _ = w.keeper.Reject(t.Context(), w.token())
	w.eventually("the one before is told again", func() bool { return first.types() == "needs_reauth" })
	if got := second.types(); got != "refreshed" {
		t.Errorf("a configuration that is gone was told: %s", got)
	}
}

func TestCloseTellsTheLastEventsAndLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	seen := w.observed()
	w.token()
	if err := w.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	if got := seen.types(); got != "refreshed" {
		t.Errorf("told before the end: %q", got)
	}
	w.intuit.Close()
	kept := []goleak.Option{before, goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop")}
	if err := goleak.Find(kept...); err != nil {
		t.Error(err)
	}
}

func TestCloseDoesNotWaitForAnObserverThatHangs(t *testing.T) {
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	seen := &witness{hold: make(chan struct{})}
	defer close(seen.hold)
	w.observedBy(seen)
	w.token()
	start := time.Now()
	if err := w.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("closing took %s", took)
	}
}

func TestEventsHoldNoSecret(t *testing.T) {
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	w.observed()
	before := w.record()
	w.token()
	after := w.record()
	w.intuit.KillGrant(realm)
	_, _ = w.keeper.Reject(t.Context(), w.token())
	events := w.notices()
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	text, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]string{
		"an access token": after.AccessToken.Reveal(), "a refresh token": after.RefreshToken.Reveal(),
		"a former access token": before.AccessToken.Reveal(), "a former refresh token": before.RefreshToken.Reveal(),
		"the client secret": intuittest.DefaultClientSecret,
	} {
		if strings.Contains(string(text), s) {
			t.Errorf("an event holds %s: %s", what, text)
		}
	}
}
