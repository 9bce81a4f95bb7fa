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
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// write is a change of a record on its way to the store. If somebody else has
// stored something meanwhile, the change is made to that, as long as it fits.
type write struct {
	next   *tokenstore.Record
	change func(*tokenstore.Record)
	fits   func(stored *tokenstore.Record) bool
	// brought is the refresh token that only this write knows, if there is one.
	brought secret.String
}

// newWrite makes the change to a copy of the record.
func newWrite(r *tokenstore.Record, change func(*tokenstore.Record), fits func(*tokenstore.Record) bool) *write {
	w := &write{change: change, fits: fits}
	w.make(r)
	return w
}

func (w *write) make(r *tokenstore.Record) {
	next := *r
	w.change(&next)
	next.DueAt = dueAt(&next)
	w.next = &next
}

// samePair tells whether a record still holds the tokens that a flight set out
// with. Anything else in it may have changed: the flight's tokens must not be
// lost because somebody was warned meanwhile.
func samePair(base *tokenstore.Record) func(*tokenstore.Record) bool {
	epoch, generation, token := base.Epoch, base.Generation, base.RefreshToken
	return func(stored *tokenstore.Record) bool {
		return stored.Epoch == epoch && stored.Generation == generation && stored.RefreshToken.Equal(token)
	}
}

// overtakenError says that a write does not fit what is stored now, nil for
// nothing.
type overtakenError struct{ by *tokenstore.Record }

func (e *overtakenError) Error() string { return "the record has changed in the meantime" }

// writeTries bounds how often a write may lose against others.
const writeTries = 5

// store stores the write. The error is an *overtakenError if it must not be.
func (k *Keeper) store(ctx context.Context, w *write) error {
	for try := 1; ; try++ {
		err := k.save(ctx, w.next)
		if !errors.Is(err, tokenstore.ErrConflict) || try == writeTries {
			return err
		}
		stored, err := k.vault.Load(ctx, w.next.Key)
		switch {
		case errors.Is(err, tokenstore.ErrNotFound):
			return &overtakenError{}
		case err != nil:
			return err
		case !w.fits(stored):
			return &overtakenError{by: stored}
		}
		w.make(stored)
	}
}

// settle stores a write and publishes what is then true. If the store fails,
// the record is used all the same and kept in memory until it can be stored:
// the token that it supersedes may be dead.
func (k *Keeper) settle(ctx context.Context, c *connection, w *write) (*Snapshot, error) {
	err := k.store(ctx, w)
	var overtaken *overtakenError
	switch {
	case err == nil:
		return k.publish(c, w.next), nil
	case errors.As(err, &overtaken):
		return k.yield(ctx, c, w, overtaken.by)
	}
	c.mu.Lock()
	k.keepInMemory(c, w, err)
	c.mu.Unlock()
	return k.publish(c, w.next), nil
}

// yield gives way to what somebody else has stored: the write must not bring
// back what a human has ended or replaced.
func (k *Keeper) yield(ctx context.Context, c *connection, w *write, stored *tokenstore.Record) (*Snapshot, error) {
	switch {
	case stored == nil:
		k.revokeOrphan(w)
		return nil, k.forget(c)
	case stored.State == tokenstore.StateDisconnected && stored.Epoch == w.next.Epoch && !w.brought.Empty():
		return k.handOver(ctx, c, w, stored)
	}
	// After another authorization, what the write brought is dropped and not
	// revoked. At Intuit the revocation of any token ends the whole grant
	// (OAuth 2.0 guide: it "removes permissions"), and whether two consents of
	// one app and company are one grant or two is not documented: to revoke the
	// old token might end the new authorization, which nobody has asked for.
	// A provider that lets the old one live sees it end unused.
	if stored.Epoch > w.next.Epoch && !w.brought.Empty() {
		k.logger.Info("a refresh ended after a new authorization; its tokens are dropped", k.fields(stored)...)
	}
	snap := k.publish(c, stored)
	if k.dead(snap) {
		return nil, reauthorization(snap)
	}
	return snap, nil
}

// keepInMemory makes a record that could not be stored the truth, until it can
// be. The caller holds c.mu.
func (k *Keeper) keepInMemory(c *connection, w *write, err error) {
	k.logger.Error("new tokens could not be stored; they are kept in memory and the write is tried again",
		k.fields(w.next, zap.Error(err))...)
	k.trouble(w.next, TroubleNotStored, nil)
	k.setPending(c, w)
	go k.persist(c)
}

// setPending sets what is pending, and counts. The caller holds c.mu.
func (k *Keeper) setPending(c *connection, w *write) {
	switch {
	case c.pending == nil && w != nil:
		k.unsaved.Add(1)
	case c.pending != nil && w == nil:
		k.unsaved.Add(-1)
	}
	c.pending = w
}

const (
	persistFirst = 100 * time.Millisecond
	persistMost  = 10 * time.Second
)

// persist tries to store the pending record until it holds or the keeper is
// closed, which tries one last time.
func (k *Keeper) persist(c *connection) {
	for pause := persistFirst; ; pause = min(2*pause, persistMost) {
		select {
		case <-k.clock.After(pause):
		case <-k.life.Done():
			return
		}
		if k.begin() != nil {
			return
		}
		err := k.savePending(k.life, c)
		k.work.Done()
		if err == nil {
			k.logger.Info("the token store can be written again", zap.String("connection_hash", k.Pseudonym(c.key)))
			return
		}
		k.logger.Error("tokens still not stored", zap.String("connection_hash", k.Pseudonym(c.key)), zap.Error(err))
	}
}

// savePending stores what is pending, if there is anything.
func (k *Keeper) savePending(ctx context.Context, c *connection) error {
	// What overtakes it may leave something pending, too: it must not leave
	// memory in between.
	c.mu.Lock()
	c.users++
	c.mu.Unlock()
	defer c.letGo()
	w, err := k.storePending(ctx, c)
	var overtaken *overtakenError
	switch {
	case errors.As(err, &overtaken):
		// What is published does not matter to who wants it stored.
		_, _ = k.yield(ctx, c, w, overtaken.by)
	case err != nil:
		return fmt.Errorf("storing tokens that are only in memory: %w", err)
	}
	return nil
}

func (k *Keeper) storePending(ctx context.Context, c *connection) (*write, error) {
	// Not under c.mu: a disk that hangs must not hold up those who have a
	// valid token.
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	w := c.pending
	c.mu.Unlock()
	if w == nil {
		return nil, nil
	}
	err := k.store(ctx, w)
	var overtaken *overtakenError
	if err != nil && !errors.As(err, &overtaken) {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == w {
		k.setPending(c, nil)
	}
	return w, err
}

// lastTries is how often closing tries to store what could not be stored
// before: about six seconds in all, while a service manager waits.
const lastTries = 6

// saveAllPending stores what is only in memory, before memory goes away.
func (k *Keeper) saveAllPending() error {
	var err error
	for try, pause := 0, persistFirst; try < lastTries; try, pause = try+1, 2*pause {
		if try > 0 {
			time.Sleep(pause)
		}
		if err = k.tryAllPending(context.Background()); err == nil {
			return nil
		}
	}
	return err
}

// tryAllPending tries once to store what could not be stored before.
func (k *Keeper) tryAllPending(ctx context.Context) error {
	var errs []error
	k.connections.Range(func(_, value any) bool {
		if err := k.savePending(ctx, value.(*connection)); err != nil {
			errs = append(errs, err)
		}
		return true
	})
	return errors.Join(errs...)
}
