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
	"runtime/debug"
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// openAttempts is how often Badger is asked to open a database. A process that
// is killed at the wrong moment leaves an empty log file; Badger repairs one
// of them in each attempt, and fails.
const openAttempts = 4

// Open implements tokenstore.Opener.
func (c *Config) Open(logger *zap.Logger) (tokenstore.Store, error) {
	dir, err := c.Identity()
	if err != nil {
		return nil, err
	}
	lock, err := prepareDir(dir, logger)
	if err != nil {
		return nil, err
	}
	s, err := openLocked(dir, c.minFree(), freeSpace, logger)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

// openLocked opens the store in a directory that nobody else uses.
func openLocked(dir string, minFree int64, free func(string) (int64, error), logger *zap.Logger) (*store, error) {
	content, err := inspect(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the directory of the token store: %w", err)
	}
	at, rest, err := checkWhole(dir, content, logger)
	if err != nil {
		return nil, err
	}
	s, err := openChecked(dir, minFree, free, content, at, logger)
	if err != nil {
		rest.end()
		return nil, err
	}
	s.unread = rest
	rest.start()
	s.space.start()
	return s, nil
}

// openChecked opens the store in a directory that was checked.
func openChecked(
	dir string, minFree int64, free func(string) (int64, error), content content, at *marked, logger *zap.Logger,
) (*store, error) {
	if err := dropUnused(dir, content); err != nil {
		return nil, err
	}
	sp := &space{dir: dir, minFree: minFree, logger: logger, free: free, ballast: newBallast(dir, minFree)}
	if err := sp.clear(int64(1+len(content.logs()))*memtableReserve + smallReserve); err != nil {
		return nil, fmt.Errorf("opening the token store %s: %w", dir, err)
	}

	steps := new(mergeSteps)
	db, err := openAttempting(dir, logger, steps)
	if err != nil {
		return nil, err
	}
	s := &store{db: db, dir: dir, logger: logger, space: sp, logs: newLogs(dir), steps: steps}
	s.logs.reserve()
	sp.merger = s
	if s.mark, err = s.startMark(at, len(content.data) > 0); err != nil {
		_, closeErr := within(closeTimeout, db.Close)
		return nil, errors.Join(fmt.Errorf("opening the token store %s: %w", dir, err), closeErr)
	}
	return s, nil
}

// openAttempting opens the database, again if an attempt repaired something.
func openAttempting(dir string, logger *zap.Logger, steps *mergeSteps) (*badgerdb.DB, error) {
	opts := databaseOptions(dir).WithLogger(newLogger(logger, steps))
	var err error
	for attempt := 1; ; attempt++ {
		var db *badgerdb.DB
		db, err = openDatabase(opts)
		if err == nil {
			return db, nil
		}
		// The text of ristretto's z.NewFile, which Badger passes on as if it
		// were a failure.
		if attempt == openAttempts || !strings.Contains(err.Error(), "Create a new file") {
			break
		}
		logger.Warn("opening the token store again, because an interrupted start or stop had left an empty file",
			zap.String("path", dir), zap.Int("attempt", attempt), zap.Error(err))
	}
	// All of Badger's lock errors, on any system, have this in common.
	if strings.Contains(err.Error(), "Another process is using this Badger database") {
		return nil, inUse(dir, err)
	}
	return nil, fmt.Errorf("opening the token store %s: %w. If files of it were lost or damaged, move the directory away, "+
		"and restore a backup with 'caddy freshbearer restore' or begin with an empty store", dir, err)
}

// startMark opens the mark, and makes a new one if there is none that can be
// used. A disk that is too full for that goes without.
func (s *store) startMark(at *marked, existed bool) (*mark, error) {
	if at == nil {
		version, err := s.count()
		if errors.Is(err, tokenstore.ErrFull) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		fresh := marked{version: version}
		if existed {
			// Writes without the counter, whose versions may be gone.
			fresh.flags = markGaps
		}
		if err := replaceFile(s.dir, markName, fresh.encode()); err != nil {
			return nil, fmt.Errorf("writing %s: %w", markName, err)
		}
	}
	return openMark(s.dir)
}

// databaseOptions are Badger's options for a store of some thousand small
// values whose loss is expensive.
func databaseOptions(dir string) badgerdb.Options {
	return badgerdb.DefaultOptions(dir).
		// A refresh token that the provider has replaced exists nowhere else.
		WithSyncWrites(true).
		// Badger serves a flipped bit this way. The other ways make a key "not
		// found" (OnBlockRead), or a panic in a goroutine of Badger
		// (OnTableAndBlockRead), or Open read all there is a second time
		// (OnTableRead). What is served was checked before (checkWhole).
		WithChecksumVerificationMode(options.NoVerification).
		// The defaults take 86 MiB of memory and 2.2 GB of sparse files. A
		// transaction holds 15 % of a memtable: more than MaxApply.
		WithMemTableSize(1 << 20).
		WithNumMemtables(1).
		// Tables are merged only when there is space for it (merge.go), and
		// until then nothing may wait for it.
		WithNumCompactors(0).
		WithNumLevelZeroTablesStall(1 << 20).
		// There is one level of merged tables. With the levels between, which
		// Flatten also merges, all that is written would be written 30 times.
		WithBaseLevelSize(1 << 40).
		WithValueLogFileSize(1 << 20).
		// Above MaxValue, so that every value is kept in the tables and their
		// synced log. Badger has lost values of the value log (badger#2000),
		// only logs it when syncing the value log fails, and can bring back a
		// deleted key when it collects the value log's garbage (badger#2286).
		// There is none to collect this way.
		WithValueThreshold(2 * tokenstore.MaxValue).
		// Sealed values do not compress. Tables that are neither compressed
		// nor encrypted are read where they are mapped; a cache of their
		// blocks would be a second copy.
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithMetricsEnabled(false)
}

// openDatabase opens a database once. Badger panics on some damaged files and
// contradictory options.
func openDatabase(opts badgerdb.Options) (db *badgerdb.DB, err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	return badgerdb.Open(opts)
}
