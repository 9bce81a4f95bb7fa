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
	"github.com/dgraph-io/badger/v4/y"
	"go.uber.org/zap"
)

// refused is the error for a store that is not whole.
func refused(dir, what string) error {
	return fmt.Errorf("token store %s is damaged: %s. It is not opened, because grants could be lost without a word. "+
		"What helps: move the directory away, and then restore a backup with 'caddy freshbearer restore' or begin with an empty store", dir, what)
}

// checkWhole refuses a directory that does not hold all that was written, or
// that would make Badger end the process. It returns the mark, nil if there is
// none that can be used, and those tables of which not all was read.
func checkWhole(dir string, content content, logger *zap.Logger) (at *marked, rest *unread, err error) {
	if content.size(dir, ".sst") > checkedAtOnce {
		rest = &unread{dir: dir, logger: logger}
	}
	if at, err = checkFiles(dir, content, rest, logger); err != nil {
		rest.end()
		return nil, nil, err
	}
	return at, rest, nil
}

// checkFiles is checkWhole. If rest is not nil, the tables become a part of it,
// and their blocks are not read.
func checkFiles(dir string, content content, rest *unread, logger *zap.Logger) (*marked, error) {
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

	listed, err := readManifest(dir)
	if err != nil {
		return nil, refused(dir, fmt.Sprintf("its %s file cannot be read: %v", badgerdb.ManifestFilename, err))
	}
	// The newest version that the tables hold.
	var reached uint64
	newest := make(map[uint64]uint64)
	for id := range listed.tables {
		path := table.NewFilename(id, dir)
		var version uint64
		if rest != nil {
			version, err = rest.add(path)
		} else {
			version, err = checkTable(path, id)
		}
		if errors.Is(err, fs.ErrNotExist) {
			if len(listed.undone) > 0 {
				id = listed.undone[0] // what it was merged into is missing too
			}
			return nil, refused(dir, fmt.Sprintf("its file %s is missing", table.IDToFilename(id)))
		}
		if err != nil {
			return nil, refused(dir, fmt.Sprintf("its file %s is damaged: %v", table.IDToFilename(id), err))
		}
		newest[id] = version
		reached = max(reached, version)
	}
	if err := checkUnmade(dir, at, listed, newest); err != nil {
		return nil, err
	}
	var suspects []string
	for _, id := range listed.unmade {
		suspects = append(suspects, table.IDToFilename(id))
	}
	for _, name := range content.data {
		if id, ok := table.ParseFileID(name); ok && !listed.has(id) {
			suspects = append(suspects, name)
		}
	}
	logs, err := readLogs(dir, content.logs())
	if err != nil {
		return nil, err
	}
	if at != nil {
		if listed.cut {
			suspects = append(suspects, badgerdb.ManifestFilename)
		}
		err = checkMarked(dir, *at, reached, suspects, logs)
	} else {
		listed.cut = false // Badger looks at the end of it, and is stricter
		err = checkUnmarked(dir, len(listed.tables) > 0, suspects, logs)
	}
	if err != nil {
		return nil, err
	}
	if unmade := slices.Concat(listed.unmade, listed.undone); len(unmade) > 0 {
		logger.Warn("removing tables from the list of the token store that could not be written; nothing that they were to hold is missing",
			zap.String("path", dir), zap.Uint64s("tables", unmade))
	}
	return at, listed.repair(dir)
}

// checkUnmade looks whether the tables that are listed and do not exist held
// anything: then the table after them does not begin where those before end.
// If there is none after them, the logs tell, and the mark.
func checkUnmade(dir string, at *marked, listed manifest, newest map[uint64]uint64) error {
	for _, id := range listed.unmade {
		if at == nil {
			return refused(dir, fmt.Sprintf("its file %s is missing", table.IDToFilename(id)))
		}
		var next, reached uint64
		for other, c := range listed.tables {
			if c.Level == 0 && other > id && (next == 0 || other < next) {
				next = other
			}
		}
		if next == 0 {
			continue
		}
		for other, c := range listed.tables {
			if c.Level > 0 || other < next { // what is merged is older
				reached = max(reached, newest[other])
			}
		}
		first, err := firstVersion(table.NewFilename(next, dir), next)
		if err != nil {
			return fmt.Errorf("reading the token store %s: %w", dir, err)
		}
		if first > reached+1 {
			return refused(dir, fmt.Sprintf("its file %s is missing, with the writes %d to %d", table.IDToFilename(id), reached+1, first-1))
		}
	}
	return nil
}

// checkUnmarked looks at what can be known without a mark.
func checkUnmarked(dir string, tabled bool, unlisted []string, logs []namedLog) error {
	// Tables that are not listed are what a process leaves that ended while it
	// wrote its first one. The log of that table is still there, and holds all
	// that was ever written.
	if !tabled && len(unlisted) > 0 && (len(logs) == 0 || logs[0].first != 1) {
		return refused(dir, fmt.Sprintf("its %s file and its tables (%s, …) do not belong together, and Badger would delete them", badgerdb.ManifestFilename, unlisted[0]))
	}
	return nil
}

// checkMarked holds what was found against the mark (see markName).
func checkMarked(dir string, at marked, reached uint64, suspects []string, logs []namedLog) error {
	for _, l := range logs {
		if l.first > reached+1 && reached < at.version && at.flags&markGaps == 0 {
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

// checkTable reads a table as Badger will, but where a panic can be caught:
// Badger opens its tables in goroutines of its own, and many kinds of damage
// make it panic there, which ends the process. It returns the newest version
// in the table.
func checkTable(path string, id uint64) (newest uint64, err error) {
	err = withTable(path, id, func(t *table.Table) error {
		newest = t.MaxVersion()
		return t.VerifyChecksum()
	})
	return newest, err
}

// firstVersion returns the oldest version in a table that was never merged.
func firstVersion(path string, id uint64) (first uint64, err error) {
	err = withTable(path, id, func(t *table.Table) error {
		it := t.NewIterator(table.NOCACHE)
		defer it.Close()
		first = t.MaxVersion()
		for it.Rewind(); it.Valid(); it.Next() {
			first = min(first, y.ParseTs(it.Key()))
		}
		return nil
	})
	return first, err
}

func withTable(path string, id uint64, fn func(*table.Table) error) (err error) {
	defer recoverDecoding(&err)
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	t, err := table.OpenInMemoryTable(data, id, &table.Options{ChkMode: options.OnTableRead})
	if err != nil {
		return err
	}
	return fn(t)
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
