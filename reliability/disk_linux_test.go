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

package reliability_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// diskCompanies is how many connections need refreshes beside those whose
// tokens last.
const diskCompanies = 50

// newDiskSystem starts a process with connections whose tokens live 2 s, and
// with some whose tokens live on.
func newDiskSystem(t *testing.T, prepare func(*system)) (s *system, busy *load, realms, lasting []string) {
	t.Helper()
	s = newSystem(t, strict())
	prepare(s)
	at := s.Sites[0]
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = time.Hour })
	s.spawn()
	s.up()
	lasting = s.connectAll(at, 5)
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = life })
	realms = s.connectAll(at, 5+diskCompanies)[5:]
	// Connecting a company again made its token short.
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = time.Hour })
	lasting = s.connectAll(at, len(lasting))
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = life })
	return s, s.busy(at, realms, 2*pace), realms, lasting
}

// trouble is the time in which the store cannot be written: connections whose
// tokens are valid are served, the others are told that it is the storage.
func trouble(t *testing.T, s *system, l *load, realms, lasting []string, length time.Duration) {
	t.Helper()
	at := s.Sites[0]
	refused := make(map[string]bool)
	for end := time.Now().Add(length); time.Now().Before(end); time.Sleep(pace) {
		for _, realm := range lasting {
			if a, err := s.get(at, realm); err != nil || a.Status != http.StatusOK {
				t.Fatalf("a company whose token is valid: %s %v", a, err)
			}
		}
		if len(refused) == len(realms) {
			continue
		}
		for _, realm := range realms {
			if a, err := s.get(at, realm); err == nil && a.Status == http.StatusServiceUnavailable && a.Error == "storage_unavailable" && a.Header.Get("Retry-After") != "" {
				refused[realm] = true
			}
		}
	}
	if len(refused) < len(realms)/2 {
		t.Errorf("%d of %d companies were told of the storage: this proves little", len(refused), len(realms))
	}
	for _, text := range l.failures() {
		if !strings.Contains(text, " 503 storage_unavailable ") {
			t.Errorf("an answer in the trouble: %s", text)
		}
	}
}

// recovered returns how long it takes until every connection is served.
func recovered(t *testing.T, s *system, l *load, realms []string, limit time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	for _, realm := range realms {
		wg.Go(func() {
			if err := eventually(limit, func() error {
				a, err := s.get(s.Sites[0], realm)
				if err == nil && a.Status != http.StatusOK {
					err = errors.New(a.String())
				}
				return err
			}); err != nil {
				t.Errorf("%s is not served %s after the trouble: %v", realm, limit, err)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	for _, text := range l.failures() {
		if !strings.Contains(text, " 503 storage_unavailable ") {
			t.Errorf("an answer after the trouble: %s", text)
		}
	}
	if err := l.reach(diskCompanies * 2); err != nil {
		t.Error(err)
	}
	l.failures()
	return took
}

// quiet gives every connection a token that lasts, so that nothing is in the air.
func quiet(t *testing.T, s *system, realms []string) {
	t.Helper()
	at := s.Sites[0]
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = time.Hour })
	slowAnswers(at.Intuit, 0)
	began := time.Now()
	if err := eventually(30*time.Second, func() error {
		asked := make(map[string]bool)
		for _, r := range at.Intuit.TokenRequests() {
			asked[r.Realm] = asked[r.Realm] || r.Time.After(began)
		}
		for _, realm := range realms {
			if !asked[realm] {
				return fmt.Errorf("%s has not been refreshed", realm)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
}

// alive checks that the process is still the one it was.
func alive(t *testing.T, p *process) {
	t.Helper()
	select {
	case <-p.ended:
		t.Fatalf("the process has ended: %v", p.err)
	default:
	}
	for _, sign := range []string{"SIGBUS", "fatal error", "goroutine 1 ["} {
		if bytes.Contains(p.log(), []byte(sign)) {
			t.Errorf("the process has said %q", sign)
		}
	}
}

// TestDiskFull lets somebody else fill the disk of the store while its
// connections are refreshed. The disk is a tmpfs.
func TestDiskFull(t *testing.T) {
	gate(t)
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m,mode=0700"); err != nil {
		t.Skipf("NOT TESTED: mounting a tmpfs is not permitted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, 2) }) // 2: also if it is used
	s, l, realms, lasting := newDiskSystem(t, func(s *system) {
		s.Store, s.MinFree = filepath.Join(disk, "store"), "16MiB"
	})
	at, random := s.Sites[0], dice(t)
	var slowest time.Duration
	n := times(2, 30)
	for i := range n {
		// So that some answers are in the air when the disk becomes full.
		slowAnswers(at.Intuit, 100*time.Millisecond)
		time.Sleep(time.Duration(random.Int64N(int64(life))))
		stop := fillDisk(t, filepath.Join(disk, "filler"))
		trouble(t, s, l, realms, lasting, life*3/2)
		before := at.Intuit.Counters().Refreshes
		time.Sleep(life / 2)
		if now := at.Intuit.Counters().Refreshes; now != before {
			t.Errorf("%d refreshes were begun on a full disk", now-before)
		}
		alive(t, s.proc)
		stop()
		slowest = max(slowest, recovered(t, s, l, realms, 10*time.Second))
		if t.Failed() {
			t.Fatalf("after %d times", i+1)
		}
	}
	alive(t, s.proc)
	// And kill -9 on a full disk, with nothing in the air: what the provider has
	// answered meanwhile would only be in the memory of the process.
	quiet(t, s, realms)
	stop := fillDisk(t, filepath.Join(disk, "filler"))
	l.stop()
	s.proc.kill()
	p := s.spawn()
	select {
	case <-p.ended:
		if !bytes.Contains(p.log(), []byte("Free space on the disk of")) {
			t.Errorf("it does not start on a full disk and says\n%s", p.lastLines(5))
		}
	case <-time.After(2 * time.Second):
		alive(t, p)
	}
	stop()
	p.kill()
	s.spawn()
	s.up()
	s.serves(at, realms)
	nothingLost(t, s, l)
	t.Logf("%d times full, all served again at most %s after there was space; %d requests served, %d refreshes", n, slowest.Round(time.Millisecond), l.served.Load(), at.Intuit.Counters().Refreshes)
}

// fillDisk takes all space there is, also what is given up later, until it is
// told to stop.
func fillDisk(t *testing.T, path string) (stop func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	quit, full, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer os.Remove(path)
		defer f.Close()
		chunk := make([]byte, 128<<10)
		for size := len(chunk); ; {
			select {
			case <-quit:
				return
			case <-time.After(250 * time.Microsecond):
			}
			if _, err := f.Write(chunk[:size]); err == nil {
				// What is given up meanwhile may be much: a byte at a time would
				// never fill it.
				size = min(2*size, len(chunk))
				continue
			}
			if size > 1 {
				size /= 2
				continue
			}
			size = len(chunk)
			select {
			case <-full:
			default:
				close(full)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	select {
	case <-full:
	case <-time.After(30 * time.Second):
		t.Fatal("the disk does not become full")
	}
	return func() {
		close(quit)
		<-done
	}
}

// TestDiskErrors makes the system calls that bring data to the disk fail for
// some seconds, in the process that runs.
func TestDiskErrors(t *testing.T) {
	gate(t)
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("NOT TESTED: there is no strace here")
	}
	s, l, realms, lasting := newDiskSystem(t, func(*system) {})
	at, random := s.Sites[0], dice(t)
	n := times(2, 20)
	var slowest time.Duration
	for i := range n {
		slowAnswers(at.Intuit, 100*time.Millisecond)
		time.Sleep(time.Duration(random.Int64N(int64(life))))
		out := filepath.Join(s.Dir, "strace")
		calls := []string{"msync,fsync", "msync", "fsync"}[i%3]
		cmd := exec.Command(strace, "-f", "-q", "-o", out, "-p", strconv.Itoa(s.proc.cmd.Process.Pid), "-e", "trace=msync,fsync", "-e", "inject="+calls+":error=EIO")
		said := filepath.Join(s.Dir, "strace-errors")
		stderr, err := os.Create(said)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stderr = stderr
		t.Cleanup(func() { _ = stderr.Close() })
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		if err := eventually(20*time.Second, func() error {
			if text, err := os.ReadFile(out); err != nil || !bytes.Contains(text, []byte("(INJECTED)")) {
				told, _ := os.ReadFile(said)
				return fmt.Errorf("no call has failed: %s", told)
			}
			return nil
		}); err != nil {
			_ = cmd.Process.Kill()
			if i == 0 {
				t.Skipf("NOT TESTED: strace cannot make system calls fail here: %v", err)
			}
			t.Fatal(err)
		}
		if strings.Contains(calls, "msync") {
			trouble(t, s, l, realms, lasting, 2*life)
		} else {
			time.Sleep(2 * life)
		}
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		alive(t, s.proc)
		slowest = max(slowest, recovered(t, s, l, realms, 30*time.Second))
		if t.Failed() {
			t.Fatalf("after %d times", i+1)
		}
	}
	quiet(t, s, realms)
	s.proc.kill()
	s.spawn()
	s.up()
	s.serves(at, realms)
	l.stop()
	nothingLost(t, s, l)
	t.Logf("%d times, all served again at most %s after it; %d requests served, %d refreshes", n, slowest.Round(time.Millisecond), l.served.Load(), at.Intuit.Counters().Refreshes)
}
