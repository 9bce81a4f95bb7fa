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
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// namePrefix stands before every name, because Badger keeps the names that
// begin with "!badger!" for itself.
const namePrefix = 'n'

// counterName is what every transaction writes too (see markName).
const counterName = "counter"

// store is an open database.
type store struct {
	db     *badgerdb.DB
	dir    string
	logger *zap.Logger
	lock   *os.File
	space  *space
	unread *unread
	looks  looks
	// trimmer is the polling goroutine's.
	trimmer trimmer
	mark    *mark
	logs    *logs
	steps   *mergeSteps
	line    line

	// life is held for reading by every call under way, and for writing by
	// Close: Badger panics in a call that meets a closed database.
	life   sync.RWMutex
	closed bool

	// stuck counts what was given up and still goes on (inTime).
	stuck atomic.Int32

	// markFailed keeps a mark that cannot be written from being a flood.
	markFailed sync.Once
}

// Get implements tokenstore.Store.
func (s *store) Get(ctx context.Context, name []byte) (value []byte, err error) {
	if err := tokenstore.CheckName(name); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))

	if err := s.unread.checkName(stored(name)); err != nil {
		return nil, s.wrap("reading", err)
	}
	txn, err := s.transaction(false)
	if err != nil {
		return nil, err
	}
	defer txn.Discard()
	value, err = get(txn, stored(name))
	if err != nil {
		return nil, s.wrap("reading", err)
	}
	return value, nil
}

// Apply implements tokenstore.Store.
func (s *store) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	if err := tokenstore.CheckChanges(changes); err != nil {
		return err
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	release, err := s.space.admit(spaceOf(changes))
	if err != nil {
		return s.wrap("writing", err)
	}
	defer release()
	return s.write(newRequest(changes))
}

// Scan implements tokenstore.Store.
func (s *store) Scan(ctx context.Context, prefix, after []byte, fn func(name, value []byte) bool) (err error) {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	var inFn bool
	defer func() {
		// A panic of fn is the caller's own.
		if !inFn {
			recoverValue(recover(), &err)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))

	start := stored(prefix)
	if after != nil && bytes.Compare(after, prefix) >= 0 {
		start = append(stored(after), 0) // the next name there can be
	}
	checked := s.unread.checkFrom(start, stored(prefix))
	txn, err := s.transaction(false)
	if err != nil {
		return err
	}
	defer txn.Discard()
	it := txn.NewIterator(badgerdb.IteratorOptions{
		// Prefetching reads in goroutines whose panics cannot be caught.
		PrefetchValues: false,
		Prefix:         stored(prefix),
	})
	defer it.Close()
	for it.Seek(start); it.Valid(); it.Next() {
		item := it.Item()
		if err := checked.until(item.Key()); err != nil {
			return s.wrap("reading", err)
		}
		value, err := item.ValueCopy(nil)
		if err != nil {
			return s.wrap("reading", err)
		}
		name := item.KeyCopy(nil)[1:]
		inFn = true
		more := fn(name, value)
		inFn = false
		if !more {
			return nil
		}
	}
	if err := checked.until(nil); err != nil {
		return s.wrap("reading", err)
	}
	return nil
}

// Close implements tokenstore.Store.
func (s *store) Close() (err error) {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return s.wrap("closing", tokenstore.ErrClosed)
	}
	s.closed = true
	s.unread.end()
	defer recoverInto(&err)
	if err := s.space.end(memtables / 2 * memtableReserve); err != nil {
		// Closing Badger would write, and could end the process. Its log is
		// synced, so nothing is lost, but it stays open and locked.
		return s.wrap("closing", errors.Join(fmt.Errorf("left open until the process ends: %w", err), s.mark.close(false)))
	}
	var slow bool
	slow, err = within(closeTimeout, s.db.Close)
	if slow {
		return s.wrap("closing", errors.Join(errors.New("left open until the process ends: Badger cannot finish writing"), s.mark.close(false)))
	}
	err = errors.Join(err, s.logs.drop())
	// The lock goes last: what another process checks must be complete.
	if err = errors.Join(err, s.mark.close(err == nil), s.lock.Close()); err != nil {
		return s.wrap("closing", err)
	}
	return nil
}

// CheckSpace implements tokenstore.SpaceChecker.
func (s *store) CheckSpace(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.life.RUnlock()
	if err := s.space.check(); err != nil {
		return s.wrap("using", err)
	}
	return nil
}

// begin holds the database open for one call. The caller releases life if it
// returns nil.
func (s *store) begin(ctx context.Context) error {
	s.life.RLock()
	err := ctx.Err()
	if s.closed {
		err = tokenstore.ErrClosed
	}
	if err != nil {
		s.life.RUnlock()
		return s.wrap("using", err)
	}
	return nil
}

func (s *store) wrap(doing string, err error) error {
	return fmt.Errorf("%s the token store %s: %w", doing, s.dir, err)
}

func get(txn *badgerdb.Txn, name []byte) ([]byte, error) {
	item, err := txn.Get(name)
	if errors.Is(err, badgerdb.ErrKeyNotFound) {
		return nil, tokenstore.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// stored returns the name under which Badger keeps a name.
func stored(name []byte) []byte {
	return append(append(make([]byte, 0, 2+len(name)), namePrefix), name...)
}

// expiry returns when Badger may forget a value: at the first full second
// after t, because it counts in seconds and must not be early.
func expiry(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.Unix()+1, 1))
}

// recoverInto makes an error of a panic.
func recoverInto(err *error) { recoverValue(recover(), err) }

func recoverValue(v any, err *error) {
	if v != nil {
		*err = fmt.Errorf("badger failed: %v", v)
	}
}

// Interface guards
var (
	_ tokenstore.Store        = (*store)(nil)
	_ tokenstore.SpaceChecker = (*store)(nil)
	_ tokenstore.Placed       = (*store)(nil)
)
