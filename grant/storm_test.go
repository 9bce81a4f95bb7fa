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
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// storm makes the storms as large as those of docs/reliability.md. The clock is
// a fake one here, which the real process of ../reliability cannot have.
var storm = flag.Bool("storm", false, "run the storms in full size")

func size(short, full int) int {
	if *storm {
		return full
	}
	return short
}

// crowd stores so many connections with tokens that end at the same moment.
func crowd(w *world, n int) []tokenstore.Key {
	w.t.Helper()
	keys := make([]tokenstore.Key, n)
	for i := range keys {
		id := strconv.Itoa(4620816365000000000 + i)
		g := w.intuit.Connect(id)
		keys[i] = tokenstore.Key{Integration: "quickbooks", Connection: id}
		w.save(&tokenstore.Record{
			Key: keys[i], Provider: "quickbooks", Environment: "sandbox", ClientID: intuittest.DefaultClientID,
			Owner: "billing", Epoch: 1, Generation: 1,
			AccessToken: secret.New(g.AccessToken), AccessIssuedAt: w.clock.Now(), AccessExpiresAt: g.AccessTokenExpiresAt,
			RefreshToken: secret.New(g.RefreshToken), RefreshIssuedAt: w.clock.Now(), RefreshExpiresAt: g.RefreshTokenExpiresAt,
			State: tokenstore.StateConnected, Since: w.clock.Now(), ConnectedAt: w.clock.Now(),
		})
	}
	return keys
}

// farAway is a strict provider that takes its time, so that refreshes pile up.
func farAway() intuittest.Behaviour {
	return intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true, Latency: 10 * time.Millisecond}
}

// Thousands of tokens end together. Most connections are idle enough to be
// refreshed in the background; every fiftieth has a caller whose token has been
// refused, and who must not wait for all the others.
func TestHerdOfThousands(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, farAway())
	n := size(1000, 10000)
	keys := crowd(w, n)
	snaps := make([]*grant.Snapshot, n)
	for i, key := range keys {
		var err error
		if snaps[i], err = w.keeper.Token(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	w.intuit.ResetCounters()
	clock.Advance(59 * time.Minute)

	began := time.Now()
	var waiting []int
	for i, key := range keys {
		if i%50 == 49 {
			waiting = append(waiting, i)
			continue
		}
		if s, err := w.keeper.Token(t.Context(), key); err != nil || s.Generation != 1 {
			t.Fatalf("a valid token is not served: %v, %v", s, err)
		}
	}
	took, errs := all(len(waiting), func(i int) (time.Duration, error) {
		start := time.Now()
		s, err := w.keeper.Reject(t.Context(), snaps[waiting[i]])
		if err == nil && s.Generation != 2 {
			err = fmt.Errorf("generation %d", s.Generation)
		}
		return time.Since(start), err
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	left := n - w.intuit.Counters().RefreshesOK
	w.eventuallyWithin(2*time.Minute, "all are refreshed", func() bool { return w.intuit.Counters().RefreshesOK == n })
	total := time.Since(began)
	w.checkHerd(n)
	slices.Sort(took)
	t.Logf("%d connections in %s, %d of them with a caller that waits: p50 %s, p99 %s, most %s, while %d others were still in line",
		n, total.Round(time.Millisecond), len(took), took[len(took)/2].Round(time.Millisecond),
		took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond), left)
}

// The worst case: thousands of tokens have ended, and somebody waits for each.
func TestHerdOfCallers(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, farAway())
	n := size(1000, 10000)
	keys := crowd(w, n)
	w.intuit.ResetCounters()
	clock.Advance(2 * time.Hour)
	began := time.Now()
	took, errs := all(n, func(i int) (time.Duration, error) {
		start := time.Now()
		s, err := w.keeper.Token(context.Background(), keys[i])
		if err == nil && s.Generation != 2 {
			err = fmt.Errorf("generation %d", s.Generation)
		}
		return time.Since(start), err
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	total := time.Since(began)
	w.checkHerd(n)
	slices.Sort(took)
	t.Logf("%d connections with a caller each in %s: p50 %s, p99 %s, most %s", n, total.Round(time.Millisecond),
		took[n/2].Round(time.Millisecond), took[n*99/100].Round(time.Millisecond), took[n-1].Round(time.Millisecond))
}

// checkHerd expects one refresh per connection, and 16 at once: all that is
// allowed, and no more.
func (w *world) checkHerd(n int) {
	w.t.Helper()
	c := w.intuit.Counters()
	if c.Refreshes != n || c.RefreshesOK != n || c.Rotations != n || c.SupersededReuses != 0 || c.OverlappingRefreshes != 0 {
		w.t.Errorf("%d connections: %d refreshes, %d good, %d rotations, %d reuses, %d overlapping",
			n, c.Refreshes, c.RefreshesOK, c.Rotations, c.SupersededReuses, c.OverlappingRefreshes)
	}
	if c.MostRefreshes != 16 {
		w.t.Errorf("%d refreshes at once", c.MostRefreshes)
	}
}

func (w *world) eventuallyWithin(limit time.Duration, what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(limit); !done(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// An hour in which the API refuses every token: no matter how many calls there
// are, they drive two refreshes a minute at most. (TestRefusalStorm of
// ../reliability counts what goes up to the API.)
func TestHourOfRefusals(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	n := size(2000, 10000)
	s := w.token()
	if w.call(s) != 200 {
		t.Fatal("the seeded token does not work")
	}
	s.Accepted()
	w.intuit.ResetCounters()
	const minutes, callers = 60, 8
	for minute := range minutes {
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range n / minutes / callers {
					// What the transport does with a call, without the HTTP.
					s, err := w.keeper.Token(t.Context(), key)
					if err != nil {
						t.Error(err)
						return
					}
					newer, err := w.keeper.Reject(t.Context(), s)
					switch {
					case errors.Is(err, grant.ErrNoNewerToken):
					case err != nil:
						t.Error(err)
					default:
						w.keeper.RejectAgain(newer)
					}
				}
			})
		}
		wg.Wait()
		if r := w.refreshes(); r > 2*(minute+1) {
			t.Fatalf("%d refreshes in %d minutes", r, minute+1)
		}
		clock.Advance(time.Minute)
	}
	t.Logf("%d refused calls in an hour: %d refreshes", n/minutes/callers*minutes*callers, w.refreshes())
	if w.call(w.token()) != 200 {
		t.Error("the connection does not work any more")
	}
}
