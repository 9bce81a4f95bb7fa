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

package tokenstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// TestResealRace changes the key all the time, under increments that must not
// be lost or refused, and one-time values that must be taken once.
func TestResealRace(t *testing.T) {
	const workers, increments = 16, 60
	store := newStore(t)
	v := openVault(t, store, keyA)
	ctx := context.Background()
	shared := record("shared")
	save(t, v, shared)

	var wg sync.WaitGroup
	var won atomic.Uint64
	for w := range workers {
		wg.Go(func() {
			own := record(fmt.Sprint("own-", w))
			for i := range increments {
				if err := increment(ctx, v, own); err != nil {
					t.Errorf("a record that only one writes: %v", err)
					return
				}
				for {
					r, err := v.Load(ctx, shared.Key)
					if err == nil {
						r.Generation++
						err = v.Save(ctx, r)
					}
					if err == nil {
						won.Add(1)
						break
					}
					if !errors.Is(err, tokenstore.ErrConflict) {
						t.Error(err)
						return
					}
				}
				id := fmt.Sprint(w, "-", i)
				if err := v.PutOnce(ctx, "state", id, []byte(id), now); err != nil {
					t.Error(err)
				}
				if err := v.PutIntent(ctx, tokenstore.Intent{Key: own.Key, Generation: own.Generation}); err != nil {
					t.Error(err)
				}
				if got, err := v.Take(ctx, "state", id, now.Add(-time.Hour)); err != nil || string(got) != id {
					t.Errorf("took %q (%v)", got, err)
				}
				if _, err := v.Take(ctx, "state", id, now.Add(-time.Hour)); !errors.Is(err, tokenstore.ErrNotFound) {
					t.Errorf("taken twice: %v", err)
				}
			}
		})
	}
	done := make(chan struct{})
	var rotation sync.WaitGroup
	rings := []*tokenstore.Keyring{ring(t, keyB, keyA), ring(t, keyA, keyB)}
	rounds := 0
	rotation.Go(func() {
		for ; ; rounds++ {
			select {
			case <-done:
				return
			default:
			}
			next := rings[rounds%2]
			for what, step := range []func() error{
				func() error { return v.UseKeys(ctx, next) },
				func() error { return v.Promote(ctx, next) },
				func() error { return v.Reseal(ctx, nil) },
			} {
				if err := step(); err != nil {
					t.Errorf("step %d of round %d: %v", what, rounds, err)
				}
			}
		}
	})
	wg.Wait()
	close(done)
	rotation.Wait()

	if got := load(t, v, shared.Key).Generation; got != 1+workers*increments || won.Load() != workers*increments {
		t.Errorf("generation %d after %d increments", got, won.Load())
	}
	for w := range workers {
		if got := load(t, v, record(fmt.Sprint("own-", w)).Key).Generation; got != 1+increments {
			t.Errorf("generation %d after %d increments", got, increments)
		}
	}
	if ids := keyIDs(t, store); len(ids) != 1 || rounds == 0 {
		t.Errorf("after %d rounds, entries are sealed with %d keys", rounds, len(ids))
	}
}

// increment saves the next generation, of the record in hand or as it is read.
func increment(ctx context.Context, v *tokenstore.Vault, r *tokenstore.Record) error {
	if r.Generation%2 == 0 {
		read, err := v.Load(ctx, r.Key)
		if err != nil {
			return err
		}
		*r = *read
	}
	r.Generation++
	return v.Save(ctx, r)
}
