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
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// connection is the process's one view of a connection.
type connection struct {
	key      tokenstore.Key
	snapshot atomic.Pointer[Snapshot]

	// flight is the refresh under way, nil if there is none. It is set under
	// mu, and read without it where a stale answer does no harm.
	flight atomic.Pointer[flight]

	// used is set by who looks the connection up, and cleared by the sweep.
	used atomic.Bool

	mu sync.Mutex
	// users is how many hold it without a flight.
	users int
	// idleSince is when the sweep last found it used; place is its place among
	// the residents, and theirs.
	idleSince time.Time
	place     int
	// removed is set when the connection leaves the keeper's map: whoever
	// still holds it must look it up again, or there could be two flights.
	removed bool
	// pending is what could not be stored yet. While it is set it is the truth,
	// and the store is behind.
	pending *write
	// saving is held while pending is being stored.
	saving sync.Mutex

	// failures in a row, and when the next try may start.
	failures  int
	failure   *UnavailableError
	notBefore atomic.Int64 // Unix nanoseconds

	// lastForced is when a refusal last drove a refresh, lastFruitless when one
	// that did was refused again.
	lastForced, lastFruitless time.Time
	// lastByHand is when a human, or an app, last began a refresh.
	lastByHand time.Time
}

// connection returns the connection, loaded from the vault if need be. There
// is at most one per key, so that there is at most one flight.
func (k *Keeper) connection(ctx context.Context, key tokenstore.Key) (*connection, error) {
	if v, ok := k.connections.Load(key); ok {
		if c := v.(*connection); c.snapshot.Load() != nil {
			c.use()
			return c, nil
		}
	}
	return k.loadConnection(ctx, key)
}

func (k *Keeper) loadConnection(ctx context.Context, key tokenstore.Key) (*connection, error) {
	c := k.lockConnection(key)
	defer c.mu.Unlock()
	if c.snapshot.Load() != nil {
		return c, nil
	}
	record, err := k.load(ctx, key)
	if err != nil {
		// An unknown connection leaves no trace in memory: callers choose the
		// names.
		k.drop(c)
		return nil, err
	}
	k.publish(c, record)
	return c, nil
}

// lockConnection returns the key's connection, new if need be, with mu held.
func (k *Keeper) lockConnection(key tokenstore.Key) *connection {
	for {
		v, ok := k.connections.Load(key)
		if !ok {
			// A caller's name is a part of its request, which must not stay with it.
			key = tokenstore.Key{Integration: strings.Clone(key.Integration), Connection: strings.Clone(key.Connection)}
			v, _ = k.connections.LoadOrStore(key, &connection{key: key})
		}
		c := v.(*connection)
		c.mu.Lock()
		if !c.removed {
			return c
		}
		c.mu.Unlock()
	}
}

// load reads the record, and says in the keeper's words what is wrong if it
// cannot.
func (k *Keeper) load(ctx context.Context, key tokenstore.Key) (*tokenstore.Record, error) {
	if err := k.begin(); err != nil {
		return nil, unavailable(err)
	}
	defer k.work.Done()
	record, err := k.vault.Load(ctx, key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, &ReauthorizationError{Key: key, Cause: tokenstore.CauseNeverConnected}
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return record, nil
}

// storageRetry is what a caller is told to wait when the store fails.
const storageRetry = 5 * time.Second

func unavailable(err error) *UnavailableError {
	var e *UnavailableError
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, tokenstore.ErrClosed) {
		return &UnavailableError{Reason: ReasonClosed, RetryAfter: time.Second, Err: err}
	}
	return &UnavailableError{Reason: ReasonStorage, RetryAfter: storageRetry, Err: err}
}

// publish makes a record what requests see. It never goes back to an older
// generation.
func (k *Keeper) publish(c *connection, record *tokenstore.Record) *Snapshot {
	in := k.integration(record.Integration)
	for {
		old := c.snapshot.Load()
		if old.after(record) {
			return old
		}
		snap := newSnapshot(record, in, old)
		if c.snapshot.CompareAndSwap(old, snap) {
			if old == nil {
				c.use()
				k.residents.add(c)
			}
			return snap
		}
	}
}

// mayForce tells whether the refusal of a token may drive a refresh, and marks
// the token as dead if so. The caller holds mu.
func (c *connection) mayForce(refused *Snapshot, now time.Time) bool {
	snap := c.snapshot.Load()
	if !snap.is(refused) || c.flight.Load() != nil || !snap.usable(now) {
		return true // somebody else has seen to it: wait for that
	}
	// Some requests may be accepted while others never are: then refreshes do
	// not help either.
	doubtful := !refused.accepted.Load() || recent(c.lastFruitless, now)
	if doubtful && recent(c.lastForced, now) {
		return false
	}
	c.lastForced = now
	c.snapshot.CompareAndSwap(snap, snap.refused(now))
	return true
}

// recent tells whether a moment is less than forcedInterval away. After a jump
// of the clock into the past nothing is.
func recent(t, now time.Time) bool {
	ago := now.Sub(t)
	return !t.IsZero() && ago >= 0 && ago < forcedInterval
}

const (
	backoffFirst = time.Second
	backoffMost  = 5 * time.Minute

	// longestWait is the longest that a provider may ask for. If there is more
	// to wait, the clock was set back.
	longestWait = time.Hour + time.Minute
)

// failed notes a failure and when the next try may start: exponential backoff
// with full jitter, or what the provider asked for.
func (c *connection) failed(now time.Time, reason Reason, wait time.Duration, err error) *UnavailableError {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := backoffMost
	if c.failures < 9 {
		most = min(backoffMost, backoffFirst<<c.failures)
	}
	c.failures++
	if wait == 0 {
		wait = backoffFirst/2 + time.Duration(rand.Int64N(int64(most)))
	}
	c.failure = &UnavailableError{Reason: reason, Err: err}
	if reason != ReasonClientRefused && reason != ReasonHosts {
		c.failure.RetryAfter = wait
	}
	c.notBefore.Store(now.Add(wait).UnixNano())
	return c.failure
}

// suspectPause is how long requests do not try a suspect. It is tried by
// itself, much earlier.
const suspectPause = time.Hour

// suspended notes that the grant is suspect.
func (c *connection) suspended(now time.Time, incident *provider.Incident, err error) *UnavailableError {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failure = &UnavailableError{Reason: ReasonSuspect, RetryAfter: suspectEvery, Incident: incident, Err: err}
	c.notBefore.Store(now.Add(suspectPause).UnixNano())
	e := *c.failure
	return &e
}

func (c *connection) succeeded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.failure = 0, nil
	c.notBefore.Store(0)
}

// waits tells, without the lock, whether the next try may not start yet.
func (c *connection) waits(now time.Time) bool {
	wait := time.Duration(c.notBefore.Load() - now.UnixNano())
	return wait > 0 && wait <= longestWait
}

// backingOff returns the error of the last failure while its wait lasts.
// The caller holds mu.
func (c *connection) backingOff(now time.Time) *UnavailableError {
	wait := time.Unix(0, c.notBefore.Load()).Sub(now)
	if c.failure == nil || wait <= 0 || wait > longestWait {
		return nil
	}
	e := *c.failure
	if e.RetryAfter != 0 {
		e.RetryAfter = wait
	}
	if e.Reason == ReasonSuspect {
		e.RetryAfter = min(wait, suspectEvery)
	}
	return &e
}
