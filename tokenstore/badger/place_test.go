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
	"maps"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// placedDir returns a path on a file system that tells copies.
func placedDir(t *testing.T) string {
	t.Helper()
	for _, parent := range []string{os.TempDir(), "/dev/shm", "."} {
		if info, err := os.Stat(parent); err != nil || !info.IsDir() || !keepsInodes(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, "freshbearer-place-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return filepath.Join(dir, "store")
	}
	t.Skip("no file system here is known to keep inode numbers")
	return ""
}

func holdOf(t *testing.T, dir string, ring *tokenstore.Keyring) *tokenstore.Hold {
	t.Helper()
	s, err := (&Config{Path: dir}).Open(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	v, err := tokenstore.OpenVault(t.Context(), s, ring)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}()
	return v.Hold()
}

func TestPlace(t *testing.T) {
	dir := placedDir(t)
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // new, and then again
		if hold := holdOf(t, dir, ring); hold != nil {
			t.Fatalf("a store that stays where it is: %+v", hold)
		}
	}
	moved := filepath.Join(filepath.Dir(dir), "elsewhere", "store")
	if err := os.Mkdir(filepath.Dir(moved), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if hold := holdOf(t, moved, ring); hold != nil {
		t.Errorf("a store that was moved: %+v", hold)
	}
	// What operators and package managers do.
	if err := os.Chmod(moved, 0o750); err != nil {
		t.Fatal(err)
	}
	if hold := holdOf(t, moved, ring); hold != nil {
		t.Errorf("a store with another mode: %+v", hold)
	}
	copied := filepath.Join(filepath.Dir(dir), "copy")
	copyDir(t, moved, copied)
	if hold := holdOf(t, copied, ring); hold == nil || hold.Reason != tokenstore.HoldCopied {
		t.Errorf("a copy: %+v", hold)
	}
	// The copy in the place of the original.
	if err := os.Rename(moved, moved+".old"); err != nil {
		t.Fatal(err)
	}
	copyDir(t, moved+".old", moved)
	if hold := holdOf(t, moved, ring); hold == nil {
		t.Error("a copy under the name of the original is not on hold")
	}
	if hold := holdOf(t, moved+".old", ring); hold != nil {
		t.Errorf("the original is on hold: %+v", hold)
	}
}

// copyDir is cp -r.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// Each fact alone tells a copy, where the file system knows it.
func TestPlaceFacts(t *testing.T) {
	facts := func(dir string) map[string]string {
		s := open(t, dir)
		defer s.Close()
		facts, err := s.(tokenstore.Placed).Place()
		if err != nil {
			t.Fatal(err)
		}
		return facts
	}
	dir := placedDir(t)
	original := facts(dir)
	if len(original) < 2 {
		t.Fatalf("the facts are %v", original)
	}
	if again := facts(dir); !maps.Equal(original, again) {
		t.Errorf("%v became %v", original, again)
	}
	copied := dir + "-copy"
	copyDir(t, dir, copied)
	for name, value := range facts(copied) {
		if original[name] == value {
			t.Errorf("%s of the copy is the original's: %s", name, value)
		}
	}
}
