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
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// comeTogether begins writes, one after the other, while another one is being
// synced. What it returns ends that one, and says how they ended.
func comeTogether(t *testing.T, s *store, writes ...[]tokenstore.Change) func() []error {
	t.Helper()
	s.line.mu.Lock()
	s.line.led = true // by whoever is syncing
	s.line.mu.Unlock()
	errs := make([]error, len(writes))
	var group sync.WaitGroup
	for i, changes := range writes {
		group.Go(func() { errs[i] = s.Apply(t.Context(), changes...) })
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			s.line.mu.Lock()
			n := len(s.line.waiting)
			s.line.mu.Unlock()
			if n == i+1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("a write does not get in line")
			}
		}
	}
	return func() []error {
		s.line.handOver(make([]*request, 1))
		group.Wait()
		return errs
	}
}

// together makes writes that come together, and also returns how many
// transactions they took.
func together(t *testing.T, s *store, writes ...[]tokenstore.Change) ([]error, uint64) {
	t.Helper()
	before, err := s.version()
	if err != nil {
		t.Fatal(err)
	}
	errs := comeTogether(t, s, writes...)()
	after, err := s.version()
	if err != nil {
		t.Fatal(err)
	}
	return errs, after - before
}

func set(n, value string) tokenstore.Change {
	return tokenstore.Change{Name: []byte(n), Value: []byte(value)}
}

func swap(n, old, value string) tokenstore.Change {
	return tokenstore.Change{Name: []byte(n), Check: true, Old: []byte(old), Value: []byte(value)}
}

// Writes that come together share a transaction, and so a sync, and what each
// of them promises is as if it had come alone.
func TestGroup(t *testing.T) {
	dir := newDir(t)
	s := open(t, dir).(*store)
	if err := s.Apply(t.Context(), set("a", "1"), set("b", "1")); err != nil {
		t.Fatal(err)
	}
	errs, transactions := together(t, s,
		[]tokenstore.Change{swap("a", "1", "2")},
		[]tokenstore.Change{set("c", "lost"), swap("a", "1", "lost")}, // the one before it was faster
		[]tokenstore.Change{swap("a", "2", "3"), {Name: []byte("b")}},
		[]tokenstore.Change{swap("b", "1", "lost")}, // deleted
		[]tokenstore.Change{{Name: []byte("b"), Check: true, Value: []byte("again")}},
		[]tokenstore.Change{set("d", "1")},
	)
	for i, conflict := range []bool{false, true, false, true, false, false} {
		if errors.Is(errs[i], tokenstore.ErrConflict) != conflict || !conflict && errs[i] != nil {
			t.Errorf("write %d: %v", i, errs[i])
		}
	}
	if transactions != 1 {
		t.Errorf("%d transactions", transactions)
	}
	want := map[string]string{"a": "3", "b": "again", "c": "", "d": "1"}
	for range 2 {
		for n, value := range want {
			got, err := s.Get(t.Context(), []byte(n))
			if string(got) != value || (value == "") != errors.Is(err, tokenstore.ErrNotFound) {
				t.Errorf("%s is %q, %v", n, got, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, dir).(*store)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// Nothing is written if no write of a group may be.
func TestGroupOfConflicts(t *testing.T) {
	s := open(t, newDir(t)).(*store)
	defer s.Close()
	if err := s.Apply(t.Context(), set("a", "1")); err != nil {
		t.Fatal(err)
	}
	errs, transactions := together(t, s, []tokenstore.Change{swap("a", "2", "3")}, []tokenstore.Change{swap("a", "3", "4")})
	for _, err := range errs {
		if !errors.Is(err, tokenstore.ErrConflict) {
			t.Error(err)
		}
	}
	if transactions != 0 {
		t.Errorf("%d transactions", transactions)
	}
}

// Nobody is told that a write is done whose transaction failed.
func TestGroupFails(t *testing.T) {
	s := open(t, newDir(t)).(*store)
	defer s.Close()
	end := comeTogether(t, s, []tokenstore.Change{set("a", "1")}, []tokenstore.Change{set("b", "1")}, []tokenstore.Change{set("c", "1")})
	s.stuck.Add(1)
	for i, err := range end() {
		if err == nil || errors.Is(err, tokenstore.ErrConflict) {
			t.Errorf("write %d: %v", i, err)
		}
	}
	s.stuck.Add(-1)
	for _, n := range []string{"a", "b", "c"} {
		if _, err := s.Get(t.Context(), []byte(n)); !errors.Is(err, tokenstore.ErrNotFound) {
			t.Errorf("%s: %v", n, err)
		}
	}
	if err := s.Apply(t.Context(), set("a", "2")); err != nil {
		t.Error(err)
	}
}

// A group holds what Badger takes in a transaction, by size and by number.
func TestGroupSize(t *testing.T) {
	s := open(t, newDir(t)).(*store)
	defer s.Close()
	for name, c := range map[string]struct {
		writes, changes, value int
		most                   uint64
	}{
		"large": {5, 1, tokenstore.MaxValue, 5},
		"whole": {3, 2, tokenstore.MaxValue, 3},
		"many":  {120, tokenstore.MaxChanges, 1, 3},
		"usual": {64, 3, 1000, 2},
	} {
		var writes [][]tokenstore.Change
		for i := range c.writes {
			var changes []tokenstore.Change
			for j := range c.changes {
				changes = append(changes, tokenstore.Change{Name: []byte{byte(i), byte(j)}, Value: bytes.Repeat([]byte("v"), c.value)})
			}
			writes = append(writes, changes)
		}
		errs, transactions := together(t, s, writes...)
		if err := errors.Join(errs...); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if transactions > c.most {
			t.Errorf("%s: %d transactions", name, transactions)
		}
	}
}
