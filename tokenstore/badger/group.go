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
	"runtime/debug"
	"sync"

	badgerdb "github.com/dgraph-io/badger/v4"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Badger syncs its log after each transaction, one after the other, however
// many are waiting (DB.writeToLSM). So writes that come together become one
// transaction: while one is synced, those that come form the next.

const (
	// groupSize bounds what a group writes: as much as a single Apply may.
	// Badger takes 157 KB and 1,600 entries in a transaction of ours (15 % of a
	// memtable).
	groupSize = tokenstore.MaxApply
	// changeSize is what a change counts for, beside its name and its value.
	changeSize = 128
)

// request is an Apply on its way into a transaction.
type request struct {
	changes []tokenstore.Change
	size    int
	// Once wake is closed, it is done, and err is its end, or else it leads the
	// next group.
	wake chan struct{}
	done bool
	err  error
}

func newRequest(changes []tokenstore.Change) *request {
	r := &request{changes: changes, wake: make(chan struct{})}
	for _, c := range changes {
		r.size += len(c.Name) + len(c.Value) + changeSize
	}
	return r
}

// line holds the requests that wait for a transaction.
type line struct {
	mu      sync.Mutex
	waiting []*request
	// led tells that somebody writes a group, and wakes the next in line.
	led bool
}

// join adds a request, and tells whether it leads the next group.
func (l *line) join(r *request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting = append(l.waiting, r)
	if l.led {
		return false
	}
	l.led = true
	return true
}

// take returns the next group. Its first is who leads it.
func (l *line) take() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for _, r := range l.waiting {
		if size += r.size; n > 0 && size > groupSize {
			break
		}
		n++
	}
	group := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	return group
}

// handOver wakes those that the group was written for, and lets the next in
// line lead.
func (l *line) handOver(group []*request) {
	for _, r := range group[1:] {
		r.done = true
		close(r.wake)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.led, l.waiting = false, nil
		return
	}
	close(l.waiting[0].wake)
}

// write makes the changes of a request, in a transaction that it may share. A
// request whose checks fail leaves nothing in it, and the others go on.
func (s *store) write(r *request) error {
	if !s.line.join(r) {
		<-r.wake
		if r.done {
			return r.err
		}
	}
	group := s.line.take()
	defer s.line.handOver(group)
	for {
		err := s.writeGroup(group)
		// Badger's conflict says that a checked name was written meanwhile,
		// not that its value is another one than expected.
		if errors.Is(err, badgerdb.ErrConflict) {
			continue
		}
		for _, r := range group {
			if r.err == nil {
				r.err = err
			}
		}
		return r.err
	}
}

// writeGroup makes the changes of a group in one transaction. The error is
// that of the transaction; a request whose checks fail has its own.
func (s *store) writeGroup(group []*request) (err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	txn, err := s.transaction(true)
	if err != nil {
		return err
	}
	changed := false
	for _, r := range group {
		if r.err = s.check(txn, r.changes); r.err != nil {
			continue
		}
		if err := s.stage(txn, r.changes); err != nil {
			txn.Discard()
			return err
		}
		changed = true
	}
	if !changed {
		txn.Discard()
		return nil
	}
	return s.commit(txn)
}

// check fails if a change expects another value than there is, after those
// that the transaction holds already.
func (s *store) check(txn *badgerdb.Txn, changes []tokenstore.Change) error {
	for _, c := range changes {
		if !c.Check {
			continue
		}
		if err := s.unread.checkName(stored(c.Name)); err != nil {
			return s.wrap("writing", err)
		}
		value, err := get(txn, stored(c.Name))
		if err != nil && !errors.Is(err, tokenstore.ErrNotFound) {
			return s.wrap("reading", err)
		}
		if (err == nil) != (c.Old != nil) || !bytes.Equal(value, c.Old) {
			return s.wrap("writing", tokenstore.ErrConflict)
		}
	}
	return nil
}

// stage enters changes into a transaction.
func (s *store) stage(txn *badgerdb.Txn, changes []tokenstore.Change) (err error) {
	for _, c := range changes {
		name := stored(c.Name)
		if c.Value == nil {
			err = txn.Delete(name)
		} else {
			err = txn.SetEntry(&badgerdb.Entry{Key: name, Value: c.Value, ExpiresAt: expiry(c.ExpiresAt)})
		}
		if err != nil {
			return s.wrap("writing", err)
		}
	}
	return nil
}
