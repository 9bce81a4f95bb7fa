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

// Package secret holds the one type that carries tokens, client secrets and
// keys through the program. It cannot print itself.
package grant_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// lapse lets the time of a fake clock fly by, while real work goes on.
func lapse(clock *clockwork.FakeClock, d, step time.Duration) {
	for passed := time.Duration(0); passed < d; passed += step {
		clock.Advance(step)
		time.Sleep(2 * time.Millisecond)
	}
}

// fleet is many connections whose apps go on asking, in simulated time.
type fleet struct {
	*world
	clock *clockwork.FakeClock
	keys  []tokenstore.Key

	mu          sync.Mutex
	served      int
	suspect     int
	named       int // suspects whose answer named an incident
	reauthorize []error
}

func newFleet(t *testing.T, n int, statusPage bool, spread time.Duration) *fleet {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Now())
	f := &fleet{world: newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, Grace: time.Minute}), clock: clock}
	if statusPage {
		f.client.Endpoints.StatusPage = f.intuit.URL()
	}
	f.options = func(o *grant.Options) { o.ConfirmAfter, o.FlightLimit = 0, 0 }
	f.keys = f.many(n)
	for i, key := range f.keys {
		r, err := f.keeper.Vault().Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		r.AccessExpiresAt = clock.Now().Add(10*time.Minute + spread*time.Duration(i)/time.Duration(n))
		f.save(r)
	}
	f.open(f.store.Copy())
	return f
}

// use lets every connection ask for its token every 20 s, until stop is called.
func (f *fleet) use() (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for _, key := range f.keys {
		wg.Go(func() {
			for {
				_, err := f.keeper.Token(f.t.Context(), key)
				f.note(err)
				select {
				case <-quit:
					return
				case <-f.clock.After(20 * time.Second):
				}
			}
		})
	}
	return func() {
		close(quit)
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for {
			select {
			case <-done:
				return
			default:
				lapse(f.clock, time.Second, time.Second) // somebody may wait for a flight
			}
		}
	}
}

func (f *fleet) note(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var reauthorize *grant.ReauthorizationError
	var unavailable *grant.UnavailableError
	switch {
	case err == nil:
		f.served++
	case errors.As(err, &reauthorize):
		f.reauthorize = append(f.reauthorize, err)
	case errors.As(err, &unavailable) && unavailable.Reason == grant.ReasonSuspect:
		f.suspect++
		if unavailable.Incident != nil {
			f.named++
		}
		if unavailable.RetryAfter <= 0 || unavailable.RetryAfter > 30*time.Second {
			f.t.Errorf("Retry-After is %s", unavailable.RetryAfter)
		}
	}
}

// states counts the connections by their stored state.
func (f *fleet) states() map[tokenstore.State]int {
	f.t.Helper()
	states := make(map[tokenstore.State]int)
	for _, key := range f.keys {
		r, err := f.keeper.Vault().Load(f.t.Context(), key)
		if err != nil {
			f.t.Fatal(err)
		}
		states[r.State]++
	}
	return states
}

// An outage that shows as invalid_grant, for twenty minutes, costs no human
// anything, whether the provider admits it or not.
func TestWholeIncident(t *testing.T) {
	for name, c := range map[string]struct {
		admitted bool
		spread   time.Duration
	}{
		"admitted": {true, time.Hour},
		"silent":   {false, time.Hour},
		// All tokens end at once, and nobody has been refreshed before.
		"silent, a herd": {false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 200
			f := newFleet(t, n, true, c.spread)
			stop := f.use()
			defer stop()
			before := 20 * time.Minute
			if c.spread == 0 {
				before = 0
			}
			lapse(f.clock, before, time.Second)

			healthy := f.refreshes()
			f.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.IncidentOpen = c.admitted })
			f.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant, Times: -1})
			lapse(f.clock, 20*time.Minute, time.Second)
			during := f.states()
			tries := f.refreshes() - healthy
			f.intuit.ClearFaults(intuittest.EndpointToken)
			f.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.IncidentOpen = false })
			lapse(f.clock, time.Minute, 50*time.Millisecond)
			after := f.states()

			f.mu.Lock()
			defer f.mu.Unlock()
			if len(f.reauthorize) > 0 {
				t.Errorf("%d times a human was asked for, such as %v", len(f.reauthorize), f.reauthorize[0])
			}
			if during[tokenstore.StateSuspect] < 20 || f.suspect == 0 {
				t.Errorf("during the outage: %v; %d answers said suspect: this proves nothing", during, f.suspect)
			}
			if c.admitted && f.named == 0 || !c.admitted && f.named > 0 {
				t.Errorf("%d of %d answers named an incident", f.named, f.suspect)
			}
			if after[tokenstore.StateConnected] != n {
				t.Errorf("a minute after its end: %v", after)
			}
			// Each is refused twice at most before it waits, and one of them
			// tries every half minute.
			if tries > 2*during[tokenstore.StateSuspect]+2*40+10 {
				t.Errorf("%d token requests during the outage of %d suspects", tries, during[tokenstore.StateSuspect])
			}
			t.Logf("%v during, %v after; %d served, %d suspect; %d token requests during the outage", during, after, f.served, f.suspect, tries)
		})
	}
}

// One dead grant among many that live is found out, and costs three requests.
func TestDeadGrantAmongMany(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 40, false, time.Hour)
	stop := f.use()
	defer stop()
	lapse(f.clock, 20*time.Minute, time.Second)
	dead := f.keys[len(f.keys)-10]
	f.intuit.KillGrant(dead.Connection)
	r, err := f.keeper.Vault().Load(t.Context(), dead)
	if err != nil {
		t.Fatal(err)
	}
	lapse(f.clock, r.AccessExpiresAt.Sub(f.clock.Now())+patience, time.Second)
	_, err = f.keeper.Token(t.Context(), dead)
	wantReauthorization(t, err, tokenstore.CauseRevokedOrReplaced)
	n := 0
	for _, request := range f.intuit.TokenRequests() {
		if request.Realm == dead.Connection {
			n++
		}
	}
	if n > 3 {
		t.Errorf("%d token requests", n)
	}
	if states := f.states(); states[tokenstore.StateNeedsReauth] != 1 {
		t.Errorf("%v", states)
	}
}

// patience is the longest that a lone refusal is doubted, and what the machine
// may need.
const patience = 6 * time.Minute

// A suspect that a restart finds is not pronounced dead for want of company.
func TestSuspectOutlivesARestart(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 10, false, 0)
	f.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant, Times: -1})
	stop := f.use()
	lapse(f.clock, 15*time.Minute, time.Second)
	stop()
	if states := f.states(); states[tokenstore.StateSuspect] != len(f.keys) {
		t.Fatalf("before the restart: %v", states)
	}
	f.open(f.store.Copy())
	stop = f.use()
	defer stop()
	lapse(f.clock, 10*time.Minute, time.Second)
	f.intuit.ClearFaults(intuittest.EndpointToken)
	lapse(f.clock, time.Minute, 50*time.Millisecond)
	if states := f.states(); states[tokenstore.StateConnected] != len(f.keys) {
		t.Errorf("a minute after its end: %v", states)
	}
	if len(f.reauthorize) > 0 {
		t.Errorf("%d times a human was asked for", len(f.reauthorize))
	}
}
