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
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// What is counted is what is stored, and stays so when that changes.
func TestCensus(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	const day = 24 * time.Hour
	ending := func(id string, state tokenstore.State, in time.Duration) *tokenstore.Record {
		r := member(id, "account "+id, state)
		r.AuthorizationExpiresAt = clock.Now().Add(in)
		return r
	}
	other := ending("9", tokenstore.StateConnected, 400*day)
	other.Integration = "other"
	for _, r := range []*tokenstore.Record{
		ending("1", tokenstore.StateConnected, 31*day), ending("2", tokenstore.StateConnected, 10*day), ending("3", tokenstore.StateSuspect, 12*time.Hour),
		ending("4", tokenstore.StateNeedsReauth, time.Hour), ending("5", tokenstore.StateDisconnected, time.Minute), other,
	} {
		w.save(r)
	}
	census := func() grant.Census {
		c, err := w.keeper.Census(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := census()
	ours := c.Integrations["quickbooks"]
	if len(c.Integrations) != 2 || c.Damaged != 0 || ours.States[tokenstore.StateConnected] != 3 || ours.States[tokenstore.StateSuspect] != 1 ||
		ours.States[tokenstore.StateNeedsReauth] != 1 || ours.States[tokenstore.StateDisconnected] != 1 {
		t.Errorf("%+v", c)
	}
	// Dead ones end no more.
	if ours.Next.Connection != "3" || ours.Next.Account != "account 3" || !slices.Equal(ours.Ending, []int{2, 2, 1, 1}) {
		t.Errorf("next is %+v, ending %v", ours.Next, ours.Ending)
	}
	if far := c.Integrations["other"]; far.Next.Connection != "9" || !slices.Equal(far.Ending, []int{0, 0, 0, 0}) {
		t.Errorf("%+v", far)
	}
	clock.Advance(2 * day)
	if got := census().Integrations["quickbooks"].Ending; !slices.Equal(got, []int{3, 2, 1, 1}) {
		t.Errorf("two days later %v end", got)
	}
	if _, err := w.keeper.Disconnect(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	w.eventually("the revocation", func() bool {
		s := census().Integrations["quickbooks"].States
		return s[tokenstore.StateConnected] == 2 && s[tokenstore.StateDisconnected] == 2
	})
	ctx, cancel := context.WithCancel(t.Context())
	_ = w.keeper.Close()
	cancel()
	if _, err := w.keeper.Census(ctx); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Refreshes, flights, deaths and writes are counted.
func TestStats(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{AccessTokenTTL: time.Hour})
	stats := func() grant.IntegrationStats { return w.keeper.Stats().Integrations["quickbooks"] }
	if s := stats(); s.Took.Count != 0 || s.Breaker != grant.BreakerClosed || len(s.Events) != len(grant.EventTypes) || len(s.Deaths) != len(grant.DeathCauses) {
		t.Errorf("at first: %+v", s)
	}
	reject := func() error {
		snap := w.token()
		snap.Accepted()
		_, err := w.keeper.Reject(t.Context(), snap)
		return err
	}
	if err := reject(); err != nil {
		t.Fatal(err)
	}
	s := w.keeper.Stats()
	one := s.Integrations["quickbooks"]
	if one.Refreshes[grant.RefreshSucceeded] != 1 || one.Took.Count != 1 || one.Waits.Count != 1 || one.Took.Sum <= 0 ||
		one.Events[slices.Index(grant.EventTypes, grant.EventRefreshed)] != 1 || s.StoreWrites.Count != 2 || s.StoreFailures != 0 || s.Unsaved != 0 || s.Hold {
		t.Errorf("after one refresh: %+v", s)
	}
	if last := one.Took.Buckets[30*time.Second]; last != 1 {
		t.Errorf("%v", one.Took.Buckets)
	}
	w.eventually("the end of the flight", func() bool { return stats().Flights == 0 })

	w.intuit.KillGrant(realm)
	wantReauthorization(t, reject(), tokenstore.CauseRevokedOrReplaced)
	one = stats()
	if one.Refreshes[grant.RefreshRefused] != 1 || one.Deaths[slices.Index(grant.DeathCauses, tokenstore.CauseRevokedOrReplaced)] != 1 {
		t.Errorf("after a death: %+v", one)
	}
}

// What the store could not take is counted, and what could not begin for that.
func TestStatsOfABadStore(t *testing.T) {
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	w.store.FailApply(2, storetest.BeforeApply, errors.New("input/output error")) // 1 is the intent
	w.token()
	w.eventually("the new token is stored", func() bool { return w.keeper.Stats().Unsaved == 0 })
	if s := w.keeper.Stats(); s.StoreFailures != 1 || s.StoreWrites.Count != 3 {
		t.Errorf("%d of %d writes failed", s.StoreFailures, s.StoreWrites.Count)
	}

	w = expired(t, intuittest.Behaviour{})
	w.store.FailApply(1, storetest.BeforeApply, errors.New("no space left on device"))
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonStorage)
	s := w.keeper.Stats()
	if one := s.Integrations["quickbooks"]; one.Refreshes[grant.RefreshNotStarted] != 1 || s.StoreFailures != 1 {
		t.Errorf("%+v", s)
	}
}
