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
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func TestIntents(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	put := func(r *tokenstore.Record, generation uint64) tokenstore.Intent {
		t.Helper()
		i := tokenstore.Intent{Key: r.Key, Epoch: 3, Generation: generation, Time: time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)}
		if err := v.PutIntent(ctx, i); err != nil {
			t.Fatal(err)
		}
		return i
	}
	want := func(intents ...tokenstore.Intent) {
		t.Helper()
		got, err := v.Intents(ctx)
		if err != nil {
			t.Fatal(err)
		}
		byConnection := map[string]tokenstore.Intent{}
		for _, i := range got {
			byConnection[i.Connection] = i
		}
		expected := map[string]tokenstore.Intent{}
		for _, i := range intents {
			expected[i.Connection] = i
		}
		if diff := cmp.Diff(expected, byConnection); diff != "" || len(got) != len(intents) {
			t.Fatalf("-want +got:\n%s", diff)
		}
	}

	one, two, three := record("1"), record("2"), record("3")
	want()
	put(one, 1)
	first, second, third := put(one, 2), put(two, 1), put(three, 1) // a new intent replaces the old one
	want(first, second, third)

	save(t, v, one) // a save clears the intent of its connection only
	want(second, third)
	stale := record("2")
	wantIs(t, "save", v.Save(ctx, record("1")), tokenstore.ErrConflict)
	save(t, v, two)
	second = put(two, 2)
	wantIs(t, "save", v.Save(ctx, stale), tokenstore.ErrConflict) // a refused one does not
	want(second, third)
	if err := v.Delete(ctx, two); err != nil {
		t.Fatal(err)
	}
	want(third)
	for range 2 {
		if err := v.ClearIntent(ctx, three.Key); err != nil {
			t.Fatal(err)
		}
	}
	want()
}

func TestDamagedIntent(t *testing.T) {
	ctx := t.Context()
	store := newStore(t)
	v := openVault(t, store, keyA)
	for i := range 3 {
		if err := v.PutIntent(ctx, tokenstore.Intent{Key: record(fmt.Sprint(i)).Key}); err != nil {
			t.Fatal(err)
		}
	}
	var values []string
	var names [][]byte
	for name, value := range image(t, store) {
		if name[0] == 'i' {
			names, values = append(names, []byte(name)), append(values, value)
		}
	}
	overwrite(t, store, names[0], values[1])
	intents, err := v.Intents(ctx)
	var damage *tokenstore.DamagedError
	if len(intents) != 2 || !errors.As(err, &damage) {
		t.Errorf("%d intents, %v", len(intents), err)
	}
	store.FailAll(errDisk)
	_, err = v.Intents(ctx)
	wantIs(t, "intents", err, errDisk)
	wantIs(t, "put", v.PutIntent(ctx, tokenstore.Intent{Key: record("1").Key}), errDisk)
	wantIs(t, "clear", v.ClearIntent(ctx, record("1").Key), errDisk)
}
