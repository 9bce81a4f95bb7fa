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

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/freshbearer/freshbearer/bench/results"
)

// cells are those that are compared, two for each way of forwarding.
var cells = []string{"plain/get/16", "plain/post/16", "tls1/get/16", "tls2/get/16", "tls2/post/16"}

// measure returns what is measured now, in the format of Go's benchmarks.
func measure(ctx context.Context, dir string) ([]byte, error) {
	var out bytes.Buffer
	if err := hotPath(ctx, dir, &out); err != nil {
		return nil, err
	}
	if err := sideBySide(ctx, dir, &out); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// hotPath measures our own layers. The yardstick is measured in each round
// again: the machine may become slower meanwhile.
func hotPath(ctx context.Context, dir string, out *bytes.Buffer) error {
	binary := filepath.Join(dir, "freshbearer.test")
	if err := run(ctx, os.Stderr, "go", "test", "-c", "-o", binary, "."); err != nil {
		return err
	}
	for range rounds {
		var text bytes.Buffer
		if err := run(ctx, &text, binary, "-test.run", "^$", "-test.bench", "HotPath|Yardstick", "-test.cpu", "1", "-test.count", "5", "-test.benchtime", "50ms"); err != nil {
			return fmt.Errorf("%w: %s", err, text.Bytes())
		}
		if err := inYardsticks(text.String(), out); err != nil {
			return err
		}
	}
	return nil
}

// benchmark is a line of Go's: name, rounds, time, bytes and allocations.
var benchmark = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(\S+) ns/op\s+\S+ B/op\s+(\d+) allocs/op`)

// inYardsticks writes the lines of a round with the yardstick as the unit of
// time. Of each benchmark the fastest counts: other work on the machine only
// makes them slower.
func inYardsticks(text string, out *bytes.Buffer) error {
	const yardstick = "Yardstick"
	fastest, allocs := make(map[string]float64), make(map[string]string)
	var names []string
	for _, l := range benchmark.FindAllStringSubmatch(text, -1) {
		name := l[1]
		took, err := strconv.ParseFloat(l[2], 64)
		if err != nil {
			return err
		}
		if fastest[name] == 0 {
			fastest[name] = took
			names = append(names, name)
		}
		fastest[name], allocs[name] = min(fastest[name], took), l[3]
	}
	if fastest[yardstick] == 0 || len(names) < 2 {
		return fmt.Errorf("the benchmarks printed no figures: %s", text)
	}
	for _, name := range names {
		if name != yardstick {
			fmt.Fprintf(out, "Benchmark%s 1 %.4f yardsticks/op %s allocs/op\n", name, fastest[name]/fastest[yardstick], allocs[name])
		}
	}
	return nil
}

// sideBySide measures freshbearer beside plain Caddy.
func sideBySide(ctx context.Context, dir string, out *bytes.Buffer) error {
	file := filepath.Join(dir, "results.jsonl")
	err := run(ctx, os.Stderr, "go", "run", "./bench", "-cells", strings.Join(cells, ","), "-proxies", "caddy,freshbearer",
		"-rounds", strconv.Itoa(rounds), "-duration", "1s", "-out", file)
	if err != nil {
		return err
	}
	turns, _, err := results.Read(file)
	if err != nil {
		return err
	}
	return inCaddys(turns, out)
}

// inCaddys writes the CPU that a request takes with plain Caddy's as the unit.
func inCaddys(turns []results.Turn, out *bytes.Buffer) error {
	for _, name := range cells {
		found := false
		for _, t := range turns {
			if t.Proxy != "freshbearer" || t.Cell.String() != name {
				continue
			}
			for _, ratio := range results.Ratios(turns, "freshbearer", "caddy", t.Cell, results.Turn.CPUPerThousand) {
				fmt.Fprintf(out, "BenchmarkProxy/%s 1 %.4f caddys/op\n", name, ratio)
			}
			found = true
			break
		}
		if !found {
			return fmt.Errorf("nothing was measured of %s", name)
		}
	}
	return nil
}
