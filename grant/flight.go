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
	"fmt"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// flight is one refresh of one connection. All who need its outcome wait for
// it; nobody who waits can end it.
type flight struct {
	// turn is its place among the refreshes of all connections.
	turn *turn
	// recheck lets it try a grant that was pronounced dead.
	recheck recheck
	// span is its part of the trace of the request that started it.
	span trace.Span
	done chan struct{}
	// Written before done is closed.
	snapshot *Snapshot
	err      error
}

// slowRetry is what a caller is told that waited long enough for a flight
// which goes on.
const slowRetry = 2 * time.Second

// await joins the connection's flight, or starts one, and waits for it.
// seen is the snapshot that does not serve the caller.
func (k *Keeper) await(ctx context.Context, c *connection, seen *Snapshot) (*Snapshot, error) {
	timer := k.clock.NewTimer(k.opts.CallerWait)
	defer timer.Stop()
	for try := 1; ; try++ {
		f, newer, err := k.join(ctx, c, seen)
		for errors.Is(err, errRemoved) {
			if c, err = k.connection(ctx, c.key); err != nil {
				return nil, err
			}
			f, newer, err = k.join(ctx, c, c.snapshot.Load())
		}
		if f == nil {
			return newer, err
		}
		began := k.clock.Now()
		snap, err := waitFor(ctx, f, timer.Chan())
		k.meter(c.key.Integration).waits.observe(k.clock.Since(began))
		// One that was overtaken by a new authorization ends with what that
		// brought, which may have had its time, or be what does not serve the
		// caller: then it is worth a flight of its own.
		if err != nil || snap.usable(k.clock.Now()) && !snap.is(seen) {
			return snap, err
		}
		if seen = snap; try == awaitTries {
			return nil, &UnavailableError{Reason: ReasonProvider, RetryAfter: slowRetry, Err: errShortLived}
		}
	}
}

// awaitTries bounds how many flights a caller waits for.
const awaitTries = 2

var errShortLived = errors.New("the provider's access tokens expire before they can be used")

// waitFor waits for a flight, until the caller has waited long enough.
func waitFor(ctx context.Context, f *flight, enough <-chan time.Time) (*Snapshot, error) {
	select {
	case <-f.done:
		return f.snapshot, f.err
	case <-enough:
		return nil, &UnavailableError{Reason: ReasonSlow, RetryAfter: slowRetry}
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a refresh: %w", ctx.Err())
	}
}

// errRemoved says that the connection was looked up before it left the map.
var errRemoved = errors.New("the connection was removed in the meantime")

// join returns the flight to wait for, or the answer if none is needed.
func (k *Keeper) join(ctx context.Context, c *connection, seen *Snapshot) (*flight, *Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.removed {
		return nil, nil, errRemoved
	}
	if f := c.flight.Load(); f != nil {
		k.slots.hurry(f.turn)
		return f, nil, nil
	}
	// Check again under the lock: a flight may have landed in between.
	now := k.clock.Now()
	snap := c.snapshot.Load()
	if !snap.is(seen) && snap.usable(now) {
		return nil, snap, nil
	}
	if k.dead(snap) {
		return nil, nil, reauthorization(snap)
	}
	if e := c.backingOff(now); e != nil {
		return nil, nil, e
	}
	if e := k.pause(c.key.Integration, now); e != nil {
		return nil, nil, e
	}
	f, err := k.launch(ctx, c, true)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	return f, nil, nil
}

// dead tells whether only a human can help. Such a grant costs the provider no
// request, however many requests ask for it.
func (k *Keeper) dead(s *Snapshot) bool {
	switch s.State {
	case tokenstore.StateDisconnected:
		return true
	case tokenstore.StateNeedsReauth:
		// A wrong client is repaired by the operator: with the right one
		// configured again, the grant is worth another try.
		in := k.integration(s.Integration)
		return s.Cause != tokenstore.CauseWrongClient || in == nil || in.Client.ClientID == s.RefusedClient
	}
	return false
}

// refreshInBackground starts a flight if none is under way and nothing speaks
// against one.
func (k *Keeper) refreshInBackground(ctx context.Context, c *connection, seen *Snapshot, now time.Time) {
	// Without the lock: this is asked by every request inside the window.
	if k.dead(seen) || c.flight.Load() != nil || c.waits(now) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	snap := c.snapshot.Load()
	if c.removed || c.flight.Load() != nil || !snap.is(seen) || k.dead(snap) ||
		c.backingOff(now) != nil || k.pause(c.key.Integration, now) != nil {
		return
	}
	// An error means that the process is stopping, or that nothing may be
	// refreshed; the token at hand serves.
	_, _ = k.launch(ctx, c, false)
}

// launch starts a flight; urgent says that somebody waits for it. Of ctx it
// takes nothing but the trace. The caller holds c.mu.
func (k *Keeper) launch(ctx context.Context, c *connection, urgent bool) (*flight, error) {
	return k.launchFor(ctx, c, urgent, recheckNone)
}

// launchFor is launch, also for a grant that was pronounced dead. There is no
// other way to a refresh, so this is where a hold holds.
func (k *Keeper) launchFor(ctx context.Context, c *connection, urgent bool, again recheck) (*flight, error) {
	if err := k.held(); err != nil {
		return nil, err
	}
	// The lease is held until what the provider answers is durable: the store
	// is not closed under a flight.
	if err := k.begin(); err != nil {
		return nil, err
	}
	f := &flight{done: make(chan struct{}), turn: k.slots.enter(urgent), recheck: again, span: startSpan(ctx, c.key.Integration, urgent)}
	c.flight.Store(f)
	k.meter(c.key.Integration).flights.Add(1)
	go k.fly(c, f)
	return f, nil
}

// held returns an error while the store is on hold.
func (k *Keeper) held() error {
	if hold := k.Hold(); hold != nil {
		return &UnavailableError{Reason: ReasonHold, Err: fmt.Errorf("the token store is on hold, because it was %s", hold.Reason)}
	}
	return nil
}

func (k *Keeper) fly(c *connection, f *flight) {
	defer k.work.Done()
	defer k.meter(c.key.Integration).flights.Add(-1)
	defer k.slots.leave(f.turn)
	defer func() {
		if p := recover(); p != nil {
			k.logger.Error("panic in a refresh", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			f.snapshot = nil
			f.err = c.failed(k.clock.Now(), ReasonProvider, 0, fmt.Errorf("panic in a refresh"))
		}
		c.mu.Lock()
		c.flight.Store(nil)
		c.mu.Unlock()
		k.endSpan(c, f)
		close(f.done)
	}()
	// The line is not part of the flight's time, and stopping empties it.
	if err := k.slots.wait(k.accepting, f.turn); err != nil {
		f.err = unavailable(tokenstore.ErrClosed)
		return
	}
	// Put on hold while it stood in line. Who put it there waits for those that
	// have begun.
	if f.err = k.held(); f.err != nil {
		return
	}
	ctx, cancel := k.detached()
	defer cancel()
	began := k.clock.Now()
	defer func() { k.meter(c.key.Integration).took.observe(k.clock.Since(began)) }()
	f.snapshot, f.err = k.refresh(ctx, c, f.recheck)
}

// detached returns a context that no caller can end: one that hangs up must not
// cut off a refresh, because the provider may already have rotated the token.
// Nothing of a caller's is in it either; a trace of its request would see ours.
func (k *Keeper) detached() (context.Context, context.CancelFunc) {
	return context.WithTimeout(k.life, k.opts.FlightLimit)
}
