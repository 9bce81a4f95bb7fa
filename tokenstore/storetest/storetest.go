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

// Package storetest holds the conformance suite that every engine of
// freshbearer's token store passes, and a store in memory for tests.
//
// An engine's test is:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) tokenstore.Store { … })
//	}
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Run checks that an engine keeps the contract of tokenstore.Store. open
// returns an empty store for each call; Run closes it. Run it with the race
// detector, too.
func Run(t *testing.T, open func(t *testing.T) tokenstore.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, tokenstore.Store)
	}{
		{"NotFound", testNotFound},
		{"AnyBytes", testAnyBytes},
		{"Overwrite", testOverwrite},
		{"Delete", testDelete},
		{"NoChanges", testNoChanges},
		{"Limits", testLimits},
		{"BeyondLimits", testBeyondLimits},
		{"SliceOwnership", testSliceOwnership},
		{"Check", testCheck},
		{"AllOrNothing", testAllOrNothing},
		{"OneWinner", testOneWinner},
		{"NoLostUpdate", testNoLostUpdate},
		{"ScanOrder", testScanOrder},
		{"ScanPrefix", testScanPrefix},
		{"ScanAfter", testScanAfter},
		{"ScanStop", testScanStop},
		{"ScanOneMoment", testScanOneMoment},
		{"Concurrent", testConcurrent},
		{"ExpiryNeverEarly", testExpiryNeverEarly},
		{"CancelledContext", testCancelledContext},
		{"Closed", testClosed},
		{"CloseWaits", testCloseWaits},
		{"CloseUnderLoad", testCloseUnderLoad},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := open(t)
			t.Cleanup(func() {
				if err := store.Close(); err != nil && !errors.Is(err, tokenstore.ErrClosed) {
					t.Errorf("close: %v", err)
				}
			})
			test.run(t, store)
		})
	}
}

// RunReopen checks that what an engine has stored is there when the store is
// opened again. prepare makes a new, empty resource and returns a function
// that opens it; RunReopen closes each store before it opens the next.
func RunReopen(t *testing.T, prepare func(t *testing.T) (open func() tokenstore.Store)) {
	t.Run("Reopen", func(t *testing.T) { testReopen(t, prepare(t)) })
	t.Run("ReopenEmpty", func(t *testing.T) { testReopenEmpty(t, prepare(t)) })
}

func testReopen(t *testing.T, open func() tokenstore.Store) {
	const rounds, names = 3, 40
	want := map[string]string{}
	for round := range rounds {
		store := open()
		wantContents(t, store, want)
		for i := range names {
			name := fmt.Sprintf("name-%02d", i)
			change := tokenstore.Change{Name: []byte(name)}
			if i%rounds == round {
				delete(want, name)
			} else {
				value := bytes.Repeat([]byte{byte('a' + round)}, 1+i*100)
				change.Value, want[name] = value, string(value)
			}
			mustApply(t, store, change)
		}
		wantContents(t, store, want)
		mustClose(t, store)
	}
	store := open()
	wantContents(t, store, want)

	// A check sees what another opening of the store has written.
	mustApply(t, store, tokenstore.Change{Name: []byte("name-00"), Value: []byte("x"), Check: true, Old: []byte(want["name-00"])})
	mustClose(t, store)
}

func testReopenEmpty(t *testing.T, open func() tokenstore.Store) {
	for range 3 {
		store := open()
		wantContents(t, store, nil)
		mustClose(t, store)
	}
}

// put is a Change that stores a value.
func put(name, value string) tokenstore.Change {
	return tokenstore.Change{Name: []byte(name), Value: []byte(value)}
}

// cas is a Change that replaces a value.
func cas(name, old, value string) tokenstore.Change {
	return tokenstore.Change{Name: []byte(name), Value: []byte(value), Check: true, Old: []byte(old)}
}

// insert is a Change that stores a value where none is.
func insert(name, value string) tokenstore.Change {
	return tokenstore.Change{Name: []byte(name), Value: []byte(value), Check: true}
}

func mustApply(t *testing.T, store tokenstore.Store, changes ...tokenstore.Change) {
	t.Helper()
	if err := store.Apply(t.Context(), changes...); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

func mustClose(t *testing.T, store tokenstore.Store) {
	t.Helper()
	if err := store.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error is %v, want one that is %q", what, err, want)
	}
}

func wantValue(t *testing.T, store tokenstore.Store, name, want string) {
	t.Helper()
	got, err := store.Get(t.Context(), []byte(name))
	if err != nil {
		t.Fatalf("get %q: %v", name, err)
	}
	if string(got) != want {
		t.Fatalf("get %q: got %q, want %q", name, clip(string(got)), clip(want))
	}
}

func wantNone(t *testing.T, store tokenstore.Store, name string) {
	t.Helper()
	got, err := store.Get(t.Context(), []byte(name))
	if !errors.Is(err, tokenstore.ErrNotFound) {
		t.Fatalf("get %q: got %q and error %v, want one that is %q", name, clip(string(got)), err, tokenstore.ErrNotFound)
	}
	if got != nil {
		t.Fatalf("get %q: a value came with the error", name)
	}
}

func wantContents(t *testing.T, store tokenstore.Store, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := store.Scan(t.Context(), nil, nil, func(name, value []byte) bool {
		got[string(name)] = string(value)
		return true
	})
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	if len(got) != len(want) {
		t.Fatalf("the store holds %d values, want %d", len(got), len(want))
	}
	for name, value := range want {
		if got[name] != value {
			t.Fatalf("scan: %q is %q, want %q", name, clip(got[name]), clip(value))
		}
		wantValue(t, store, name, value)
	}
}

func scanNames(t *testing.T, store tokenstore.Store, prefix, after []byte) []string {
	t.Helper()
	var names []string
	err := store.Scan(t.Context(), prefix, after, func(name, _ []byte) bool {
		names = append(names, string(name))
		return true
	})
	if err != nil {
		t.Fatalf("scan: %v", err)
	}
	return names
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// background is a context for goroutines that may outlive their test.
var background = context.Background()
