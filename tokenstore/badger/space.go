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
	"sync"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// The space that is left decides what is still done. Badger writes through
// mapped memory, so a disk that is full does not make a write fail: it ends
// the process (SIGBUS). It must never come to that.
//
//   - Below the lower bound, Apply fails. What is left is the reserve: what
//     Badger may still write by itself, when it flushes its memtables and is
//     closed. Tables are merged only if there is space for what will be left
//     of them, which the reserve then includes.
//   - Below the upper bound (min_free), CheckSpace fails: what would end with
//     a write is not begun. What has begun can still write.
//
// The size of the file system's free space is asked before every write: that
// takes a microsecond, and the write that follows is synced. There is nothing
// to gain from remembering it, and a burst of writes could pass a remembered
// bound. Writes that were admitted and are not finished are counted as done.
//
// What others write between the question and Badger's write is what the
// reserve is there for, and after it the ballast (ballast.go). The log is
// reserved beforehand where that is possible (reserve.go), so what remains is
// that others take the whole reserve in the milliseconds of one flush. That is
// why the reserve is half of min_free, although Badger needs less.
const (
	// memtableReserve is the most that the flush of a memtable takes: it is
	// full at 1 MiB, plus one group of 128 KiB, plus the table's index.
	memtableReserve = 3 << 19
	// memtables is how many can wait to be flushed: one that is written, one
	// in Badger's queue and one that is being flushed. The log of one more is
	// begun meanwhile.
	memtables = 3 + 1
	// smallReserve is for the MANIFEST, the lock, the mark and first pages.
	smallReserve = 1 << 20
	// startMargin is the least that is kept between the two bounds.
	startMargin = 2 << 20
	// defaultMinFree is the default of Config.MinFree.
	defaultMinFree = 64 << 20
	// pollSpace is how often the space is looked at without a write.
	pollSpace = 250 * time.Millisecond
)

// errFreeUnknown says that the file system does not tell what is free.
var errFreeUnknown = errors.New("the free space is not known")

type spaceLevel int

const (
	spaceEnough spaceLevel = iota
	spaceLow               // nothing is begun
	spaceFull              // nothing is written
)

// space watches the free space of a store's file system.
type space struct {
	dir     string
	minFree int64
	logger  *zap.Logger
	free    func(dir string) (int64, error)

	mu       sync.Mutex
	level    spaceLevel
	admitted int64 // by writes under way

	merger      merger
	mergeNeed   int64 // what merging the tables would take
	lived       int64 // the size of the tables that live was asked of, and
	live        int64 // its answer; both of the polling goroutine
	merging     bool
	mergeFailed bool // of the polling goroutine
	ballast     ballast
	blind       bool // the free space is not known, which was logged

	kicked chan struct{}
	stop   chan struct{}
	done   chan struct{}
}

// bounds returns the lower bound, what Badger may write by itself, and the
// upper one. The caller holds mu.
func (s *space) bounds() (needed, wanted int64) {
	needed = max(memtables*memtableReserve+smallReserve, s.minFree/2)
	wanted = max(s.minFree, needed+s.mergeNeed+startMargin)
	if s.merging {
		needed += s.mergeNeed
	}
	return needed, wanted
}

// room is a look at the space.
type room struct {
	known bool
	// usable is the free space without the ballast's share, needed the lower
	// bound and wanted the upper one.
	usable, needed, wanted int64
}

// look asks for the free space and acts on what it finds. The caller holds mu.
func (s *space) look() room {
	free, err := s.free(s.dir)
	if err != nil {
		if !s.blind {
			s.blind = true
			s.logger.Warn("the free space of the token store's file system cannot be watched; a full disk will end the process",
				zap.String("path", s.dir), zap.Error(err))
		}
		s.level = spaceEnough
		return room{}
	}
	s.blind = false
	r := room{known: true, usable: free}
	r.needed, r.wanted = s.bounds()
	if !s.ballast.held {
		r.usable -= s.ballast.size
	}
	// To come back takes more than to leave, so a value on the bound does not
	// make the level jump.
	needed, wanted := r.needed, r.wanted
	if s.level == spaceFull {
		needed += max(needed/16, 1<<20)
	}
	if s.level != spaceEnough {
		wanted += max(wanted/16, 1<<20)
	}
	level := spaceEnough
	switch {
	case r.usable < needed:
		level = spaceFull
	case r.usable < wanted:
		level = spaceLow
	}
	s.enter(level, r)
	return r
}

func (s *space) enter(level spaceLevel, r room) {
	if level == spaceFull && s.ballast.held {
		if err := s.ballast.drop(); err != nil {
			s.logger.Error("the ballast of the token store could not be removed", zap.String("path", s.dir), zap.Error(err))
		}
	}
	if level == s.level {
		return
	}
	fields := []zap.Field{
		zap.String("path", s.dir),
		zap.String("free", size(r.usable)),
		zap.String("needed_to_write", size(r.needed)),
		zap.String("needed_to_refresh", size(r.wanted)),
	}
	switch {
	case level == spaceFull:
		s.logger.Error("the disk of the token store is full: nothing more is stored, and no token is refreshed, until there is space again", fields...)
	case level == spaceLow && s.level == spaceFull:
		s.logger.Warn("the token store can be written again, but its disk is still nearly full: no token is refreshed", fields...)
	case level == spaceLow:
		s.logger.Warn("the disk of the token store is nearly full: no token is refreshed until there is space again", fields...)
	default:
		s.logger.Info("the disk of the token store has enough space again", fields...)
	}
	s.level = level
}

// check fails if nothing should be begun.
func (s *space) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.look()
	if s.level == spaceEnough {
		return nil
	}
	return s.full(r.usable, r.wanted)
}

// admit fails if a write of size bytes must not be done. The caller calls
// release after it.
func (s *space) admit(size int64) (release func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.look()
	if r.known && (s.level == spaceFull || r.usable-s.admitted-size < r.needed) {
		return nil, s.full(r.usable-s.admitted, r.needed+size)
	}
	s.admitted += size
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.admitted -= size
	}, nil
}

func (s *space) full(usable, needed int64) error {
	return fmt.Errorf("%w: %s of the disk are left for it and %s are needed. Free space on the disk of %s, give the store a disk of its own, or lower its min_free",
		tokenstore.ErrFull, size(usable), size(needed), s.dir)
}

// start begins to look at the space from time to time.
func (s *space) start() {
	s.kicked, s.stop, s.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.done)
		tick := time.NewTicker(pollSpace)
		defer tick.Stop()
		for {
			s.poll()
			s.tidy()
			select {
			case <-tick.C:
			case <-s.kicked:
			case <-s.stop:
				return
			}
		}
	}()
}

// kick makes it look at once.
func (s *space) kick() {
	select {
	case s.kicked <- struct{}{}:
	default:
	}
}

func (s *space) poll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ballast.recall()
	r := s.look()
	if !r.known || s.level != spaceEnough || s.ballast.held {
		return
	}
	if err := s.ballast.fill(); err != nil {
		s.logger.Warn("the ballast of the token store could not be made; it is tried again",
			zap.String("path", s.dir), zap.Duration("in", ballastRetry), zap.Error(err))
	}
}

// end stops the polling, and makes sure that needed bytes are there for a last
// time of writing, if need be without the ballast.
func (s *space) end(needed int64) error {
	if s.stop != nil {
		close(s.stop)
		select {
		case <-s.done:
			s.stop = nil
		case <-time.After(closeTimeout):
			return errors.New("its tables are still being merged")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clear(needed)
}

// clear makes sure that needed bytes are there, if need be without the ballast.
func (s *space) clear(needed int64) error {
	free, err := s.free(s.dir)
	if err == nil && free < needed && s.ballast.held {
		if err := s.ballast.drop(); err != nil {
			return err
		}
		free, err = s.free(s.dir)
	}
	if err != nil || free >= needed {
		return nil
	}
	return s.full(free, needed)
}

func size(n int64) string {
	if n < 0 {
		return "0 B"
	}
	return humanize.IBytes(uint64(n))
}
