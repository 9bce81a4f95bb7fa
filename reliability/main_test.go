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

// Package reliability_test tries to lose a grant. It runs the real process with
// a real Caddyfile and a real Badger store, kills it, stops it and reloads it
// under load, and spoils the answers of a simulated Intuit that lives in the
// test, and so survives all that.
//
// Each gate has a short form for every test run and a long one:
//
//	go test ./reliability -long -run 'TestKill$' -timeout 2h -v
//
// docs/reliability.md has the commands and what they measured.
package reliability_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

var (
	long   = flag.Bool("long", false, "run the long forms of the gates")
	cycles = flag.Int("cycles", 0, "how often a gate is tried, instead of its short or long form's number")
	soak   = flag.Duration("soak", 0, "how long TestSoak runs; with -long an hour")
	seed   = flag.Uint64("seed", 0, "the seed of what is random; 0 is a new one, which is printed")
)

// binary is Caddy with freshbearer, built for this run.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	dir, err := os.MkdirTemp("", "freshbearer-reliability-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a directory for the binary:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "caddy")
	if runtime.GOOS == "windows" {
		binary += ".exe"
	}
	// The child is built without -race, also for a test that runs with it: the
	// races are for the other tests, and the timing here is that of the product.
	build := exec.Command("go", "build", "-o", binary, "../cmd/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building Caddy with freshbearer: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// times is how often a gate is tried.
func times(short, full int) int {
	switch {
	case *cycles > 0:
		return *cycles
	case *long:
		return full
	}
	return short
}

// dice are a test's own, so that its run can be repeated as far as a run with
// real processes can be.
func dice(t *testing.T) *rand.Rand {
	t.Helper()
	t.Logf("-seed %d", *seed)
	return rand.New(rand.NewPCG(*seed, uint64(len(t.Name()))))
}

// gate is for tests that signal processes.
func gate(t *testing.T) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the gates stop processes with signals")
	}
	// Each has a process of its own and waits more than it works.
	t.Parallel()
}

// eventually tries until there is no error, and returns the last one.
func eventually(limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
