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
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/freshbearer/freshbearer/bench/results"
)

// ours is the proxy that all this is about.
const ours = "freshbearer"

// measuredCells returns the cells that there are turns of.
func measuredCells(turns []results.Turn) []results.Cell {
	return slices.DeleteFunc(allCells(), func(c results.Cell) bool {
		return !slices.ContainsFunc(turns, func(t results.Turn) bool { return t.Cell == c })
	})
}

// number writes a figure that may be missing.
func number(format string, value float64) string {
	if value == 0 {
		return "–"
	}
	return fmt.Sprintf(format, value)
}

// report prints the medians, and how they compare with plain Caddy's.
func report(w io.Writer, turns []results.Turn) {
	reference := kinds[0].name
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "cell\tproxy\tturns\treq/s\tratio\treq/CPU s\tratio\tleast–most\tCPU s per 1,000\tp50 ms\tp99 ms\tratio\tRSS MiB\tcore busy\terrors\tdisturbed\n")
	idle := false
	for _, c := range measuredCells(turns) {
		for _, name := range proxyNames() {
			of := results.Of(turns, name, c)
			if len(of) == 0 {
				continue
			}
			errors, disturbed := 0, 0
			for _, t := range of {
				errors += t.Errors + t.Refused
				if t.Disturbed() {
					disturbed++
				}
			}
			ratios := results.Ratios(turns, name, reference, c, results.Turn.PerCPU)
			spread := "–"
			if len(ratios) > 0 {
				spread = fmt.Sprintf("%.2f–%.2f", slices.Min(ratios), slices.Max(ratios))
			}
			busy := fmt.Sprintf("%.0f %%", 100*results.Median(of, func(t results.Turn) float64 { return t.Busy }))
			if !saturated(of) {
				busy, idle = busy+" *", true
			}
			perCPU := results.Median(of, results.Turn.PerCPU)
			fmt.Fprintf(table, "%v\t%s\t%d\t%.0f\t%s\t%.0f\t%s\t%s\t%s\t%.2f\t%.2f\t%s\t%.0f\t%s\t%d\t%d\n", c, name, len(of),
				results.Median(of, results.Turn.Rate), number("%.2f", results.Ratio(turns, name, reference, c, results.Turn.Rate)),
				perCPU, number("%.2f", results.Ratio(turns, name, reference, c, results.Turn.PerCPU)), spread, number("%.3f", results.Median(of, results.Turn.CPUPerThousand)),
				results.Median(of, func(t results.Turn) float64 { return t.P50 })/1000, results.Median(of, results.Turn.Tail)/1000,
				number("%.2f", results.Ratio(turns, name, reference, c, results.Turn.Tail)),
				results.Median(of, func(t results.Turn) float64 { return float64(t.RSS) })/1024, busy, errors, disturbed)
		}
	}
	_ = table.Flush()
	if idle {
		fmt.Fprintln(w, "* The proxy's core was not what bounded the requests a second; there, compare the requests of a second of CPU.")
	}
	against(w, turns)
	disturbance(w, turns)
}

// saturated tells whether the proxy's core bounded most of the turns.
func saturated(turns []results.Turn) bool {
	n := 0
	for _, t := range turns {
		if t.Saturated() {
			n++
		}
	}
	return 2*n > len(turns)
}

// against prints how freshbearer compares with each of the others.
func against(w io.Writer, turns []results.Turn) {
	var others []string
	for _, name := range proxyNames() {
		if name != ours && slices.ContainsFunc(turns, func(t results.Turn) bool { return t.Proxy == name }) {
			others = append(others, name)
		}
	}
	if !slices.ContainsFunc(turns, func(t results.Turn) bool { return t.Proxy == ours }) || len(others) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s against each of the others: requests/s, requests/s of CPU, p99\n", ours)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "cell")
	for _, name := range others {
		fmt.Fprintf(table, "\t%s\t\t", name)
	}
	fmt.Fprintln(table)
	for _, c := range measuredCells(turns) {
		fmt.Fprint(table, c)
		for _, name := range others {
			for _, figure := range []func(results.Turn) float64{results.Turn.Rate, results.Turn.PerCPU, results.Turn.Tail} {
				fmt.Fprintf(table, "\t%s", number("%.2f", results.Ratio(turns, ours, name, c, figure)))
			}
		}
		fmt.Fprintln(table)
	}
	_ = table.Flush()
}

// disturbance says how much other work there was.
func disturbance(w io.Writer, turns []results.Turn) {
	disturbed, most := 0, 0.0
	for _, t := range turns {
		if t.Disturbed() {
			disturbed++
		}
		most = max(most, t.Others, t.LoadOthers, t.Steal)
	}
	fmt.Fprintf(w, "\n%d of %d turns were disturbed by other work on the machine, which had at most %.0f %% of a core.\n", disturbed, len(turns), 100*most)
	if 10*disturbed > len(turns) {
		fmt.Fprintln(w, "That is too much to publish them: measure again on a quiet machine.")
	}
}
