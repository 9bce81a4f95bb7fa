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

package badger

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// large makes every store that is opened from now on a large one, in this test.
func large(t *testing.T) {
	before := checkedAtOnce
	checkedAtOnce = 0
	t.Cleanup(func() { checkedAtOnce = before })
}

func recordName(i int) []byte { return fmt.Appendf(nil, "record-%05d", i) }

// fillTables writes so much that there are many tables, and closes the store.
func fillTables(t *testing.T, dir string, n int) {
	t.Helper()
	s := open(t, dir)
	var changes []tokenstore.Change
	for i := range n {
		value := append(fmt.Appendf(nil, "value of %d ", i), bytes.Repeat([]byte("0123456789abcdef"), 256)...)
		if changes = append(changes, tokenstore.Change{Name: recordName(i), Value: value}); len(changes) < tokenstore.MaxChanges && i < n-1 {
			continue
		}
		if err := s.Apply(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
		changes = nil
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// What opening a large store reads does not grow with what is in its tables.
func TestOpenLarge(t *testing.T) {
	dir := newDir(t)
	const n = 1500
	fillTables(t, dir, n)
	large(t)
	s := open(t, dir).(*store)
	for range 200 {
		i := rand.IntN(n)
		value, err := s.Get(t.Context(), recordName(i))
		if err != nil || !bytes.HasPrefix(value, fmt.Appendf(nil, "value of %d ", i)) {
			t.Fatalf("record %d: %.20q, %v", i, value, err)
		}
	}
	if _, err := s.Get(t.Context(), []byte("record-none")); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("a name that was never stored: %v", err)
	}
	names := 0
	if err := s.Scan(t.Context(), []byte("record-"), nil, func([]byte, []byte) bool { names++; return true }); err != nil || names != n {
		t.Errorf("%d of %d names, %v", names, n, err)
	}
	<-s.unread.done
	if !s.unread.settled() || s.unread.tables != nil {
		t.Error("all was read, and nobody knows")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Whoever asks for a name of a large store gets what was stored, or learns of
// the damage; nobody is told that there is nothing, or gets what was there
// before.
func TestLargeStoreTellsOfDamage(t *testing.T) {
	dir := newDir(t)
	const n = 1000
	fillTables(t, dir, n)
	tables := files(t, dir, "*.sst")
	if len(tables) < 3 {
		t.Fatalf("only %d tables", len(tables))
	}
	// In the middle, one name becomes another: it is the last of ten, and alone
	// in its block, so that those who look for it find nothing, and no damage.
	data, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	var places []int
	for i := 9; i < n; i += 10 {
		if at := bytes.Index(data, recordName(i)); at >= 0 {
			places = append(places, at+len("record-"))
		}
	}
	if len(places) < 3 {
		t.Fatalf("the first table holds the last of ten %d times", len(places))
	}
	data[places[len(places)/2]] ^= 1
	if err := os.WriteFile(tables[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("a small one is not opened", func(t *testing.T) {
		if s, err := (&Config{Path: dir}).Open(zap.NewNop()); err == nil {
			_ = s.Close()
			t.Error("it was opened")
		}
	})
	large(t)
	core, logs := observer.New(zap.ErrorLevel)
	opened, err := (&Config{Path: dir}).Open(zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*store)
	t.Cleanup(func() { _ = s.Close() })
	ask := func(when string) {
		t.Helper()
		right, told := 0, 0
		for i := range n {
			value, err := s.Get(t.Context(), recordName(i))
			switch {
			case err == nil && bytes.HasPrefix(value, fmt.Appendf(nil, "value of %d ", i)):
				right++
			case err != nil && strings.Contains(err.Error(), filepath.Base(tables[0])) && strings.Contains(err.Error(), "backup"):
				told++
			default:
				t.Fatalf("%s: record %d: %.20q, %v", when, i, value, err)
			}
		}
		// Ten at a time, so that a scan ends where the damage is.
		for i := range n / 10 {
			names := 0
			prefix := recordName(i * 10)
			err := s.Scan(t.Context(), prefix[:len(prefix)-1], nil, func([]byte, []byte) bool { names++; return true })
			if err == nil && names != 10 {
				t.Errorf("%s: a scan finds %d of 10 names", when, names)
			}
		}
		if told == 0 || right < n/2 {
			t.Errorf("%s: %d are right, %d told of the damage", when, right, told)
		}
	}
	ask("before all is read")
	<-s.unread.done
	if s.unread.settled() || logs.FilterMessageSnippet("reading the tables").Len() != 1 {
		t.Errorf("nobody was told: %v", logs.All())
	}
	ask("after all was read")
	if err := s.Scan(t.Context(), []byte("record-"), nil, func([]byte, []byte) bool { return true }); err == nil {
		t.Error("a scan over the damage succeeded")
	}
	// It can be written, and is not merged.
	value := bytes.Repeat([]byte("x"), 60<<10)
	for range 200 {
		if err := s.Apply(t.Context(), tokenstore.Change{Name: []byte("new 1"), Value: value}, tokenstore.Change{Name: []byte("new 2"), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	unmerged := 0
	for _, one := range s.db.Tables() {
		if one.Level == 0 {
			unmerged++
		}
	}
	if unmerged < 15 {
		t.Errorf("%d tables are not merged, and 23 MiB were written", unmerged)
	}
}

// Closing does not wait for the reading, and who waits for it is told.
func TestCloseLargeWhileItIsRead(t *testing.T) {
	dir := newDir(t)
	fillTables(t, dir, 1000)
	large(t)
	s := open(t, dir).(*store)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), recordName(1)); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// Badger does not give its tables away, so this is what notices that another
// Badger keeps them otherwise.
func TestMappedTablesAreGivenBack(t *testing.T) {
	dir := newDir(t)
	const n = 1500
	fillTables(t, dir, n)
	s := open(t, dir).(*store)
	t.Cleanup(func() { _ = s.Close() })
	tables, err := openTables(s.db)
	if err != nil || len(tables) == 0 || len(tables) != len(s.db.Tables()) {
		t.Fatalf("%d of %d tables, %v", len(tables), len(s.db.Tables()), err)
	}
	read := func() {
		for i := range n {
			if _, err := s.Get(t.Context(), recordName(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	read()
	before := mapped()
	for _, one := range tables {
		forget(one.Data)
		if err := one.DecrRef(); err != nil {
			t.Error(err)
		}
	}
	if after := mapped(); before > 0 && after > before-1<<20 {
		t.Errorf("%d KiB are mapped, before it were %d", after>>10, before>>10)
	}
	read()
	// The references were given back: what is merged can be removed.
	_ = s.merge() // or the store has just done it
	for deadline := time.Now().Add(10 * time.Second); len(files(t, dir, "*.sst")) > len(s.db.Tables()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d files of %d tables are left", len(files(t, dir, "*.sst")), len(s.db.Tables()))
		}
	}
	read()
}
