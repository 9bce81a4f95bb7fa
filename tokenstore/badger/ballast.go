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
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// ballastName is the file of the ballast: space that is taken while there is
// enough, and given back when there is not, so that Badger can finish what it
// does and be closed on a disk that somebody else has filled.
const ballastName = "freshbearer.ballast"

const (
	maxBallast   = 16 << 20
	ballastRetry = time.Minute
)

// ballastSize returns the size of the ballast for a store that wants minFree.
func ballastSize(minFree int64) int64 { return min(maxBallast, minFree/2) }

type ballast struct {
	path string
	size int64
	held bool
	next time.Time // when fill may be tried again
}

// recall looks whether the ballast is there. An operator in need may remove it.
func (b *ballast) recall() {
	info, err := os.Lstat(b.path)
	b.held = err == nil && info.Mode().IsRegular() && info.Size() == b.size
}

func (b *ballast) drop() error {
	err := ignoreMissing(os.Remove(b.path))
	b.held = b.held && err != nil
	return err
}

// fill makes the ballast. After a failure it does nothing for some time.
func (b *ballast) fill() error {
	if b.size == 0 || time.Now().Before(b.next) {
		return nil
	}
	b.next = time.Now().Add(ballastRetry)
	if err := ignoreMissing(os.Remove(b.path)); err != nil {
		return err // somebody made a directory of it
	}
	f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = allocate(f, b.size, false); err != nil {
		err = write(f, b.size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(b.path))
	}
	b.held, b.next = true, time.Time{}
	return nil
}

// write fills a file with what no file system can compress.
func write(f *os.File, size int64) error {
	var seed [32]byte
	random := rand.NewChaCha8(seed)
	chunk := make([]byte, 256<<10)
	for at := int64(0); at < size; {
		_, _ = random.Read(chunk)
		n, err := f.WriteAt(chunk[:min(int64(len(chunk)), size-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return f.Sync()
}

func newBallast(dir string, minFree int64) ballast {
	b := ballast{path: filepath.Join(dir, ballastName), size: ballastSize(minFree)}
	b.recall()
	return b
}
