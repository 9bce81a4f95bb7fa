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
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// awkwardNames sort differently if bytes are taken for characters, signed
// numbers, or texts that end with a zero.
var awkwardNames = []string{
	"\x00", "\x00\x00", "\x00\xff", "\x01", "A", "a", "a\x00", "a\x00\x00", "a\x00b", "aa", "ab", "a\x7f", "a\x80", "a\xfe", "a\xff",
	"a\xff\x00", "a\xff\xff", "b", "b\x00", "\x7f", "\x80", "\xc3\xa9", "\xfe\xff", "\xff", "\xff\x00", "\xff\x01", "\xff\xfe", "\xff\xff", "\xff\xff\xff",
}

// wantNames is what a scan must find of names, by the words of the contract.
func wantNames(names []string, prefix, after []byte) []string {
	var want []string
	for _, name := range names {
		if strings.HasPrefix(name, string(prefix)) && (after == nil || name > string(after)) {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	return want
}

func putAll(t *testing.T, store tokenstore.Store, names []string) {
	t.Helper()
	shuffled := slices.Clone(names)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, name := range shuffled {
		mustApply(t, store, put(name, "value of "+name))
	}
}

func testScanOrder(t *testing.T, store tokenstore.Store) {
	if names := scanNames(t, store, nil, nil); len(names) > 0 {
		t.Errorf("an empty store holds %q", names)
	}
	putAll(t, store, awkwardNames)
	var got []string
	err := store.Scan(t.Context(), nil, nil, func(name, value []byte) bool {
		if string(value) != "value of "+string(name) {
			t.Errorf("%q came with the value %q", name, value)
		}
		got = append(got, string(name))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := wantNames(awkwardNames, nil, nil); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func testScanPrefix(t *testing.T, store tokenstore.Store) {
	putAll(t, store, awkwardNames)
	prefixes := append([]string{"", "c", "ac", "a\x00b\x00", "\xff\xff\xff\xff", strings.Repeat("\xff", tokenstore.MaxName)}, awkwardNames...)
	for _, prefix := range prefixes {
		got := scanNames(t, store, []byte(prefix), nil)
		if want := wantNames(awkwardNames, []byte(prefix), nil); !slices.Equal(got, want) {
			t.Errorf("prefix %q: got  %q\nwant %q", prefix, got, want)
		}
	}
}

func testScanAfter(t *testing.T, store tokenstore.Store) {
	putAll(t, store, awkwardNames)
	afters := append([]string{"", "c", "a\x00a", "\xff\xff\xff\xff", strings.Repeat("a", 2*tokenstore.MaxName)}, awkwardNames...)
	for _, prefix := range []string{"", "a", "a\x00", "\xff", "\xff\xff", "c"} {
		for _, after := range afters {
			got := scanNames(t, store, []byte(prefix), []byte(after))
			if want := wantNames(awkwardNames, []byte(prefix), []byte(after)); !slices.Equal(got, want) {
				t.Errorf("prefix %q after %q: got  %q\nwant %q", prefix, after, got, want)
			}
		}
	}

	// Pages of one name each, with names that come and go between the pages.
	var pages []string
	var after []byte
	for {
		var page []byte
		err := store.Scan(t.Context(), []byte("a"), after, func(name, _ []byte) bool {
			page = bytes.Clone(name)
			return false
		})
		if err != nil {
			t.Fatal(err)
		}
		if page == nil {
			break
		}
		pages = append(pages, string(page))
		mustApply(t, store, tokenstore.Change{Name: page})
		after = page
	}
	if want := wantNames(awkwardNames, []byte("a"), nil); !slices.Equal(pages, want) {
		t.Errorf("pages: got  %q\nwant %q", pages, want)
	}
}

func testScanStop(t *testing.T, store tokenstore.Store) {
	putAll(t, store, []string{"a", "b", "c", "d"})
	for stop := 1; stop <= 4; stop++ {
		calls := 0
		err := store.Scan(t.Context(), nil, nil, func(_, _ []byte) bool {
			calls++
			return calls < stop
		})
		if err != nil || calls != stop {
			t.Errorf("fn was called %d times and returned false the %d. time (%v)", calls, stop, err)
		}
	}
	mustApply(t, store, put("a", "2")) // a scan that was stopped holds nothing up
}

// testScanOneMoment moves a mark from name to name: a scan at one moment finds
// it exactly once.
func testScanOneMoment(t *testing.T, store tokenstore.Store) {
	const names, moves, scanners = 20, 60, 3
	name := func(i int) string { return fmt.Sprintf("%02d", i%names) }
	for i := range names {
		mustApply(t, store, put(name(i), "-"))
	}
	mustApply(t, store, put(name(0), "mark"))

	done := make(chan struct{})
	var wg sync.WaitGroup
	for range scanners {
		wg.Go(func() {
			for {
				marks, entries := 0, 0
				err := store.Scan(background, nil, nil, func(_, value []byte) bool {
					entries++
					if string(value) == "mark" {
						marks++
					}
					return true
				})
				if err != nil || marks != 1 || entries != names {
					t.Errorf("a scan found %d marks in %d names, want 1 in %d (%v)", marks, entries, names, err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range moves {
		// Steps of 7 go to and fro in the order of the scan.
		if err := store.Apply(background, cas(name(7*i), "mark", "-"), cas(name(7*i+7), "-", "mark")); err != nil {
			t.Errorf("apply: %v", err)
			break
		}
	}
	close(done)
	wg.Wait()
}

func testClosed(t *testing.T, store tokenstore.Store) {
	mustApply(t, store, put("a", "1"))
	mustClose(t, store)
	for range 2 {
		_, err := store.Get(t.Context(), []byte("a"))
		wantError(t, "get", err, tokenstore.ErrClosed)
		wantError(t, "apply", store.Apply(t.Context(), put("a", "2")), tokenstore.ErrClosed)
		wantError(t, "scan", store.Scan(t.Context(), nil, nil, func(_, _ []byte) bool { return true }), tokenstore.ErrClosed)
		wantError(t, "close", store.Close(), tokenstore.ErrClosed)
	}
}

func testCloseWaits(t *testing.T, store tokenstore.Store) {
	putAll(t, store, []string{"a", "b", "c"})
	inside, proceed := make(chan struct{}), make(chan struct{})
	scanned := make(chan error, 1)
	go func() {
		calls := 0
		err := store.Scan(background, nil, nil, func(name, value []byte) bool {
			if calls == 0 {
				close(inside)
				<-proceed
			}
			calls++
			return string(value) == "value of "+string(name)
		})
		if err == nil && calls != 3 {
			err = fmt.Errorf("it ended after %d of 3 names", calls)
		}
		scanned <- err
	}()
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- store.Close() }()
	select {
	case err := <-closed:
		t.Errorf("close returned (%v) while a scan was under way", err)
	case <-scanned:
		t.Error("the scan ended by itself")
	case <-time.After(50 * time.Millisecond):
	}
	close(proceed)
	if err := <-scanned; err != nil {
		t.Errorf("the scan that was under way: %v", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("close: %v", err)
	}
}

// testCloseUnderLoad closes the store while it is used: each call either
// succeeds or says that the store is closed.
func testCloseUnderLoad(t *testing.T, store tokenstore.Store) {
	const workers = 8
	var wg, running sync.WaitGroup
	running.Add(workers)
	for w := range workers {
		wg.Go(func() {
			name := fmt.Sprintf("%d", w)
			for i := 0; ; i++ {
				err := store.Apply(background, put(name, "1"))
				if err == nil {
					_, err = store.Get(background, []byte(name))
				}
				if err == nil {
					err = store.Scan(background, nil, nil, func(_, _ []byte) bool { return true })
				}
				if i == 0 {
					running.Done()
				}
				if err != nil {
					if !errors.Is(err, tokenstore.ErrClosed) {
						t.Errorf("error is %v, want one that is %q", err, tokenstore.ErrClosed)
					}
					return
				}
			}
		})
	}
	running.Wait()
	mustClose(t, store)
	wg.Wait()
}
