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

package freshbearer

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// metrics tells Caddy's metrics what is counted. docs/metrics.md documents
// every one of them.
//
// Each configuration registers its own in its own registry, as Caddy wants it.
// What they tell is counted by what configurations share, so a reload changes
// no count.
type metrics struct{ app *App }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("caddy", "freshbearer", name), help, labels, nil)
}

var (
	metricRequests     = describe("requests_total", "Requests by how they ended.", "integration", "outcome")
	metricReplays      = describe("replays_total", "Requests that were sent again with a newer token.", "integration")
	metricPaceWaiting  = describe("pacing_waiting", "Requests that wait because their company has sent too many.", "integration")
	metricPaceWaits    = describe("pacing_waits_total", "Requests that had to wait because their company had sent too many.", "integration")
	metricPaceWaited   = describe("pacing_wait_seconds_total", "How long they waited in all.", "integration")
	metricRefreshes    = describe("refreshes_total", "Refreshes by how they ended.", "integration", "outcome", "cause")
	metricRefreshTime  = describe("refresh_duration_seconds", "How long refreshes took, with all their tries.", "integration")
	metricRefreshWait  = describe("refresh_wait_seconds", "How long requests waited for a refresh.", "integration")
	metricFlights      = describe("refreshes_in_flight", "Refreshes under way or in line.", "integration")
	metricEvents       = describe("grant_events_total", "What happened to grants.", "integration", "event")
	metricDeaths       = describe("grant_deaths_total", "Grants that a human must repair, by what they died of.", "integration", "cause")
	metricGrants       = describe("grants", "Connections by state.", "integration", "state")
	metricNextEnd      = describe("authorization_next_end_timestamp_seconds", "When the first of the authorizations that work will end.", "integration")
	metricEnding       = describe("authorizations_ending", "Authorizations that work and end within some days.", "integration", "days")
	metricBreaker      = describe("breaker_state", "1 for the state that the provider's breaker is in.", "integration", "state")
	metricDamaged      = describe("store_damaged_records", "Records that cannot be read.")
	metricStoreWrites  = describe("store_write_seconds", "How long it took to store a record, durably.")
	metricStoreFailure = describe("store_write_failures_total", "Writes to the token store that failed.")
	metricUnsaved      = describe("store_unsaved_grants", "Connections whose tokens could not be stored yet and are only in memory.")
	metricHold         = describe("store_hold", "1 while the token store is on hold.")
)

// refreshEnds are the labels of grant.RefreshEnd.
var refreshEnds = [grant.RefreshEnds]struct{ outcome, cause string }{
	grant.RefreshSucceeded:     {"refreshed", ""},
	grant.RefreshRefused:       {"refused", "invalid_grant"},
	grant.RefreshUnanswered:    {"failed", "no_answer"},
	grant.RefreshUnusable:      {"failed", "no_usable_answer"},
	grant.RefreshClientRefused: {"failed", "client_refused"},
	grant.RefreshNotStarted:    {"not_started", "storage"},
}

var breakerPhases = [...]string{grant.BreakerClosed: "closed", grant.BreakerHalfOpen: "half_open", grant.BreakerOpen: "open"}

var grantStates = []tokenstore.State{
	tokenstore.StateConnected, tokenstore.StateSuspect, tokenstore.StateNeedsReauth, tokenstore.StateDisconnected, grant.StateRevokePending,
}

// Describe implements prometheus.Collector.
func (m metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		metricRequests, metricReplays, metricPaceWaiting, metricPaceWaits, metricPaceWaited, metricRefreshes, metricRefreshTime, metricRefreshWait, metricFlights, metricEvents, metricDeaths,
		metricGrants, metricNextEnd, metricEnding, metricBreaker,
		metricDamaged, metricStoreWrites, metricStoreFailure, metricUnsaved, metricHold,
	} {
		to <- d
	}
}

// Collect implements prometheus.Collector. Before the app has started there is
// nothing to tell.
func (m metrics) Collect(to chan<- prometheus.Metric) {
	k := m.app.running.Load()
	if k == nil {
		return
	}
	for name, in := range m.app.Integrations {
		for o := range outcome(allOutcomes) {
			to <- counter(metricRequests, in.requests.ended[o].Load(), name, o.String())
		}
		to <- counter(metricReplays, in.requests.replays.Load(), name)
		paced := in.pacer.Stats()
		to <- gauge(metricPaceWaiting, float64(paced.Waiting), name)
		to <- counter(metricPaceWaits, paced.Waits, name)
		to <- prometheus.MustNewConstMetric(metricPaceWaited, prometheus.CounterValue, paced.Waited.Seconds(), name)
	}
	s := k.Stats()
	for name, one := range s.Integrations {
		collectIntegration(to, name, one)
	}
	to <- histogram(metricStoreWrites, s.StoreWrites)
	to <- counter(metricStoreFailure, s.StoreFailures)
	to <- gauge(metricUnsaved, float64(s.Unsaved))
	to <- gauge(metricHold, truth(s.Hold))
	m.collectCensus(to, k, slices.Collect(maps.Keys(s.Integrations)))
}

func collectIntegration(to chan<- prometheus.Metric, name string, s grant.IntegrationStats) {
	for end, n := range s.Refreshes {
		to <- counter(metricRefreshes, n, name, refreshEnds[end].outcome, refreshEnds[end].cause)
	}
	for i, n := range s.Events {
		to <- counter(metricEvents, n, name, string(grant.EventTypes[i]))
	}
	for i, n := range s.Deaths {
		to <- counter(metricDeaths, n, name, string(grant.DeathCauses[i]))
	}
	to <- histogram(metricRefreshTime, s.Took, name)
	to <- histogram(metricRefreshWait, s.Waits, name)
	to <- gauge(metricFlights, float64(s.Flights), name)
	for phase, state := range breakerPhases {
		to <- gauge(metricBreaker, truth(grant.BreakerPhase(phase) == s.Breaker), name, state)
	}
}

// censusWait is how long a scrape waits for the list of connections, which is
// read from the store once. Until it is there, its metrics are not: a count of
// none would be wrong.
const censusWait = 2 * time.Second

func (m metrics) collectCensus(to chan<- prometheus.Metric, k *grant.Keeper, integrations []string) {
	ctx, cancel := context.WithTimeout(context.Background(), censusWait)
	defer cancel()
	census, err := k.Census(ctx)
	if err != nil {
		return
	}
	for name := range census.Integrations {
		if !slices.Contains(integrations, name) {
			integrations = append(integrations, name)
		}
	}
	to <- gauge(metricDamaged, float64(census.Damaged))
	for _, name := range integrations {
		one := census.Integrations[name]
		for _, state := range grantStates {
			to <- gauge(metricGrants, float64(one.States[state]), name, string(state))
		}
		if ends := one.Next.AuthorizationExpiresAt; !ends.IsZero() {
			to <- gauge(metricNextEnd, float64(ends.Unix()), name)
		}
		for i, before := range grant.WarnBefore() {
			n := 0
			if one.Ending != nil {
				n = one.Ending[i]
			}
			to <- gauge(metricEnding, float64(n), name, strconv.Itoa(int(before/(24*time.Hour))))
		}
	}
}

func counter(d *prometheus.Desc, n uint64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func histogram(d *prometheus.Desc, h grant.Histogram, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Buckets))
	for bound, n := range h.Buckets {
		buckets[bound.Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets, labels...)
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// Interface guards
var _ prometheus.Collector = metrics{}
