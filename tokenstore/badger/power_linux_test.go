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
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

var powerCuts = flag.Int("badger.power", 0, "how often TestPowerLoss cuts the power; it needs the right to mount loop devices")

// TestPowerLoss cuts the power of a disk while a store on it is written. The
// disk is an ext4 file system in a file: what is in that file while the
// writers stand still is what was given to the device, and all that is left.
// Nothing acknowledged is lost, and the store opens.
//
//	go test ./tokenstore/badger -run TestPowerLoss$ -badger.power 50 -timeout 30m -v
func TestPowerLoss(t *testing.T) {
	if *powerCuts == 0 {
		t.Skip("needs -badger.power")
	}
	t.Logf("-badger.seed %d", *killSeed)
	random := rand.New(rand.NewPCG(*killSeed, 3))
	base := t.TempDir()
	image, disk := filepath.Join(base, "image"), filepath.Join(base, "disk")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s, which this test was asked for: %v: %s", name, strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	run("truncate", "-s", "128M", image)
	run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)

	var w written
	for cut := range *powerCuts {
		loop := run("losetup", "--find", "--show", image)
		detach := func() { run("losetup", "--detach", loop) }
		if err := unix.Mount(loop, disk, "ext4", 0, "commit=300"); err != nil {
			detach()
			t.Fatal(err)
		}
		dir := filepath.Join(disk, "store")
		if cut > 0 {
			s, err := (&Config{Path: dir, MinFree: 1 << 20}).Open(zap.NewNop())
			if err != nil {
				t.Errorf("cut %d: %v", cut, err)
			} else {
				w.verify(t, s)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		if t.Failed() {
			_ = unix.Unmount(disk, 0)
			detach()
			t.FailNow()
		}
		cmd := child(t, "write", dir, "1048576", "0s")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		w.read(lines, func() bool { return w.opened })
		stopSync := func() {}
		if cut%2 == 1 {
			// The worst case for the mark: it is as new on the disk as can be.
			stopSync = syncAlways(filepath.Join(dir, markName))
		}
		delay := time.Duration(random.Int64N(int64(700 * time.Millisecond)))
		snapshot := make(chan error, 1)
		time.AfterFunc(delay, func() {
			// What is acknowledged was given to the device before.
			_ = cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(20 * time.Millisecond)
			err := copyFile(image+".cut", image)
			_ = cmd.Process.Kill()
			stopSync()
			snapshot <- err
		})
		w.read(lines, func() bool { return false })
		_ = cmd.Wait()
		if err := <-snapshot; err != nil {
			t.Fatal(err)
		}
		if len(w.strange) > 0 {
			t.Fatalf("cut %d: %q", cut, w.strange)
		}
		w.died()
		w.opened = false
		if err := unix.Unmount(disk, 0); err != nil {
			t.Fatal(err)
		}
		detach()
		if err := os.Rename(image+".cut", image); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d times, %d writes acknowledged, none lost", *powerCuts, w.acks)
}

// syncAlways syncs a file again and again.
func syncAlways(path string) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
			if f, err := os.Open(path); err == nil {
				_ = errors.Join(f.Sync(), f.Close())
			}
		}
	}()
	return func() {
		close(quit)
		<-done
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}
