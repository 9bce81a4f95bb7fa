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
	"flag"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
)

var (
	killCycles = flag.Int("badger.kills", 12, "how often TestKill kills a process that writes")
	killSeed   = flag.Uint64("badger.seed", uint64(time.Now().UnixNano()), "what random tests begin with")
)

// TestKill kills a process that writes, again and again, and opens the store
// after it: it is never refused, and nothing acknowledged is lost.
//
//	go test ./tokenstore/badger -run TestKill$ -badger.kills 300 -timeout 30m -v
func TestKill(t *testing.T) {
	t.Logf("-badger.seed %d", *killSeed)
	random := rand.New(rand.NewPCG(*killSeed, 1))
	dir := newDir(t)
	var w written
	var logs, unmarked int
	for cycle := range *killCycles {
		cmd := child(t, "write", dir, "1048576", "0s")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Now and then in the middle of opening, else some time after it.
		delay := time.Duration(random.Int64N(int64(250 * time.Millisecond)))
		lines := bufio.NewScanner(out)
		if cycle%4 != 3 {
			w.read(lines, func() bool { return w.opened })
		}
		timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
		w.read(lines, func() bool { return false })
		_ = cmd.Wait()
		timer.Stop()
		if stderr.Len() > 0 || len(w.strange) > 0 {
			t.Fatalf("cycle %d: the process said %q, %q", cycle, stderr.String(), w.strange)
		}
		w.died()
		w.opened = false

		logs += len(files(t, dir, "*.mem"))
		if _, err := readMark(dir); err != nil {
			unmarked++
		}
		// Half of the time, the next process is who finds what the last left.
		if cycle%2 == 0 && cycle != *killCycles-1 {
			continue
		}
		s, err := (&Config{Path: dir, MinFree: 1 << 20}).Open(zap.NewNop())
		if err != nil {
			t.Fatalf("cycle %d: %v (%s)", cycle, err, filepath.Base(dir))
		}
		w.verify(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d kills, %d acknowledged writes, %d logs found after them, %d times no mark", *killCycles, w.acks, logs, unmarked)
	if w.acks < *killCycles {
		t.Error("too few writes for this to mean anything")
	}
}
