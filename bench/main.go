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

// Command bench measures freshbearer side by side with other proxies, and
// prints ratios: the proxies take turns under the same load, each pinned to one
// core, with the load and the API on another one. See docs/performance.md.
//
//	go run ./bench
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/freshbearer/freshbearer/bench/results"
)

// The cores that things are pinned to.
const (
	loadCore  = "0"
	proxyCore = "1"
)

// upstreams are how the API is spoken to.
var upstreams = []string{"plain", "tls1", "tls2"}

// allCells are all that can be measured.
func allCells() []results.Cell {
	var cells []results.Cell
	for _, upstream := range upstreams {
		for _, request := range []string{"get", "post", "download"} {
			for _, c := range []int{1, 16, 128} {
				cells = append(cells, results.Cell{Upstream: upstream, Request: request, Concurrency: c})
			}
		}
	}
	return cells
}

func main() {
	if len(os.Args) == 4 && os.Args[1] == "httputil" {
		// The program is one of the proxies, too.
		fail(serveHTTPUtil(os.Args[2], os.Args[3]))
		return
	}
	var (
		rounds   = flag.Int("rounds", 5, "how often each proxy has its turn in each cell")
		duration = flag.Duration("duration", 2*time.Second, "how long a turn takes, after a quarter of that to warm up")
		only     = flag.String("cells", "", "only the cells that begin with one of these, separated by commas, such as plain/get,tls2")
		with     = flag.String("proxies", strings.Join(proxyNames(), ","), "the proxies")
		out      = flag.String("out", "", "a file that raw results are added to, a JSON object a line")
		from     = flag.String("from", "", "measure nothing; report on the results in this file")
		to       = flag.String("charts", "", "a directory that charts of the results are drawn in")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	turns, about, err := measured(ctx, *from, *rounds, *duration, chosen(*only), strings.Split(*with, ","), *out)
	fail(err)
	report(os.Stdout, turns)
	if *to != "" {
		fail(drawCharts(*to, turns, about))
	}
}

// measured reads results, or measures.
func measured(ctx context.Context, from string, rounds int, duration time.Duration, cells []results.Cell, with []string, out string) ([]results.Turn, results.About, error) {
	if from != "" {
		return results.Read(from)
	}
	about := describe(ctx)
	turns, err := run(ctx, rounds, duration, cells, with, out, about)
	return turns, about, err
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func chosen(only string) []results.Cell {
	return slices.DeleteFunc(allCells(), func(c results.Cell) bool {
		return !slices.ContainsFunc(strings.Split(only, ","), func(begin string) bool {
			return begin == "" || strings.HasPrefix(c.String()+"/", begin+"/")
		})
	})
}

// run measures. Each round visits every cell, and in a cell every proxy; who
// goes first changes with the round.
func run(ctx context.Context, rounds int, duration time.Duration, cells []results.Cell, with []string, out string, about results.About) ([]results.Turn, error) {
	if len(cells) == 0 {
		return nil, errors.New("no cell is chosen")
	}
	tools := []string{"taskset", "wrk", "nginx"}
	if slices.Contains(with, "haproxy") {
		tools = append(tools, "haproxy")
	}
	if slices.Contains(with, "express") {
		tools = append(tools, "node", "npm")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing; on Debian: apt install nginx-light haproxy wrk util-linux nodejs npm", tool)
		}
	}
	dir, err := os.MkdirTemp("", "freshbearer-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s, err := setUp(ctx, dir, with, cells)
	defer s.end()
	if err != nil {
		return nil, err
	}
	file := io.Discard
	if out != "" {
		f, err := os.OpenFile(filepath.Clean(out), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		file = f
	}
	raw := json.NewEncoder(file)
	if err := raw.Encode(results.Line{About: &about}); err != nil {
		return nil, err
	}
	total := 0
	for _, c := range cells {
		for _, name := range with {
			if s.proxies[proxyKey{name, c.Upstream}] != nil {
				total += rounds
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%d cells, %d turns: about %v\n", len(cells), total,
		(time.Duration(total) * (duration + duration/warmUp + turnOverhead)).Round(time.Second))
	var turns []results.Turn
	for round := range rounds {
		for _, c := range cells {
			for i := range with {
				proxy := s.proxies[proxyKey{with[(i+round)%len(with)], c.Upstream}]
				if proxy == nil {
					continue // it does not speak to such an upstream
				}
				t, err := s.measure(ctx, proxy, c, round, duration)
				if err != nil {
					return turns, fmt.Errorf("%s at %v: %w", proxy.name, c, err)
				}
				if err := raw.Encode(results.Line{Turn: &t}); err != nil {
					return turns, err
				}
				turns = append(turns, t)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d is done\n", round+1, rounds)
	}
	return turns, nil
}
