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
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/bench/results"
)

// someTurns are rounds of a machine that is slower in the second one.
func someTurns() (turns []results.Turn) {
	for round, slower := range []float64{1, 2, 1} {
		for _, c := range allCells() {
			for _, name := range proxyNames() {
				k, _ := kindOf(name)
				if c.Upstream == "tls2" && k.onlyHTTP1 {
					continue
				}
				t := results.Turn{
					Proxy: name, Cell: c, Round: round, Requests: 1000, Seconds: slower, CPUSeconds: slower, P50: 900 * slower, P99: 2000 * slower, RSS: 2048, Busy: 1,
				}
				if name == ours {
					t.Requests, t.P99 = 2000, 1000*slower
				}
				turns = append(turns, t)
			}
		}
	}
	return turns
}

// Rounds are compared each for itself: that one of them was slow changes no
// ratio.
func TestReport(t *testing.T) {
	turns := someTurns()
	turns[0].Steal, turns[0].Busy = 0.4, 0.5
	turns[len(turns)/3].Busy = 0.5 // the same proxy and cell, a round later
	var out bytes.Buffer
	report(&out, turns)
	for _, want := range []string{"plain/get/1 ", "tls2/download/128", "2.00–2.00", "50 % *", "1 of 432 turns were disturbed", "at most 40 % of a core"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "too much to publish") {
		t.Error("one turn is too much to publish the others")
	}
	for i := range turns {
		turns[i].Others = 0.06
	}
	report(&out, turns)
	if !strings.Contains(out.String(), "too much to publish") {
		t.Error("all turns were disturbed, and the report takes them for good")
	}
}

// The charts can be read by programs, and by those who do not see them.
func TestCharts(t *testing.T) {
	dir := t.TempDir()
	about := results.About{Date: "2026-11-28", Command: []string{"go", "run", "./bench", "-cells", "<&>"}, Machine: "2 cores"}
	if err := drawCharts(dir, someTurns(), about); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][]string{
		"throughput.svg": {"API over plain HTTP: freshbearer 2.00", "<title", "2 cores"},
		"latency.svg":    {"freshbearer 0.50  (1.0 ms)", "shorter is better", "&lt;&amp;&gt;"},
		"cells.svg":      {"GET 2 KiB, c=16 2.00", "download 1 MiB, c=128", "prefers-color-scheme: dark"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s lacks %q", file, w)
			}
		}
		for decoder := xml.NewDecoder(bytes.NewReader(text)); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
}

func TestTimesOf(t *testing.T) {
	stat := []byte("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 100 200 300 400 500 600 700 800 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\n")
	if got, err := timesOf(stat, "0"); err != nil || got != (coreTimes{processes: 6, idle: 9, steal: 8}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := timesOf(stat, "2"); err == nil {
		t.Error("a core that is not there has times")
	}
}
