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
	"os"
	"path/filepath"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"
)

// TestDropMissing makes the list of tables what it is after the MANIFEST could
// not be synced.
func TestDropMissing(t *testing.T) {
	dir := newDir(t)
	fill(t, dir, 20)
	path := filepath.Join(dir, badgerdb.ManifestFilename)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The creation of tables 300 and 301: as a deletion, but for the operation
	// and the level, which are 0 and so left out.
	set := []byte{1<<3 | 2, 3, 1 << 3, 0xac, 2, 1<<3 | 2, 3, 1 << 3, 0xad, 2}
	if err := os.WriteFile(path, append(whole, manifestRecord(set)...), 0o600); err != nil {
		t.Fatal(err)
	}
	listed, cut, err := listedTables(dir)
	if err != nil || cut || !listed.has(300) || !listed.has(301) {
		t.Fatalf("listed are %v (%v, %v)", listed, cut, err)
	}
	wantFilled(t, dir, 20)
	if listed, cut, err = listedTables(dir); err != nil || cut || listed.has(300) || listed.has(301) || len(listed) == 0 {
		t.Errorf("listed are %v (%v, %v)", listed, cut, err)
	}

	// Not so if it may have held something, whether it was lost before the
	// store is opened or while it is used.
	tables := files(t, dir, "*.sst")
	last := tables[len(tables)-1]
	content, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(last); err != nil {
		t.Fatal(err)
	}
	wantText(t, openError(t, dir), filepath.Base(last), "missing", "backup")
	if err := os.WriteFile(last, content, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if err := os.Remove(last); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Log(err)
	}
	wantText(t, openError(t, dir), filepath.Base(last), "backup")
}
