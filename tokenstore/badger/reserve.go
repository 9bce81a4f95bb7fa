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
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// logs gives the logs of the memtables their space before Badger writes them,
// where the file system can do that: then a write that was admitted does not
// depend on what others do to the disk meanwhile. The log that is written now
// has its space, and so has the next one, an empty file that Badger will find
// when it wants to create it. A nil *logs can be used and does nothing.
type logs struct {
	dir string

	mu   sync.Mutex
	next string // the log that is reserved; empty: none
	off  bool   // the file system cannot do it
}

func newLogs(dir string) *logs { return &logs{dir: dir} }

// look reserves the next log if Badger has begun with the one that was, and
// says so.
func (l *logs) look() (begun bool) {
	if l == nil {
		return false
	}
	l.mu.Lock()
	next := l.next
	l.mu.Unlock()
	if next == "" {
		return false
	}
	if info, err := os.Stat(next); err == nil && info.Size() == 0 {
		return false
	}
	l.reserve()
	return true
}

// retry tries to reserve again what could not be reserved.
func (l *logs) retry() {
	if l == nil {
		return
	}
	l.mu.Lock()
	missing := l.next == ""
	l.mu.Unlock()
	if missing {
		l.reserve()
	}
}

// reserve gives the newest log, and the next one, its space.
func (l *logs) reserve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = ""
	if l.off {
		return
	}
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return
	}
	newest := -1
	for _, e := range entries {
		number, isLog := strings.CutSuffix(e.Name(), ".mem")
		if n, err := strconv.Atoi(number); isLog && err == nil {
			newest = max(newest, n)
		}
	}
	path := filepath.Join(l.dir, fmt.Sprintf("%05d.mem", newest))
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		if !l.allocate(path, os.O_RDWR) {
			return
		}
		path = filepath.Join(l.dir, fmt.Sprintf("%05d.mem", newest+1))
		if !l.allocate(path, os.O_RDWR|os.O_CREATE|os.O_EXCL) {
			return
		}
	}
	l.next = path
}

func (l *logs) allocate(path string, flags int) bool {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return errors.Is(err, fs.ErrExist) // Badger was faster
	}
	err = allocate(f, memtableReserve, true)
	l.off = errors.Is(err, errors.ErrUnsupported)
	if err = errors.Join(err, f.Close()); err != nil && flags&os.O_CREATE != 0 {
		// Badger may have begun with it, so it must not be removed. An empty
		// one does no harm.
		return false
	}
	return err == nil
}

// drop removes the log that was reserved and never written.
func (l *logs) drop() error {
	if l == nil || l.next == "" {
		return nil
	}
	if info, err := os.Stat(l.next); err != nil || info.Size() > 0 {
		return ignoreMissing(err)
	}
	return ignoreMissing(os.Remove(l.next))
}
