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
)

// The cores that things are pinned to.
const (
	loadCore  = "0"
	proxyCore = "1"
)

// cell is what is asked for, through every proxy.
type cell struct {
	Upstream    string `json:"upstream"`
	Request     string `json:"request"`
	Concurrency int    `json:"concurrency"`
}

func (c cell) String() string { return fmt.Sprintf("%s/%s/%d", c.Upstream, c.Request, c.Concurrency) }

// upstreams are how the API is spoken to.
var upstreams = []string{"plain", "tls1", "tls2"}

// allCells are all combinations that are worth a look: a download measures the
// memory bus, and not the protocol.
func allCells() []cell {
	var cells []cell
	for _, upstream := range upstreams {
		for _, c := range []int{1, 16, 128} {
			cells = append(cells, cell{upstream, "get", c})
		}
		for _, c := range []int{16, 128} {
			cells = append(cells, cell{upstream, "post", c})
		}
		cells = append(cells, cell{upstream, "download", 16})
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
		duration = flag.Duration("duration", 3*time.Second, "how long a turn takes")
		only     = flag.String("cells", "", "only the cells that begin with one of these, separated by commas, such as plain/get,tls2")
		with     = flag.String("proxies", strings.Join(proxyNames(), ","), "the proxies")
		out      = flag.String("out", "", "a file that raw results are added to, a JSON object a line")
		from     = flag.String("from", "", "measure nothing; report on the results in this file")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	results, err := readResults(*from)
	if err == nil && *from == "" {
		results, err = run(ctx, *rounds, *duration, chosen(*only), strings.Split(*with, ","), *out)
	}
	fail(err)
	report(os.Stdout, results)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func chosen(only string) []cell {
	return slices.DeleteFunc(allCells(), func(c cell) bool {
		return !slices.ContainsFunc(strings.Split(only, ","), func(begin string) bool { return strings.HasPrefix(c.String(), begin) })
	})
}

// result is what one turn of a proxy came to.
type result struct {
	Proxy string `json:"proxy"`
	cell
	Round int `json:"round"`
	// Requests were answered in Seconds and took the proxy CPUSeconds. Of Errors
	// no answer came, and Refused were answered by 400 or more. P50 and P99 are in microseconds, RSS is in KiB.
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	Refused    int     `json:"refused"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	RSS        int     `json:"rss_kib"`
}

func readResults(file string) ([]result, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var results []result
	for decoder := json.NewDecoder(f); ; {
		var r result
		if err := decoder.Decode(&r); errors.Is(err, io.EOF) {
			return results, nil
		} else if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
}

// run measures. Each round visits every cell, and in a cell every proxy; who
// goes first changes with the round.
func run(ctx context.Context, rounds int, duration time.Duration, cells []cell, with []string, out string) ([]result, error) {
	if len(cells) == 0 {
		return nil, errors.New("no cell is chosen")
	}
	for _, tool := range []string{"taskset", "wrk", "nginx", "haproxy"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("%s is missing; on Debian: apt install nginx-light haproxy wrk util-linux", tool)
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
	raw := io.Discard
	if out != "" {
		f, err := os.OpenFile(filepath.Clean(out), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		raw = f
	}
	fmt.Fprintf(os.Stderr, "%d cells, %d proxies, %d rounds: %v at most\n", len(cells), len(with), rounds,
		(time.Duration(len(cells)*len(with)*rounds) * (duration + duration/2)).Round(time.Second))
	var results []result
	for round := range rounds {
		for _, c := range cells {
			for i := range with {
				proxy := s.proxies[proxyKey{with[(i+round)%len(with)], c.Upstream}]
				if proxy == nil {
					continue // it does not speak to such an upstream
				}
				r, err := s.measure(ctx, proxy, c, round, duration)
				if err != nil {
					return results, fmt.Errorf("%s at %v: %w", proxy.name, c, err)
				}
				if err := json.NewEncoder(raw).Encode(r); err != nil {
					return results, err
				}
				results = append(results, r)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d is done\n", round+1, rounds)
	}
	return results, nil
}
