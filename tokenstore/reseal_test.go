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
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// keyIDs returns the ids of the keys that a store's entries name.
func keyIDs(t *testing.T, store tokenstore.Store) map[string]int {
	t.Helper()
	ids := map[string]int{}
	for _, value := range image(t, store) {
		ids[value[1:9]]++
	}
	return ids
}

// expiringStore notes the expiry of what is stored.
type expiringStore struct {
	*storetest.Memory
	expires map[string]time.Time
}

func (s expiringStore) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	for _, c := range changes {
		s.expires[string(c.Name)] = c.ExpiresAt
	}
	return s.Memory.Apply(ctx, changes...)
}

// More entries than one page has, of all kinds.
func TestReseal(t *testing.T) {
	const connections = 300
	ctx := t.Context()
	store := expiringStore{newStore(t), map[string]time.Time{}}
	v := openVault(t, store, keyA)
	for i := range connections {
		r := record(fmt.Sprint(i))
		r.Generation = uint64(i)
		save(t, v, r)
	}
	for i := range 20 {
		intent := tokenstore.Intent{Key: record(fmt.Sprint(i)).Key, Generation: uint64(i), Time: now}
		if err := v.PutIntent(ctx, intent); err != nil {
			t.Fatal(err)
		}
		putOnce(t, v, "state", fmt.Sprint(i), fmt.Sprint("value ", i), now.Add(time.Duration(i)*time.Minute))
	}
	describe := func(v *tokenstore.Vault) (all []string) {
		t.Helper()
		for i := range connections {
			r := load(t, v, record(fmt.Sprint(i)).Key)
			all = append(all, fmt.Sprint(r.Generation, r.RefreshToken.Reveal(), r.State))
		}
		intents, err := v.Intents(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return append(all, fmt.Sprint(intents))
	}
	want := describe(v)
	expires := maps.Clone(store.expires)

	promote(t, v, keyB, keyA)
	if got := reseal(t, v); got != connections+40 {
		t.Errorf("%d entries were sealed anew, want %d", got, connections+40)
	}
	if len(keyIDs(t, store)) != 1 {
		t.Error("an entry is still sealed with the former key")
	}
	for name, at := range store.expires {
		if !at.Equal(expires[name]) {
			t.Errorf("an entry expires at %s instead of %s", at, expires[name])
		}
	}
	if !reflect.DeepEqual(describe(v), want) {
		t.Error("an entry holds something else than before")
	}
	applies := store.Applies()
	if got := reseal(t, v); got != 0 || store.Applies() != applies {
		t.Errorf("%d entries were sealed anew by the second call, with %d writes", got, store.Applies()-applies)
	}

	v = openVault(t, store, keyB)
	if !reflect.DeepEqual(describe(v), want) {
		t.Error("an entry holds something else with the new key alone")
	}
	for i := 1; i < 20; i++ {
		if got, err := v.Take(ctx, "state", fmt.Sprint(i), now); err != nil || string(got) != fmt.Sprint("value ", i) {
			t.Errorf("took %q (%v)", got, err)
		}
	}
	wantRefused(t, store, 0, keyA)
}

// A store that was written before there was a list of keys.
func TestResealOlderStore(t *testing.T) {
	store := golden(t)
	openVault(t, store, keyA)
	v := openVault(t, store, keyB, keyA)
	load(t, openVault(t, store, keyA), goldenRecord().Key)
	promote(t, v, keyB, keyA)
	wantRefused(t, store, 1, keyB)
	if got := reseal(t, v); got != 4 {
		t.Errorf("%d entries were sealed anew, want 4", got)
	}
	load(t, openVault(t, store, keyB), goldenRecord().Key)
}

// What a program without the list left behind, sealed with a key that came back
// as a further one.
func TestResealUnlistedKey(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	name := nameOf(t, store, "g")
	left := image(t, store)[string(name)]
	promote(t, v, keyB, keyA)
	reseal(t, v)
	overwrite(t, store, name, left)

	v = openVault(t, store, keyB)
	if _, err := v.Load(t.Context(), record("1").Key); !errors.Is(err, tokenstore.ErrUnknownKey) {
		t.Fatalf("error is %v", err)
	}
	if got := reseal(t, openVault(t, store, keyB, keyA)); got != 1 {
		t.Errorf("%d entries were sealed anew, want 1", got)
	}
	load(t, v, record("1").Key)
}

func TestResealDamaged(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(value []byte) []byte
		why    error
		needed bool // the former key
	}{
		{"altered", func(v []byte) []byte { v[len(v)-1] ^= 1; return v }, tokenstore.ErrAltered, true},
		{"cut off", func(v []byte) []byte { return v[:20] }, tokenstore.ErrAltered, true},
		{"a stump", func([]byte) []byte { return []byte{1} }, tokenstore.ErrAltered, false},
		{"an unknown key", func(v []byte) []byte { v[5] ^= 1; return v }, tokenstore.ErrUnknownKey, false},
		{"a newer version", func(v []byte) []byte { v[0]++; v[5] ^= 1; return v }, tokenstore.ErrNewerVersion, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newStore(t)
			v := openVault(t, store, keyA)
			save(t, v, record("1"))
			name := nameOf(t, store, "g")
			for i := 2; i < 6; i++ {
				save(t, v, record(fmt.Sprint(i)))
			}
			damaged := string(c.damage([]byte(image(t, store)[string(name)])))
			overwrite(t, store, name, damaged)
			promote(t, v, keyB, keyA)

			done := 0
			err := v.Reseal(t.Context(), func(n int) { done = n })
			var damage *tokenstore.DamagedError
			if !errors.As(err, &damage) || !errors.Is(err, c.why) || !strings.Contains(err.Error(), "1 entries") || done != 4 {
				t.Fatalf("%d entries were sealed anew, error is %v", done, err)
			}
			if image(t, store)[string(name)] != damaged {
				t.Error("the damaged entry was changed")
			}
			if !c.needed {
				openVault(t, store, keyB)
				return
			}
			wantRefused(t, store, 1, keyB)
			if err := store.Apply(t.Context(), tokenstore.Change{Name: name}); err != nil {
				t.Fatal(err)
			}
			if got := reseal(t, v); got != 0 {
				t.Errorf("%d entries were sealed anew, want none", got)
			}
			load(t, openVault(t, store, keyB), record("2").Key)
		})
	}
}

// However many are damaged, the error names a few.
func TestResealManyDamaged(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	for i := range 40 {
		save(t, v, record(fmt.Sprint(i)))
	}
	store.Damage("g")
	promote(t, v, keyB, keyA)
	err := v.Reseal(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "40 entries") || strings.Count(err.Error(), "\n") != 9 {
		t.Errorf("error is %v", err)
	}
}

func TestResealStops(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	for i := range 10 {
		save(t, v, record(fmt.Sprint(i)))
	}
	promote(t, v, keyB, keyA)
	ctx, cancel := context.WithCancel(t.Context())
	err := v.Reseal(ctx, func(done int) {
		if done == 3 {
			cancel()
		}
	})
	wantIs(t, "reseal", err, context.Canceled)
	store.FailApply(2, storetest.BeforeApply, errDisk)
	wantIs(t, "reseal", v.Reseal(t.Context(), nil), errDisk)
	wantRefused(t, store, 1, keyB)

	// After a restart it goes on where it was.
	v = openVault(t, store, keyB, keyA)
	if got := reseal(t, v); got != 6 {
		t.Errorf("%d entries were sealed anew, want 6", got)
	}
	load(t, openVault(t, store, keyB), record("9").Key)
}

// What was only sealed anew is no conflict; a change is.
func TestSaveAfterReseal(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	first := record("1")
	save(t, v, first)
	same, stale, doomed, late := load(t, v, first.Key), load(t, v, first.Key), load(t, v, first.Key), record("1")
	promote(t, v, keyB, keyA)
	reseal(t, v)
	wantIs(t, "save as a new one", v.Save(ctx, late), tokenstore.ErrConflict)
	save(t, v, same) // the same content, but a write of somebody's
	wantIs(t, "save", v.Save(ctx, stale), tokenstore.ErrConflict)
	promote(t, v, keyA, keyB)
	reseal(t, v)
	wantIs(t, "delete", v.Delete(ctx, doomed), tokenstore.ErrConflict)
	if err := v.Delete(ctx, same); err != nil {
		t.Errorf("delete: %v", err)
	}
	wantIs(t, "save", v.Save(ctx, stale), tokenstore.ErrConflict)
}

// The outcome of a write is found out although it was sealed anew since.
func TestUnknownOutcomeAndReseal(t *testing.T) {
	ctx := t.Context()
	for _, when := range []storetest.When{storetest.BeforeApply, storetest.AfterApply} {
		store := newStore(t)
		v := openVault(t, store, keyA)
		r := record("1")
		save(t, v, r)
		store.FailApply(1, when, errDisk)
		r.Generation = 2
		wantIs(t, "save", v.Save(ctx, r), errDisk)
		promote(t, v, keyB, keyA)
		if got := reseal(t, v); got != 1 {
			t.Errorf("%d entries were sealed anew, want 1", got)
		}
		copied := *r
		save(t, v, r)
		wantIs(t, "save an older copy", v.Save(ctx, &copied), tokenstore.ErrConflict)
	}
}
