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
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/zap"
)

// Heads keeps where the log ends, in a place that whoever can write the log's
// files cannot forge. Both methods are durable and whole or not at all.
type Heads interface {
	// AuditHead returns what was last set, nil if nothing was.
	AuditHead(ctx context.Context) ([]byte, error)
	SetAuditHead(ctx context.Context, head []byte) error
}

// Options are what a Log needs to know. The zero value of a field means its
// default.
type Options struct {
	// Dir is the directory of the log, which nobody else uses. It is made if it
	// does not exist. Required.
	Dir string
	// Key is the secret key of the MACs, Heads where the head is. Required.
	Key   []byte
	Heads Heads

	Clock  clockwork.Clock
	Logger *zap.Logger
	// MaxFile is how long a file gets, in bytes, and MaxFiles how many there
	// are before the oldest is removed. Default: 4 MiB, and 8.
	MaxFile  int64
	MaxFiles int
}

const (
	defaultMaxFile  = 4 << 20
	defaultMaxFiles = 8
	// storeLimit bounds what is done with the head.
	storeLimit = 10 * time.Second
)

// ErrClosed says that the log was closed.
var ErrClosed = errors.New("the audit log is closed")

// Log is an open audit log. It is safe for concurrent use.
type Log struct {
	dir      string
	key      []byte
	heads    Heads
	clock    clockwork.Clock
	logger   *zap.Logger
	maxFile  int64
	maxFiles int

	mu     sync.Mutex
	closed bool
	// file is the current one, nil before the first entry.
	file *os.File
	size int64
	// last and sum are the number and the MAC of the last entry.
	last uint64
	sum  mac
	head head
	// lost counts entries that could not be written.
	lost int

	refusals refusals
}

// head is where the log begins and ends.
type head struct {
	// Last and Sum are of the last entry. An entry after it may be in the files:
	// it is written first.
	Last uint64 `json:"last"`
	Sum  mac    `json:"mac"`
	// First is the number of the oldest entry that is kept, Base the MAC of the
	// one before it.
	First uint64 `json:"first"`
	Base  mac    `json:"base"`
}

// MarshalText implements encoding.TextMarshaler.
func (m mac) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, m[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *mac) UnmarshalText(text []byte) error {
	if len(text) != 2*macSize {
		return errLine
	}
	_, err := hex.Decode(m[:], text)
	return err
}

// Open opens the log and makes it if there is none. A line that a crash has cut
// off is removed. A log that is not as it was left is no error: it goes on with
// an entry that says so, and Verify shows it for as long as it is kept.
func Open(ctx context.Context, opts Options) (*Log, error) {
	l := &Log{
		dir: opts.Dir, key: opts.Key, heads: opts.Heads, clock: opts.Clock, logger: opts.Logger,
		maxFile: opts.MaxFile, maxFiles: opts.MaxFiles,
	}
	if l.clock == nil {
		l.clock = clockwork.NewRealClock()
	}
	if l.logger == nil {
		l.logger = zap.NewNop()
	}
	if l.maxFile == 0 {
		l.maxFile = defaultMaxFile
	}
	if l.maxFiles == 0 {
		l.maxFiles = defaultMaxFiles
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating the directory of the audit log: %w", err)
	}
	damage, err := l.resume(ctx)
	if err != nil {
		return nil, errors.Join(err, l.closeFile())
	}
	l.refusals.start(l)
	if damage != "" {
		l.logger.Error("the audit log is not as it was left; see caddy freshbearer audit verify",
			zap.String("path", l.dir), zap.String("what", damage))
		if err := l.Record(ctx, Entry{What: LogDamaged, By: BySystem, Outcome: damage}); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// resume finds the end of the log. damage is a word for what is wrong with it.
func (l *Log) resume(ctx context.Context) (damage string, err error) {
	stored, err := l.heads.AuditHead(ctx)
	if err != nil {
		return "", fmt.Errorf("reading where the audit log ends: %w", err)
	}
	firsts, err := l.files()
	if err != nil {
		return "", err
	}
	if stored == nil {
		l.head = head{First: 1}
		if len(firsts) == 0 {
			return "", nil
		}
		// The oldest file that is there is all that is known.
		l.head.First = firsts[0]
		damage = "no_head"
	} else if err := json.Unmarshal(stored, &l.head); err != nil {
		return "", fmt.Errorf("reading where the audit log ends: %w", err)
	}
	l.last, l.sum = l.head.Last, l.head.Sum
	if damage == "" {
		damage, err = l.findEnd(firsts)
	}
	if damage != "" && err == nil {
		// A file of its own, after everything that is there.
		err = l.closeFile()
		if n := len(firsts); n > 0 {
			count, countErr := l.count(firsts[n-1])
			l.last = max(l.last, firsts[n-1]+max(count, 1)-1)
			err = errors.Join(err, countErr)
		}
	}
	return damage, err
}

// findEnd opens the newest file and reads what follows the head. What does was
// written by this program, which alone knows the key, shortly before a crash.
func (l *Log) findEnd(firsts []uint64) (damage string, err error) {
	at := -1
	for i, first := range firsts {
		if first <= max(l.head.Last, 1) {
			at = i
		}
	}
	if at < 0 {
		if l.head.Last == 0 && len(firsts) == 0 {
			return "", nil
		}
		return "files_missing", nil
	}
	reached := l.head.Last == 0
	for _, first := range firsts[at:] {
		if err := l.closeFile(); err != nil {
			return "", err
		}
		if l.file, err = os.OpenFile(l.path(first), os.O_RDWR, 0o600); err != nil {
			return "", fmt.Errorf("opening the audit log: %w", err)
		}
		whole, rest, err := readLines(l.file, func(line []byte) bool {
			e, covered, claimed, err := decode(line)
			switch {
			case err != nil:
				damage = "unreadable"
			case e.Number < l.head.Last:
			case e.Number == l.head.Last:
				if reached = claimed == l.head.Sum; !reached {
					damage = "altered"
				}
			case !reached || e.Number != l.last+1 || chain(l.key, l.sum, covered) != claimed:
				damage = "altered"
			default:
				l.last, l.sum = e.Number, claimed
			}
			return damage == ""
		})
		if err != nil {
			return "", fmt.Errorf("reading the audit log: %w", err)
		}
		if damage != "" {
			return damage, nil
		}
		if l.size = whole; rest && reached {
			// Nobody was told that this was recorded.
			if err := errors.Join(l.file.Truncate(whole), l.file.Sync()); err != nil {
				return "", fmt.Errorf("removing a line of the audit log that was not written to its end: %w", err)
			}
		}
	}
	if !reached {
		return "shortened", nil
	}
	return "", nil
}

// count returns how many lines a file has.
func (l *Log) count(first uint64) (n uint64, err error) {
	f, err := os.Open(l.path(first))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	_, _, err = readLines(f, func([]byte) bool { n++; return true })
	return n, err
}

// Record writes an entry. When it returns nil, the entry is durable. What was
// done is done, whether it can be recorded or not, so an error is for the log;
// a later entry then says how many were lost.
func (l *Log) Record(ctx context.Context, e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if l.lost > 0 {
		lost := Entry{What: EntriesLost, By: BySystem, Count: l.lost}
		if err := l.write(ctx, lost); err != nil {
			l.lost++
			return err
		}
		l.lost = 0
	}
	err := l.write(ctx, e)
	if err != nil {
		l.lost++
	}
	return err
}

func (l *Log) write(ctx context.Context, e Entry) error {
	e.Number, e.Time = l.last+1, l.clock.Now().UTC().Round(0)
	line, sum, err := e.encode(l.key, l.sum)
	if err != nil {
		return err
	}
	if err := l.append(line); err != nil {
		return fmt.Errorf("writing the audit log: %w", err)
	}
	l.last, l.sum = e.Number, sum
	next := head{Last: l.last, Sum: l.sum, First: l.head.First, Base: l.head.Base}
	gone, pruneErr := l.prune(&next)
	// The entry is there. Its head must not depend on the patience of whoever
	// did what it tells of.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeLimit)
	defer cancel()
	text, err := json.Marshal(next)
	if err == nil {
		err = l.heads.SetAuditHead(ctx, text)
	}
	if err == nil {
		l.head = next
		err = errors.Join(pruneErr, l.remove(gone))
	}
	if err != nil {
		// The next entry's head covers this one, too.
		l.logger.Warn("the end of the audit log could not be secured; the entry itself is written", zap.Error(err))
	}
	return nil
}

func (l *Log) closeFile() error {
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file, l.size = nil, 0
	return f.Close()
}

// Close writes what was counted and closes the files. Calls after it return
// ErrClosed.
func (l *Log) Close() error {
	l.refusals.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.closeFile()
}
