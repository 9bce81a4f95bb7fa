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
	"fmt"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// AttendDue lets tests look when they like, and not once an hour.
func (k *Keeper) AttendDue(ctx context.Context) error { return k.attendDue(ctx) }

// Arrivals lets tests see how many callbacks are remembered.
func (k *Keeper) Arrivals() (n int) {
	k.arrivals.Range(func(any, any) bool { n++; return true })
	return n
}

// Save lets tests store a record as the keeper does.
func (k *Keeper) Save(ctx context.Context, r *tokenstore.Record) error { return k.save(ctx, r) }

// Remove lets tests delete a record as the keeper does.
func (k *Keeper) Remove(ctx context.Context, r *tokenstore.Record) error { return k.remove(ctx, r) }

// Sources lets tests see how many addresses are remembered.
func (k *Keeper) Sources() int {
	k.starts.mu.Lock()
	defer k.starts.mu.Unlock()
	return len(k.starts.from)
}

// SweepRound lets tests have the sweep go round when they like.
func (k *Keeper) SweepRound() {
	for range idleSteps {
		k.sweepStep()
	}
}

// IdleAfter is how long a connection that nobody uses stays in memory.
const IdleAfter = idleAfter

// Residents lets tests see how many connections are in memory.
func (k *Keeper) Residents() (n int) {
	k.connections.Range(func(any, any) bool { n++; return true })
	if listed := len(k.residents.all); listed != n {
		panic(fmt.Sprintf("%d connections are in memory, and %d are listed", n, listed))
	}
	return n
}
