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
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// promote puts a key before the others and makes it the active one.
func promote(t *testing.T, v *tokenstore.Vault, keys ...string) {
	t.Helper()
	r := ring(t, keys...)
	if err := v.UseKeys(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := v.Promote(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// reseal returns how many entries were sealed anew.
func reseal(t *testing.T, v *tokenstore.Vault) int {
	t.Helper()
	sealed := 0
	if err := v.Reseal(t.Context(), func(done int) {
		if done != sealed+1 {
			t.Errorf("progress went from %d to %d", sealed, done)
		}
		sealed = done
	}); err != nil {
		t.Fatal(err)
	}
	return sealed
}

// wantRefused opens a store with keys that it must refuse, for the reason that
// so many former ones are missing, or the active one.
func wantRefused(t *testing.T, store tokenstore.Store, former int, keys ...string) {
	t.Helper()
	before := image(t, store)
	_, err := tokenstore.OpenVault(t.Context(), store, ring(t, keys...))
	var wrong *tokenstore.WrongKeyError
	if !errors.As(err, &wrong) || wrong.Former != former || wrong.Keys != len(keys) {
		t.Fatalf("error is %v, want a WrongKeyError with %d former keys missing", err, former)
	}
	said := "Put back the key"
	if former > 0 {
		said = "still sealed with a former encryption key that is not configured"
	}
	if !strings.Contains(err.Error(), said) || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("error is %v", err)
	}
	if !equalImages(before, image(t, store)) {
		t.Error("the refused store was changed")
	}
}

// A configuration that never comes into force leaves nothing behind, although
// records were saved meanwhile.
func TestUseKeysCanBeTakenBack(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	before := image(t, store)
	if err := v.UseKeys(t.Context(), ring(t, keyB, keyA)); err != nil {
		t.Fatal(err)
	}
	opened := openVault(t, store, keyC, keyA)
	if !equalImages(before, image(t, store)) {
		t.Error("new keys were written before they were promoted")
	}
	for i, v := range []*tokenstore.Vault{v, opened} {
		r := load(t, v, record("1").Key)
		r.Generation = uint64(i + 2)
		save(t, v, r)
		save(t, v, record(fmt.Sprint("new-", i)))
		if got := reseal(t, v); got != 0 {
			t.Errorf("%d entries were sealed anew", got)
		}
	}
	old := openVault(t, store, keyA)
	for _, connection := range []string{"1", "new-0", "new-1"} {
		load(t, old, record(connection).Key)
	}
}

func TestPromote(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	save(t, v, record("2"))
	derived, names := v.DeriveKey("links"), store.Len()

	both := ring(t, keyB, keyA)
	wantIs(t, "promote a ring that is not in use", v.Promote(ctx, both), tokenstore.ErrKeysReplaced)
	openVault(t, store, keyA)
	if err := v.UseKeys(ctx, both); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second changes nothing
		if err := v.Promote(ctx, both); err != nil {
			t.Fatal(err)
		}
		if got := store.Applies(); got != 4 {
			t.Fatalf("%d writes, want 4", got)
		}
	}
	one := load(t, v, record("1").Key)
	one.Generation++
	save(t, v, one)
	if store.Len() != names || !bytes.Equal(v.DeriveKey("links"), derived) {
		t.Error("a new key changed a name or a derived key")
	}

	// Neither key can be left out, even if the one is only listed.
	wantRefused(t, store, 0, keyA)
	wantRefused(t, store, 1, keyB)
	wantRefused(t, store, 1, keyB, keyC)
	for _, keys := range [][]string{{keyB, keyA}, {keyA, keyB}, {keyC, keyA, keyB}} {
		v := openVault(t, store, keys...)
		load(t, v, record("1").Key)
		load(t, v, record("2").Key)
	}
	// A third key on top, before the first change was carried to its end.
	third := openVault(t, store, keyC, keyB, keyA)
	promote(t, third, keyC, keyB, keyA)
	wantRefused(t, store, 2, keyC)
	wantRefused(t, store, 1, keyC, keyA)
	if got := reseal(t, third); got != 2 {
		t.Errorf("%d entries were sealed anew, want 2", got)
	}
	load(t, openVault(t, store, keyC), record("1").Key)
	wantRefused(t, store, 0, keyB, keyA)
}

// Back to the former key is a change like any other.
func TestPromoteFormerKey(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	promote(t, v, keyB, keyA)
	save(t, v, record("2"))
	promote(t, v, keyA, keyB)
	wantRefused(t, store, 1, keyA)
	if got := reseal(t, v); got != 1 {
		t.Errorf("%d entries were sealed anew, want 1", got)
	}
	load(t, openVault(t, store, keyA), record("2").Key)
}

// A write of the list that fails leaves a store that opens with both keys,
// whether it took effect or not, and can be repeated.
func TestPromoteFails(t *testing.T) {
	ctx := t.Context()
	for _, when := range []storetest.When{storetest.BeforeApply, storetest.AfterApply} {
		store := newStore(t)
		v := openVault(t, store, keyA)
		save(t, v, record("1"))
		both := ring(t, keyB, keyA)
		if err := v.UseKeys(ctx, both); err != nil {
			t.Fatal(err)
		}
		store.FailApply(1, when, errDisk)
		wantIs(t, "promote", v.Promote(ctx, both), errDisk)
		save(t, v, record("2"))
		w := openVault(t, store, keyB, keyA)
		load(t, w, record("1").Key)
		load(t, w, record("2").Key)
		if when == storetest.AfterApply {
			wantRefused(t, store, 1, keyB)
		}
		if err := v.Promote(ctx, both); err != nil {
			t.Fatal(err)
		}
		if got := reseal(t, v); got != 2 {
			t.Errorf("%d entries were sealed anew, want 2", got)
		}
		load(t, openVault(t, store, keyB), record("2").Key)
	}
}

func TestUseKeysRefused(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	var wrong *tokenstore.WrongKeyError
	if err := v.UseKeys(ctx, ring(t, keyB, keyC)); !errors.As(err, &wrong) || wrong.Former != 0 {
		t.Fatalf("error is %v", err)
	}
	promote(t, v, keyB, keyA)
	if err := v.UseKeys(ctx, ring(t, keyB)); !errors.As(err, &wrong) || wrong.Former != 1 {
		t.Fatalf("error is %v", err)
	}
	store.FailAll(errDisk)
	wantIs(t, "use keys", v.UseKeys(ctx, ring(t, keyB, keyA)), errDisk)
	store.FailAll(nil)
	// The vault goes on with the ring it had.
	save(t, v, load(t, v, record("1").Key))
	reseal(t, v)
	if err := v.UseKeys(ctx, ring(t, keyB)); err != nil {
		t.Fatal(err)
	}

	foreign := newStore(t)
	openVault(t, foreign, keyB)
	for name, value := range image(t, foreign) {
		overwrite(t, store, []byte(name), value)
	}
	for what, err := range map[string]error{
		"use keys": v.UseKeys(ctx, ring(t, keyB)), "reseal": v.Reseal(ctx, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), "exchanged") {
			t.Errorf("%s with another store's meta record: %v", what, err)
		}
	}
}

// heldStore holds up the writes of grants until they are let go.
type heldStore struct {
	tokenstore.Store
	held, free chan struct{}
}

func (s heldStore) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	if changes[0].Name[0] == 'g' {
		s.held <- struct{}{}
		<-s.free
	}
	return s.Store.Apply(ctx, changes...)
}

// A write that was sealed before a key became the active one is on the disk
// before the key is said to be the active one: Reseal would not find it.
func TestPromoteWaitsForWrites(t *testing.T) {
	memory := newStore(t)
	store := heldStore{memory, make(chan struct{}), make(chan struct{})}
	v := openVault(t, store, keyA)
	both := ring(t, keyB, keyA)
	if err := v.UseKeys(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	saved, promoted := make(chan error, 1), make(chan error, 1)
	go func() { saved <- v.Save(context.Background(), record("1")) }()
	<-store.held
	go func() { promoted <- v.Promote(context.Background(), both) }()
	select {
	case err := <-promoted:
		t.Fatalf("promoted while a write was under way (%v)", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(store.free)
	for what, err := range map[string]error{"save": <-saved, "promote": <-promoted} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	go func() { <-store.held }()
	if got := reseal(t, v); got != 1 {
		t.Errorf("%d entries were sealed anew, want 1", got)
	}
	load(t, openVault(t, memory, keyB), record("1").Key)
}
