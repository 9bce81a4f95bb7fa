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
	census := Census{Integrations: make(map[string]IntegrationCensus), Damaged: damaged}
	now, next := k.clock.Now(), make(map[string]*row)
	for _, r := range order {
		name := r.integration.Value()
		one, known := census.Integrations[name]
		if !known {
			one = IntegrationCensus{States: make(map[tokenstore.State]int), Ending: make([]int, len(warnBefore))}
		}
		state := r.standing.Value().state
		one.States[state]++
		if ends := timeOf(r.authorizationExpires); !ends.IsZero() && (state == tokenstore.StateConnected || state == tokenstore.StateSuspect) {
			if first := next[name]; first == nil || r.authorizationExpires < first.authorizationExpires {
				next[name] = r
			}
			for i, before := range warnBefore {
				if ends.Sub(now) <= before {
					one.Ending[i]++
				}
			}
		}
		census.Integrations[name] = one
	}
	for name, r := range next {
		one := census.Integrations[name]
		one.Next = r.entry()
		census.Integrations[name] = one
	}
	return census, nil
}
