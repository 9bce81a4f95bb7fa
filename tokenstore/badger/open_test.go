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
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func openError(t *testing.T, dir string) error {
	t.Helper()
	s, err := (&Config{Path: dir}).Open(zap.NewNop())
	if err == nil {
		_ = s.Close()
		t.Fatal("the store was opened")
	}
	return err
}

func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func name(i int) []byte { return fmt.Appendf(nil, "name-%03d", i) }

// fill stores values in two sessions, so that there are tables on the disk.
func fill(t *testing.T, dir string, values int) {
	t.Helper()
	for session := range 2 {
		s := open(t, dir)
		for i := session; i < values; i += 2 {
			if err := s.Apply(t.Context(), tokenstore.Change{Name: name(i), Value: name(i)}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func wantFilled(t *testing.T, dir string, values int) {
	t.Helper()
	s := open(t, dir)
	defer s.Close()
	for i := range values {
		got, err := s.Get(t.Context(), name(i))
		if err != nil || !bytes.Equal(got, name(i)) {
			t.Fatalf("value %d is %q (%v)", i, got, err)
		}
	}
}

func unknownSpace(string) (int64, error) { return 0, errFreeUnknown }

func files(t *testing.T, dir, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestManifestLost(t *testing.T) {
	dir := newDir(t)
	fill(t, dir, 20)
	manifest := filepath.Join(dir, badgerdb.ManifestFilename)
	whole, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	tables := len(files(t, dir, "*.sst"))
	if tables == 0 {
		t.Fatal("there is no table to lose")
	}

	for _, test := range []struct {
		name  string
		spoil func() error
		text  string
	}{
		{"removed", func() error { return os.Remove(manifest) }, "no MANIFEST file"},
		{"cut to its header", func() error { return os.WriteFile(manifest, whole[:8], 0o600) }, "newest writes are missing"},
		{"empty", func() error { return os.WriteFile(manifest, nil, 0o600) }, "restore a backup with 'caddy freshbearer restore'"},
		{"a directory", func() error { return errors.Join(os.Remove(manifest), os.Mkdir(manifest, 0o700)) }, "no MANIFEST file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := test.spoil(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				wantText(t, openError(t, dir), dir, test.text, "backup")
			}
			if n := len(files(t, dir, "*.sst")); n != tables {
				t.Fatalf("%d of %d tables are left", n, tables)
			}
			if err := errors.Join(os.RemoveAll(manifest), os.WriteFile(manifest, whole, 0o600)); err != nil {
				t.Fatal(err)
			}
			wantFilled(t, dir, 20)
		})
	}
}

// TestOnlyLogWithoutManifest covers a store that never wrote a table.
func TestOnlyLogWithoutManifest(t *testing.T) {
	for _, file := range []string{"00001.mem", "000001.vlog", "000001.sst"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, file), []byte("data"), 0o600); err != nil {
			t.Fatal(err)
		}
		wantText(t, openError(t, dir), "no MANIFEST file", file)
		if len(files(t, dir, file)) != 1 {
			t.Errorf("%s is gone", file)
		}
	}
}

// TestInterruptedStart covers the files that a process leaves that is killed
// between the creation of a log file and the writing of its header.
func TestInterruptedStart(t *testing.T) {
	for _, empty := range [][]string{{"00099.mem"}, {"000099.vlog"}, {"00099.mem", "000099.vlog"}, {"00098.mem", "00099.mem", "000099.vlog"}} {
		t.Run(strings.Join(empty, "+"), func(t *testing.T) {
			dir := newDir(t)
			fill(t, dir, 20)
			for _, file := range empty {
				if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if db, err := openDatabase(databaseOptions(dir).WithLogger(nil)); err == nil {
				_ = db.Close()
				t.Log("Badger opens it by itself now: the repetition can go")
			}
			for _, file := range empty {
				if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			wantFilled(t, dir, 20)
		})
	}
}

func TestSecondOpen(t *testing.T) {
	dir := newDir(t)
	first := open(t, dir)
	err := openError(t, dir)
	wantText(t, err, dir, "in use by another process", "running Caddy", "'caddy reload'")
	if err := first.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: name(1)}); err != nil {
		t.Errorf("the first one suffered: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOpenRace opens a store many times at once.
func TestOpenRace(t *testing.T) {
	dir := newDir(t)
	for range 5 {
		var group sync.WaitGroup
		var mu sync.Mutex
		var opened []tokenstore.Store
		for range 8 {
			group.Go(func() {
				s, err := (&Config{Path: dir}).Open(zap.NewNop())
				if err != nil {
					wantText(t, err, "in use by another process")
					return
				}
				mu.Lock()
				defer mu.Unlock()
				opened = append(opened, s)
			})
		}
		group.Wait()
		if len(opened) != 1 {
			t.Errorf("it is open %d times", len(opened))
		}
		for _, s := range opened {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestDamagedTable damages a table in many ways: what is read is right, or an
// error that is not ErrNotFound. Badger by itself would end the process.
func TestDamagedTable(t *testing.T) {
	dir := newDir(t)
	const values = 20
	fill(t, dir, values)
	table := files(t, dir, "*.sst")[0]
	whole, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	damages := map[string]func([]byte) []byte{
		"empty":        func([]byte) []byte { return nil },
		"cut in half":  func(b []byte) []byte { return b[:len(b)/2] },
		"without end":  func(b []byte) []byte { return b[:len(b)-1] },
		"with a tail":  func(b []byte) []byte { return append(b, 0) },
		"all zero":     func(b []byte) []byte { return make([]byte, len(b)) },
		"begins later": func(b []byte) []byte { return b[1:] },
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/100 {
		damages[fmt.Sprintf("byte %d flipped", at)] = func(b []byte) []byte { b[at] ^= 0x10; return b }
	}
	refused := 0
	for what, damage := range damages {
		scratch := filepath.Join(t.TempDir(), "store")
		if err := os.CopyFS(scratch, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(scratch, filepath.Base(table)), damage(bytes.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := (&Config{Path: scratch}).Open(zap.NewNop())
		if err != nil {
			refused++
			wantText(t, err, filepath.Base(table), "damaged", "backup")
			continue
		}
		for i := range values {
			got, err := s.Get(t.Context(), name(i))
			if errors.Is(err, tokenstore.ErrNotFound) || err == nil && !bytes.Equal(got, name(i)) {
				t.Errorf("%s: value %d is %q (%v)", what, i, got, err)
			}
		}
		_ = s.Close()
	}
	t.Logf("%d of %d damaged tables were refused", refused, len(damages))
	if refused < len(damages)/2 {
		t.Error("most damage was not noticed")
	}

	if err := os.Remove(table); err != nil {
		t.Fatal(err)
	}
	wantText(t, openError(t, dir), "000001.sst", "missing", "backup")
}

func TestDirectoryMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes mean nothing here")
	}
	mode := func(dir string) os.FileMode {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	openLogged := func(dir string) (*observer.ObservedLogs, error) {
		core, logs := observer.New(zapcore.WarnLevel)
		s, err := (&Config{Path: dir}).Open(zap.New(core))
		if err == nil {
			err = s.Close()
		}
		return logs, err
	}

	t.Run("created", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a", "b")
		logs, err := openLogged(dir)
		if err != nil || mode(dir) != 0o700 || mode(filepath.Dir(dir)) != 0o700 || logs.Len() > 0 {
			t.Errorf("modes %o and %o, %d warnings, %v", mode(dir), mode(filepath.Dir(dir)), logs.Len(), err)
		}
	})
	t.Run("empty and open to others", func(t *testing.T) {
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "lost+found"), 0o700)); err != nil {
			t.Fatal(err)
		}
		logs, err := openLogged(dir)
		if err != nil || mode(dir) != 0o700 || logs.Len() != 1 {
			t.Errorf("mode %o, %d warnings, %v", mode(dir), logs.Len(), err)
		}
	})
	t.Run("a store and open to its group", func(t *testing.T) {
		dir := t.TempDir()
		fill(t, dir, 2)
		if err := errors.Join(os.Chmod(dir, 0o750), os.WriteFile(filepath.Join(dir, "README"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		logs, err := openLogged(dir)
		if err != nil || mode(dir) != 0o700 || logs.Len() != 1 {
			t.Errorf("mode %o, %d warnings, %v", mode(dir), logs.Len(), err)
		}
	})
	t.Run("somebody else's", func(t *testing.T) {
		dir := t.TempDir()
		if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "www"), 0o755)); err != nil {
			t.Fatal(err)
		}
		_, err := openLogged(dir)
		if err == nil {
			t.Fatal("the store was opened")
		}
		wantText(t, err, dir, "0755", "www", "directory of its own")
		if mode(dir) != 0o755 || len(files(t, dir, "*")) != 1 {
			t.Error("the directory was changed")
		}
	})
	t.Run("a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openLogged(file); err == nil {
			t.Error("the store was opened")
		}
	})
}

// TestSize holds the reason why there is no collection of garbage: the value
// log stays empty, and merging keeps the tables small.
func TestSize(t *testing.T) {
	dir := newDir(t)
	s := open(t, dir).(*store)
	const names, writes = 50, 16
	value := bytes.Repeat([]byte("v"), 32<<10)
	for i := range names * writes {
		value[0] = byte(i)
		if err := s.Apply(t.Context(), tokenstore.Change{Name: name(i % names), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	largest := bytes.Repeat([]byte("w"), tokenstore.MaxValue)
	if err := s.Apply(t.Context(), tokenstore.Change{Name: name(0), Value: largest}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, file := range files(t, dir, "*") {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) != ballastName {
			size += info.Size()
		}
		if filepath.Ext(file) == ".vlog" && info.Size() > 20 {
			t.Errorf("%s holds %d bytes", filepath.Base(file), info.Size())
		}
	}
	written := int64(names * writes * len(value))
	if size > written/2 {
		t.Errorf("%d MiB were written over %d names, and take %d MiB", written>>20, names, size>>20)
	}
	t.Logf("%d MiB written, %d KiB live, %d KiB on the disk", written>>20, names*len(value)>>10, size>>10)
}

// TestPanicsBecomeErrors closes the database under the store, which makes
// Badger panic.
func TestPanicsBecomeErrors(t *testing.T) {
	s := open(t, newDir(t)).(*store)
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	err := s.Scan(t.Context(), nil, nil, func(_, _ []byte) bool { return true })
	if err == nil || errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("scan: %v", err)
	}
	if _, err := s.Get(t.Context(), name(1)); err == nil || errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if err := s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: name(1)}); err == nil {
		t.Error("apply: no error")
	}
	_ = s.Close()
}

// TestPanicOfCallback leaves a panic to whom it belongs, and the store usable.
func TestPanicOfCallback(t *testing.T) {
	s := open(t, newDir(t))
	if err := s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: name(1)}); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.Scan(t.Context(), nil, nil, func(_, _ []byte) bool { panic("mine") })
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestLogger(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	l := newLogger(zap.New(core), nil)
	l.Errorf("one %d\n", 1)
	l.Warningf("two")
	l.Infof("three %s", "3")
	l.Debugf("four")
	want := []struct {
		level zapcore.Level
		text  string
	}{{zapcore.ErrorLevel, "one 1"}, {zapcore.WarnLevel, "two"}, {zapcore.DebugLevel, "three 3"}, {zapcore.DebugLevel, "four"}}
	for i, entry := range logs.All() {
		if entry.LoggerName != "badger" || entry.Level != want[i].level || entry.Message != want[i].text {
			t.Errorf("message %d: %+v, want %+v", i, entry.Entry, want[i])
		}
	}
	if logs.Len() != len(want) {
		t.Errorf("%d messages, want %d", logs.Len(), len(want))
	}
}
