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
	"runtime/debug"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// flight is one refresh of one connection. All who need its outcome wait for
// it; nobody who waits can end it.
type flight struct {
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
	f, newer, err := k.join(ctx, c, seen)
	if f == nil {
		return newer, err
	}
	timer := k.clock.NewTimer(k.opts.CallerWait)
	defer timer.Stop()
	select {
	case <-f.done:
		return f.snapshot, f.err
	case <-timer.Chan():
		return nil, &UnavailableError{Reason: ReasonSlow, RetryAfter: slowRetry}
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for a refresh: %w", ctx.Err())
	}
}

// join returns the flight to wait for, or the answer if none is needed.
func (k *Keeper) join(ctx context.Context, c *connection, seen *Snapshot) (*flight, *Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flight.Load(); f != nil {
		return f, nil, nil
	}
	// Check again under the lock: a flight may have landed in between.
	now := k.clock.Now()
	snap := c.snapshot.Load()
	if snap.Generation != seen.Generation && snap.usable(now) {
		return nil, snap, nil
	}
	if dead(snap.State) {
		return nil, nil, reauthorization(snap)
	}
	if e := c.backingOff(now); e != nil {
		return nil, nil, e
	}
	f, err := k.launch(ctx, c)
	if err != nil {
		return nil, nil, unavailable(err)
	}
	return f, nil, nil
}

// dead tells whether only a human can help. Such a grant costs the provider no
// request, however many requests ask for it.
func dead(state tokenstore.State) bool {
	return state == tokenstore.StateNeedsReauth || state == tokenstore.StateDisconnected
}

// refreshInBackground starts a flight if none is under way and nothing speaks
// against one.
func (k *Keeper) refreshInBackground(ctx context.Context, c *connection, seen *Snapshot, now time.Time) {
	// Without the lock: this is asked by every request inside the window.
	if dead(seen.State) || c.flight.Load() != nil || now.UnixNano() < c.notBefore.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	snap := c.snapshot.Load()
	if c.flight.Load() != nil || snap.Generation != seen.Generation || dead(snap.State) || c.backingOff(now) != nil {
		return
	}
	// An error means that the process is stopping; the token at hand serves.
	_, _ = k.launch(ctx, c)
}

// launch starts a flight. The caller holds c.mu.
func (k *Keeper) launch(ctx context.Context, c *connection) (*flight, error) {
	// The lease is held until what the provider answers is durable: the store
	// is not closed under a flight.
	if err := k.begin(); err != nil {
		return nil, err
	}
	f := &flight{done: make(chan struct{})}
	c.flight.Store(f)
	go k.fly(ctx, c, f)
	return f, nil
}

func (k *Keeper) fly(ctx context.Context, c *connection, f *flight) {
	defer k.work.Done()
	ctx, cancel := k.detach(ctx)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			k.logger.Error("panic in a refresh", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			f.snapshot = nil
			f.err = c.failed(k.clock.Now(), ReasonProvider, 0, fmt.Errorf("panic in a refresh"))
		}
		c.mu.Lock()
		c.flight.Store(nil)
		c.mu.Unlock()
		close(f.done)
	}()
	f.snapshot, f.err = k.refresh(ctx, c)
}

// detach returns a context that keeps the values of ctx (its trace) and
// nothing else: a caller that hangs up must not cut off a refresh, because the
// provider may already have rotated the token.
func (k *Keeper) detach(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.opts.FlightLimit)
	stop := context.AfterFunc(k.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}
