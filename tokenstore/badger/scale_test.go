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
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

var scaleRecords = flag.Int("badger.records", 0, "how many records TestScale measures a store with; 1000000 takes some minutes")

// TestScale measures a store of many connections: what opening it takes, what
// merging writes while all of them are rewritten in random order, and reading.
//
//	go test ./tokenstore/badger -run TestScale$ -badger.records 1000000 -timeout 60m -v
func TestScale(t *testing.T) {
	if *scaleRecords == 0 {
		t.Skip("needs -badger.records")
	}
	const perApply = 16
	dir := newDir(t)
	value := bytes.Repeat([]byte("0123456789abcdef"), 57)[:900]
	key := func(i int) []byte { return fmt.Appendf(nil, "record-%010d", i) }
	report := func(what string, start time.Time) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		tables, logs := tablesSize(t, dir), len(files(t, dir, "*.mem"))
		status, _ := os.ReadFile("/proc/self/status")
		var anon string
		for line := range bytes.Lines(status) {
			if bytes.HasPrefix(line, []byte("RssAnon")) {
				anon = string(bytes.TrimSpace(line))
			}
		}
		t.Logf("%s: %v; tables of %d MiB, %d logs; heap %d MiB, %s", what, time.Since(start).Round(time.Millisecond), tables>>20, logs, m.HeapAlloc>>20, anon)
	}
	write := func(s tokenstore.Store, order []int) {
		t.Helper()
		work := make(chan []int)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for part := range work {
					changes := make([]tokenstore.Change, len(part))
					for i, n := range part {
						changes[i] = tokenstore.Change{Name: key(n), Value: value}
					}
					if err := s.Apply(t.Context(), changes...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for len(order) > 0 {
			n := min(perApply, len(order))
			work <- order[:n]
			order = order[n:]
		}
		close(work)
		group.Wait()
	}
	start := time.Now()
	s := open(t, dir)
	write(s, rand.Perm(*scaleRecords))
	report("filled", start)
	start = time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	report("closed", start)
	for range 2 {
		start = time.Now()
		s = open(t, dir)
		report("opened", start)
		start = time.Now()
		random := rand.New(rand.NewPCG(1, 1))
		for range 20000 {
			if _, err := s.Get(t.Context(), key(random.IntN(*scaleRecords))); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("a get takes %v", time.Since(start)/20000)
		start = time.Now()
		made := countTables(t, dir, func() { write(s, rand.Perm(*scaleRecords)) })
		report("rewritten", start)
		t.Logf("%d MiB of tables were made for %d MiB of values", made>>20, *scaleRecords*len(value)>>20)
		start = time.Now()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		report("closed", start)
	}
}

func tablesSize(t *testing.T, dir string) (size int64) {
	for _, path := range files(t, dir, "*.sst") {
		if info, err := os.Stat(path); err == nil {
			size += info.Size()
		}
	}
	return size
}

// countTables returns the size of all tables that were made while fn ran, as
// far as they lived for some milliseconds.
func countTables(t *testing.T, dir string, fn func()) (size int64) {
	t.Helper()
	seen := make(map[string]bool)
	look := func(count bool) {
		for _, path := range files(t, dir, "*.sst") {
			if info, err := os.Stat(path); err == nil && !seen[filepath.Base(path)] {
				seen[filepath.Base(path)] = true
				if count {
					size += info.Size()
				}
			}
		}
	}
	look(false)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				look(true)
			}
		}
	}()
	fn()
	close(stop)
	<-done
	look(true)
	return size
}
