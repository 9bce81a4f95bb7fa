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
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// idleWorld is a world whose connection is in memory.
func idleWorld(t *testing.T, b intuittest.Behaviour) (*world, *clockwork.FakeClock) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, b)
	w.token()
	return w, clock
}

// idle lets so much time pass that a connection leaves memory which nobody uses
// meanwhile and which can.
func (w *world) idle(clock *clockwork.FakeClock) {
	w.keeper.SweepRound()
	clock.Advance(grant.IdleAfter)
	w.keeper.SweepRound()
}

func (w *world) wantResidents(n int) {
	w.t.Helper()
	if in := w.keeper.Residents(); in != n {
		w.t.Errorf("%d connections are in memory; expected %d", in, n)
	}
}

func TestConnectionsLeaveMemoryThatNobodyUses(t *testing.T) {
	w, clock := idleWorld(t, intuittest.Behaviour{AccessTokenTTL: 1000 * time.Hour})
	keys := w.many(300)
	for _, key := range keys {
		if _, err := w.keeper.Peek(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	w.wantResidents(1 + len(keys))
	// One is used all the time, and then only looked up once in a while.
	for range 12 {
		w.keeper.SweepRound()
		clock.Advance(grant.IdleAfter / 6)
		w.token()
	}
	w.keeper.SweepRound()
	w.wantResidents(1)
	for range 3 {
		clock.Advance(grant.IdleAfter - time.Minute)
		w.token()
		w.keeper.SweepRound()
		w.wantResidents(1)
	}
	w.idle(clock)
	w.wantResidents(0)
	// A clock that is set back makes none of them young for ever.
	w.token()
	w.keeper.SweepRound()
	clock.Advance(-24 * time.Hour)
	w.idle(clock)
	w.wantResidents(0)
	if w.keeper.LookInVain(t.Context(), key); w.keeper.Residents() != 0 {
		t.Error("a connection that does not exist is in memory")
	}
}

// In every round all have their turn, whoever comes and goes meanwhile.
func TestSweepForgetsNobody(t *testing.T) {
	w, clock := idleWorld(t, intuittest.Behaviour{})
	keys := w.many(500)
	for round := range 4 {
		for i, key := range keys {
			if i%4 == round {
				if _, err := w.keeper.Peek(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.keeper.SweepRound()
		clock.Advance(grant.IdleAfter)
	}
	w.keeper.SweepRound()
	w.wantResidents(0)
}

func TestConnectionThatComesBackIsTheSame(t *testing.T) {
	t.Run("it is served from the store, and refreshed in its window", func(t *testing.T) {
		w, clock := idleWorld(t, intuittest.Behaviour{AccessTokenTTL: 6 * time.Hour})
		before := w.token()
		w.idle(clock)
		w.wantResidents(0)
		after := w.token()
		if after == before || after.Generation != before.Generation || !after.ExpiresAt().Equal(before.ExpiresAt()) || w.call(after) != 200 {
			t.Errorf("%+v came back as %+v", before, after)
		}
		w.idle(clock)
		clock.Advance(after.ExpiresAt().Sub(clock.Now()) - time.Minute)
		if s := w.token(); s.Generation != before.Generation {
			t.Errorf("a token in its window was waited for: generation %d", s.Generation)
		}
		w.eventually("it is refreshed", func() bool { return w.record().Generation == before.Generation+1 })
	})
	t.Run("a refusal that came late counts", func(t *testing.T) {
		w, clock := idleWorld(t, intuittest.Behaviour{AccessTokenTTL: 6 * time.Hour})
		first := w.token()
		w.idle(clock)
		w.wantResidents(0)
		w.keeper.RejectAgain(first)
		second, err := w.keeper.Reject(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		second.Accepted()
		if _, err := w.keeper.Reject(t.Context(), second); !errors.Is(err, grant.ErrNoNewerToken) {
			t.Errorf("after a refusal in vain, another one drove a refresh: %v", err)
		}
	})
}

// What only memory knows does not leave it.
func TestConnectionStaysInMemory(t *testing.T) {
	t.Run("while its tokens are not stored", func(t *testing.T) {
		w, clock := idleWorld(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
		clock.Advance(2 * time.Hour)
		w.store.FailApply(2, storetest.BeforeApply, errors.New("input/output error")) // 1 is the intent
		s := w.token()
		w.store.FailAll(errors.New("input/output error"))
		w.idle(clock)
		w.wantResidents(1)
		w.store.FailAll(nil)
		if err := w.keeper.Close(); err != nil {
			t.Fatal(err)
		}
		w.open(w.store.Copy())
		if r := w.record(); r.Generation != s.Generation {
			t.Errorf("generation %d is stored, %d was served", r.Generation, s.Generation)
		}
	})
	t.Run("while it fails", func(t *testing.T) {
		w, clock := idleWorld(t, intuittest.Behaviour{})
		clock.Advance(2 * time.Hour)
		w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1})
		if _, err := w.keeper.Token(t.Context(), key); err == nil {
			t.Fatal("the provider has failed, and there is a token")
		}
		w.idle(clock)
		w.wantResidents(1)
		w.intuit.ClearFaults(intuittest.EndpointToken)
		w.eventually("it works again", func() bool {
			clock.Advance(time.Minute)
			_, err := w.keeper.Token(context.Background(), key)
			return err == nil
		})
		w.idle(clock)
		w.wantResidents(0)
	})
	t.Run("while its token is known to be refused", func(t *testing.T) {
		// Nothing is refreshed on hold, so the token stays refused.
		w, clock := idleWorld(t, intuittest.Behaviour{AccessTokenTTL: 24 * time.Hour})
		w.restore()
		_, err := w.keeper.Reject(t.Context(), w.token())
		wantUnavailable(t, err, grant.ReasonHold)
		w.idle(clock)
		w.wantResidents(1)
		_, err = w.keeper.Token(t.Context(), key)
		wantUnavailable(t, err, grant.ReasonHold)
		clock.Advance(24 * time.Hour)
		w.idle(clock)
		w.wantResidents(0)
	})
	t.Run("while it is refreshed", func(t *testing.T) {
		strict := picky()
		strict.AccessTokenTTL = 24 * time.Hour
		w, clock := idleWorld(t, strict)
		clock.Advance(25 * time.Hour)
		gate := w.intuit.Hold(intuittest.EndpointToken, realm)
		ctx, cancel := context.WithCancel(t.Context())
		_, _ = all(1, func(int) (*grant.Snapshot, error) {
			go func() { <-gate.Arrived(); cancel() }()
			return w.keeper.Token(ctx, key)
		})
		w.idle(clock)
		w.idle(clock)
		w.wantResidents(1)
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := w.keeper.Token(context.Background(), key); err != nil {
				t.Error(err)
			}
		})
		gate.Release()
		wait.Wait()
		if c := w.intuit.Counters(); c.Refreshes != 1 || c.OverlappingRefreshes != 0 {
			t.Errorf("%d refreshes, %d of them overlapping", c.Refreshes, c.OverlappingRefreshes)
		}
	})
	t.Run("while it is disconnected", func(t *testing.T) {
		w, clock := idleWorld(t, picky())
		gate := w.intuit.Hold(intuittest.EndpointRevoke, realm)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = w.keeper.Disconnect(context.Background(), key)
		}()
		<-gate.Arrived()
		w.idle(clock)
		if s, err := w.keeper.Peek(t.Context(), key); err != nil || !s.RevokePending {
			t.Errorf("%+v, %v", s, err)
		}
		gate.Release()
		<-done
		w.eventually("it is known that it is revoked", func() bool {
			s, err := w.keeper.Peek(context.Background(), key)
			return err == nil && s.State == tokenstore.StateDisconnected && !s.RevokePending
		})
	})
}

// However fast connections leave memory, a connection has one flight.
func TestOneFlightWhileConnectionsComeAndGo(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, picky())
	keys := append(w.many(4), key)
	done := make(chan struct{})
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				w.keeper.SweepRound()
			}
		}
	})
	for range size(60, 1000) {
		// All tokens have ended, and all that nobody has used since may go.
		clock.Advance(61 * time.Minute)
		_, errs := all(8*len(keys), func(i int) (*grant.Snapshot, error) {
			s, err := w.keeper.Token(context.Background(), keys[i%len(keys)])
			if err == nil && i%3 == 0 {
				s.Accepted()
				_, err = w.keeper.Reject(context.Background(), s)
				if errors.Is(err, grant.ErrNoNewerToken) {
					err = nil
				}
			}
			return s, err
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	sweeper.Wait()
	c := w.intuit.Counters()
	if c.OverlappingRefreshes != 0 || c.SupersededReuses != 0 {
		t.Errorf("%d overlapping refreshes, %d reuses", c.OverlappingRefreshes, c.SupersededReuses)
	}
	for id, most := range c.MaxConcurrentRefreshes {
		if most > 1 {
			t.Errorf("company %s: %d refreshes at once", id, most)
		}
	}
	stored := 0
	for _, key := range keys {
		r, err := w.keeper.Vault().Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		stored += int(r.Generation) - 1
	}
	if stored != c.Refreshes {
		t.Errorf("%d refreshes, and %d of them are stored", c.Refreshes, stored)
	}
}
