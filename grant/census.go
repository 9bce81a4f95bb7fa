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
	"context"
	"time"
	"unique"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Census is how many connections there are of each sort.
type Census struct {
	// Integrations holds those that have connections.
	Integrations map[string]IntegrationCensus
	// Damaged is how many records cannot be read, of all integrations.
	Damaged int
}

// IntegrationCensus is the part of a Census that belongs to an integration.
type IntegrationCensus struct {
	// States counts all connections by the state that people are told.
	States map[tokenstore.State]int
	// Next is the connection whose authorization will be the first to end, of
	// those that work; the zero Entry if no end is known.
	Next Entry
	// Ending counts the authorizations that work and end within each of
	// WarnBefore.
	Ending []int
}

// WarnBefore is how long before the end of an authorization people are told of
// it, the longest first.
func WarnBefore() []time.Duration { return append([]time.Duration(nil), warnBefore...) }

// Census counts the connections, as List finds them: the first question reads
// the store, and the next ones what is known since then. Its errors are those
// of List, and that of ctx.
func (k *Keeper) Census(ctx context.Context) (Census, error) {
	order, damaged, err := k.ordered(ctx)
	if err != nil {
		return Census{}, err
	}
	now := k.clock.Now()
	ending := make([]second, len(warnBefore))
	for i, before := range warnBefore {
		ending[i] = secondOf(now.Add(before))
	}
	counts := make(map[unique.Handle[string]]*integrationCount)
	var one *integrationCount
	var of unique.Handle[string]
	for i := range order {
		r := order[i].Load()
		// Most come after one of the same integration: there may be very many.
		if one == nil || r.integration != of {
			of = r.integration
			if one = counts[of]; one == nil {
				one = &integrationCount{ending: make([]int, len(warnBefore))}
				counts[of] = one
			}
		}
		one.add(r, ending)
	}
	census := Census{Integrations: make(map[string]IntegrationCensus, len(counts)), Damaged: damaged}
	for name, one := range counts {
		census.Integrations[name.Value()] = one.census()
	}
	return census, nil
}

// integrationCount is what becomes an IntegrationCensus.
type integrationCount struct {
	ranks  [len(ranked)]int
	next   *row
	ending []int
}

// add counts a row; ending are the ends of what is to be counted.
func (c *integrationCount) add(r *row, ending []second) {
	c.ranks[r.rank]++
	if state := ranked[r.rank]; r.authorizationExpires == 0 || state != tokenstore.StateConnected && state != tokenstore.StateSuspect {
		return
	}
	if c.next == nil || r.authorizationExpires < c.next.authorizationExpires {
		c.next = r
	}
	for i, end := range ending {
		if r.authorizationExpires <= end {
			c.ending[i]++
		}
	}
}

func (c *integrationCount) census() IntegrationCensus {
	census := IntegrationCensus{States: make(map[tokenstore.State]int), Ending: c.ending}
	for rank, n := range c.ranks {
		if n > 0 {
			census.States[ranked[rank]] += n
		}
	}
	if c.next != nil {
		census.Next = c.next.entry()
	}
	return census
}
