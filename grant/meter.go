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

package grant

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// RefreshEnd says how a refresh ended, or that it could not begin.
type RefreshEnd uint8

// How a refresh can end.
const (
	// RefreshSucceeded: it brought new tokens.
	RefreshSucceeded RefreshEnd = iota
	// RefreshRefused: the provider refused the grant.
	RefreshRefused
	// RefreshUnanswered: there was no answer.
	RefreshUnanswered
	// RefreshUnusable: the answer tells nothing of the grant.
	RefreshUnusable
	// RefreshClientRefused: the provider refused the operator's client.
	RefreshClientRefused
	// RefreshNotStarted: the store could not be written, so no token was spent.
	RefreshNotStarted

	// RefreshEnds is how many there are.
	RefreshEnds = iota
)

// DeathCauses are what a grant can die of, in an order that stays.
var DeathCauses = []tokenstore.Cause{
	tokenstore.CauseRefreshTokenExpired, tokenstore.CauseAuthorizationExpired, tokenstore.CauseRevokedOrReplaced,
	tokenstore.CauseRefreshResponseLost, tokenstore.CauseWrongClient,
}

// BreakerPhase says whether refreshes are let through to a provider.
type BreakerPhase uint8

// The phases of a breaker.
const (
	// BreakerClosed: all are.
	BreakerClosed BreakerPhase = iota
	// BreakerHalfOpen: few are, until they have gone well.
	BreakerHalfOpen
	// BreakerOpen: none is, because the provider does not answer.
	BreakerOpen
)

// Stats are what a keeper has counted since it began, and what is the case now.
type Stats struct {
	// Integrations holds those that are configured or have been counted for.
	Integrations map[string]IntegrationStats
	// StoreWrites are how long it took to store records and intents, durably.
	// StoreFailures is how many of these writes have failed.
	StoreWrites   Histogram
	StoreFailures uint64
	// Unsaved is how many connections have tokens that are only in memory.
	Unsaved int
	// Hold tells whether the store is on hold.
	Hold bool
}

// IntegrationStats are the part of Stats that belongs to an integration.
type IntegrationStats struct {
	// Refreshes counts refreshes by their end.
	Refreshes [RefreshEnds]uint64
	// Events counts what happened to grants, in the order of EventTypes; Deaths
	// counts the EventNeedsReauth among them, in the order of DeathCauses.
	Events, Deaths []uint64
	// Flights is how many refreshes are under way or in line.
	Flights int64
	// Took are how long the refreshes took, with all their tries, but without
	// the time in line. Waits are how long callers waited for one.
	Took, Waits Histogram
	Breaker     BreakerPhase
}

// Stats returns what was counted. It reads memory only.
func (k *Keeper) Stats() Stats {
	s := Stats{
		Integrations: make(map[string]IntegrationStats),
		StoreWrites:  k.stored.read(), StoreFailures: k.notStored.Load(),
		Unsaved: k.Unsaved(), Hold: k.Hold() != nil,
	}
	configured := *k.integrations.Load()
	for name := range configured {
		k.meter(name)
	}
	k.meters.Range(func(name, value any) bool {
		one := value.(*meter).read()
		if in := configured[name.(string)]; in != nil {
			one.Breaker = k.breaker(in).phase()
		}
		s.Integrations[name.(string)] = one
		return true
	})
	return s
}

// meter counts for an integration.
type meter struct {
	ends           [RefreshEnds]atomic.Uint64
	events, deaths []atomic.Uint64
	flights        atomic.Int64
	took, waits    histogram
}

// meter returns the integration's. There are as many as there are integrations
// in the configuration and in the store.
func (k *Keeper) meter(integration string) *meter {
	v, ok := k.meters.Load(integration)
	if !ok {
		v, _ = k.meters.LoadOrStore(integration, &meter{
			events: make([]atomic.Uint64, len(EventTypes)), deaths: make([]atomic.Uint64, len(DeathCauses)),
		})
	}
	return v.(*meter)
}

func (m *meter) read() IntegrationStats {
	s := IntegrationStats{
		Events: readAll(m.events), Deaths: readAll(m.deaths),
		Flights: m.flights.Load(), Took: m.took.read(), Waits: m.waits.read(),
	}
	copy(s.Refreshes[:], readAll(m.ends[:]))
	return s
}

func readAll(counters []atomic.Uint64) []uint64 {
	counts := make([]uint64, len(counters))
	for i := range counters {
		counts[i] = counters[i].Load()
	}
	return counts
}

// happened counts an event, which is stored.
func (m *meter) happened(e Event) {
	if i := slices.Index(EventTypes, e.Type); i >= 0 {
		m.events[i].Add(1)
	}
	if e.Type != EventNeedsReauth {
		return
	}
	if i := slices.Index(DeathCauses, e.Cause); i >= 0 {
		m.deaths[i].Add(1)
	}
}

// histogramBounds suit a write to a disk as well as a refresh with its retries.
var histogramBounds = [...]time.Duration{
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond,
	50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
}

// Histogram is how often something took how long.
type Histogram struct {
	Count uint64
	Sum   time.Duration
	// Buckets maps an upper bound to how many took no longer than that.
	Buckets map[time.Duration]uint64
}

type histogram struct {
	// The last one is for what took longer than all bounds.
	buckets [len(histogramBounds) + 1]atomic.Uint64
	sum     atomic.Int64
}

func (h *histogram) observe(d time.Duration) {
	d = max(d, 0) // a clock that was set back
	i, _ := slices.BinarySearch(histogramBounds[:], d)
	h.buckets[i].Add(1)
	h.sum.Add(int64(d))
}

func (h *histogram) read() Histogram {
	r := Histogram{Sum: time.Duration(h.sum.Load()), Buckets: make(map[time.Duration]uint64, len(histogramBounds))}
	for i := range h.buckets {
		r.Count += h.buckets[i].Load()
		if i < len(histogramBounds) {
			r.Buckets[histogramBounds[i]] = r.Count
		}
	}
	return r
}
