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
	"runtime/debug"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"go.uber.org/zap"
)

// dropMissing removes the tables from the MANIFEST that do not exist. If the
// MANIFEST cannot be synced after a new table was entered, Badger deletes the
// table and writes it again under another number, but leaves the entry, which
// would keep the store from opening for ever. It must only be called when what
// they held is still in the logs, or after a Close, with those in use that
// Badger had open: if one of them is missing, somebody else has deleted it.
func dropMissing(dir string, inUse []uint64, logger *zap.Logger) error {
	listed, cut, err := listedTables(dir)
	if err != nil {
		return fmt.Errorf("reading the %s file: %w", badgerdb.ManifestFilename, err)
	}
	var missing []uint64
	for id := range listed {
		if _, err := os.Lstat(table.NewFilename(id, dir)); errors.Is(err, fs.ErrNotExist) && !slices.Contains(inUse, id) {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 || cut {
		return nil // if it is cut, Badger must trim it first
	}
	slices.Sort(missing)
	logger.Warn("removing tables from the list of the token store that were deleted after a write error; nothing that they held is missing",
		zap.String("path", dir), zap.Uint64s("tables", missing))
	f, err := os.OpenFile(filepath.Join(dir, badgerdb.ManifestFilename), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(manifestDeletions(missing))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing the %s file: %w", badgerdb.ManifestFilename, err)
	}
	return nil
}

// openTables returns the tables that Badger has open.
func openTables(db *badgerdb.DB) (ids []uint64, err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, t := range db.Tables() {
		ids = append(ids, t.ID)
	}
	return ids, nil
}

// manifestDeletions returns the record of the MANIFEST that deletes tables. It
// is a protocol buffer: a list (1) of changes, each with a table (1) and what
// is done to it (2), which is 1 for a deletion.
func manifestDeletions(tables []uint64) []byte {
	var set []byte
	for _, id := range tables {
		change := binary.AppendUvarint([]byte{1 << 3}, id)
		change = append(change, 2<<3, 1)
		set = append(set, 1<<3|2, byte(len(change)))
		set = append(set, change...)
	}
	return manifestRecord(set)
}

// manifestRecord puts length and checksum before a record.
func manifestRecord(set []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(set)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(set, castagnoli))
	return append(b, set...)
}
