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
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
)

// checkWhole refuses a directory whose data Badger would delete. Badger
// believes its MANIFEST: tables that are not listed there are leftovers to it.
// With the MANIFEST lost in a restore, or cut to its header, that is all data.
func checkWhole(dir string, content content) error {
	refuse := func(found string) error {
		return fmt.Errorf("token store %s has %d data files (%s, …), but %s. It is not opened, because Badger would take it for empty "+
			"and delete the data. Restore the whole directory from a backup; to begin with an empty store, move the directory away",
			dir, len(content.data), content.data[0], found)
	}
	if len(content.data) == 0 {
		return nil
	}
	if !content.manifest {
		return refuse("no " + badgerdb.ManifestFilename + " file")
	}

	listed, err := listedTables(dir)
	if err != nil {
		return fmt.Errorf("token store %s: reading its %s: %w. Restore the whole directory from a backup", dir, badgerdb.ManifestFilename, err)
	}
	var tables int
	var logged bool
	for _, name := range content.data {
		switch filepath.Ext(name) {
		case ".sst":
			tables++
		case ".mem":
			logged = logged || holdsEntries(filepath.Join(dir, name))
		}
	}
	// One table that is not listed is what a process leaves that was killed
	// while it wrote its first table; the log of that table is still there.
	if len(listed) == 0 && tables > 0 && (tables > 1 || !logged) {
		return refuse("its " + badgerdb.ManifestFilename + " file lists none of them")
	}

	for id := range listed {
		if err := checkTable(table.NewFilename(id, dir), id); err != nil {
			return fmt.Errorf("token store %s: its file %s is damaged: %w. Restore the whole directory from a backup",
				dir, table.IDToFilename(id), err)
		}
	}
	return nil
}

// listedTables returns the tables that the MANIFEST lists.
func listedTables(dir string) (tables map[uint64]badgerdb.TableManifest, err error) {
	defer recoverInto(&err)
	f, err := os.Open(filepath.Join(dir, badgerdb.ManifestFilename))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	opts := databaseOptions(dir).WithLogger(nil)
	manifest, _, err := badgerdb.ReplayManifestFile(f, opts.ExternalMagicVersion, opts)
	return manifest.Tables, err
}

// checkTable reads a table as Badger will, but where a panic can be caught:
// Badger opens its tables in goroutines of its own, and many kinds of damage
// make it panic there, which ends the process.
func checkTable(path string, id uint64) (err error) {
	defer func() {
		// Badger's text holds the table's index, over many lines.
		if recover() != nil {
			err = errors.New("it cannot be decoded")
		}
	}()
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		// Either it is lost, which Badger notices by itself, or the directory
		// is in use, and this is not what to complain about.
		return nil
	}
	if err != nil {
		return err
	}
	t, err := table.OpenInMemoryTable(data, id, &table.Options{ChkMode: options.OnTableRead})
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}

// holdsEntries tells whether a log file has anything after its header. Its
// size does not tell: the file is made larger than what is in it.
func holdsEntries(path string) bool {
	const headerSize = 20
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	start := make([]byte, 64)
	n, _ := f.ReadAt(start, headerSize)
	return strings.Trim(string(start[:n]), "\x00") != ""
}
