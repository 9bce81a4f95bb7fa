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

package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func testCheck(t *testing.T, store tokenstore.Store) {
	checkedDelete := func(name, old string) tokenstore.Change {
		return tokenstore.Change{Name: []byte(name), Check: true, Old: []byte(old)}
	}
	conflict := func(what string, changes ...tokenstore.Change) {
		t.Helper()
		wantError(t, what, store.Apply(t.Context(), changes...), tokenstore.ErrConflict)
	}

	conflict("replace where none is", cas("a", "1", "2"))
	conflict("replace an empty value where none is", tokenstore.Change{Name: []byte("a"), Value: []byte("2"), Check: true, Old: []byte{}})
	conflict("delete where none is", checkedDelete("a", "1"))
	wantContents(t, store, nil)

	mustApply(t, store, insert("a", "1"))
	conflict("insert where one is", insert("a", "2"))
	conflict("insert the same", insert("a", "1"))
	conflict("delete what should not be there", tokenstore.Change{Name: []byte("a"), Check: true})
	for _, old := range []string{"2", "11", "", "1\x00", "\x00"} {
		conflict("replace another value", cas("a", old, "2"))
		conflict("delete another value", checkedDelete("a", old))
	}
	wantContents(t, store, map[string]string{"a": "1"})

	mustApply(t, store, cas("a", "1", "2"))
	mustApply(t, store, cas("a", "2", "2")) // a check that changes nothing
	conflict("replace an old value", cas("a", "1", "3"))
	mustApply(t, store, checkedDelete("a", "2"))
	wantNone(t, store, "a")
	conflict("replace a deleted value", cas("a", "2", "3"))
	mustApply(t, store, tokenstore.Change{Name: []byte("a"), Check: true}) // nothing is there, nothing is to be
	mustApply(t, store, insert("a", "4"))
	wantContents(t, store, map[string]string{"a": "4"})
}

func testAllOrNothing(t *testing.T, store tokenstore.Store) {
	mustApply(t, store, put("a", "1"), put("b", "1"))
	for _, failing := range []tokenstore.Change{cas("b", "2", "3"), insert("b", "3"), cas("c", "1", "3")} {
		first := []tokenstore.Change{failing, put("a", "9"), put("d", "9"), {Name: []byte("e")}}
		last := []tokenstore.Change{put("a", "9"), put("d", "9"), {Name: []byte("e")}, failing}
		for _, changes := range [][]tokenstore.Change{first, last} {
			wantError(t, "apply", store.Apply(t.Context(), changes...), tokenstore.ErrConflict)
			wantContents(t, store, map[string]string{"a": "1", "b": "1"})
		}
	}
	mustApply(t, store, cas("a", "1", "2"), cas("b", "1", "2"), insert("c", "2"), put("d", "2"))
	wantContents(t, store, map[string]string{"a": "2", "b": "2", "c": "2", "d": "2"})
}

// testOneWinner lets many calls check the same name for the same value.
func testOneWinner(t *testing.T, store tokenstore.Store) {
	const contenders, rounds = 100, 4
	old := []byte(nil)
	for round := range rounds {
		var (
			wg      sync.WaitGroup
			winners atomic.Int32
			winner  atomic.Value
		)
		begin := make(chan struct{})
		for i := range contenders {
			wg.Go(func() {
				value := fmt.Sprintf("%d-%d", round, i)
				side := fmt.Sprintf("side-%d", i)
				<-begin
				err := store.Apply(background,
					tokenstore.Change{Name: []byte("a"), Value: []byte(value), Check: true, Old: old},
					put(side, value))
				switch {
				case err == nil:
					winners.Add(1)
					winner.Store(value)
				case !errors.Is(err, tokenstore.ErrConflict):
					t.Errorf("apply: error is %v, want one that is %q", err, tokenstore.ErrConflict)
				}
			})
		}
		close(begin)
		wg.Wait()
		if n := winners.Load(); n != 1 {
			t.Fatalf("%d of %d calls won, want 1", n, contenders)
		}
		value := winner.Load().(string)
		wantValue(t, store, "a", value)
		sides := 0
		err := store.Scan(t.Context(), []byte("side-"), nil, func(_, v []byte) bool {
			if string(v) == value {
				sides++
			}
			return true
		})
		if err != nil || sides != 1 {
			t.Fatalf("%d other names hold the value of the call that won, want 1 (%v)", sides, err)
		}
		old = []byte(value)
	}
}

func testNoLostUpdate(t *testing.T, store tokenstore.Store) {
	const workers, updates = 8, 25
	mustApply(t, store, put("count", "0"))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for done := 0; done < updates; {
				old, err := store.Get(background, []byte("count"))
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(old))
				err = store.Apply(background, cas("count", string(old), strconv.Itoa(n+1)))
				switch {
				case err == nil:
					done++
				case !errors.Is(err, tokenstore.ErrConflict):
					t.Errorf("apply: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	wantValue(t, store, "count", strconv.Itoa(workers*updates))
}

// testConcurrent lets everything happen at once: names of their own for each
// worker, one that all write without a check, and scans.
func testConcurrent(t *testing.T, store tokenstore.Store) {
	const workers, rounds = 12, 15
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			own := fmt.Sprintf("own-%02d", w)
			for round := range rounds {
				value := fmt.Sprintf("%d-%d", w, round)
				err := store.Apply(background, put(own, value), put("shared", value), tokenstore.Change{Name: []byte("gone")})
				if err != nil {
					t.Errorf("apply: %v", err)
				}
				got, err := store.Get(background, []byte(own))
				if err != nil || string(got) != value {
					t.Errorf("read %q and error %v after writing %q", got, err, value)
				}
				err = store.Scan(background, []byte("own-"), nil, func(name, v []byte) bool {
					if string(name) == own && string(v) != value {
						t.Errorf("a scan found %q after writing %q", v, value)
					}
					return true
				})
				if err != nil {
					t.Errorf("scan: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if n := len(scanNames(t, store, nil, nil)); n != workers+1 {
		t.Errorf("the store holds %d values, want %d", n, workers+1)
	}
}
