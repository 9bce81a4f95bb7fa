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
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Hold returns why the store is on hold, nil if it is not. On hold, access
// tokens that are valid are handed out, and humans can authorize, but nothing
// is refreshed, touched, recovered or revoked: see tokenstore.Hold.
func (k *Keeper) Hold() *tokenstore.Hold { return k.vault.Hold() }

// PutOnHold puts the store on hold, durably, and returns when no refresh is under
// way any more. It returns the hold: the one that there was, if the store was on
// hold before, and fresh is false. After an error with a hold the store is on
// hold, but a refresh may still be under way.
func (k *Keeper) PutOnHold(ctx context.Context, reason tokenstore.HoldReason) (hold *tokenstore.Hold, fresh bool, err error) {
	if err := k.begin(); err != nil {
		return nil, false, err
	}
	defer k.work.Done()
	hold, fresh, err = k.hold(ctx, reason)
	if err != nil {
		return nil, false, err
	}
	return hold, fresh, k.landed(ctx)
}

func (k *Keeper) hold(ctx context.Context, reason tokenstore.HoldReason) (hold *tokenstore.Hold, fresh bool, err error) {
	k.releasing.Lock()
	defer k.releasing.Unlock()
	if hold := k.Hold(); hold != nil {
		return hold, false, nil
	}
	// Before the hold is seen: who sees it waits for this channel.
	released := make(chan struct{})
	before := k.released.Swap(&released)
	if hold, err = k.vault.PutOnHold(ctx, reason, k.clock.Now()); err != nil {
		k.released.Store(before)
		close(released)
		return nil, false, err
	}
	k.logger.Warn("the token store was put on hold; no token is refreshed", holdFields(hold)...)
	return hold, true, nil
}

// landed waits until no refresh is under way that began before the hold.
func (k *Keeper) landed(ctx context.Context) (err error) {
	k.connections.Range(func(_, value any) bool {
		c := value.(*connection)
		// Who starts a flight looks for a hold under the lock.
		c.mu.Lock()
		f := c.flight.Load()
		c.mu.Unlock()
		if f == nil {
			return true
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			err = fmt.Errorf("waiting for a refresh: %w", ctx.Err())
		}
		return err == nil
	})
	return err
}

// Release ends the hold, durably. What Recover and Watch would have done at the
// start is done then. It returns the hold that it ended, nil if there was none.
// Call it when a human has made sure that nobody else refreshes these grants.
func (k *Keeper) Release(ctx context.Context) (*tokenstore.Hold, error) {
	if err := k.begin(); err != nil {
		return nil, err
	}
	defer k.work.Done()
	k.releasing.Lock()
	defer k.releasing.Unlock()
	hold, err := k.vault.Release(ctx)
	if hold == nil || err != nil {
		return nil, err
	}
	defer close(*k.released.Load())
	k.logger.Warn("the token store was released from its hold; tokens are refreshed again", holdFields(hold)...)
	// The hold has ended, so the caller's end must not end this. What cannot be
	// recovered now is at the next start.
	if err := k.Recover(context.WithoutCancel(ctx)); err != nil {
		k.logger.Error("recovering after the hold", zap.Error(err))
	}
	return hold, nil
}

// remindEvery is how often the log says that the store is on hold.
const remindEvery = time.Hour

// awaitRelease returns true when the store is not on hold, and false when the
// keeper closes before that. Meanwhile it says so in the log.
func (k *Keeper) awaitRelease() bool {
	if k.Hold() == nil {
		return true
	}
	ticker := k.clock.NewTicker(remindEvery)
	defer ticker.Stop()
	for {
		released := *k.released.Load()
		if hold := k.Hold(); hold != nil {
			k.logger.Error("the token store is on hold, because it was "+string(hold.Reason)+": no token is refreshed. To go on, "+
				hold.Advice()+", and then run: caddy freshbearer resume", holdFields(hold)...)
		}
		select {
		case <-released:
			return true
		case <-ticker.Chan():
		case <-k.accepting.Done():
			return false
		}
	}
}

func holdFields(hold *tokenstore.Hold) []zap.Field {
	fields := []zap.Field{zap.String("reason", string(hold.Reason)), zap.Time("since", hold.Since)}
	if !hold.BackupAt.IsZero() {
		fields = append(fields, zap.Time("backup_at", hold.BackupAt))
	}
	return fields
}

// Backup writes a backup of the store, consistent in itself, while it is used.
// It ends early with ctx, and when the keeper closes; w must not block for
// ever, because closing waits for it.
func (k *Keeper) Backup(ctx context.Context, w io.Writer) error {
	if err := k.begin(); err != nil {
		return err
	}
	defer k.work.Done()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(k.accepting, stop)()
	if err := k.tryAllPending(ctx); err != nil {
		// A backup without them is better than none, above all then.
		k.logger.Error("backing up a store that lacks tokens which are only in memory", zap.Error(err))
	}
	if err := k.vault.Backup(ctx, w, k.clock.Now()); err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	return nil
}
