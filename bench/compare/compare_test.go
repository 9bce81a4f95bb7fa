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
	"slices"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/bench/results"
)

// What benchstat prints with -format csv.
const compared = `,baseline,,now,,,
,yardsticks/op,CI,yardsticks/op,CI,vs base,P
HotPath/layers,2.74,8%,3.20,8%,+16.78%,p=0.002 n=6
HotPath/handler,1.93,6%,1.93,6%,~,p=1.000 n=6
geomean,2.30,,2.50,,+80.00%,

,baseline,,now,,,
,allocs/op,CI,allocs/op,CI,vs base,P
HotPath/layers,5,0%,7,0%,+40.00%,p=0.002 n=6

,baseline,,now,,,
,caddys/op,CI,caddys/op,CI,vs base,P
Proxy/plain/get/16,0.79,2%,0.90,2%,+14.00%,p=0.002 n=6
Proxy/tls1/get/16,0.72,8%,0.30,8%,-58.00%,p=0.002 n=6
`

func TestJudge(t *testing.T) {
	worse, err := judge(strings.NewReader(compared), 0.15)
	if err != nil {
		t.Fatal(err)
	}
	if len(worse) != 2 || !strings.Contains(worse[0], "HotPath/layers takes 17 % more yardsticks/op") || !strings.Contains(worse[1], "40 % more allocs/op") {
		t.Errorf("%q", worse)
	}
	if _, err := judge(strings.NewReader(",baseline,,now,,,\n"), 0.15); err == nil {
		t.Error("nothing was compared, and that is no error")
	}
	if _, err := judge(strings.NewReader(strings.Replace(compared, "+40.00%", "?", 1)), 0.15); err == nil {
		t.Error("what benchstat does not know passes")
	}
}

func TestMissing(t *testing.T) {
	before := "BenchmarkA/b 1 1.0 caddys/op\nBenchmarkC 1 1.0 caddys/op\n"
	if got := missing([]byte(before), []byte("BenchmarkC 1 2.0 caddys/op\n")); !slices.Equal(got, []string{"BenchmarkA/b is in the baseline and was not measured"}) {
		t.Errorf("%q", got)
	}
}

func TestInYardsticks(t *testing.T) {
	var out bytes.Buffer
	err := inYardsticks(`goos: linux
BenchmarkHotPath/layers-2    	  100	      2000 ns/op	     900 B/op	       5 allocs/op
BenchmarkHotPath/layers-2    	  100	      1500 ns/op	     900 B/op	       5 allocs/op
BenchmarkYardstick-2         	  100	      1000 ns/op	     900 B/op	       3 allocs/op
BenchmarkYardstick-2         	  100	       500 ns/op	     900 B/op	       3 allocs/op
PASS
`, &out)
	if want := "BenchmarkHotPath/layers 1 3.0000 yardsticks/op 5 allocs/op\n"; err != nil || out.String() != want {
		t.Errorf("%q, %v", out.String(), err)
	}
	if err := inYardsticks("BenchmarkHotPath/layers-2 100 1500 ns/op 900 B/op 5 allocs/op\n", &out); err == nil {
		t.Error("no yardstick, and no error")
	}
}

func TestInCaddys(t *testing.T) {
	var turns []results.Turn
	for _, name := range cells {
		cell := strings.Split(name, "/")
		for round := range 2 {
			for proxy, cpu := range map[string]float64{"caddy": 2, "freshbearer": 1} {
				turns = append(turns, results.Turn{
					Proxy: proxy, Cell: results.Cell{Upstream: cell[0], Request: cell[1], Concurrency: 16}, Round: round, Requests: 1000, CPUSeconds: cpu,
				})
			}
		}
	}
	var out bytes.Buffer
	if err := inCaddys(turns, &out); err != nil {
		t.Fatal(err)
	}
	for _, name := range cells {
		if n := strings.Count(out.String(), "BenchmarkProxy/"+name+" 1 0.5000 caddys/op\n"); n != 2 {
			t.Errorf("%d lines of %s in %q", n, name, out.String())
		}
	}
	if err := inCaddys(turns[:2], &out); err == nil {
		t.Error("cells are missing, and that is no error")
	}
}
