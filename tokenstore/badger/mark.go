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
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// markName is the file of the mark.
//
// Badger believes its files: it drops what follows a damaged entry of a log as
// a write that was interrupted, and the tables that a cut MANIFEST no longer
// lists as leftovers. Both are right after a crash, and both can be the silent
// loss of every grant. The mark is what tells the one from the other: the
// version of the newest write that was acknowledged, kept outside of Badger.
//
//   - Every transaction also writes the entry counterName, so the newest
//     version is never one that compaction could drop (a deletion).
//   - After a write, and before it is acknowledged, the mark is set to a
//     version that is at least that of the write. It is overwritten in place
//     and not synced: Badger has synced the write before, so the mark can be
//     older than the data after a power failure, and never newer.
//   - At open, the tables that the MANIFEST lists and the transactions that
//     can be read from the logs must reach the mark.
//   - Versions are given out without gaps. Every log must therefore begin where
//     the tables and logs before it end, or further back, if it is of what the
//     mark covers: an older release, which has no mark, may have deleted what
//     was the newest. After a write that failed, there may be gaps, so the mark
//     says that it happened, until the logs are gone after a clean Close.
//
// A mark that is missing or damaged refuses nothing: there is a warning, and a
// new one is made. Removing the file is therefore also how to open, at the
// price of the newest writes, what is left of a damaged store.
const markName = "freshbearer.mark"

const (
	markMagic = "fbmark1\n"
	markSize  = len(markMagic) + 8 + 4 + 4
	// markGaps says that a write failed and may have left a gap.
	markGaps = 1
)

// marked is what a mark says.
type marked struct {
	version uint64
	flags   uint32
}

// mark is the open file of a mark. A nil *mark can be used and does nothing.
type mark struct {
	mu   sync.Mutex
	file *os.File
	at   marked
}

var errMarkDamaged = errors.New("it is damaged")

func (m marked) encode() []byte {
	b := append(make([]byte, 0, markSize), markMagic...)
	b = binary.BigEndian.AppendUint64(b, m.version)
	b = binary.BigEndian.AppendUint32(b, m.flags)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readMark returns an error that is fs.ErrNotExist if there is no mark.
func readMark(dir string) (marked, error) {
	b, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil {
		return marked{}, err
	}
	if len(b) != markSize || string(b[:len(markMagic)]) != markMagic ||
		crc32.Checksum(b[:markSize-4], castagnoli) != binary.BigEndian.Uint32(b[markSize-4:]) {
		return marked{}, errMarkDamaged
	}
	b = b[len(markMagic):]
	return marked{version: binary.BigEndian.Uint64(b), flags: binary.BigEndian.Uint32(b[8:])}, nil
}

func openMark(dir string) (*mark, error) {
	at, err := readMark(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, markName), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &mark{file: f, at: at}, nil
}

// reach moves the mark forward to version.
func (m *mark) reach(version uint64) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if version <= m.at.version {
		return nil
	}
	return m.set(marked{version: version, flags: m.at.flags})
}

// failed notes that a write failed, durably: what is written after it can be.
func (m *mark) failed() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at.flags&markGaps != 0 {
		return nil
	}
	return errors.Join(m.set(marked{version: m.at.version, flags: m.at.flags | markGaps}), m.file.Sync())
}

func (m *mark) set(at marked) error {
	if _, err := m.file.WriteAt(at.encode(), 0); err != nil {
		return fmt.Errorf("writing %s: %w", markName, err)
	}
	m.at = at
	return nil
}

// close makes the mark durable. After a clean close of the database there are
// no logs that could have gaps between them.
func (m *mark) close(clean bool) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	if clean && m.at.flags&markGaps != 0 {
		err = m.set(marked{version: m.at.version, flags: m.at.flags &^ markGaps})
	}
	return errors.Join(err, m.file.Sync(), m.file.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
