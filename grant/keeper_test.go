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
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func TestTokenIsServedFromMemory(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	first := w.token()
	w.store.FailAll(errors.New("the disk is gone"))
	for range 100 {
		if s := w.token(); s != first {
			t.Fatal("the snapshot changed without a refresh")
		}
	}
	if n := w.refreshes(); n != 0 {
		t.Errorf("%d refreshes for a fresh token", n)
	}
}

func TestRefreshInTheBackgroundInsideTheWindow(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	first := w.token()
	clock.Advance(44 * time.Minute) // a 60 min token, a window of 10 to 15
	if s := w.token(); s != first || w.refreshes() != 0 {
		t.Fatal("refreshed before the window")
	}
	clock.Advance(7 * time.Minute)
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	for range 50 {
		if s := w.token(); s != first {
			t.Fatal("a valid token was not served while its refresh is under way")
		}
	}
	<-gate.Arrived()
	gate.Release()
	w.eventually("a new generation", func() bool { return w.token().Generation == first.Generation+1 })
	if n := w.refreshes(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	if r := w.record(); r.Generation != first.Generation+1 {
		t.Errorf("stored generation is %d", r.Generation)
	}
}

func TestExpiredTokenIsRefreshedOnceForAll(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	w.token()
	clock.Advance(2 * time.Hour)
	snaps, errs := all(200, func(int) (*grant.Snapshot, error) { return w.keeper.Token(t.Context(), key) })
	for i := range snaps {
		if errs[i] != nil || snaps[i].Generation != 2 {
			t.Fatalf("call %d: generation %v, error %v", i, snaps[i], errs[i])
		}
	}
	if c := w.intuit.Counters(); c.Refreshes != 1 || c.OverlappingRefreshes != 0 {
		t.Errorf("%d refreshes, %d overlapping", c.Refreshes, c.OverlappingRefreshes)
	}
}

func TestCallerCannotCancelARefresh(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	w.token()
	clock.Advance(2 * time.Hour)
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	ctx, hangUp := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := w.keeper.Token(ctx, key)
		left <- err
	}()
	<-gate.Arrived()
	hangUp()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that hung up got %v", err)
	}
	gate.Release()
	w.eventually("the rotated token is stored", func() bool { return w.record().Generation == 2 })
	if s := w.token(); w.call(s) != 200 || w.refreshes() != 1 {
		t.Errorf("the grant did not survive: %d refreshes", w.refreshes())
	}
}

func TestCallerWaitsNoLongerThanItsBound(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.token()
	clock.Advance(2 * time.Hour)
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	done := make(chan error, 1)
	go func() {
		_, err := w.keeper.Token(t.Context(), key)
		done <- err
	}()
	<-gate.Arrived()
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	clock.Advance(15 * time.Second)
	if e := wantUnavailable(t, <-done, grant.ReasonSlow); e.RetryAfter <= 0 {
		t.Error("no Retry-After")
	}
	gate.Release()
	w.eventually("the flight landed all the same", func() bool { return w.record().Generation == 2 })
}

func TestRejectRefreshesOnceForAGeneration(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	s := w.token()
	if w.call(s) != 200 {
		t.Fatal("the seeded token does not work")
	}
	s.Accepted()
	w.intuit.RevokeAccess(realm)
	snaps, errs := all(200, func(int) (*grant.Snapshot, error) { return w.keeper.Reject(t.Context(), s) })
	for i := range snaps {
		if errs[i] != nil || snaps[i].Generation != 2 {
			t.Fatalf("call %d: %v, %v", i, snaps[i], errs[i])
		}
	}
	// A straggler with the old generation gets the new one, and no refresh.
	if late, err := w.keeper.Reject(t.Context(), s); err != nil || late.Generation != 2 {
		t.Errorf("straggler: %v, %v", late, err)
	}
	if n := w.refreshes(); n != 1 {
		t.Errorf("%d refreshes for one refused generation", n)
	}
	if w.call(w.token()) != 200 {
		t.Error("the new token does not work")
	}
}

func TestTokenThatWasNeverAcceptedIsForcedOnceAMinute(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	second, err := w.keeper.Reject(t.Context(), w.token())
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if _, err := w.keeper.Reject(t.Context(), second); !errors.Is(err, grant.ErrNoNewerToken) {
			t.Fatalf("got %v", err)
		}
	}
	if n := w.refreshes(); n != 1 {
		t.Fatalf("%d refreshes in a storm of refusals", n)
	}
	if s := w.token(); s.Generation != 2 {
		t.Error("a refusal that is passed on took the token away")
	}
	clock.Advance(time.Minute)
	if third, err := w.keeper.Reject(t.Context(), second); err != nil || third.Generation != 3 {
		t.Errorf("after a minute: %v, %v", third, err)
	}
	// One that was accepted has really died.
	s := w.token()
	s.Accepted()
	if fourth, err := w.keeper.Reject(t.Context(), s); err != nil || fourth.Generation != 4 {
		t.Errorf("accepted before: %v, %v", fourth, err)
	}
}

func TestMixedTrafficIsNoStorm(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	for range 100 {
		// One request is accepted; another is refused, and so is its replay.
		s := w.token()
		s.Accepted()
		if newer, err := w.keeper.Reject(t.Context(), s); err == nil {
			w.keeper.RejectAgain(newer)
		}
		clock.Advance(time.Second)
	}
	if n := w.refreshes(); n > 2 {
		t.Errorf("%d refreshes in 100 seconds", n)
	}
}

func TestClockThatIsSetBack(t *testing.T) {
	start := time.Now()
	clock := clockwork.NewFakeClockAt(start)
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.token()
	clock.Advance(48 * time.Hour)
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: 2})
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonProvider)
	clock.Advance(-24 * time.Hour)
	if w.token().Generation != 2 {
		t.Error("the backoff lasts as long as the jump of the clock")
	}
}

func TestClockThatDiffersFromTheProviders(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	for range 3 {
		clock.Advance(61 * time.Minute)
		w.token()
	}
	if n := w.logs.FilterMessage("this machine's clock and the provider's differ; set the clock").Len(); n != 0 {
		t.Errorf("%d warnings for clocks that agree", n)
	}
	w.intuit.Advance(10 * time.Minute)
	for range 3 {
		clock.Advance(61 * time.Minute)
		w.token()
	}
	if n := w.logs.FilterMessage("this machine's clock and the provider's differ; set the clock").Len(); n == 0 || n > 3 {
		t.Errorf("%d warnings", n)
	}
}

func TestStreamedBodyGetsATokenWithTimeLeft(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	first := w.token()
	clock.Advance(59*time.Minute + 30*time.Second)
	s, err := w.keeper.TokenFor(t.Context(), key, time.Minute)
	if err != nil || s.Generation != first.Generation+1 {
		t.Fatalf("%v, %v", s, err)
	}
	// If that fails, a token that is valid is better than none.
	clock.Advance(59*time.Minute + 30*time.Second)
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1})
	if s, err = w.keeper.TokenFor(t.Context(), key, time.Minute); err != nil || s.Generation != first.Generation+1 {
		t.Fatalf("%v, %v", s, err)
	}
}

func TestUnknownConnection(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	for range 3 {
		_, err := w.keeper.Token(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "77"})
		wantReauthorization(t, err, tokenstore.CauseNeverConnected)
	}
	if w.refreshes() != 0 {
		t.Error("an unknown connection cost a token request")
	}
}

func TestNewestAttachmentCounts(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.token()
	good := *w.client
	bad := good
	bad.ClientID = "somebody else"
	w.client = &bad
	second := w.attach()
	clock.Advance(2 * time.Hour)
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonClientRefused)
	// The configuration is rolled back: the former one counts again.
	second.Detach()
	second.Detach()
	clock.Advance(time.Hour)
	w.token()
}

func TestCloseWaitsForTheFlight(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	w.token()
	clock.Advance(55 * time.Minute)
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	w.token()
	<-gate.Arrived()
	closed := make(chan error, 1)
	go func() { closed <- w.keeper.Close() }()
	w.eventually("the keeper takes no new work", func() bool {
		_, err := w.keeper.Token(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "77"})
		return errors.Is(err, tokenstore.ErrClosed)
	})
	select {
	case err := <-closed:
		t.Fatalf("closed in mid refresh: %v", err)
	default:
	}
	gate.Release()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	w.open(w.store.Copy())
	if r := w.record(); r.Generation != 2 {
		t.Fatalf("generation %d after a restart", r.Generation)
	}
	if w.call(w.token()) != 200 {
		t.Error("the token that came during the shutdown does not work")
	}
}
