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
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// TestMarkLost holds that a mark that is missing or damaged refuses nothing.
func TestMarkLost(t *testing.T) {
	dir := newDir(t)
	fill(t, dir, 20)
	path := filepath.Join(dir, markName)
	for _, test := range []struct {
		name     string
		spoil    func() error
		warnings int
	}{
		{"removed", func() error { return os.Remove(path) }, 0},
		{"empty", func() error { return os.WriteFile(path, nil, 0o600) }, 1},
		{"another", func() error { return os.WriteFile(path, []byte("fbmark1\n0123456789abcdef"), 0o600) }, 1},
		{"longer", func() error { return os.WriteFile(path, append(marked{version: 99}.encode(), 0), 0o600) }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.spoil(); err != nil {
				t.Fatal(err)
			}
			core, logs := observer.New(zapcore.WarnLevel)
			s, err := (&Config{Path: dir}).Open(zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if logs.Len() != test.warnings {
				t.Errorf("%d warnings: %+v", logs.Len(), logs.All())
			}
			if at, err := readMark(dir); err != nil || at.version == 0 || at.flags != 0 {
				t.Errorf("the new mark is %+v (%v)", at, err)
			}
			wantFilled(t, dir, 20)
		})
	}
}

// TestMarkMoves holds that the mark is there before a write is acknowledged,
// and remembers a failure until the store is closed.
func TestMarkMoves(t *testing.T) {
	dir := newDir(t)
	s := open(t, dir).(*store)
	first, err := readMark(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if err := s.Apply(t.Context(), tokenstore.Change{Name: name(i), Value: name(i)}); err != nil {
			t.Fatal(err)
		}
		if at, err := readMark(dir); err != nil || at.version != first.version+uint64(i)+1 {
			t.Errorf("after write %d, the mark is %+v (%v), was %+v", i, at, err, first)
		}
	}
	// Nothing of this is a write.
	if err := s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: name(1), Check: true}); !errors.Is(err, tokenstore.ErrConflict) {
		t.Fatal(err)
	}
	if at, err := readMark(dir); err != nil || at.version != first.version+5 {
		t.Errorf("after no write, the mark is %+v (%v)", at, err)
	}
	if err := s.mark.failed(); err != nil {
		t.Fatal(err)
	}
	if at, err := readMark(dir); err != nil || at.flags != markGaps || at.version != first.version+5 {
		t.Errorf("after a failure, the mark is %+v (%v)", at, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if at, err := readMark(dir); err != nil || at.flags != 0 {
		t.Errorf("after closing, the mark is %+v (%v)", at, err)
	}
}

// TestAllGone leaves nothing but the mark.
func TestAllGone(t *testing.T) {
	dir := newDir(t)
	fill(t, dir, 20)
	for _, path := range files(t, dir, "*") {
		if filepath.Base(path) != markName {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	wantText(t, openError(t, dir), dir, markName, "no MANIFEST", "backup", "move the directory away")
}
