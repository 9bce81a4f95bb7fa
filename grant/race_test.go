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
	"math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

var seed = flag.Uint64("seed", 0, "the seed of the races; 0 is a new one")

// race is one connection with an expired access token, a refresh of it that
// somebody waits for, and somebody who ends or replaces the grant meanwhile.
type race struct {
	*world
	key tokenstore.Key
	rng *rand.Rand
	// again is a consent that is ready to be redeemed.
	again *grant.Authorization
	query url.Values
	// callers are those who wait for a token, and what they got.
	callers sync.WaitGroup
	answers chan error
}

// runRaces runs so many races, some of them at once, and counts in told how
// often a log line came.
func runRaces(t *testing.T, b intuittest.Behaviour, told string, run func(*race, int) error) (w *world, n, times int) {
	t.Helper()
	n = size(100, 1000)
	start := *seed
	if start == 0 {
		start = rand.Uint64()
	}
	w = newWorld(t, clockwork.NewRealClock(), b)
	keys := crowd(w, n)
	races := make([]*race, n)
	for i, key := range keys {
		r, err := w.keeper.Vault().Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		r.AccessExpiresAt = time.Now().Add(-time.Second)
		w.save(r)
		races[i] = &race{world: w, key: key, rng: rand.New(rand.NewPCG(start, uint64(i))), answers: make(chan error, 8)}
		races[i].again = w.begin(grant.Link{Caller: "billing", Connection: key.Connection})
		w.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = key.Connection })
		races[i].query = w.consent(races[i].again)
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				if err := run(races[i], i); err != nil {
					t.Errorf("race %d of -seed %d: %v", i, start, err)
				}
			}
		})
	}
	workers.Wait()
	c := w.intuit.Counters()
	for id, most := range c.MaxConcurrentRefreshes {
		if most > 1 {
			t.Errorf("company %s: %d refreshes at once", id, most)
		}
	}
	if c.OverlappingRefreshes != 0 || c.SupersededReuses != 0 {
		t.Errorf("%d overlapping refreshes, %d reuses", c.OverlappingRefreshes, c.SupersededReuses)
	}
	return w, n, w.logs.FilterMessage(told).Len()
}

// some is a random moment later.
func (r *race) some() time.Duration { return time.Duration(r.rng.Int64N(int64(3 * time.Millisecond))) }

// ask lets callers ask for a token, each at its moment.
func (r *race) ask(callers int) {
	for range callers {
		pause := r.some()
		r.callers.Go(func() {
			time.Sleep(pause)
			_, err := r.keeper.Token(context.Background(), r.key)
			r.answers <- err
		})
	}
}

// asked returns what callers got that is neither a token nor one of the causes.
func (r *race) asked(causes ...tokenstore.Cause) error {
	r.callers.Wait()
	close(r.answers)
	for err := range r.answers {
		var e *grant.ReauthorizationError
		if err == nil || errors.As(err, &e) && (len(causes) > 0 && e.Cause == causes[0]) {
			continue
		}
		return fmt.Errorf("a caller got: %w", err)
	}
	return nil
}

// meanwhile runs end while a refresh is under way, in one of three ways: held
// before the provider looks at it, on its way back after the provider has
// replaced the token, or at any moment.
func (r *race) meanwhile(way int, end func() error) error {
	id := r.key.Connection
	switch way % 3 {
	case 0:
		gate := r.intuit.Hold(intuittest.EndpointToken, id)
		r.ask(3)
		<-gate.Arrived()
		ended := make(chan error, 1)
		visible := make(chan struct{})
		go func() {
			ended <- end()
			close(visible)
		}()
		// A disconnection waits for the refresh, and so is done when it is
		// visible; all others when they have returned.
		for deadline := time.Now().Add(10 * time.Second); ; {
			s, err := r.keeper.Vault().Load(context.Background(), r.key)
			if err != nil || s.State == tokenstore.StateDisconnected || s.Epoch > 1 {
				break
			}
			if time.Now().After(deadline) {
				return errors.New("it waits for the refresh before it takes effect")
			}
			time.Sleep(50 * time.Microsecond)
		}
		time.Sleep(r.some())
		gate.Release()
		return <-ended
	case 1:
		r.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultDelayAfter, Realm: id, Delay: 4*time.Millisecond + r.some()})
		before, _ := r.intuit.Tokens(id)
		r.ask(3)
		for deadline := time.Now().Add(10 * time.Second); ; {
			if now, _ := r.intuit.Tokens(id); now.RefreshToken != before.RefreshToken {
				break
			}
			if time.Now().After(deadline) {
				return errors.New("there was no refresh")
			}
			time.Sleep(50 * time.Microsecond)
		}
		return end()
	}
	r.intuit.FailToken(
		intuittest.Fault{Kind: intuittest.FaultDelayAfter, Realm: id, Delay: time.Microsecond + r.some()},
	)
	r.ask(3)
	time.Sleep(r.some())
	return end()
}

func (r *race) disconnectIt() error {
	s, err := r.keeper.Disconnect(context.Background(), r.key)
	if err == nil && (s.State != tokenstore.StateDisconnected || s.RevokePending) && s.Epoch == 1 {
		err = fmt.Errorf("disconnected, and it is %s, pending %v", s.State, s.RevokePending)
	}
	return err
}

func (r *race) deleteIt() error {
	for {
		record, err := r.keeper.Vault().Load(context.Background(), r.key)
		if err != nil {
			return err
		}
		if err = r.keeper.Vault().Delete(context.Background(), record); !errors.Is(err, tokenstore.ErrConflict) {
			return err
		}
	}
}

func (r *race) connectAgain() error {
	_, err := r.finish(r.again, r.query)
	return err
}

// works proves the newest authorization from end to end: its access token and
// its refresh token.
func (r *race) works(epoch uint64) error {
	s, err := r.keeper.Token(context.Background(), r.key)
	for range 2 {
		if err != nil {
			return err
		}
		if s.Epoch != epoch {
			return fmt.Errorf("epoch %d", s.Epoch)
		}
		token := secret.New(s.Authorization().Reveal()[len("Bearer "):])
		if _, err := r.client.Account(context.Background(), token, r.key.Connection); err != nil {
			return err
		}
		s.Accepted()
		s, err = r.keeper.Reject(context.Background(), s)
	}
	return err
}

// tokensGiven counts the refreshes of the company that the provider answered.
func (r *race) tokensGiven() (n int) {
	for _, request := range r.intuit.TokenRequests() {
		if request.Realm == r.key.Connection && request.Outcome == "ok" {
			n++
		}
	}
	return n
}

const tooLate = "a refresh ended after its connection was disconnected; its token is to be revoked"

func TestRacesOfDisconnectAndRefresh(t *testing.T) {
	w, n, late := runRaces(t, picky(), tooLate, func(r *race, i int) error {
		if err := r.meanwhile(i, r.disconnectIt); err != nil {
			return err
		}
		given := r.tokensGiven()
		if err := r.asked(tokenstore.CauseDisconnected); err != nil {
			return err
		}
		_, err := r.keeper.Token(context.Background(), r.key)
		var e *grant.ReauthorizationError
		if !errors.As(err, &e) || e.Cause != tokenstore.CauseDisconnected {
			return fmt.Errorf("a request afterwards got: %w", err)
		}
		if now := r.tokensGiven(); now != given {
			return fmt.Errorf("%d token requests after the disconnection", now-given)
		}
		return r.ended(r.key)
	})
	if late < n/3 {
		t.Errorf("%d of %d refreshes came too late: the races are not close enough", late, n)
	}
	// What a restart finds is no other than what memory says.
	if err := w.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(w.store.Copy())
	if due, _, err := w.keeper.Vault().Due(t.Context(), time.Now(), nil, n); err != nil || len(due) != 0 {
		t.Errorf("%d are still due, %v", len(due), err)
	}
	for i := range n {
		id := tokenstore.Key{Integration: "quickbooks", Connection: fmt.Sprint(4620816365000000000 + i)}
		if err := w.ended(id); err != nil {
			t.Errorf("after a restart: race %d: %v", i, err)
		}
	}
	t.Logf("%d races, %d refreshes came too late", n, late)
}

func TestRacesOfDeletionAndRefresh(t *testing.T) {
	const orphaned = "the grant of a connection that was deleted in mid refresh was revoked"
	_, n, orphans := runRaces(t, picky(), orphaned, func(r *race, _ int) error {
		// Only the way in which the refresh cannot be over before: what is in
		// the record is for whoever deletes it to revoke.
		if err := r.meanwhile(0, r.deleteIt); err != nil {
			return err
		}
		if err := r.asked(tokenstore.CauseNeverConnected); err != nil {
			return err
		}
		_, err := r.keeper.Token(context.Background(), r.key)
		var e *grant.ReauthorizationError
		if !errors.As(err, &e) || e.Cause != tokenstore.CauseNeverConnected {
			return fmt.Errorf("a request afterwards got: %w", err)
		}
		if _, err := r.keeper.Vault().Load(context.Background(), r.key); !errors.Is(err, tokenstore.ErrNotFound) {
			return fmt.Errorf("the record is there again: %w", err)
		}
		return r.ended(r.key)
	})
	if orphans != n {
		t.Errorf("%d of %d grants were revoked", orphans, n)
	}
	t.Logf("%d races, %d grants revoked", n, orphans)
}

func TestRacesOfReconnectionAndRefresh(t *testing.T) {
	for name, replaces := range map[string]bool{"the old grant lives on": false, "consent ends the old grant": true} {
		t.Run(name, func(t *testing.T) {
			b := picky()
			b.ReconsentReplaces = replaces
			w, n, late := runRaces(t, b, "a refresh ended after a new authorization; its tokens are dropped", func(r *race, i int) error {
				if err := r.meanwhile(i, r.connectAgain); err != nil {
					return err
				}
				if err := r.asked(); err != nil {
					return err
				}
				return r.works(2)
			})
			// A provider that ends the old grant refuses the refresh instead.
			if !replaces && late < n/3 {
				t.Errorf("%d of %d refreshes came too late: the races are not close enough", late, n)
			}
			if n := w.intuit.Counters().Revocations; n != 0 {
				t.Errorf("%d revocations", n)
			}
			t.Logf("%d races, %d refreshes came too late", n, late)
		})
	}
}

// All three at once. Whichever of the two humans comes last wins: there is a
// grant that works, or none.
func TestRacesOfDisconnectAndReconnectionAndRefresh(t *testing.T) {
	var connected, disconnected atomic.Int64
	_, n, _ := runRaces(t, picky(), tooLate, func(r *race, i int) error {
		if err := r.meanwhile(i, func() error {
			pause := r.some()
			if i/3%2 == 0 {
				// An authorization takes longer: left to chance, it came last.
				err := r.connectAgain()
				time.Sleep(pause)
				return errors.Join(err, r.disconnectIt())
			}
			connected := make(chan error, 1)
			go func() {
				time.Sleep(pause)
				connected <- r.connectAgain()
			}()
			return errors.Join(r.disconnectIt(), <-connected)
		}); err != nil {
			return err
		}
		if err := r.asked(tokenstore.CauseDisconnected); err != nil {
			return err
		}
		s, err := r.keeper.Peek(context.Background(), r.key)
		if err != nil {
			return err
		}
		if s.State == tokenstore.StateDisconnected {
			disconnected.Add(1)
			return r.ended(r.key)
		}
		connected.Add(1)
		return r.works(2)
	})
	if connected.Load() == 0 || disconnected.Load() == 0 {
		t.Error("it is always the same human who comes last")
	}
	t.Logf("%d races: %d ended connected, %d disconnected", n, connected.Load(), disconnected.Load())
}
