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

package freshbearer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// heldRing is a configuration's encryption keys, for as long as it holds the
// keeper.
type heldRing struct {
	app  *App
	ring *tokenstore.Keyring
}

// useKeys makes the open store use the keys of a configuration. The caller
// holds s.mu.
func (s *sharedKeeper) useKeys(a *App) error {
	ring := a.keys
	if ring == nil {
		var err error
		if ring, _, err = defaultKeys(false); err != nil {
			return err
		}
	}
	if err := s.keeper.Vault().UseKeys(context.Background(), ring); err != nil {
		return fmt.Errorf("changing the encryption key of the open token store: %w", err)
	}
	s.rings = append(s.withoutRing(a), heldRing{a, ring})
	return nil
}

// dropKeys gives a configuration's keys back: those of the newest one that is
// left are used again, if that was the newest.
func (s *sharedKeeper) dropKeys(a *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.rings)
	if n == 0 {
		return
	}
	newest := s.rings[n-1].app == a
	s.rings = s.withoutRing(a)
	if !newest || len(s.rings) == 0 {
		return
	}
	if err := s.keeper.Vault().UseKeys(context.Background(), s.rings[len(s.rings)-1].ring); err != nil {
		s.logs.logger().Error("the encryption keys of a configuration that is not in force are still used", zap.Error(err))
	}
}

func (s *sharedKeeper) withoutRing(a *App) []heldRing {
	return slices.DeleteFunc(s.rings, func(h heldRing) bool { return h.app == a })
}

// ringOf returns the keys that were taken from a configuration.
func (s *sharedKeeper) ringOf(a *App) *tokenstore.Keyring {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.rings {
		if h.app == a {
			return h.ring
		}
	}
	return nil
}

// inForceInterval is how often a configuration looks whether it is in force.
const inForceInterval = 50 * time.Millisecond

// settle does what has to wait until this configuration is in force: events
// are handed to Caddy, and its first key becomes the one that seals.
//
// Start is too early: the start of another app may fail. So is Caddy's
// "started" event, after which the remote admin endpoint or the configuration
// loader may still fail, and the configuration is taken back. Caddy gives no
// sign when it is past all that; it then makes the context the active one.
func (a *App) settle(ctx context.Context, k *grant.Keeper, ring *tokenstore.Keyring) {
	tick := time.NewTicker(inForceInterval)
	defer tick.Stop()
	told := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !a.inForce() {
			continue
		}
		if !told {
			close(a.emitter.inForce)
			told = true
		}
		// A newer configuration that is being loaded may have its keys in use.
		// If it is taken back, it is this one's turn.
		before, useErr := k.Vault().KeyUse(ctx)
		if err := k.Rotate(ctx, ring); errors.Is(err, tokenstore.ErrKeysReplaced) {
			continue
		}
		if useErr == nil {
			a.recordKeys(ctx, k, before)
		}
		return
	}
}

func (a *App) inForce() bool { return inForce() == a }
