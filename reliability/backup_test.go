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
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// command runs a subcommand of the binary to its end, and returns what it
// prints and its exit code.
func (s *system) command(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.Command(binary, append([]string{"freshbearer"}, args...)...)
	var out, told bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.Dir, environment(s.Dir), &out, &told
	dieWithUs(cmd)
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return out.String(), told.String(), cmd.ProcessState.ExitCode()
}

// must is command for one that is to succeed.
func (s *system) must(args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.command(args...)
	if code != 0 {
		s.t.Fatalf("caddy freshbearer %s ended with %d:\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// other is the same system on another machine: with the key and the
// configuration, but another directory, another address and no store yet.
func (s *system) other() *system {
	s.t.Helper()
	second, at := *s, *s.Sites[0]
	second.Dir = s.t.TempDir()
	second.Store, second.Admin, second.proc = filepath.Join(second.Dir, "store"), freeAddress(s.t), nil
	at.Origin = "http://" + freeAddress(s.t)
	second.Sites = []*site{&at}
	key, err := os.ReadFile(filepath.Join(s.Dir, "key"))
	if err != nil {
		s.t.Fatal(err)
	}
	second.Keys = []string{filepath.Join(second.Dir, "key")}
	if err := os.WriteFile(filepath.Join(second.Dir, "key"), key, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return &second
}

// backup backs the running system up to a file.
func (s *system) backup() string {
	s.t.Helper()
	file := filepath.Join(s.Dir, "freshbearer.backup")
	s.must("backup", "--address", s.Admin, "--output", file)
	return file
}

// restore restores a file into the system, which does not run, and leaves its
// Caddyfile in its directory.
func (s *system) restore(file string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, "Caddyfile"), s.config(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if told := s.must("restore", file); !strings.Contains(told, s.Store) || !strings.Contains(told, "caddy freshbearer resume") {
		s.t.Errorf("restore says:\n%s", told)
	}
}

func (s *system) start() {
	s.t.Helper()
	s.spawn()
	s.up()
}

func (s *system) end() {
	s.t.Helper()
	if _, err := s.proc.terminate(90 * time.Second); err != nil {
		s.t.Fatal(err)
	}
}

// onHold checks that a process serves the company whose token is valid, refuses
// the others as it must, and says so in its log.
func (s *system) onHold(valid string, expired []string, reason string) {
	s.t.Helper()
	at := s.Sites[0]
	if a, err := s.get(at, valid); err != nil || a.Status != http.StatusOK {
		s.t.Errorf("on hold, a valid token is answered %s %v", a, err)
	}
	for _, realm := range expired {
		a, err := s.get(at, realm)
		if err != nil || a.Status != http.StatusServiceUnavailable || a.Error != "on_hold" {
			s.t.Fatalf("on hold, an expired token is answered %s %v", a, err)
		}
		if after := a.Header.Get("Retry-After"); after != "" || !bytes.Contains(a.Body, []byte("caddy freshbearer resume")) {
			s.t.Errorf("the answer on hold: Retry-After %q, %s", after, a.Body)
		}
	}
	if log := s.proc.log(); !bytes.Contains(log, []byte(`"level":"error"`)) || !bytes.Contains(log, []byte(`"reason":"`+reason+`"`)) {
		s.t.Errorf("the log does not say why the store is on hold:\n%s", s.proc.lastLines(20))
	}
}

// connectValid connects a company whose token lives for an hour.
func (s *system) connectValid(at *site) string {
	s.t.Helper()
	const realm = "9130357849536736"
	at.Intuit.Connect(realm)
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = time.Hour })
	defer at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = life })
	if err := s.connect(at, realm, ""); err != nil {
		s.t.Fatal(err)
	}
	return realm
}

// A second store that holds the same grants is started beside the first one,
// which goes on. The provider is strict: a single refresh by the second one
// would end a grant of the first.
func TestSecondStoreBesideTheFirst(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		second func(s, second *system)
	}{
		"restored": {"restored", func(s, second *system) { second.restore(s.backup()) }},
		"copied": {"copied", func(s, second *system) {
			s.end()
			if out, err := exec.Command("cp", "-r", s.Store, second.Store).CombinedOutput(); err != nil {
				s.t.Fatalf("copying the store: %v %s", err, out)
			}
			s.start() // where it was, so it is not on hold
		}},
	} {
		t.Run(name, func(t *testing.T) {
			gate(t)
			s := newSystem(t, strict())
			s.Admin = freeAddress(t)
			at := s.Sites[0]
			s.start()
			realms := s.connectAll(at, connections)
			valid := s.connectValid(at)
			l := s.busy(at, realms, pace)
			rotated := at.Intuit.Counters().Refreshes + connections
			if err := eventually(30*time.Second, func() error { return reached(at.Intuit, rotated) }); err != nil {
				t.Fatal(err)
			}
			second := s.other()
			c.second(s, second)
			second.start()
			// The second one's tokens end, and the first one goes on with others.
			rotated = at.Intuit.Counters().Refreshes + 2*connections
			if err := eventually(60*time.Second, func() error { return reached(at.Intuit, rotated) }); err != nil {
				t.Fatal(err)
			}
			second.onHold(valid, realms, c.reason)
			second.end()
			second.start() // a restart changes nothing
			second.onHold(valid, realms, c.reason)
			s.serves(at, realms)
			l.stop()
			nothingLost(t, s, l)
		})
	}
}

func reached(in *intuittest.Server, refreshes int) error {
	if n := in.Counters().Refreshes; n < refreshes {
		return fmt.Errorf("%d refreshes, not %d", n, refreshes)
	}
	return nil
}

// The machine is lost, and the last backup takes its place.
func TestRestoreAndResume(t *testing.T) {
	gate(t)
	s := newSystem(t, strict())
	s.Admin = freeAddress(t)
	at := s.Sites[0]
	s.start()
	realms := s.connectAll(at, connections)
	valid := s.connectValid(at)
	l := s.busy(at, realms, pace)
	if err := l.reach(connections * int64(2*life/pace)); err != nil {
		t.Fatal(err)
	}
	s.backup() // under load; the next one takes its place
	l.stop()
	nothingLost(t, s, l)
	// Its end waits for the refreshes that the last requests have started, and
	// nothing is refreshed after its start: the backup has the newest tokens.
	s.end()
	s.start()
	file := s.backup()
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup's file: %v %v", info, err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".freshbearer-*")); len(left) > 0 {
		t.Errorf("backing up leaves %q", left)
	}
	s.proc.kill()
	if err := os.RemoveAll(s.Store); err != nil {
		t.Fatal(err)
	}

	second := s.other()
	second.restore(file)
	second.start()
	time.Sleep(life) // the last of the tokens have ended after it
	at.Intuit.ResetCounters()
	second.onHold(valid, realms, "restored")
	// The hold is not for a reload to end.
	if err := second.reload(); err != nil {
		t.Fatal(err)
	}
	second.onHold(valid, realms, "restored")
	if n := len(at.Intuit.TokenRequests()); n != 0 {
		t.Errorf("%d token requests on hold", n)
	}
	if told := second.must("resume", "--address", second.Admin); !strings.Contains(told, "is not on hold any more (it was restored") {
		t.Errorf("resume says %s", told)
	}
	second.serves(second.Sites[0], append(realms, valid))
	if c := at.Intuit.Counters(); c.Refreshes < connections || c.SupersededReuses != 0 {
		t.Errorf("after resume: %d refreshes, %d of them superseded", c.Refreshes, c.SupersededReuses)
	}
	if told := second.must("resume", "--address", second.Admin); !strings.Contains(told, "was not on hold") {
		t.Errorf("a second resume says %s", told)
	}
	// It is remembered, also by a store that is moved.
	second.end()
	moved := second.Store + "-moved"
	if err := os.Rename(second.Store, moved); err != nil {
		t.Fatal(err)
	}
	second.Store = moved
	second.start()
	second.serves(second.Sites[0], append(realms, valid))
	if bytes.Contains(second.proc.log(), []byte("on hold")) {
		t.Errorf("the log speaks of a hold:\n%s", second.proc.lastLines(20))
	}
}

// What the commands refuse, and that it harms nothing.
func TestBackupCommandsRefuse(t *testing.T) {
	gate(t)
	s := newSystem(t, strict())
	s.Admin = freeAddress(t)
	at := s.Sites[0]
	s.start()
	realms := s.connectAll(at, 3)
	file := s.backup()
	refuses := func(on *system, words string, args ...string) {
		t.Helper()
		stdout, stderr, code := on.command(args...)
		if code != 1 || !strings.Contains(stderr, words) || stdout != "" || strings.Contains(stderr, "Usage:") {
			t.Errorf("%s ended with %d, not with %q:\n%s%s", strings.Join(args, " "), code, words, stdout, stderr)
		}
	}
	caddyfile := filepath.Join(s.Dir, "Caddyfile")
	if err := os.WriteFile(caddyfile, s.config(), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(s, "is in use by another process", "restore", file)
	refuses(s, "a backup is restored while Caddy is stopped", "restore", file)
	refuses(s, "is not open; there is", "backup", "--address", s.Admin, "--store", "/nowhere", "--output", "x.backup")
	refuses(s, "making the file for the backup", "backup", "--config", caddyfile, "--output", "nowhere/x.backup")
	s.serves(at, realms)
	s.end()
	refuses(s, "is Caddy running?", "backup", "--config", caddyfile, "--output", "x.backup")
	refuses(s, "is Caddy running?", "resume", "--address", s.Admin)
	refuses(s, "the token store is not empty", "restore", file)
	if _, err := os.Stat(filepath.Join(s.Dir, "x.backup")); err == nil {
		t.Error("a backup that failed has left a file")
	}

	second := s.other()
	if err := os.WriteFile(filepath.Join(second.Dir, "Caddyfile"), second.config(), 0o600); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	spoilt := filepath.Join(second.Dir, "spoilt.backup")
	for what, content := range map[string][]byte{
		"its end is missing": whole[:len(whole)-1],
		"it was altered":     append(append(bytes.Clone(whole[:len(whole)-33]), whole[len(whole)-33]), flipped(whole[len(whole)-32:])...),
		"it does not begin":  []byte("{}"),
	} {
		if err := os.WriteFile(spoilt, content, 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(second, what, "restore", spoilt)
	}
	refuses(second, "no such file", "restore", "nowhere.backup")
	if err := os.WriteFile(filepath.Join(second.Dir, "key"), []byte(strings.Repeat("a", 64)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses(second, "the configured encryption key does not open", "restore", file)
	if _, err := os.Stat(second.Store); err == nil {
		t.Error("a restore that was refused has made a store")
	}
	// And the first one goes on where it was.
	s.start()
	s.serves(at, realms)
}

func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[0] ^= 1
	return b
}
