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
	"math"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
	"go.uber.org/zap"
)

// checkedAtOnce is the size of all tables up to which they are read as a whole
// before the store opens. It takes a tenth of a second. Tests change it.
var checkedAtOnce int64 = 64 << 20

// unread are the tables of a large store, as it was opened: what they list was
// checked then, and their blocks are checked while the store is used.
//
// A flipped bit in a block can hide a name, or its newest value, and Badger
// would say that there is none, or answer with an older one. So, until all
// blocks were read, who asks for a name first has those checked in which it
// could be; there is one in each table. Tables are not merged meanwhile: damage
// makes Badger panic there, in a goroutine of its own. A nil *unread can be used
// and has nothing to check.
type unread struct {
	dir    string
	logger *zap.Logger
	tables []*table.Table

	// whole is set when all blocks were read, and are right.
	whole atomic.Bool
	// mu is held for reading by who reads the tables.
	mu     sync.RWMutex
	closed bool

	stop, done chan struct{}
}

// add opens a table for checking its blocks when they are needed, and returns
// its newest version.
func (u *unread) add(path string) (newest uint64, err error) {
	defer recoverDecoding(&err)
	file, err := z.OpenMmapFile(path, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	// It reads the index, whose checksum is checked, and the last block.
	t, err := table.OpenTable(file, table.Options{ChkMode: options.OnBlockRead})
	if err != nil {
		return 0, errors.Join(err, file.Close(-1))
	}
	u.tables = append(u.tables, t)
	forget(t.Data)
	return t.MaxVersion(), nil
}

// start reads all blocks. What it costs in memory is one table.
func (u *unread) start() {
	if u == nil {
		return
	}
	u.stop, u.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(u.done)
		for _, t := range u.tables {
			select {
			case <-u.stop:
				return
			default:
			}
			if _, err := checkTable(t.Fd.Name(), t.ID()); err != nil {
				u.logger.Error("reading the tables of the token store", zap.Error(u.damaged(t, err)))
				return
			}
		}
		u.whole.Store(true)
		u.close()
	}()
}

func (u *unread) damaged(t *table.Table, err error) error {
	return fmt.Errorf("token store %s is damaged: its file %s: %w. What this may have changed is not served, and the store only grows. "+
		"What helps: stop Caddy, move the directory away, and then restore a backup with 'caddy freshbearer restore' or begin with an empty store",
		u.dir, table.IDToFilename(t.ID()), err)
}

// end stops the reading, and closes the tables.
func (u *unread) end() {
	if u == nil {
		return
	}
	if u.stop != nil {
		close(u.stop)
		<-u.done
	}
	u.close()
}

func (u *unread) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	u.closed = true
	for _, t := range u.tables {
		_ = t.Close(-1) // nothing was written
	}
	u.tables = nil
}

// settled tells whether all was read, and is right.
func (u *unread) settled() bool { return u == nil || u.whole.Load() }

// checkName checks all blocks in which a stored name could be.
func (u *unread) checkName(name []byte) error {
	if u.settled() {
		return nil
	}
	for from, more := name, true; more; {
		var err error
		if from, more, err = u.check(from, func(other []byte) bool { return bytes.Equal(other, name) }); err != nil {
			return err
		}
	}
	return nil
}

// checking checks blocks ahead of a scan of names with a prefix.
type checking struct {
	of     *unread
	prefix []byte
	// next is the first name that is not checked, if there is more.
	next []byte
	more bool
}

// checkFrom begins to check, at a name.
func (u *unread) checkFrom(start, prefix []byte) *checking {
	return &checking{of: u, prefix: prefix, next: start, more: !u.settled()}
}

// until checks all blocks in which a name up to and with this one could be; nil
// is for all that have the prefix.
func (c *checking) until(name []byte) error {
	for c.more && (name == nil || bytes.Compare(c.next, name) <= 0) {
		if c.of.settled() {
			c.more = false
			return nil
		}
		var err error
		c.next, c.more, err = c.of.check(c.next, func(name []byte) bool { return bytes.HasPrefix(name, c.prefix) })
		if err != nil {
			return err
		}
	}
	return nil
}

// checkedAhead is how many entries of a table are checked at once.
const checkedAhead = 256

// check checks the blocks with the names from start on, for as long as they are
// wanted and come one after the other. If there are many, it ends early: next is
// then the first name that is not checked.
func (u *unread) check(start []byte, wanted func(name []byte) bool) (next []byte, more bool, err error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, t := range u.tables {
		if bytes.Compare(start, y.ParseKey(t.Biggest())) > 0 {
			continue
		}
		if first := y.ParseKey(t.Smallest()); bytes.Compare(first, start) > 0 && !wanted(first) {
			continue
		}
		last, err := checkBlocks(t, start, wanted)
		if err != nil {
			return nil, false, u.damaged(t, err)
		}
		if last != nil && (!more || bytes.Compare(last, next) < 0) {
			next, more = last, true
		}
	}
	return next, more, nil
}

// checkBlocks checks blocks of a table. It returns the first name that is not
// checked, nil if there is none that is wanted.
func checkBlocks(t *table.Table, start []byte, wanted func(name []byte) bool) (next []byte, err error) {
	defer recoverDecoding(&err)
	it := t.NewIterator(table.NOCACHE)
	defer it.Close()
	n := 0
	var last []byte
	// The versions of a name are sorted, the newest first, and stay together.
	for it.Seek(y.KeyWithTs(start, math.MaxUint64)); it.Valid(); it.Next() {
		name := y.ParseKey(it.Key())
		if !wanted(name) {
			return nil, nil
		}
		if n++; n > checkedAhead && !bytes.Equal(name, y.ParseKey(last)) {
			return bytes.Clone(name), nil
		}
		last = append(last[:0], it.Key()...)
	}
	if !bytes.Equal(last, t.Biggest()) {
		return nil, errors.New("the checksum of a block is wrong")
	}
	return nil, nil
}

// recoverDecoding makes an error of a panic in decoding a table.
func recoverDecoding(err *error) {
	// Badger's text holds the table's index, over many lines.
	if recover() != nil {
		*err = errors.New("it cannot be decoded")
	}
}
