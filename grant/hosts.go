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
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// bound tells whether tokens that may go to some hosts may go to all that are
// configured. The error names one that they may not.
func bound(to, configured []string) error {
	for _, host := range configured {
		if !slices.Contains(to, host) {
			return fmt.Errorf("the configuration sends tokens to %s, which this connection's are not bound to; "+
				"if that is meant, run: caddy freshbearer rebind", host)
		}
	}
	return nil
}

// Bound tells whether the snapshot's token may go to all the hosts that are
// configured: see Integration.Hosts. The error is an *UnavailableError with
// ReasonHosts.
func (s *Snapshot) Bound(configured []string) error {
	if err := bound(s.hosts, configured); err != nil {
		return &UnavailableError{Reason: ReasonHosts, Err: err}
	}
	return nil
}

// rebindAtOnce is how many records are bound at once; they share synced writes.
const rebindAtOnce = 32

// Rebind binds the tokens of all connections of the integrations that are
// configured to the hosts that are, and returns how many were bound to others.
// Call it when a human has said that these hosts are meant. What could not be
// written is in the error, and can be bound by another call.
func (k *Keeper) Rebind(ctx context.Context) (int, error) {
	var (
		rebound, failed atomic.Int64
		last            atomic.Pointer[error]
		group           errgroup.Group
	)
	group.SetLimit(rebindAtOnce)
	damaged, err := k.Inspect(ctx, func(r *tokenstore.Record) {
		in := k.integration(r.Integration)
		if in == nil || slices.Equal(r.Hosts, in.Hosts) {
			return
		}
		group.Go(func() error {
			if err := k.rebind(ctx, r.Key, in.Hosts); err != nil {
				failed.Add(1)
				last.Store(&err)
				return nil
			}
			rebound.Add(1)
			return nil
		})
	})
	_ = group.Wait()
	if n := failed.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d connections could not be bound, one because: %w", n, *last.Load()))
	}
	if damaged > 0 {
		k.logger.Error("records that cannot be read are bound to nothing new", zap.Int("records", damaged))
	}
	return int(rebound.Load()), err
}

func (k *Keeper) rebind(ctx context.Context, key tokenstore.Key, hosts []string) error {
	if err := k.begin(); err != nil {
		return err
	}
	defer k.work.Done()
	for {
		c := k.lockConnection(key)
		if f := c.flight.Load(); f != nil {
			// To save the record would close the intent that the flight opened.
			c.mu.Unlock()
			select {
			case <-f.done:
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if c.pending != nil {
			c.mu.Unlock()
			if err := k.savePending(ctx, c); err != nil {
				return err
			}
			continue
		}
		err := k.rebindLocked(ctx, c, hosts)
		if c.snapshot.Load() == nil {
			// It was not in memory, and need not be.
			k.drop(c)
		}
		c.mu.Unlock()
		if !errors.Is(err, tokenstore.ErrConflict) {
			return err
		}
	}
}

// rebindLocked stores the hosts. The caller holds c.mu, and no flight is under
// way.
func (k *Keeper) rebindLocked(ctx context.Context, c *connection, hosts []string) error {
	record, err := k.vault.Load(ctx, c.key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	record.Hosts = hosts
	record.Note(tokenstore.HistoryEntry{Time: k.clock.Now(), Event: "bound to other hosts", Generation: record.Generation})
	if err := k.save(ctx, record); err != nil {
		return err
	}
	if c.snapshot.Load() != nil {
		k.publish(c, record)
	}
	if c.failure != nil && c.failure.Reason == ReasonHosts {
		c.failures, c.failure = 0, nil
		c.notBefore.Store(0)
	}
	return nil
}
