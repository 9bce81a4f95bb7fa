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

	"github.com/freshbearer/freshbearer/tokenstore"
)

// settle stores a record and publishes what is then true. If the store fails,
// the record is used all the same and kept in memory until it can be stored:
// the token that it supersedes may be dead.
func (k *Keeper) settle(ctx context.Context, c *connection, next *tokenstore.Record) (*Snapshot, error) {
	next.DueAt = dueAt(next)
	err := k.vault.Save(ctx, next)
	switch {
	case err == nil:
		return k.publish(c, next), nil
	case errors.Is(err, tokenstore.ErrConflict):
		// Reconnected, disconnected or refreshed by someone else in the
		// meantime: theirs counts, and what this flight brought is dropped.
		stored, err := k.vault.Load(ctx, c.key)
		if errors.Is(err, tokenstore.ErrNotFound) {
			return nil, k.forget(c)
		}
		if err != nil {
			return nil, unavailable(err)
		}
		return k.publish(c, stored), nil
	}
	c.mu.Lock()
	k.keepInMemory(c, next, err)
	c.mu.Unlock()
	return k.publish(c, next), nil
}

// keepInMemory makes a record that could not be stored the truth, until it can
// be. The caller holds c.mu.
func (k *Keeper) keepInMemory(c *connection, record *tokenstore.Record, err error) {
	k.logger.Error("new tokens could not be stored; they are kept in memory and the write is tried again",
		k.fields(record, zap.Error(err))...)
	c.pending = record
	go k.persist(c)
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

// savePending stores the pending record, if there is one.
func (k *Keeper) savePending(ctx context.Context, c *connection) error {
	// Not under c.mu: a disk that hangs must not hold up those who have a
	// valid token.
	c.saving.Lock()
	defer c.saving.Unlock()
	c.mu.Lock()
	record := c.pending
	c.mu.Unlock()
	if record == nil {
		return nil
	}
	err := k.vault.Save(ctx, record)
	if errors.Is(err, tokenstore.ErrConflict) {
		// Either a write that was reported as failed did happen, or someone
		// else stored something newer. Both are the truth now.
		err = nil
	}
	if err != nil {
		return fmt.Errorf("storing tokens that are only in memory: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == record {
		c.pending = nil
	}
	return nil
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
		var errs []error
		k.connections.Range(func(_, value any) bool {
			if err := k.savePending(context.Background(), value.(*connection)); err != nil {
				errs = append(errs, err)
			}
			return true
		})
		if err = errors.Join(errs...); err == nil {
			return nil
		}
	}
	return err
}
