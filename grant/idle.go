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
	"sync"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// A connection that nobody uses leaves memory, and costs who asks for it next
// one read of the store. The sweep walks round all that are in memory, a few in
// each step. Whoever uses one marks it, with a write only if it has no mark; the
// sweep takes the marks away, and what has none for long enough goes.

const (
	// idleAfter is how long a connection that nobody uses stays in memory, at
	// least.
	idleAfter = time.Hour
	// idleStep is how often the sweep takes a step, and idleSteps how many
	// take it round: a connection goes half an hour late at most.
	idleStep  = time.Minute
	idleSteps = 30
)

// residents are the connections that are in memory and loaded.
type residents struct {
	mu sync.Mutex
	// all are in no order. The sweep has been at those before hand, and goes
	// through the others in steps more steps.
	all   []*connection
	hand  int
	steps int
}

func (r *residents) add(c *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.place = len(r.all)
	r.all = append(r.all, c)
}

// remove takes a connection out. Those that the sweep has been at stay before
// the hand, and the others behind it.
func (r *residents) remove(c *connection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, last := c.place, len(r.all)-1
	if at > last || r.all[at] != c {
		return // it never was loaded
	}
	if at < r.hand {
		r.hand--
		r.put(at, r.all[r.hand])
		at = r.hand
	}
	if at != last {
		r.put(at, r.all[last])
	}
	r.all[last] = nil
	r.all = r.all[:last]
	if cap(r.all) > 1024 && len(r.all) < cap(r.all)/4 {
		r.all = append(make([]*connection, 0, 2*len(r.all)), r.all...)
	}
}

func (r *residents) put(at int, c *connection) {
	r.all[at], c.place = c, at
}

// step returns the connections that are next.
func (r *residents) step() []*connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.steps == 0 {
		r.hand, r.steps = 0, idleSteps
	}
	n := (len(r.all) - r.hand + r.steps - 1) / r.steps
	next := append([]*connection(nil), r.all[r.hand:r.hand+n]...)
	r.hand += n
	r.steps--
	return next
}

// use marks the connection. Who asks again and again only reads.
func (c *connection) use() {
	if !c.used.Load() {
		c.used.Store(true)
	}
}

// sweep lets connections that nobody uses leave memory, until the keeper
// closes.
func (k *Keeper) sweep() {
	ticker := k.clock.NewTicker(idleStep)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.Chan():
			k.sweepStep()
		case <-k.accepting.Done():
			return
		}
	}
}

func (k *Keeper) sweepStep() {
	now := k.clock.Now()
	for _, c := range k.residents.step() {
		// Who has the lock uses it.
		if c.mu.TryLock() {
			if c.idle(now) {
				k.drop(c)
			}
			c.mu.Unlock()
		}
	}
}

// idle tells whether the connection can leave memory: nobody has used it for
// long, and all that is known of it is in the store. The caller holds mu.
func (c *connection) idle(now time.Time) bool {
	since := now.Sub(c.idleSince)
	if c.used.Swap(false) || since < 0 {
		c.idleSince = now // or the clock was set back
		return false
	}
	if since < idleAfter || c.removed || c.users > 0 || c.flight.Load() != nil || c.pending != nil {
		return false
	}
	// What no store knows: failures and their backoff, and refreshes that were
	// forced.
	if c.failures > 0 || c.failure != nil || c.waits(now) ||
		recent(c.lastForced, now) || recent(c.lastFruitless, now) || recent(c.lastByHand, now) {
		return false
	}
	// That a token was refused before its time, while that lasts; and suspects
	// wait in memory for their turn.
	snap := c.snapshot.Load()
	return snap.State != tokenstore.StateSuspect && (snap.expiresAt.Equal(snap.issuedAt.Add(snap.life)) || !now.Before(snap.issuedAt.Add(snap.life)))
}

// drop takes the connection out of memory: whoever looks it up again gets
// another one. The caller holds c.mu.
func (k *Keeper) drop(c *connection) {
	c.removed = true
	k.connections.CompareAndDelete(c.key, c)
	k.residents.remove(c)
}

// lockLoaded is connection with mu held.
func (k *Keeper) lockLoaded(ctx context.Context, key tokenstore.Key) (*connection, error) {
	for {
		c, err := k.connection(ctx, key)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		if !c.removed {
			return c, nil
		}
		c.mu.Unlock() // it has left the map, so this ends
	}
}

// keep is connection for who works with it without a flight: it stays in memory
// until it is let go.
func (k *Keeper) keep(ctx context.Context, key tokenstore.Key) (*connection, error) {
	c, err := k.lockLoaded(ctx, key)
	if err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	c.users++
	return c, nil
}

func (c *connection) letGo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users--
}
