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
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
)

var eioPoints = flag.Int("badger.eio", 0, "at how many points TestEIO makes the disk fail; it needs strace")

// TestEIO makes the system calls that bring data to the disk fail, from the
// N-th on or once, while a store is written: the process does not die of it,
// and nothing acknowledged is lost.
//
//	go test ./tokenstore/badger -run TestEIO$ -badger.eio 20 -timeout 60m -v
func TestEIO(t *testing.T) {
	if *eioPoints == 0 {
		t.Skip("needs -badger.eio")
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Fatalf("this test was asked for: %v", err)
	}
	for _, fault := range []string{"msync:error=EIO:when=%d+", "msync:error=EIO:when=%d", "fsync:error=EIO:when=%d+", "fsync:error=EIO:when=%d"} {
		t.Run(fault, func(t *testing.T) {
			var acks, failed, refused, unclosed int
			for n := 1; n <= *eioPoints; n++ {
				dir := newDir(t)
				// Enough for tables to be merged. Half of the processes are killed
				// instead of closing the store.
				args := []string{dir, "1048576", "0s", "250"}
				if n%2 == 1 {
					args = append(args, "die")
				}
				cmd := child(t, "write", args...)
				cmd.Args = append([]string{strace, "-f", "-qq", "-o", filepath.Join(t.TempDir(), "strace"), "-e", "trace=" + fault[:strings.IndexByte(fault, 0x3a)],
					"-e", "inject=" + fmt.Sprintf(fault, n)}, cmd.Path)
				cmd.Path = strace
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				var w written
				for line := range strings.Lines(stdout.String()) {
					w.line(strings.TrimSuffix(line, "\n"))
				}
				acks, failed = acks+w.acks, failed+w.failed
				said := stderr.String()
				switch {
				case w.closed && (err == nil || n%2 == 1):
				case strings.HasPrefix(said, "open: "):
					refused++
				case strings.HasPrefix(said, "close: "):
					unclosed++
				default:
					t.Fatalf("point %d: %v: %s", n, err, said[:min(len(said), 3000)])
				}
				s, err := (&Config{Path: dir, MinFree: 1 << 20}).Open(zap.NewNop())
				if err != nil {
					t.Errorf("point %d: %v", n, err)
					continue
				}
				w.verify(t, s)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				if t.Failed() {
					t.Fatalf("point %d: %d acknowledged, %d failed", n, w.acks, w.failed)
				}
			}
			t.Logf("%d points: %d writes acknowledged, none lost; %d failed; %d times not opened, %d times not closed", *eioPoints, acks, failed, refused, unclosed)
		})
	}
}
