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
	if err := prepareDir(dir, logger); err != nil {
		return nil, err
	}

	opts := databaseOptions(dir).WithLogger(newLogger(logger))
	var db *badgerdb.DB
	for attempt := 1; ; attempt++ {
		db, err = openDatabase(opts)
		if err == nil {
			return &store{db: db, dir: dir}, nil
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
		return nil, fmt.Errorf("token store %s is in use by another process; "+
			"this is usually a running Caddy, in which case use 'caddy reload' to apply config changes to it: %w", dir, err)
	}
	return nil, fmt.Errorf("opening the token store %s: %w. If files of it were lost or damaged, restore the whole directory from a backup", dir, err)
}

// databaseOptions are Badger's options for a store of some thousand small
// values whose loss is expensive.
func databaseOptions(dir string) badgerdb.Options {
	return badgerdb.DefaultOptions(dir).
		// A refresh token that the provider has replaced exists nowhere else.
		WithSyncWrites(true).
		// Without it, a flipped bit is served (the default), or makes a key
		// "not found" (OnBlockRead), or a panic in a goroutine of Badger
		// (OnTableAndBlockRead). This one makes Open fail.
		WithChecksumVerificationMode(options.OnTableRead).
		// The defaults take 86 MiB of memory and 2.2 GB of sparse files. A
		// transaction holds 15 % of a memtable: more than MaxApply.
		WithMemTableSize(1 << 20).
		WithNumMemtables(1).
		WithNumCompactors(2).
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
