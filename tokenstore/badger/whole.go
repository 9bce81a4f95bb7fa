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
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"go.uber.org/zap"
)

// refused is the error for a store that is not whole.
func refused(dir, what string) error {
	return fmt.Errorf("token store %s is damaged: %s. It is not opened, because grants could be lost without a word. "+
		"What helps: move the directory away, and then restore a backup with 'caddy freshbearer restore' or begin with an empty store", dir, what)
}

// checkWhole refuses a directory that does not hold all that was written, or
// that would make Badger end the process. It returns the mark, nil if there is
// none that can be used.
func checkWhole(dir string, content content, logger *zap.Logger) (*marked, error) {
	var at *marked
	if content.mark {
		m, err := readMark(dir)
		if err != nil {
			logger.Warn("the mark of the token store cannot be used, so this time nobody can tell whether its newest writes are there; a new one is made",
				zap.String("path", filepath.Join(dir, markName)), zap.Error(err))
		} else {
			at = &m
		}
	}
	if !content.manifest {
		switch {
		case len(content.data) > 0:
			return nil, refused(dir, fmt.Sprintf("it has %d data files (%s, …), but no %s file, and Badger would take it for empty and delete the data",
				len(content.data), content.data[0], badgerdb.ManifestFilename))
		case content.mark:
			return nil, refused(dir, fmt.Sprintf("it has the file %s, but no %s file and no data", markName, badgerdb.ManifestFilename))
		}
		return nil, nil
	}

	listed, cut, err := listedTables(dir)
	if err != nil {
		return nil, refused(dir, fmt.Sprintf("its %s file cannot be read: %v", badgerdb.ManifestFilename, err))
	}
	// The newest version that the tables hold.
	var reached, lastID uint64
	var missing []uint64
	for id := range listed {
		newest, err := checkTable(table.NewFilename(id, dir), id)
		if errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, id)
			continue
		}
		lastID = max(lastID, id)
		if err != nil {
			return nil, refused(dir, fmt.Sprintf("its file %s is damaged: %v", table.IDToFilename(id), err))
		}
		reached = max(reached, newest)
	}
	for _, id := range missing {
		// See dropMissing. If this one held data, the checks of the logs say so.
		if listed[id].Level != 0 || id < lastID || at == nil && lastID > 0 {
			return nil, refused(dir, fmt.Sprintf("its file %s is missing", table.IDToFilename(id)))
		}
	}
	var unlisted []string
	for _, id := range missing {
		unlisted = append(unlisted, table.IDToFilename(id))
	}
	if cut {
		unlisted = append(unlisted, badgerdb.ManifestFilename)
	}
	for _, name := range content.data {
		if id, ok := table.ParseFileID(name); ok && !listed.has(id) {
			unlisted = append(unlisted, name)
		}
	}
	logs, err := readLogs(dir, content.logs())
	if err != nil {
		return nil, err
	}
	if at != nil {
		err = checkMarked(dir, *at, reached, unlisted, logs)
	} else {
		err = checkUnmarked(dir, lastID > 0, unlisted, logs)
	}
	if err != nil {
		return nil, err
	}
	return at, dropMissing(dir, nil, logger)
}

// checkUnmarked looks at what can be known without a mark.
func checkUnmarked(dir string, tabled bool, unlisted []string, logs []namedLog) error {
	tables := slices.DeleteFunc(slices.Clone(unlisted), func(name string) bool { return name == badgerdb.ManifestFilename })
	// Tables that are not listed are what a process leaves that ended while it
	// wrote its first one. The log of that table is still there, and holds all
	// that was ever written.
	if !tabled && len(tables) > 0 && (len(logs) == 0 || logs[0].first != 1) {
		return refused(dir, fmt.Sprintf("its %s file and its tables (%s, …) do not belong together, and Badger would delete them", badgerdb.ManifestFilename, tables[0]))
	}
	return nil
}

// checkMarked holds what was found against the mark (see markName).
func checkMarked(dir string, at marked, reached uint64, unlisted []string, logs []namedLog) error {
	suspects := slices.Clone(unlisted)
	for _, l := range logs {
		if l.first > reached+1 && at.flags&markGaps == 0 {
			return refused(dir, fmt.Sprintf("the writes %d to %d before those of its file %s are missing; %s",
				reached+1, l.first-1, l.name, suspected(suspects)))
		}
		reached = max(reached, l.last)
		if l.rest {
			suspects = append(suspects, l.name)
		}
	}
	if reached < at.version {
		return refused(dir, fmt.Sprintf("its newest writes are missing: write %d was acknowledged, and the newest one found is %d; %s",
			at.version, reached, suspected(suspects)))
	}
	return nil
}

func suspected(files []string) string {
	if len(files) == 0 {
		return "a data file (.mem, .sst) or entries of the " + badgerdb.ManifestFilename + " file must have been lost"
	}
	if !slices.Contains(files, badgerdb.ManifestFilename) {
		files = append(files, badgerdb.ManifestFilename)
	}
	return "the damage is in " + strings.Join(files, " or ") + ", or a data file was lost"
}

// namedLog is the log of a memtable.
type namedLog struct {
	name string
	logContent
}

// readLogs reads the logs, oldest first.
func readLogs(dir string, names []string) ([]namedLog, error) {
	var logs []namedLog
	for _, name := range names {
		content, err := readLog(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("reading the token store %s: %w", dir, err)
		}
		if content.encrypted {
			return nil, refused(dir, "the beginning of its file "+name+" is not what was written")
		}
		logs = append(logs, namedLog{name, content})
	}
	slices.SortFunc(logs, func(a, b namedLog) int {
		return cmp.Or(cmp.Compare(len(a.name), len(b.name)), cmp.Compare(a.name, b.name))
	})
	return logs, nil
}

// listing are the tables that a MANIFEST lists.
type listing map[uint64]badgerdb.TableManifest

func (l listing) has(id uint64) bool { _, ok := l[id]; return ok }

// listedTables returns the tables that the MANIFEST lists, and whether its end
// is missing.
func listedTables(dir string) (tables listing, cut bool, err error) {
	defer recoverInto(&err)
	f, err := os.Open(filepath.Join(dir, badgerdb.ManifestFilename))
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	opts := databaseOptions(dir).WithLogger(nil)
	manifest, end, err := badgerdb.ReplayManifestFile(f, opts.ExternalMagicVersion, opts)
	return manifest.Tables, end < info.Size(), err
}

// checkTable reads a table as Badger will, but where a panic can be caught:
// Badger opens its tables in goroutines of its own, and many kinds of damage
// make it panic there, which ends the process. It returns the newest version
// in the table.
func checkTable(path string, id uint64) (newest uint64, err error) {
	defer func() {
		// Badger's text holds the table's index, over many lines.
		if recover() != nil {
			err = errors.New("it cannot be decoded")
		}
	}()
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	t, err := table.OpenInMemoryTable(data, id, &table.Options{ChkMode: options.OnTableRead})
	if err != nil {
		return 0, err
	}
	return t.MaxVersion(), t.VerifyChecksum()
}

// dropUnused removes files that Badger makes anew: those of its value log,
// which is always empty here (see databaseOptions), and the registry of the
// encryption keys that it does not have. Damage to them would keep the store
// from opening, or end the process, for nothing. Empty logs are those that were
// reserved (reserve.go), or left by an interrupted start.
func dropUnused(dir string, content content) error {
	if !content.mark {
		return nil // it may not be ours
	}
	names := []string{"DISCARD", "KEYREGISTRY"}
	for _, name := range content.data {
		switch filepath.Ext(name) {
		case ".vlog":
			names = append(names, name)
		case ".mem":
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Size() == 0 {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		if err := ignoreMissing(os.Remove(filepath.Join(dir, name))); err != nil {
			return fmt.Errorf("removing an unused file of the token store: %w", err)
		}
	}
	return nil
}
