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
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

func wantIs(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want one that is %q", what, err, want)
	}
}

func TestSaveAndLoad(t *testing.T) {
	ctx := t.Context()
	v := openVault(t, newStore(t), keyA)
	r := record("9130")
	_, err := v.Load(ctx, r.Key)
	wantIs(t, "load", err, tokenstore.ErrNotFound)

	save(t, v, r)
	stale := load(t, v, r.Key)
	if stale.RefreshToken.Reveal() != "refresh-9130" || stale.Key != r.Key {
		t.Errorf("loaded %+v", stale)
	}

	r.Generation, r.RefreshToken = 2, secret.New("second") // r is what was saved last
	save(t, v, r)
	wantIs(t, "save a stale record", v.Save(ctx, stale), tokenstore.ErrConflict)
	wantIs(t, "save a stale record again", v.Save(ctx, stale), tokenstore.ErrConflict)
	wantIs(t, "delete a stale record", v.Delete(ctx, stale), tokenstore.ErrConflict)
	wantIs(t, "save a new record over one", v.Save(ctx, record("9130")), tokenstore.ErrConflict)
	wantIs(t, "delete a record that was never stored", v.Delete(ctx, record("9130")), tokenstore.ErrConflict)
	if got := load(t, v, r.Key); got.RefreshToken.Reveal() != "second" || got.Generation != 2 {
		t.Errorf("a refused call changed the record: %+v", got)
	}

	gone := load(t, v, r.Key)
	if err := v.Delete(ctx, r); err != nil {
		t.Fatal(err)
	}
	_, err = v.Load(ctx, r.Key)
	wantIs(t, "load", err, tokenstore.ErrNotFound)
	wantIs(t, "save a deleted record", v.Save(ctx, gone), tokenstore.ErrConflict)
	wantIs(t, "delete a deleted record", v.Delete(ctx, gone), tokenstore.ErrConflict)
	save(t, v, r) // the one that was deleted can be stored as a new one
}

func TestInvalidKeys(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	for _, key := range []tokenstore.Key{
		{}, {Integration: "quickbooks"}, {Connection: "1"},
		{Integration: "quickbooks", Connection: "\xff"},
		{Integration: strings.Repeat("q", 257), Connection: "1"},
	} {
		_, err := v.Load(ctx, key)
		wantIs(t, "load", err, tokenstore.ErrInvalid)
		wantIs(t, "save", v.Save(ctx, &tokenstore.Record{Key: key}), tokenstore.ErrInvalid)
		wantIs(t, "delete", v.Delete(ctx, &tokenstore.Record{Key: key}), tokenstore.ErrInvalid)
		wantIs(t, "put intent", v.PutIntent(ctx, tokenstore.Intent{Key: key}), tokenstore.ErrInvalid)
		wantIs(t, "clear intent", v.ClearIntent(ctx, key), tokenstore.ErrInvalid)
	}
	if store.Len() != 1 {
		t.Error("something was stored")
	}
}

// TestSaveAfterUnknownOutcome is the disk that fails while a new token pair is
// saved: the call is repeated until it holds.
func TestSaveAfterUnknownOutcome(t *testing.T) {
	for _, when := range []storetest.When{storetest.BeforeApply, storetest.AfterApply} {
		for failures := 1; failures <= 4; failures += 3 {
			t.Run(fmt.Sprintf("when %d, %d failures", when, failures), func(t *testing.T) {
				ctx := t.Context()
				store := newStore(t)
				v := openVault(t, store, keyA)
				r := record("1")
				save(t, v, r)
				r.Generation = 2
				store.FailApply(1, when, errDisk)
				wantIs(t, "first save", v.Save(ctx, r), errDisk)
				for i := 1; i < failures; i++ {
					store.FailApply(1, when, errDisk)
					r.Generation++ // a caller may go on while it cannot store
					wantIs(t, "save", v.Save(ctx, r), errDisk)
				}
				copied := *r
				save(t, v, r)
				if got := load(t, v, r.Key); got.Generation != r.Generation {
					t.Errorf("stored generation %d, want %d", got.Generation, r.Generation)
				}
				wantIs(t, "save an older copy", v.Save(ctx, &copied), tokenstore.ErrConflict)
				save(t, v, r)
			})
		}
	}
}

func TestUnknownOutcomeHidesNoConflict(t *testing.T) {
	ctx := t.Context()
	for _, when := range []storetest.When{storetest.BeforeApply, storetest.AfterApply} {
		store := newStore(t)
		v := openVault(t, store, keyA)
		r := record("1")
		save(t, v, r)
		store.FailApply(1, when, errDisk)
		wantIs(t, "save", v.Save(ctx, r), errDisk)
		other := load(t, v, r.Key)
		other.Generation = 9
		save(t, v, other)
		wantIs(t, "save", v.Save(ctx, r), tokenstore.ErrConflict)
		if got := load(t, v, r.Key); got.Generation != 9 {
			t.Error("somebody else's record was overwritten")
		}
	}

	// A read that fails while a conflict is looked into is no conflict.
	store := newStore(t)
	v := openVault(t, store, keyA)
	r := record("1")
	store.FailApply(1, storetest.AfterApply, errDisk)
	wantIs(t, "save", v.Save(ctx, r), errDisk)
	store.FailAll(errDisk)
	wantIs(t, "save", v.Save(ctx, r), errDisk)
	store.FailAll(nil)
	save(t, v, r)
}

func TestDeleteAfterUnknownOutcome(t *testing.T) {
	ctx := t.Context()
	for _, when := range []storetest.When{storetest.BeforeApply, storetest.AfterApply} {
		store := newStore(t)
		v := openVault(t, store, keyA)
		r := record("1")
		save(t, v, r)
		store.FailApply(1, when, errDisk)
		wantIs(t, "delete", v.Delete(ctx, r), errDisk)
		if err := v.Delete(ctx, r); err != nil {
			t.Errorf("delete again: %v", err)
		}
		if store.Len() != 1 {
			t.Errorf("the store holds %d values", store.Len())
		}
	}
}

func TestSaveRace(t *testing.T) {
	v := openVault(t, newStore(t), keyA)
	save(t, v, record("1"))
	var wg sync.WaitGroup
	var winners atomic.Int32
	var contenders []*tokenstore.Record
	for i := range 100 {
		r := load(t, v, record("1").Key)
		r.Generation = uint64(i + 2)
		contenders = append(contenders, r)
	}
	for _, r := range contenders {
		wg.Go(func() {
			switch err := v.Save(context.Background(), r); {
			case err == nil:
				winners.Add(1)
			case !errors.Is(err, tokenstore.ErrConflict):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := winners.Load(); n != 1 {
		t.Errorf("%d calls won", n)
	}
}

func wantDamaged(t *testing.T, what string, err error, key tokenstore.Key) {
	t.Helper()
	var damage *tokenstore.DamagedError
	if !errors.As(err, &damage) || damage.Key != key || errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("%s: error is %v", what, err)
	}
}

func TestEveryFlippedByteIsDamage(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	r := record("9130")
	save(t, v, r)
	name := nameOf(t, store, "g")
	sealed := image(t, store)[string(name)]
	for at := range len(sealed) {
		damaged := []byte(sealed)
		damaged[at] ^= 0xff
		overwrite(t, store, name, string(damaged))
		_, err := v.Load(t.Context(), r.Key)
		wantDamaged(t, fmt.Sprintf("byte %d", at), err, r.Key)
		if text := fmt.Sprint(err); !strings.Contains(text, "quickbooks") || strings.Contains(text, "9130") || strings.Contains(text, "refresh-") {
			t.Fatalf("error text: %s", text)
		}
	}
	wantIs(t, "saving over damage that was not read", v.Save(t.Context(), r), tokenstore.ErrConflict)
}

func TestSwappedRecords(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	one, two := record("1"), record("2")
	save(t, v, one)
	name := nameOf(t, store, "g")
	first := image(t, store)
	save(t, v, two)
	other := newStore(t)
	w := openVault(t, other, keyA)
	save(t, w, record("1"))

	for n := range image(t, store) {
		if n[0] == 'g' {
			overwrite(t, store, []byte(n), first[string(name)])
		}
	}
	load(t, v, one.Key)
	_, err := v.Load(t.Context(), two.Key)
	wantDamaged(t, "another connection's record", err, two.Key)

	overwrite(t, store, name, image(t, other)[string(nameOf(t, other, "g"))])
	_, err = v.Load(t.Context(), one.Key)
	wantDamaged(t, "another store's record", err, one.Key)

	intent := tokenstore.Intent{Key: one.Key, Generation: 1}
	if err := v.PutIntent(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	overwrite(t, store, name, image(t, store)[string(nameOf(t, store, "i"))])
	_, err = v.Load(t.Context(), one.Key)
	wantDamaged(t, "an intent", err, one.Key)
}

func TestOldGenerationUnderNewHeader(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	r := record("1")
	save(t, v, r)
	name := nameOf(t, store, "g")
	older := image(t, store)[string(name)]
	r.Generation = 2
	save(t, v, r)
	newer := image(t, store)[string(name)]
	const header = 17
	if older[:9] != newer[:9] || older[:header] == newer[:header] {
		t.Fatal("the header is not version, key id, generation")
	}
	overwrite(t, store, name, newer[:header]+older[header:])
	_, err := v.Load(t.Context(), r.Key)
	wantDamaged(t, "load", err, r.Key)
}

func TestList(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	var want []string
	for i := range 25 {
		r := record(fmt.Sprint(1000 + i))
		save(t, v, r)
		want = append(want, r.Connection)
	}
	other := record("1000")
	other.Integration = "sandbox"
	save(t, v, other)
	if err := v.PutIntent(ctx, tokenstore.Intent{Key: other.Key}); err != nil {
		t.Fatal(err)
	}

	list := func(integration string, limit int) (connections []string, pages int) {
		cursor := ""
		for {
			records, next, err := v.List(ctx, integration, cursor, limit)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, r := range records {
				connections = append(connections, r.Connection)
			}
			if next == "" {
				slices.Sort(connections)
				return connections, pages
			}
			cursor = next
		}
	}
	for _, test := range []struct{ limit, pages int }{{0, 1}, {-1, 1}, {25, 1}, {24, 2}, {7, 4}, {1, 25}, {1 << 30, 1}} {
		got, pages := list("quickbooks", test.limit)
		if !slices.Equal(got, want) || pages != test.pages {
			t.Errorf("limit %d: %d records in %d pages, want %d in %d", test.limit, len(got), pages, len(want), test.pages)
		}
	}
	if got, _ := list("sandbox", 10); !slices.Equal(got, []string{"1000"}) {
		t.Errorf("the other integration has %q", got)
	}
	if got, _ := list("", 10); len(got) != 26 {
		t.Errorf("all integrations have %d records", len(got))
	}
	if got, pages := list("none", 10); len(got) != 0 || pages != 1 {
		t.Errorf("an unknown integration has %q", got)
	}

	// A listed record can be saved like a loaded one.
	records, _, err := v.List(ctx, "sandbox", "", 1)
	if err != nil {
		t.Fatal(err)
	}
	save(t, v, records[0])
	if err := v.PutIntent(ctx, tokenstore.Intent{Key: other.Key}); err != nil {
		t.Fatal(err)
	}

	_, cursor, _ := v.List(ctx, "sandbox", "", 1)
	if cursor != "" {
		t.Error("the only page has a next one")
	}
	_, cursor, _ = v.List(ctx, "quickbooks", "", 1)
	for _, bad := range []string{"x", "!", cursor[:5], cursor + "AA", base64.RawURLEncoding.EncodeToString(nameOf(t, store, "i"))} {
		_, _, err := v.List(ctx, "quickbooks", bad, 1)
		wantIs(t, "a bad cursor", err, tokenstore.ErrInvalid)
	}
	_, _, err = v.List(ctx, "sandbox", cursor, 1)
	wantIs(t, "another integration's cursor", err, tokenstore.ErrInvalid)
}

func TestListLeavesOutDamage(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	for i := range 6 {
		save(t, v, record(fmt.Sprint(i)))
	}
	damaged := 0
	for name, value := range image(t, store) {
		if name[0] == 'g' && damaged < 2 {
			overwrite(t, store, []byte(name), value[:len(value)-1])
			damaged++
		}
	}
	good, bad, cursor := 0, 0, ""
	for {
		records, next, err := v.List(ctx, "quickbooks", cursor, 2)
		good += len(records)
		if err != nil {
			var damage *tokenstore.DamagedError
			if !errors.As(err, &damage) || damage.Key.Integration != "quickbooks" || damage.Key.Connection != "" {
				t.Fatal(err)
			}
			bad += strings.Count(err.Error(), "cannot be read")
		}
		if next == "" {
			break
		}
		cursor = next
	}
	if good != 4 || bad != 2 {
		t.Errorf("%d good and %d damaged records, want 4 and 2", good, bad)
	}
	store.FailAll(errDisk)
	_, _, err := v.List(ctx, "quickbooks", "", 2)
	wantIs(t, "list", err, errDisk)
}

func TestNothingInClear(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("9130354674010826"))
	for name, value := range image(t, store) {
		for _, word := range []string{"9130354674010826", "quickbooks", "access", "refresh", "connected"} {
			if strings.Contains(name, word) || strings.Contains(value, word) {
				t.Errorf("the store holds %q", word)
			}
		}
	}
}
