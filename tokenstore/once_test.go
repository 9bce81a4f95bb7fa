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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

var now = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

func putOnce(t *testing.T, v *tokenstore.Vault, kind, id, value string, expiresAt time.Time) {
	t.Helper()
	if err := v.PutOnce(t.Context(), kind, id, []byte(value), expiresAt); err != nil {
		t.Fatal(err)
	}
}

func TestOnce(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	const id = "an-unguessable-state"
	putOnce(t, v, "state", id, "realm 9130", now.Add(time.Minute))
	for name, value := range image(t, store) {
		for _, word := range []string{id, "state", "9130"} {
			if strings.Contains(name, word) || strings.Contains(value, word) {
				t.Errorf("the store holds %q", word)
			}
		}
	}
	wantIs(t, "put the same id", v.PutOnce(ctx, "state", id, []byte("other"), now.Add(time.Minute)), tokenstore.ErrConflict)
	putOnce(t, v, "code", id, "", now.Add(time.Minute)) // another kind, and an empty value

	for _, other := range [][2]string{{"state", "x"}, {"state", id + "x"}, {"state", ""}, {"", id}, {"other", id}, {"statean", "-unguessable-state"}} {
		_, err := v.Take(ctx, other[0], other[1], now)
		wantIs(t, "take another", err, tokenstore.ErrNotFound)
	}
	got, err := v.Take(ctx, "state", id, now.Add(time.Minute-time.Millisecond))
	if err != nil || string(got) != "realm 9130" {
		t.Fatalf("took %q (%v)", got, err)
	}
	_, err = v.Take(ctx, "state", id, now)
	wantIs(t, "take again", err, tokenstore.ErrNotFound)
	if got, err := v.Take(ctx, "code", id, now); err != nil || got == nil || len(got) != 0 {
		t.Errorf("took %q (%v)", got, err)
	}
	if store.Len() != 1 {
		t.Errorf("the store holds %d values", store.Len())
	}
	for _, err := range []error{
		v.PutOnce(ctx, "", id, nil, now), v.PutOnce(ctx, "state", "", nil, now), v.PutOnce(ctx, "state", id, nil, time.Time{}),
		v.PutOnce(ctx, "state", id, make([]byte, tokenstore.MaxValue), now),
	} {
		wantIs(t, "put", err, tokenstore.ErrInvalid)
	}
}

func TestOnceExpires(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	for _, late := range []time.Duration{0, time.Millisecond, time.Hour} {
		putOnce(t, v, "state", "id", "value", now)
		_, err := v.Take(t.Context(), "state", "id", now.Add(late))
		wantIs(t, "take", err, tokenstore.ErrNotFound)
		_, err = v.Take(t.Context(), "state", "id", now.Add(-time.Hour)) // a clock that goes back brings nothing back
		wantIs(t, "take", err, tokenstore.ErrNotFound)
	}
}

// gatedStore lets no Get of a one-time value return before a number of them
// has read. Those after them are not held up.
type gatedStore struct {
	tokenstore.Store
	gate *sync.WaitGroup
	left *atomic.Int32
}

func (s gatedStore) Get(ctx context.Context, name []byte) ([]byte, error) {
	value, err := s.Store.Get(ctx, name)
	if name[0] == 'o' && s.left.Add(-1) >= 0 {
		s.gate.Done()
		s.gate.Wait()
	}
	return value, err
}

func TestTakeRace(t *testing.T) {
	const takers = 100
	var gate sync.WaitGroup
	var left atomic.Int32
	v := openVault(t, gatedStore{newStore(t), &gate, &left}, keyA)
	for round := range 5 {
		id := fmt.Sprint(round)
		putOnce(t, v, "state", id, "value", now.Add(time.Minute))
		gate.Add(takers)
		left.Store(takers)
		var wg sync.WaitGroup
		var winners atomic.Int32
		for range takers {
			wg.Go(func() {
				got, err := v.Take(context.Background(), "state", id, now)
				switch {
				case err == nil && string(got) == "value":
					winners.Add(1)
				case err == nil || got != nil || !errors.Is(err, tokenstore.ErrNotFound):
					t.Errorf("took %q, %v", got, err)
				}
			})
		}
		wg.Wait()
		if n := winners.Load(); n != 1 {
			t.Errorf("%d calls took the value", n)
		}
	}
}

func TestTakeWithUnknownOutcome(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	putOnce(t, v, "state", "id", "value", now.Add(time.Minute))
	store.FailApply(1, storetest.AfterApply, errDisk)
	got, err := v.Take(t.Context(), "state", "id", now)
	wantIs(t, "take", err, errDisk)
	if got != nil {
		t.Error("a value was given out that may be given out again")
	}
}

func TestDamagedOnce(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	putOnce(t, v, "state", "id", "value", now.Add(time.Minute))
	name := nameOf(t, store, "o")
	overwrite(t, store, name, image(t, store)[string(name)]+"x")
	_, err := v.Take(t.Context(), "state", "id", now)
	wantDamaged(t, "take", err, tokenstore.Key{})
	if n, err := v.SweepOnce(t.Context(), now); n != 0 || err != nil || store.Len() != 1 {
		t.Errorf("a sweep left %d (%v)", n, err)
	}
}

func TestSweepOnce(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	const values = 50
	for i := range values {
		putOnce(t, v, "state", fmt.Sprint(i), "value", now.Add(time.Duration(i)*time.Second))
	}
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{-time.Second, values}, {0, values - 1}, {0, values - 1}, {39 * time.Second, 10}, {time.Hour, 0}, {time.Hour, 0}} {
		n, err := v.SweepOnce(ctx, now.Add(test.after))
		if err != nil || n != test.want || store.Len() != test.want+2 {
			t.Errorf("after %v: %d remain, %d are stored (%v), want %d", test.after, n, store.Len()-2, err, test.want)
		}
	}
	load(t, v, record("1").Key)

	for i := range values {
		putOnce(t, v, "state", fmt.Sprint(i), "value", now)
	}
	store.FailApply(2, storetest.BeforeApply, errDisk)
	n, err := v.SweepOnce(ctx, now)
	wantIs(t, "sweep", err, errDisk)
	if n != values-tokenstore.MaxChanges {
		t.Errorf("%d remain after a sweep that failed", n)
	}
}
