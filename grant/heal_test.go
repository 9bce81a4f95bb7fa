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
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// dead makes a world whose grant was pronounced dead at the returned moment.
func dead(t *testing.T) (*world, *clockwork.FakeClock, time.Time) {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant, Times: -1})
	clock.Advance(2 * time.Hour)
	go func() { _, _ = w.keeper.Token(t.Context(), key) }()
	w.eventually("the grant is pronounced dead", func() bool {
		clock.Advance(10 * time.Millisecond)
		return w.record().State == tokenstore.StateNeedsReauth
	})
	return w, clock, w.record().Since
}

// settled waits until no more token requests come.
func (w *world) settled() int {
	w.t.Helper()
	n, since := w.refreshes(), time.Now()
	for time.Since(since) < 50*time.Millisecond {
		time.Sleep(5 * time.Millisecond)
		if now := w.refreshes(); now != n {
			n, since = now, time.Now()
		}
	}
	return n
}

func TestDeadGrantIsTriedAgainThreeTimes(t *testing.T) {
	w, clock, since := dead(t)
	pronounced := w.refreshes()
	moments := []struct {
		after time.Duration
		tries int
	}{
		{9*time.Minute + 59*time.Second, 0}, {10*time.Minute + time.Second, 1},
		{59 * time.Minute, 1}, {time.Hour + time.Second, 2},
		{23 * time.Hour, 2}, {26 * time.Hour, 3}, {60 * 24 * time.Hour, 3},
	}
	for _, m := range moments {
		for now := clock.Now(); now.Before(since.Add(m.after)); now = clock.Now() {
			clock.Advance(min(time.Hour, since.Add(m.after).Sub(now)))
			if err := w.keeper.AttendDue(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := pronounced + m.tries
		w.eventually("the tries that are due", func() bool { return w.refreshes() >= want })
		if n := w.settled() - pronounced; n != m.tries {
			t.Fatalf("%d tries after %s, want %d", n, m.after, m.tries)
		}
		_, err := w.keeper.Token(t.Context(), key)
		wantReauthorization(t, err, tokenstore.CauseRevokedOrReplaced)
	}
	if r := w.record(); r.Rechecks != 3 || !r.Since.Equal(since) {
		t.Errorf("%d rechecks, dead since %s, was %s", r.Rechecks, r.Since, since)
	}
}

func TestGrantThatWasWronglyPronouncedDeadHeals(t *testing.T) {
	for name, restart := range map[string]bool{"in the same process": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			w, clock, _ := dead(t)
			w.intuit.ClearFaults(intuittest.EndpointToken)
			if restart {
				w.open(w.store.Copy())
				w.keeper.Watch()
			}
			w.eventually("it works again", func() bool {
				clock.Advance(time.Minute)
				return w.record().State == tokenstore.StateConnected
			})
			if s := w.token(); w.call(s) != 200 || s.Cause != "" {
				t.Errorf("%+v", s)
			}
			if n := w.logs.FilterMessage("a grant that was refused works again").Len(); n != 1 {
				t.Errorf("it was said %d times", n)
			}
			if r := w.record(); r.Rechecks != 0 || r.History[len(r.History)-1].Event != "recovered" {
				t.Errorf("%d rechecks, %s", r.Rechecks, history(r))
			}
		})
	}
}

func TestRecheckByHand(t *testing.T) {
	w, _, since := dead(t)
	before := w.refreshes()
	_, err := w.keeper.Recheck(t.Context(), key)
	wantReauthorization(t, err, tokenstore.CauseRevokedOrReplaced)
	if r := w.record(); w.refreshes() != before+1 || r.Rechecks != 0 || !r.Since.Equal(since) {
		t.Errorf("%d requests, %d counted, since %s", w.refreshes()-before, r.Rechecks, r.Since)
	}
	w.intuit.ClearFaults(intuittest.EndpointToken)
	s, err := w.keeper.Recheck(t.Context(), key)
	if err != nil || s.State != tokenstore.StateConnected || w.call(w.token()) != 200 {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = w.keeper.Recheck(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "404"})
	wantReauthorization(t, err, tokenstore.CauseNeverConnected)
}

// A grant of another client is not tried with this one, and lives again when
// its own is back.
func TestWrongClientIsNotTriedAgain(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	own := w.client
	other := *own
	other.ClientID = "another"
	w.client = &other
	w.attach()
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant})
	_, err := w.keeper.Token(t.Context(), key)
	wantReauthorization(t, err, tokenstore.CauseWrongClient)
	before := w.refreshes()
	r := w.record()
	r.Since = time.Now().Add(-30 * time.Hour)
	w.save(r)
	if err := w.keeper.AttendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.settled(); n != before {
		t.Errorf("%d token requests with the wrong client", n-before)
	}
	w.client = own
	w.attach()
	if s := w.token(); s.State != tokenstore.StateConnected {
		t.Errorf("with its own client: %s", s.State)
	}
}
