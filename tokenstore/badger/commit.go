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
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Badger repeats for ever what it writes by itself, so a disk with write
// errors can hold up a write, and Close. What takes longer than these times
// goes on, and is given up for the caller.
var (
	commitTimeout = 10 * time.Second
	closeTimeout  = 15 * time.Second
)

// within waits for fn, but not longer than limit; slow says that fn goes on.
func within(limit time.Duration, fn func() error) (slow bool, err error) {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer recoverInto(&err)
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		err = fn()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return false, err
	case <-timer.C:
		return true, fmt.Errorf("the database does not finish what it writes: waited %v", limit)
	}
}

// inTime waits for fn, but not for ever. While anything goes on that was given
// up, nothing is begun: it would only wait in the same line.
func (s *store) inTime(fn func() error) (slow bool, err error) {
	ended := make(chan struct{})
	slow, err = within(commitTimeout, func() error {
		defer close(ended)
		return fn()
	})
	if slow {
		s.stuck.Add(1)
		go func() {
			<-ended
			s.stuck.Add(-1)
		}()
	}
	return slow, err
}

// transaction begins a transaction. Badger lets it wait, for ever if need be,
// until all commits that have begun are done.
func (s *store) transaction(update bool) (*badgerdb.Txn, error) {
	if s.stuck.Load() > 0 {
		return nil, s.wrap("using", errors.New("the database does not finish what it writes"))
	}
	begun := make(chan *badgerdb.Txn, 1)
	slow, err := s.inTime(func() error {
		begun <- s.db.NewTransaction(update)
		return nil
	})
	if slow {
		go func() { (<-begun).Discard() }()
	}
	if err != nil {
		return nil, s.wrap("using", err)
	}
	return <-begun, nil
}

// commit makes the changes of a transaction, and moves the mark before they
// are acknowledged. It ends the transaction.
func (s *store) commit(txn *badgerdb.Txn) error {
	// Badger keeps the slice until the transaction is written.
	if err := txn.Set([]byte(counterName), []byte{1}); err != nil {
		txn.Discard()
		return s.wrap("writing", err)
	}
	_, err := s.inTime(txn.Commit)
	if errors.Is(err, badgerdb.ErrConflict) {
		return s.wrap("writing", err) // before anything was written
	}
	if err != nil {
		return s.wrap("writing", errors.Join(err, s.mark.failed()))
	}
	if s.logs.look() {
		s.looks.more.Store(true)
		s.space.kick()
	}
	version, err := s.version()
	if err == nil {
		err = s.mark.reach(version)
	}
	if err != nil {
		// What was asked for is done. The mark stays behind, which only makes
		// it weaker.
		s.markFailed.Do(func() {
			s.logger.Error("the mark of the token store cannot be moved; damage may not be noticed at the next start",
				zap.String("path", filepath.Join(s.dir, markName)), zap.Error(err))
		})
	}
	return nil
}

// version returns that of a write that is at least as new as those that were
// committed before. It is never that of a write that is not synced yet: Badger
// lets a transaction begin only after all commits of the versions that it sees
// have returned. (One that returned an error may be seen, and the next power
// failure can take it. Then that disk has lost more than the mark.)
func (s *store) version() (uint64, error) {
	txn, err := s.transaction(false)
	if err != nil {
		return 0, err
	}
	defer txn.Discard()
	item, err := txn.Get([]byte(counterName))
	if err != nil {
		return 0, err
	}
	return item.Version(), nil
}

// count writes the counter alone, and returns its version.
func (s *store) count() (uint64, error) {
	release, err := s.space.admit(spaceOf(nil))
	if err != nil {
		return 0, err
	}
	defer release()
	txn, err := s.transaction(true)
	if err != nil {
		return 0, err
	}
	if err := s.commit(txn); err != nil {
		return 0, err
	}
	return s.version()
}

// spaceOf returns what a write may take of the disk.
func spaceOf(changes []tokenstore.Change) int64 {
	// Headers, versions, checksums, the counter and the end of a transaction,
	// and the pages at both ends.
	n := int64(8 << 10)
	for _, c := range changes {
		n += int64(len(c.Name)+len(c.Value)) + 64
	}
	return n
}
