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

// Command compare tells whether the hot path has become slower than it was when
// the baseline was written. It compares ratios only, because they travel from
// one machine to another: the CPU that a request takes with that of plain Caddy,
// and the time of our own layers with that of a yardstick. See
// docs/performance.md.
//
//	go run ./bench/compare
package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	// benchstat is a program, and not a dependency.
	benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"
	baseline  = "bench/baseline.txt"
	// rounds are enough for benchstat to tell a change from noise.
	rounds = 6
)

func main() {
	update := flag.Bool("update", false, "write "+baseline+" anew instead of comparing with it")
	margin := flag.Float64("margin", 0.15, "how much worse a ratio may be")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, *update, *margin); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func compare(ctx context.Context, update bool, margin float64) error {
	dir, err := os.MkdirTemp("", "freshbearer-compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	now, err := measure(ctx, dir)
	if err != nil {
		return err
	}
	if update {
		return os.WriteFile(baseline, now, 0o644)
	}
	before, err := os.ReadFile(baseline)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "now.txt")
	if err := os.WriteFile(file, now, 0o600); err != nil {
		return err
	}
	if err := run(ctx, os.Stdout, "go", "run", benchstat, "baseline="+baseline, "now="+file); err != nil {
		return err
	}
	var table bytes.Buffer
	if err := run(ctx, &table, "go", "run", benchstat, "-format", "csv", "baseline="+baseline, "now="+file); err != nil {
		return err
	}
	worse, err := judge(&table, margin)
	if err != nil {
		return err
	}
	worse = append(worse, missing(before, now)...)
	if len(worse) > 0 {
		return fmt.Errorf("%s\nif this is what you want, run 'go run ./bench/compare -update' on a quiet machine and say why in the commit", strings.Join(worse, "\n"))
	}
	return nil
}

func run(ctx context.Context, out io.Writer, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

// judge returns what has become worse by more than margin. All figures are
// costs, so more is worse; benchstat writes ~ where it sees no difference.
func judge(table io.Reader, margin float64) (worse []string, err error) {
	reader := csv.NewReader(table)
	reader.FieldsPerRecord = -1
	// There is a table for each unit, and its head says in which column the
	// difference is.
	change, unit, judged := -1, "", 0
	for {
		row, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading what benchstat says: %w", err)
		}
		if at := column(row, "vs base"); at > 1 {
			change, unit = at, row[1]
			continue
		}
		if change < 0 || len(row) <= change || row[0] == "" || row[0] == "geomean" {
			continue
		}
		judged++
		if row[change] == "~" {
			continue
		}
		percent, err := strconv.ParseFloat(strings.TrimSuffix(row[change], "%"), 64)
		if err != nil {
			return nil, fmt.Errorf("benchstat says %q of %s", row[change], row[0])
		}
		if percent > 100*margin {
			worse = append(worse, fmt.Sprintf("%s takes %.0f %% more %s than the baseline; %.0f %% are allowed", row[0], percent, unit, 100*margin))
		}
	}
	if judged == 0 {
		return nil, errors.New("benchstat compared nothing")
	}
	return worse, nil
}

func column(row []string, name string) int {
	for i, field := range row {
		if field == name {
			return i
		}
	}
	return -1
}

// missing returns the benchmarks of the baseline that were not measured.
func missing(before, now []byte) (lacking []string) {
	have := names(now)
	for name := range names(before) {
		if !have[name] {
			lacking = append(lacking, name+" is in the baseline and was not measured")
		}
	}
	return lacking
}

func names(text []byte) map[string]bool {
	all := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(name, "Benchmark") {
			all[name] = true
		}
	}
	return all
}
