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
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Recover resolves the intents that a death of the process left open: whether
// the provider rotated the token is unknown, so the record says that a request
// went unanswered, and a refresh is tried at once, while a grace time may
// still run. While the store is on hold it does nothing: Release does it.
// Call it once, after the first Attach.
func (k *Keeper) Recover(ctx context.Context) error {
	if k.Hold() != nil {
		return nil
	}
	if err := k.begin(); err != nil {
		return err
	}
	defer k.work.Done()
	intents, err := k.vault.Intents(ctx)
	var damaged *tokenstore.DamagedError
	switch {
	case errors.As(err, &damaged):
		// One that cannot be read costs its connection an explanation, if the
		// worst comes to the worst; it must not cost the others their start.
		k.logger.Error("some open intents cannot be read", zap.Error(err))
	case err != nil:
		return fmt.Errorf("reading open intents: %w", err)
	}
	for _, intent := range intents {
		err := k.recoverIntent(ctx, intent)
		switch {
		case err == nil:
		case errors.As(err, &damaged), errors.Is(err, tokenstore.ErrConflict):
			// As above; and a conflict means that a flight has seen to it.
			k.logger.Error("an open intent cannot be resolved", zap.String("integration", intent.Integration),
				zap.String("connection_hash", k.Pseudonym(intent.Key)), zap.Error(err))
		default:
			return fmt.Errorf("resolving an open intent: %w", err)
		}
	}
	return nil
}

func (k *Keeper) recoverIntent(ctx context.Context, intent tokenstore.Intent) error {
	c := k.lockConnection(intent.Key)
	defer c.mu.Unlock()
	if c.flight.Load() != nil {
		return nil // a request was faster; the flight clears the intent
	}
	record, err := k.vault.Load(ctx, intent.Key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		k.drop(c)
		return k.vault.ClearIntent(ctx, intent.Key)
	}
	if err != nil {
		return err
	}
	if record.Epoch != intent.Epoch || record.Generation != intent.Generation {
		return k.vault.ClearIntent(ctx, intent.Key)
	}
	if record.UnansweredSince.IsZero() {
		record.UnansweredSince = intent.Time
	}
	record.Note(tokenstore.HistoryEntry{Time: k.clock.Now(), Event: "interrupted refresh found", Generation: record.Generation})
	// Save closes the intent; from here on the record itself remembers.
	if err := k.save(ctx, record); err != nil {
		return err
	}
	k.publish(c, record)
	k.logger.Warn("the process ended in mid refresh; refreshing again", k.fields(record, zap.Time("interrupted", intent.Time))...)
	_, err = k.launch(ctx, c, true)
	return err
}

// Pseudonym names a connection in logs and metrics without naming the
// customer. It is the same for the life of the store.
func (k *Keeper) Pseudonym(key tokenstore.Key) string {
	mac := hmac.New(sha256.New, k.pseudonymKey)
	fmt.Fprintf(mac, "%d:%s%s", len(key.Integration), key.Integration, key.Connection)
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
