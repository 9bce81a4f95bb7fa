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

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// recheckAfter is when a grant that was pronounced dead is tried again, counted
// from then: verdicts can be wrong, and this costs nobody a visit. It is not
// tried more often, because refused requests are held against a client.
var recheckAfter = []time.Duration{10 * time.Minute, time.Hour, 24 * time.Hour}

// recheck is the right of a flight to try a grant that was pronounced dead.
type recheck int

const (
	recheckNone recheck = iota
	recheckIfDue
	recheckByHand
)

// mayRecheck tells whether a flight may try a grant that was pronounced dead.
func (k *Keeper) mayRecheck(again recheck, r *tokenstore.Record) bool {
	if r.State != tokenstore.StateNeedsReauth {
		return false
	}
	at := recheckAt(r)
	return again == recheckByHand || again == recheckIfDue && !at.IsZero() && !k.clock.Now().Before(at)
}

// recheckAt returns when a dead grant is tried again, zero for never.
func recheckAt(r *tokenstore.Record) time.Time {
	if r.Rechecks >= len(recheckAfter) {
		return time.Time{}
	}
	return r.Since.Add(recheckAfter[r.Rechecks])
}

// arm sees to it that a dead grant is tried again in time: the schedule looks
// only now and then.
func (k *Keeper) arm(r *tokenstore.Record) {
	at := recheckAt(r)
	if at.IsZero() {
		return
	}
	if wait := at.Sub(k.clock.Now()); wait < 2*lookEvery {
		k.clock.AfterFunc(max(wait, 0), func() { k.recheckDue(r.Key) })
	}
}

// recheckDue tries a dead grant again if its time has come.
func (k *Keeper) recheckDue(key tokenstore.Key) {
	if k.begin() != nil {
		return
	}
	r, err := k.vault.Load(k.accepting, key)
	k.work.Done()
	if err == nil && r.State == tokenstore.StateNeedsReauth {
		k.attendDead(k.accepting, r, k.clock.Now())
	}
}

// attendDead tries a dead grant again if its time has come, and else sees to
// it that this happens.
func (k *Keeper) attendDead(ctx context.Context, r *tokenstore.Record, now time.Time) <-chan struct{} {
	at := recheckAt(r)
	if at.IsZero() {
		return nil
	}
	if now.Before(at) {
		k.arm(r)
		return nil
	}
	c, err := k.lockLoaded(ctx, r.Key)
	if err != nil {
		return nil
	}
	defer c.mu.Unlock()
	snap := c.snapshot.Load()
	if f := c.flight.Load(); f != nil {
		return f.done
	}
	if c.pending != nil || snap.State != tokenstore.StateNeedsReauth {
		return nil
	}
	if k.otherClient(snap) || c.backingOff(now) != nil || k.pause(r.Integration, now) != nil {
		return nil // the next look of the schedule tries again
	}
	f, err := k.launchFor(ctx, c, false, recheckIfDue)
	if err != nil {
		return nil // the process is stopping
	}
	return f.done
}

// otherClient tells whether a dead grant is known to be one of another client
// than the one that is configured. Asking with the wrong one again proves
// nothing.
func (k *Keeper) otherClient(s *Snapshot) bool {
	in := k.integration(s.Integration)
	return in == nil || s.Cause == tokenstore.CauseWrongClient && s.ClientID != in.Client.ClientID
}

// stillDead ends a recheck that was refused.
func (k *Keeper) stillDead(ctx context.Context, c *connection, record *tokenstore.Record, refusal *provider.TokenError) (*Snapshot, error) {
	// One by hand before its time does not count.
	k.count(record.Integration, RefreshRefused)
	counts := k.mayRecheck(recheckIfDue, record)
	w := newWrite(record, func(next *tokenstore.Record) {
		if counts {
			next.Rechecks = record.Rechecks + 1
		}
		next.ProviderError, next.TraceID = refusal.Code, refusal.TraceID
		next.UnansweredSince = record.UnansweredSince
		next.NoteAgain(k.step("refused again", record, refusal))
	}, samePair(record))
	snap, err := k.settle(context.WithoutCancel(ctx), c, w)
	if err != nil {
		return nil, err
	}
	c.succeeded()
	if snap.State != tokenstore.StateNeedsReauth {
		return snap, nil
	}
	k.logger.Debug("a dead grant was tried again, and is dead", k.fields(w.next, zap.Int("rechecks", w.next.Rechecks))...)
	k.arm(w.next)
	return nil, reauthorization(snap)
}

// Recheck asks the provider about a grant, whatever is known of it: one that
// was pronounced dead and lives is healed. Errors are those of Token.
func (k *Keeper) Recheck(ctx context.Context, key tokenstore.Key) (*Snapshot, error) {
	f, err := k.recheck(ctx, key)
	if err != nil {
		return nil, err
	}
	timer := k.clock.NewTimer(k.opts.CallerWait)
	defer timer.Stop()
	return waitFor(ctx, f, timer.Chan())
}

func (k *Keeper) recheck(ctx context.Context, key tokenstore.Key) (*flight, error) {
	c, err := k.lockLoaded(ctx, key)
	if err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	snap := c.snapshot.Load()
	if f := c.flight.Load(); f != nil {
		k.slots.hurry(f.turn)
		return f, nil
	}
	if snap.State == tokenstore.StateDisconnected {
		return nil, reauthorization(snap)
	}
	c.notBefore.Store(0)
	f, err := k.launchFor(ctx, c, true, recheckByHand)
	if err != nil {
		return nil, unavailable(err)
	}
	return f, nil
}

// attendSuspect tries a suspect that a former process left.
func (k *Keeper) attendSuspect(ctx context.Context, key tokenstore.Key) <-chan struct{} {
	c, err := k.lockLoaded(ctx, key)
	if err != nil {
		return nil
	}
	defer c.mu.Unlock()
	if f := c.flight.Load(); f != nil {
		return f.done
	}
	now := k.clock.Now()
	if c.snapshot.Load().State != tokenstore.StateSuspect || c.backingOff(now) != nil || k.pause(key.Integration, now) != nil {
		return nil
	}
	f, err := k.launch(ctx, c, false)
	if err != nil {
		return nil // the process is stopping
	}
	return f.done
}
