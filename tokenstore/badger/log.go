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
	"encoding/binary"
	"hash/crc32"
	"os"
	"strconv"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// What Badger writes into the logs of its memtables (memtable.go and
// structs.go of badger v4).
const (
	logHeaderSize = 20
	bitTxn        = 1 << 6
	bitFinTxn     = 1 << 7
)

// logContent is what Badger will read from a log.
type logContent struct {
	// first and last are the versions of the first and the last whole
	// transaction; both are 0 if there is none.
	first, last uint64
	// size is the size of the file. It is made larger than what is in it.
	size int64
	// rest tells that there is something behind the last whole transaction: a
	// transaction that was interrupted, or damaged.
	rest bool
	// encrypted tells that the header names a key, which no store of ours has.
	encrypted bool
}

// readLog reads a log as Badger does when it opens a database.
func readLog(path string) (logContent, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return logContent{}, err
	}
	c := logContent{size: int64(len(data))}
	if len(data) < logHeaderSize {
		return c, nil
	}
	c.encrypted = binary.BigEndian.Uint64(data) != 0
	end := logHeaderSize
	var txn uint64
	for at := end; ; {
		e, ok := readLogEntry(data[at:])
		if !ok {
			break
		}
		at += e.size
		switch {
		case e.meta&bitTxn != 0:
			if txn == 0 {
				txn = e.version
			}
			if txn != e.version {
				ok = false
			}
		case e.meta&bitFinTxn != 0:
			version, err := strconv.ParseUint(string(e.value), 10, 64)
			if err != nil || version != txn {
				ok = false
				break
			}
			c.note(txn)
			txn, end = 0, at
		case txn != 0:
			ok = false
		default:
			c.note(e.version)
			end = at
		}
		if !ok {
			break
		}
	}
	c.rest = len(bytes.Trim(data[end:], "\x00")) > 0
	return c, nil
}

func (c *logContent) note(version uint64) {
	if c.first == 0 {
		c.first = version
	}
	c.last = max(c.last, version)
}

type logEntry struct {
	meta    byte
	version uint64
	value   []byte
	size    int
}

// readLogEntry reads: meta, user meta, the lengths of key and value, the time
// of expiry; key, value; checksum. The key ends with its inverted version.
func readLogEntry(b []byte) (logEntry, bool) {
	if len(b) < 2 {
		return logEntry{}, false
	}
	at := 2
	var numbers [3]uint64
	for i := range numbers {
		n, width := binary.Uvarint(b[at:])
		if width <= 0 {
			return logEntry{}, false
		}
		numbers[i], at = n, at+width
	}
	key, value := numbers[0], numbers[1]
	// The version is 8 bytes; Badger's own limit for names is 64 KiB.
	if key < 8 || key > 1<<16 || value > uint64(len(b)) || uint64(at)+key+value+crc32.Size > uint64(len(b)) {
		return logEntry{}, false
	}
	end := at + int(key) + int(value)
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return logEntry{}, false
	}
	return logEntry{
		meta:    b[0],
		version: ^binary.BigEndian.Uint64(b[at+int(key)-8:]),
		value:   b[at+int(key) : end],
		size:    end + crc32.Size,
	}, true
}
