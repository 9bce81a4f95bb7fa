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

package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The log's files are named after the number of their first entry.
const (
	fileSuffix = ".jsonl"
	fileDigits = 12
)

func fileName(first uint64) string { return fmt.Sprintf("%0*d%s", fileDigits, first, fileSuffix) }

// files returns the numbers of the first entries of all files, in ascending
// order. What is named otherwise is not ours.
func (l *Log) files() ([]uint64, error) {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the directory of the audit log: %w", err)
	}
	var firsts []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), fileSuffix)
		if first, err := strconv.ParseUint(digits, 10, 64); ok && len(digits) == fileDigits && err == nil && e.Type().IsRegular() {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

func (l *Log) path(first uint64) string { return filepath.Join(l.dir, fileName(first)) }

// readLines calls fn for each line of a file, without the line feed, until fn
// returns false. whole is the size of all lines that end in one; rest tells
// that something follows them.
func readLines(r io.Reader, fn func(line []byte) bool) (whole int64, rest bool, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			// No line of ours is that long.
			size := int64(len(line))
			if !fn(line) {
				return whole, false, nil
			}
			for errors.Is(err, bufio.ErrBufferFull) {
				line, err = in.ReadSlice('\n')
				size += int64(len(line))
			}
			if errors.Is(err, io.EOF) {
				return whole, true, nil
			}
			if err != nil {
				return whole, false, err
			}
			whole += size
		case errors.Is(err, io.EOF):
			return whole, len(line) > 0, nil
		case err != nil:
			return whole, false, err
		default:
			whole += int64(len(line))
			if !fn(line[:len(line)-1]) {
				return whole, false, nil
			}
		}
	}
}

// lastMAC returns the MAC of a file's last line, as it is written there.
func (l *Log) lastMAC(first uint64) (sum mac, err error) {
	f, err := os.Open(l.path(first))
	if err != nil {
		return mac{}, err
	}
	defer f.Close()
	_, _, err = readLines(f, func(line []byte) bool {
		if _, _, claimed, err := decode(line); err == nil {
			sum = claimed
		}
		return true
	})
	return sum, err
}

// append writes a line to the current file, durably, or leaves the file as it
// was.
func (l *Log) append(line []byte) error {
	if l.file == nil || l.size > 0 && l.size+int64(len(line)) > l.maxFile {
		if err := l.nextFile(); err != nil {
			return err
		}
	}
	_, err := l.file.WriteAt(line, l.size)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return errors.Join(err, l.file.Truncate(l.size))
	}
	l.size += int64(len(line))
	return nil
}

// nextFile makes the file that the next entry is the first one of.
func (l *Log) nextFile() error {
	path := l.path(l.last + 1)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(l.dir); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	if l.file != nil {
		err = l.file.Close()
	}
	l.file, l.size = f, 0
	return err
}

// prune removes the oldest files if there are too many. The head says first
// that they are gone, so that nobody is suspected.
func (l *Log) prune(h *head) ([]uint64, error) {
	firsts, err := l.files()
	if err != nil || len(firsts) <= l.maxFiles {
		return nil, err
	}
	gone := firsts[:len(firsts)-l.maxFiles]
	if h.Base, err = l.lastMAC(gone[len(gone)-1]); err != nil {
		return nil, err
	}
	h.First = firsts[len(gone)]
	return gone, nil
}

func (l *Log) remove(firsts []uint64) error {
	for _, first := range firsts {
		if err := os.Remove(l.path(first)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// syncDir makes the entries of a directory durable, where that is possible.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync() // not every system can
	return d.Close()
}
