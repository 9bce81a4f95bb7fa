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
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// killedStore returns the directory that a process leaves that is killed after
// it wrote tables, of which some are merged, and the tables it had open.
func killedStore(t *testing.T) (dir string, tables map[uint64]int) {
	t.Helper()
	s := open(t, newDir(t)).(*store)
	if err := s.space.end(0); err != nil {
		t.Fatal(err)
	}
	write := func(unmerged int) {
		for n := 0; ; n++ {
			level0 := 0
			for _, table := range s.db.Tables() {
				if table.Level == 0 {
					level0++
				}
			}
			if level0 >= unmerged {
				return
			}
			value := bytes.Repeat([]byte{1}, 32<<10)
			if err := s.Apply(t.Context(), tokenstore.Change{Name: name(n % 40), Value: value}); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(7)
	if err := s.merge(); err != nil {
		t.Fatal(err)
	}
	write(4)
	// Badger may be about to remove the log of the table that was written last.
	err := fs.ErrNotExist
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ {
		dir = newDir(t)
		err = os.CopyFS(dir, os.DirFS(s.dir))
	}
	if err != nil {
		t.Fatal(err)
	}
	tables = make(map[uint64]int)
	for _, info := range s.db.Tables() {
		tables[info.ID] = info.Level
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, tables
}

func appendManifest(t *testing.T, dir string, changes ...*pb.ManifestChange) {
	t.Helper()
	record, err := manifestRecord(&pb.ManifestChangeSet{Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, badgerdb.ManifestFilename), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(record); err != nil {
		t.Fatal(err)
	}
}

func create(id uint64, level uint32) *pb.ManifestChange {
	return &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE, Level: level}
}

func remove(id uint64) *pb.ManifestChange {
	return &pb.ManifestChange{Id: id, Op: pb.ManifestChange_DELETE}
}

func wantOpened(t *testing.T, dir string) {
	t.Helper()
	for range 2 {
		s := open(t, dir)
		for i := range 40 {
			if _, err := s.Get(t.Context(), name(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManifestNotSynced makes of a MANIFEST what it is after it could not be
// synced and the process was killed some time later.
func TestManifestNotSynced(t *testing.T) {
	dir, tables := killedStore(t)
	m, err := readManifest(dir)
	if err != nil || len(m.tables) != len(tables) || m.cut || m.undone != nil || m.unmade != nil {
		t.Fatalf("listed are %+v (%v), want %v", m, err, tables)
	}
	path := filepath.Join(dir, badgerdb.ManifestFilename)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ids := slices.Sorted(maps.Keys(tables))
	last := ids[len(ids)-1]
	var merge []*pb.ManifestChange
	for _, id := range ids {
		merge = append(merge, remove(id))
	}
	merge = append([]*pb.ManifestChange{create(900, 6), create(901, 6)}, merge...)

	for _, test := range []struct {
		name  string
		spoil func(dir string)
	}{
		{"flush, the last", func(dir string) { appendManifest(t, dir, create(last+100, 0)) }},
		{"flush, two, and repeated", func(dir string) {
			// As if the last table had been the second repetition.
			if err := os.WriteFile(filepath.Join(dir, badgerdb.ManifestFilename), whole[:8], 0o600); err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				if id == last {
					appendManifest(t, dir, create(last+1, 0))
					appendManifest(t, dir, create(last+2, 0))
					if err := os.Rename(table.NewFilename(last, dir), table.NewFilename(last+3, dir)); err != nil {
						t.Fatal(err)
					}
					id = last + 3
				}
				appendManifest(t, dir, create(id, uint32(tables[min(id, last)])))
			}
		}},
		{"merge", func(dir string) { appendManifest(t, dir, merge...) }},
		{"merge, and another", func(dir string) {
			appendManifest(t, dir, merge...)
			again := append([]*pb.ManifestChange{create(905, 6)}, merge[2:]...)
			appendManifest(t, dir, again...)
		}},
		{"last record torn", func(dir string) {
			appendManifest(t, dir, create(last+100, 0))
			data, err := os.ReadFile(filepath.Join(dir, badgerdb.ManifestFilename))
			if err != nil {
				t.Fatal(err)
			}
			clear(data[len(data)-4:])
			if err := os.WriteFile(filepath.Join(dir, badgerdb.ManifestFilename), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			scratch := newDir(t)
			if err := os.CopyFS(scratch, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			test.spoil(scratch)
			wantOpened(t, scratch)
		})
	}

	// Not so if a table held something, wherever it was in the order.
	for _, id := range ids {
		scratch := newDir(t)
		if err := os.CopyFS(scratch, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(table.NewFilename(id, scratch)); err != nil {
			t.Fatal(err)
		}
		wantText(t, openError(t, scratch), table.IDToFilename(id), "missing", "backup")
	}
	wantOpened(t, dir)
}

// TestTableLost takes a table away from a store that is in use.
func TestTableLost(t *testing.T) {
	dir := newDir(t)
	fill(t, dir, 20)
	s := open(t, dir)
	tables := files(t, dir, "*.sst")
	last := tables[len(tables)-1]
	if err := os.Remove(last); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Log(err)
	}
	wantText(t, openError(t, dir), filepath.Base(last), "backup")
}
