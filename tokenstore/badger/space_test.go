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
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// disk is a file system whose free space is what a test says.
type disk struct{ free atomic.Int64 }

func (d *disk) space(string) (int64, error) { return d.free.Load(), nil }

func openOn(t *testing.T, dir string, minFree int64, free func(string) (int64, error)) (*store, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	lock, err := prepareDir(dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	s, err := openLocked(dir, minFree, free, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	s.lock = lock
	return s, logs
}

func TestSpace(t *testing.T) {
	const mib = 1 << 20
	var d disk
	d.free.Store(200 * mib)
	dir := newDir(t)
	s, logs := openOn(t, dir, 20*mib, d.space)
	ballast := filepath.Join(dir, ballastName)
	held := func() bool {
		info, err := os.Stat(ballast)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		return err == nil && info.Size() == 10*mib && info.Mode().Perm() == 0o600
	}
	write := func() error { return s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: name(1)}) }
	// The reserve is 10 MiB.
	for i, step := range []struct {
		what          string
		free          int64
		begin, write  bool
		held          bool
		level, logged string
	}{
		{"plenty", 200, true, true, true, "", ""},
		{"enough", 21, true, true, true, "", ""},
		{"low", 19, false, true, true, "warn", "nearly full: no token is refreshed"},
		{"hardly more", 20, false, true, true, "", ""},
		{"very low", 11, false, true, true, "", ""},
		// The ballast goes, and is not there to be used: 16 are 6.
		{"full", 6, false, false, false, "error", "is full: nothing more is stored"},
		{"full without the ballast", 16, false, false, false, "", ""},
		{"nothing at all", 0, false, false, false, "", ""},
		{"low again", 22, false, true, false, "warn", "can be written again"},
		{"full again", 16, false, false, false, "error", "is full"},
		{"enough again", 40, true, true, true, "info", "enough space again"},
	} {
		before := logs.Len()
		d.free.Store(step.free * mib)
		s.space.poll()
		for range 3 {
			if err := s.CheckSpace(t.Context()); (err == nil) != step.begin || err != nil && !errors.Is(err, tokenstore.ErrFull) {
				t.Errorf("%s: begin: %v", step.what, err)
			}
			err := write()
			if (err == nil) != step.write || err != nil && !errors.Is(err, tokenstore.ErrFull) {
				t.Errorf("%s: write: %v", step.what, err)
			}
			if err != nil && i%2 == 1 {
				wantText(t, err, dir, "MiB", "Free space on the disk of")
			}
		}
		if held() != step.held {
			t.Errorf("%s: the ballast is there: %v", step.what, held())
		}
		entries := logs.All()[before:]
		if step.logged == "" && len(entries) > 0 || step.logged != "" && (len(entries) != 1 ||
			entries[0].Level.String() != step.level || !strings.Contains(entries[0].Message, step.logged)) {
			t.Errorf("%s: logged %+v", step.what, entries)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckSpace(t.Context()); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestSpaceBurst holds that writes that are admitted together do not take more
// than there is.
func TestSpaceBurst(t *testing.T) {
	var d disk
	d.free.Store(memtables*memtableReserve + smallReserve + 250<<10)
	s := &space{dir: t.TempDir(), minFree: 1 << 20, logger: zap.NewNop(), free: d.space}
	var releases []func()
	for range 3 {
		release, err := s.admit(100 << 10)
		if errors.Is(err, tokenstore.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	if len(releases) != 2 {
		t.Errorf("%d writes of 100 KiB were admitted to 250 KiB", len(releases))
	}
	for _, release := range releases {
		release()
	}
	if s.admitted != 0 {
		t.Errorf("%d bytes are still counted", s.admitted)
	}
}

// TestSpaceUnknown goes without what the file system does not tell.
func TestSpaceUnknown(t *testing.T) {
	s, logs := openOn(t, newDir(t), 20<<20, unknownSpace)
	for range 3 {
		if err := errors.Join(s.CheckSpace(t.Context()), s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: name(1)})); err != nil {
			t.Fatal(err)
		}
	}
	if logs.FilterMessageSnippet("cannot be watched").Len() != 1 || logs.Len() != 1 {
		t.Errorf("logged %+v", logs.All())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFullOpenAndClose covers the two times that Badger writes without being
// asked to.
func TestFullOpenAndClose(t *testing.T) {
	dir := newDir(t)
	fill(t, dir, 20)
	var d disk
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openLocked(dir, 20<<20, d.space, zap.NewNop()); !errors.Is(err, tokenstore.ErrFull) {
		t.Fatalf("opened on a full disk: %v", err)
	} else {
		wantText(t, err, "opening the token store", dir, "Free space")
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	d.free.Store(100 << 20)
	s, _ := openOn(t, dir, 20<<20, d.space)
	d.free.Store(0)
	if err := s.Close(); !errors.Is(err, tokenstore.ErrFull) {
		t.Errorf("closed on a full disk: %v", err)
	} else {
		wantText(t, err, "left open until the process ends")
	}
	if err := s.Close(); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if err := errors.Join(s.db.Close(), s.lock.Close()); err != nil { // what the end of the process does
		t.Fatal(err)
	}
	wantFilled(t, dir, 20)
}

// TestReserve lets the store itself fill a disk, as fast as it can: it stays
// within its bounds, and goes on when it has merged what it wrote.
func TestReserve(t *testing.T) {
	const capacity = 24 << 20
	dir := newDir(t)
	var least atomic.Int64
	least.Store(capacity)
	free := func(string) (int64, error) {
		n := capacity - usage(dir)
		for old := least.Load(); n < old && !least.CompareAndSwap(old, n); old = least.Load() {
		}
		return n, nil
	}
	s, _ := openOn(t, dir, 1<<20, free)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				_, _ = free("")
			}
		}
	}()
	value := bytes.Repeat([]byte("v"), 32<<10)
	written, refused := 0, 0
	for deadline := time.Now().Add(20 * time.Second); written < 1500 && time.Now().Before(deadline); {
		value[0] = byte(written)
		err := s.Apply(t.Context(), tokenstore.Change{Name: name(written % 50), Value: value})
		switch {
		case err == nil:
			written++
		case errors.Is(err, tokenstore.ErrFull):
			refused++
			time.Sleep(time.Millisecond)
		default:
			t.Fatal(err)
		}
	}
	close(stop)
	<-done
	t.Logf("%d MiB written over 1.6 MiB, %d writes refused, never less than %d KiB free of %d", written>>5, refused, least.Load()>>10, capacity>>10)
	if usage(dir) > 0 && least.Load() < smallReserve {
		t.Error("the reserve is too small")
	}
	if written < 1500 {
		t.Error("it stopped being written")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMergeFrees fills the disk with tables that hold the same few names, before
// any of them is merged: merging them needs less than they take.
func TestMergeFrees(t *testing.T) {
	dir := newDir(t)
	var d disk
	d.free.Store(100 << 20)
	s, _ := openOn(t, dir, 1<<20, d.space)
	if err := s.space.end(0); err != nil { // so that nothing is merged yet
		t.Fatal(err)
	}
	value := bytes.Repeat([]byte("v"), 64<<10)
	for i := range 400 { // 25 MiB of 1 MiB
		if err := s.Apply(t.Context(), tokenstore.Change{Name: name(i % 16), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	tables := func() (n int) { return len(files(t, dir, "*.sst")) }
	before := tables()
	d.free.Store(7 << 20)
	if err := s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: value}); !errors.Is(err, tokenstore.ErrFull) {
		t.Errorf("written on a full disk: %v", err)
	}
	for deadline := time.Now().Add(5 * time.Second); tables() >= before && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err := s.space.tryMerge(); err != nil {
			t.Fatal(err)
		}
	}
	if after := tables(); before < 15 || after > before/2 {
		t.Errorf("of %d tables, %d are left", before, after)
	}
	d.free.Store(100 << 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
