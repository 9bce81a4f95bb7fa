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
	"runtime/debug"
	"sync/atomic"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// mergeShare is the share of the merged tables, 1/mergeShare, that the new ones
// must have before all are merged.
const mergeShare = 4

// lookEvery is how often the tables are looked at when nothing says that there is
// one more. Of a million records, there are thousands.
const lookEvery = 10 * time.Second

// looks say when to look at the tables. All but more belongs to the polling
// goroutine.
type looks struct {
	// more is set when there will be a table more, as soon as it is written.
	more atomic.Bool
	next time.Time
}

// now tells whether it is time to look.
func (l *looks) now() bool {
	now := time.Now()
	if soon := now.Add(pollSpace); l.more.Swap(false) && soon.Before(l.next) {
		l.next = soon
	}
	if now.Before(l.next) {
		return false
	}
	l.next = now.Add(lookEvery)
	return true
}

// merger merges the tables of a database.
type merger interface {
	// due tells whether they should be merged, and the size of all: the most that
	// is left of them.
	due() (size int64, due bool, err error)
	// live estimates what is left of them, from a look at every name.
	live() (int64, error)
	merge() error
	// trim gives memory back that the tables are mapped to.
	trim()
}

// tidy merges the tables if there are many and there is space for it.
func (s *space) tidy() {
	if s.merger == nil {
		return
	}
	s.merger.trim()
	err := s.tryMerge()
	if err != nil && !s.mergeFailed {
		s.logger.Error("the tables of the token store cannot be merged; it works, and grows", zap.String("path", s.dir), zap.Error(err))
	}
	s.mergeFailed = err != nil
}

func (s *space) tryMerge() error {
	all, due, err := s.merger.due()
	if err != nil || !due {
		return err
	}
	if !s.beginMerge(all) {
		// What takes the space may be what a merge would free.
		if s.lived != all {
			if s.live, err = s.merger.live(); err != nil {
				return err
			}
			s.lived = all
		}
		if !s.beginMerge(min(all, s.live+s.live/4+smallReserve)) {
			return nil
		}
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.merging = false
	}()
	return s.merger.merge()
}

// beginMerge says whether there is space for a merge that needs so much: tables
// that are merged are removed only afterwards. On a full disk, nothing is
// written, so that only flushes under way need space too.
func (s *space) beginMerge(need int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.look()
	s.mergeNeed = need
	s.merging = !r.known || r.usable >= need+2*memtableReserve+smallReserve
	return s.merging
}

// due implements merger. Badger would merge by itself, whenever it finds many
// tables that never were: on a full disk too.
func (s *store) due() (size int64, due bool, err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s.logs.retry()
	if !s.unread.settled() || !s.looks.now() {
		return 0, false, nil
	}
	unmerged := 0
	var added, merged int64
	for _, t := range s.db.Tables() {
		if t.Level == 0 {
			unmerged++
			added += int64(t.OnDiskSize)
		} else {
			merged += int64(t.OnDiskSize)
		}
	}
	// A merge writes all that is live. Waiting until a share of it is new keeps
	// what merging writes a small multiple of what callers do.
	due = unmerged > s.db.Opts().NumLevelZeroTables && added >= merged/mergeShare
	if due {
		s.looks.next = time.Time{} // there may be no space for it yet
	}
	return added + merged, due, nil
}

// live implements merger.
func (s *store) live() (size int64, err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	txn, err := s.transaction(false)
	if err != nil {
		return 0, err
	}
	defer txn.Discard()
	it := txn.NewIterator(badgerdb.IteratorOptions{})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		size += it.Item().EstimatedSize() + 64
	}
	return size, nil
}

// merge implements merger. Flatten would go on for as long as there are tables
// that are not merged, and rewrite all for each that is written meanwhile: while
// the store is written fast, without end.
func (s *store) merge() (err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil && v != errMergedOnce {
			panic(v)
		}
	}()
	s.steps.left.Store(1)
	return s.db.Flatten(1)
}

// mergeSteps ends a Flatten after a number of steps. Badger announces each step
// to its logger, in the goroutine that called Flatten and with nothing locked;
// a panic out of there is the only way to leave it.
type mergeSteps struct{ left atomic.Int32 }

// mergeStepText is what the announcement begins with.
const mergeStepText = "Attempting to compact"

var errMergedOnce = errors.New("merged once")

func (m *mergeSteps) begin() {
	if m.left.Add(-1) < 0 {
		panic(errMergedOnce)
	}
}
