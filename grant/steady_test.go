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
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/provider"
)

// distance is a network to the provider on which a request takes its time, by
// the simulated clock.
type distance struct {
	base  http.RoundTripper
	clock clockwork.Clock
	takes time.Duration
	gone  chan struct{} // when it is closed, nothing takes any time

	mu       sync.Mutex
	underWay map[*http.Request]time.Time // until when
}

func (d *distance) RoundTrip(request *http.Request) (*http.Response, error) {
	d.mu.Lock()
	arrives := d.clock.After(d.takes)
	d.underWay[request] = d.clock.Now().Add(d.takes)
	d.mu.Unlock()
	select {
	case <-arrives:
	case <-d.gone:
	}
	d.mu.Lock()
	delete(d.underWay, request)
	d.mu.Unlock()
	return d.base.RoundTrip(request)
}

// far returns how many requests do not arrive before the clock moves on.
func (d *distance) far() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	for _, until := range d.underWay {
		if now.Before(until) {
			n++
		}
	}
	return n
}

// An hour of steady traffic over companies whose tokens live for an hour: all
// of them are refreshed, at a provider that takes its time, and no request
// waits for it. The clock moves only when there is nothing left to do at its
// time, so a slow machine changes nothing.
func TestSteadyState(t *testing.T) {
	const (
		companies = 100
		atOnce    = 16 // the keeper's default
		step      = 250 * time.Millisecond
		every     = 5 * time.Second // a company is asked for
		steps     = int(every / step)
	)
	for name, age := range map[string]time.Duration{
		"tokens of every age":    40 * time.Minute / companies,
		"tokens of the same age": 0,
	} {
		t.Run(name, func(t *testing.T) {
			clock := clockwork.NewFakeClockAt(time.Now())
			w := newWorld(t, clock, intuittest.Behaviour{})
			far := &distance{
				base: provider.NewTransport(), clock: clock, takes: 300 * time.Millisecond,
				gone: make(chan struct{}), underWay: make(map[*http.Request]time.Time),
			}
			t.Cleanup(func() { close(far.gone) }) // the keeper waits for what is under way
			w.client.HTTP = far
			keys := crowd(w, companies)
			for i, key := range keys {
				r, err := w.keeper.Vault().Load(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				old := time.Duration(i) * age
				r.AccessIssuedAt, r.AccessExpiresAt = r.AccessIssuedAt.Add(-old), r.AccessExpiresAt.Add(-old)
				w.save(r)
				if _, err := w.keeper.Token(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
			// The clock would stand still for a request that waits, so none does.
			impatient, cancel := context.WithCancel(t.Context())
			cancel()
			requests := 0
			for now := range int((time.Hour + 5*time.Minute) / step) { // past the end of all first tokens
				for i := now % steps; i < companies; i += steps {
					s, err := w.keeper.Token(impatient, keys[i])
					if err != nil {
						t.Fatalf("after %v, with %d waits: %v", time.Duration(now)*step, w.keeper.Stats().Integrations["quickbooks"].Waits.Count, err)
					}
					if !clock.Now().Before(s.ExpiresAt()) {
						t.Fatal("a token that has ended was served")
					}
					requests++
				}
				for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Microsecond) {
					flights := w.keeper.Stats().Integrations["quickbooks"].Flights
					if far.far() == min(int(flights), atOnce) {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("%d refreshes do not get on", flights)
					}
				}
				clock.Advance(step)
			}
			stats := w.keeper.Stats().Integrations["quickbooks"]
			if stats.Waits.Count != 0 {
				t.Errorf("%d of %d requests waited for a refresh, %v in all", stats.Waits.Count, requests, stats.Waits.Sum)
			}
			if done := stats.Took.Count; done < companies || stats.Took.Sum < time.Duration(done)*far.takes {
				t.Errorf("%d refreshes in %v of %d companies", done, stats.Took.Sum, companies)
			}
			t.Logf("%d requests, %d refreshes, none of them waited for", requests, stats.Took.Count)
		})
	}
}
