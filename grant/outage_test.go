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
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// many stores n further connections whose access tokens have the same end.
func (w *world) many(n int) []tokenstore.Key {
	w.t.Helper()
	keys := make([]tokenstore.Key, n)
	now := w.clock.Now()
	for i := range keys {
		keys[i] = tokenstore.Key{Integration: "quickbooks", Connection: fmt.Sprint(100_000 + i)}
		g := w.intuit.Connect(keys[i].Connection)
		w.save(&tokenstore.Record{
			Key: keys[i], ClientID: intuittest.DefaultClientID, Epoch: 1, Generation: 1,
			AccessToken: secret.New(g.AccessToken), AccessIssuedAt: now, AccessExpiresAt: g.AccessTokenExpiresAt,
			RefreshToken: secret.New(g.RefreshToken), RefreshIssuedAt: now, RefreshExpiresAt: g.RefreshTokenExpiresAt,
			State: tokenstore.StateConnected, Since: now, ConnectedAt: now,
		})
	}
	return keys
}

func TestHerdOfExpiries(t *testing.T) {
	const n = 2000
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	keys := w.many(n)
	clock.Advance(2 * time.Hour)
	snaps, errs := all(n, func(i int) (*grant.Snapshot, error) { return w.keeper.Token(t.Context(), keys[i]) })
	for i := range snaps {
		if errs[i] != nil || snaps[i].Generation != 2 {
			t.Fatalf("connection %d: %v, %v", i, snaps[i], errs[i])
		}
	}
	c := w.intuit.Counters()
	if c.RefreshesOK != n || c.OverlappingRefreshes != 0 || c.SupersededReuses != 0 {
		t.Errorf("%d refreshes, %d overlapping, %d with a superseded token", c.RefreshesOK, c.OverlappingRefreshes, c.SupersededReuses)
	}
	if c.MostRefreshes > 16 {
		t.Errorf("%d token requests at once", c.MostRefreshes)
	}
}

func TestOutageOfTheProvider(t *testing.T) {
	const n = 200
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	keys := w.many(n)
	clock.Advance(2 * time.Hour)
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1})

	// ask lets every connection ask at once, and counts those that are served.
	ask := func() int {
		served := 0
		_, errs := all(n, func(i int) (*grant.Snapshot, error) { return w.keeper.Token(t.Context(), keys[i]) })
		for _, err := range errs {
			var reauthorize *grant.ReauthorizationError
			switch {
			case err == nil:
				served++
			case errors.As(err, &reauthorize):
				t.Fatalf("an outage was taken for a dead grant: %v", err)
			}
		}
		return served
	}
	ask()
	before := w.refreshes()
	const minutes = 10
	for range minutes * 60 / 5 {
		clock.Advance(5 * time.Second)
		if served := ask(); served != 0 {
			t.Fatalf("%d served during the outage", served)
		}
	}
	// A trial costs a connection's two tries, every thirty seconds at most.
	if tries := w.refreshes() - before; tries > 2*minutes*2 {
		t.Errorf("%d token requests in %d minutes of outage", tries, minutes)
	}

	w.intuit.ClearFaults(intuittest.EndpointToken)
	for waited := time.Duration(0); ; waited += 5 * time.Second {
		if waited > time.Minute {
			t.Fatal("not all are served a minute after the outage")
		}
		clock.Advance(5 * time.Second)
		if ask() == n {
			break
		}
	}
	if c := w.intuit.Counters(); c.SupersededReuses != 0 || c.OverlappingRefreshes != 0 {
		t.Errorf("%d reuses, %d overlapping", c.SupersededReuses, c.OverlappingRefreshes)
	}
}
