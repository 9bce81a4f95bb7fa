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
	"bufio"
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshbearer/freshbearer/tokenstore"
	"go.uber.org/zap"
)

var (
	fullRounds = flag.Int("badger.full", 0, "how often TestFull fills a disk; it needs the right to mount")
	fillPause  = flag.Duration("badger.fillpause", 250*time.Microsecond, "the least that passes between 128 KiB and 128 KiB that fill the disk; 0 is faster than disks are")
)

// usage returns what the files of a directory take of the disk.
func usage(dir string) (sum int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		var s unix.Stat_t
		if e.Name() != ballastName && unix.Stat(filepath.Join(dir, e.Name()), &s) == nil {
			sum += s.Blocks * 512
		}
	}
	return sum
}

// TestFull lets somebody else fill the disk of a store, for real, while it is
// written: the process does not die of it, nothing acknowledged is lost, the
// store can be opened while the disk is full or says why not, and is written
// again within 10 s after there is space.
//
//	go test ./tokenstore/badger -run TestFull$ -badger.full 20 -timeout 30m -v
//
// The disk is a tmpfs in a mount namespace of the test's own.
func TestFull(t *testing.T) {
	if *fullRounds == 0 {
		t.Skip("needs -badger.full")
	}
	const inside = "FRESHBEARER_TEST_BADGER_MOUNT"
	if os.Getenv(inside) == "" {
		cmd := child(t, "")
		cmd.Args = append(cmd.Args, os.Args[1:]...)
		cmd.Env = append(os.Environ(), inside+"="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatalf("in a mount namespace: %v", err)
		}
		return
	}
	disk := os.Getenv(inside)
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", disk, "tmpfs", 0, "size=24m,mode=0700")); err != nil {
		t.Fatalf("mounting a tmpfs, which this test was asked to do: %v", err)
	}
	defer unix.Unmount(disk, unix.MNT_DETACH)
	dir, filler := filepath.Join(disk, "store"), filepath.Join(disk, "filler")
	config := &Config{Path: dir, MinFree: 6 << 20}

	var w written
	var slowest time.Duration
	var reopened, refusedOpen, refusedWrites int
	for round := range *fullRounds {
		cmd := child(t, "write", dir, "6291456", "2ms")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan string, 1<<16)
		go func() {
			defer close(lines)
			for s := bufio.NewScanner(out); s.Scan(); {
				lines <- s.Text()
			}
		}()
		next := func(what string, enough func() bool) {
			t.Helper()
			limit := time.After(60 * time.Second)
			for !enough() {
				select {
				case line, ok := <-lines:
					if !ok {
						_ = cmd.Wait()
						text := stderr.String()[:min(stderr.Len(), 3000)]
						t.Fatalf("round %d: the process ended before %s: %s", round, what, text)
					}
					w.line(line)
				case <-limit:
					t.Fatalf("round %d: no %s in 60 s", round, what)
				}
			}
		}
		next("open", func() bool { return w.opened })
		target := w.acks + 30 + round%8*40 // so that tables change now and then
		next("writing", func() bool { return w.acks >= target })

		fillDisk(t, filler, *fillPause<<(round%3))
		full := w.full
		next("refusing", func() bool { return w.full > full+100 })
		fillDisk(t, filler, *fillPause) // with the ballast too
		full = w.full
		next("refusing again", func() bool { return w.full > full+100 })
		acked := w.acks

		if round%3 == 2 {
			// It is killed, and the store is opened on the full disk.
			_ = cmd.Process.Kill()
			for line := range lines {
				w.line(line)
			}
			_ = cmd.Wait()
			w.died()
			s, err := config.Open(zap.NewNop())
			switch {
			case err == nil:
				reopened++
				w.verify(t, s)
				if err := s.Close(); err != nil && !errors.Is(err, tokenstore.ErrFull) {
					t.Error(err)
				}
			case errors.Is(err, tokenstore.ErrFull):
				refusedOpen++
				wantText(t, err, dir, "Free space")
			default:
				t.Fatal(err)
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		} else {
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for len(lines) > 0 { // what it said before
				w.line(<-lines)
			}
			acked = w.acks
			next("writing again", func() bool { return w.acks > acked })
			slowest = max(slowest, time.Since(start))
			_ = cmd.Process.Kill()
			for line := range lines {
				w.line(line)
			}
			_ = cmd.Wait()
			w.died()
		}
		if strings.Contains(stderr.String(), "SIGBUS") || len(w.strange) > 0 {
			t.Fatalf("round %d: %s %q", round, stderr.String(), w.strange)
		}
		refusedWrites += w.full
		s, err := config.Open(zap.NewNop())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		w.verify(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.FailNow()
		}
		w.opened, w.full = false, 0
	}
	t.Logf("%d rounds: %d acknowledged writes, none lost; %d refused; written again after at most %v; on the full disk, %d opened and %d refused to",
		*fullRounds, w.acks, refusedWrites, slowest, reopened, refusedOpen)
	if slowest > 10*time.Second {
		t.Errorf("it took %v to write again", slowest)
	}
}

// fillDisk writes to a file until nothing more fits.
func fillDisk(t *testing.T, path string, pause time.Duration) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	chunk := make([]byte, 128<<10)
	for len(chunk) > 0 {
		if _, err := f.Write(chunk); errors.Is(err, unix.ENOSPC) {
			chunk = chunk[:len(chunk)/2]
		} else if err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
	}
}
