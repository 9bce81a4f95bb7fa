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

	"github.com/freshbearer/freshbearer/tokenstore"
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

	stopping   sync.Once
	stop, done chan struct{}
	// damage is what was found. It is written before done is closed.
	damage error
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
				u.damage = u.damaged(t, err)
				u.logger.Error("reading the tables of the token store", zap.Error(u.damage))
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

// halt stops the reading. Who waits for its end waits no longer.
func (u *unread) halt() {
	if u != nil && u.stop != nil {
		u.stopping.Do(func() { close(u.stop) })
		<-u.done
	}
}

// end stops the reading, and closes the tables.
func (u *unread) end() {
	if u != nil {
		u.halt()
		u.close()
	}
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
	_, err := u.check(name, math.MaxInt, func(other []byte) bool { return bytes.Equal(other, name) })
	return err
}

// scanned is how many entries a scan has checked before it, at most.
const scanned = 50_000

// checkPrefix checks all blocks in which stored names with a prefix could be,
// from start on. If there are many, it waits until all are read.
func (u *unread) checkPrefix(ctx context.Context, start, prefix []byte) error {
	if u.settled() {
		return nil
	}
	all, err := u.check(start, scanned, func(name []byte) bool { return bytes.HasPrefix(name, prefix) })
	if all || err != nil {
		return err
	}
	select {
	case <-u.done:
		if u.damage == nil && !u.settled() {
			return tokenstore.ErrClosed
		}
		return u.damage
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check checks the blocks with the names from start on for as long as they are
// wanted, and says whether these were all, because there are no more than most.
func (u *unread) check(start []byte, most int, wanted func(name []byte) bool) (all bool, err error) {
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
		if err := checkBlocks(t, start, &most, wanted); err != nil {
			return false, u.damaged(t, err)
		}
		if most <= 0 {
			return false, nil
		}
	}
	return true, nil
}

func checkBlocks(t *table.Table, start []byte, most *int, wanted func(name []byte) bool) (err error) {
	defer recoverDecoding(&err)
	it := t.NewIterator(table.NOCACHE)
	defer it.Close()
	// The versions of a name are sorted, the newest first.
	it.Seek(y.KeyWithTs(start, math.MaxUint64))
	var last []byte
	for ; it.Valid(); it.Next() {
		last = append(last[:0], it.Key()...)
		if *most--; *most <= 0 || !wanted(y.ParseKey(last)) {
			return nil
		}
	}
	if !bytes.Equal(last, t.Biggest()) {
		return errors.New("the checksum of a block is wrong")
	}
	return nil
}

// recoverDecoding makes an error of a panic in decoding a table.
func recoverDecoding(err *error) {
	// Badger's text holds the table's index, over many lines.
	if recover() != nil {
		*err = errors.New("it cannot be decoded")
	}
}
