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
)

// figures are the medians of a proxy's turns in a cell.
type figures struct {
	// PerCore is how many requests a second of the proxy's CPU serves; Rate is
	// how many were served in a second of the wall clock.
	PerCore, Rate, P50, P99, RSS float64
	// Low and High are the least and the most of PerCore.
	Low, High float64
	// Errors is how many requests were not answered, in all turns.
	Errors int
	turns  int
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// summary has the figures of every proxy in every cell.
func summary(results []result) map[cell]map[string]figures {
	turns := make(map[cell]map[string][]result)
	for _, r := range results {
		if turns[r.cell] == nil {
			turns[r.cell] = make(map[string][]result)
		}
		turns[r.cell][r.Proxy] = append(turns[r.cell][r.Proxy], r)
	}
	all := make(map[cell]map[string]figures)
	for c, proxies := range turns {
		all[c] = make(map[string]figures)
		for name, of := range proxies {
			each := func(f func(result) float64) []float64 {
				var values []float64
				for _, r := range of {
					values = append(values, f(r))
				}
				return values
			}
			perCore := each(func(r result) float64 { return float64(r.Requests) / max(r.CPUSeconds, 1.0/ticks) })
			errs := 0
			for _, r := range of {
				errs += r.Errors
			}
			all[c][name] = figures{
				Errors:  errs,
				PerCore: median(perCore), Low: slices.Min(perCore), High: slices.Max(perCore),
				Rate: median(each(func(r result) float64 { return float64(r.Requests) / r.Seconds })),
				P50:  median(each(func(r result) float64 { return r.P50 })),
				P99:  median(each(func(r result) float64 { return r.P99 })),
				RSS:  median(each(func(r result) float64 { return float64(r.RSS) })) / 1024, turns: len(of),
			}
		}
	}
	return all
}

// report prints the medians, and their ratios to plain Caddy.
func report(w io.Writer, results []result) {
	all := summary(results)
	reference := kinds[0].name
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "cell\tproxy\tturns\treq/CPU s\tratio\tleast–most\treq/s\tratio\tCPU ms per 1,000\tp50 ms\tp99 ms\tratio\tRSS MiB\terrors\n")
	for _, c := range allCells() {
		base, based := all[c][reference]
		for _, name := range proxyNames() {
			f, ok := all[c][name]
			if !ok {
				continue
			}
			ratio := func(value, base float64) string {
				if !based {
					return "–"
				}
				return fmt.Sprintf("%.2f", value/base)
			}
			fmt.Fprintf(table, "%v\t%s\t%d\t%.0f\t%s\t%.0f–%.0f\t%.0f\t%s\t%.0f\t%.2f\t%.2f\t%s\t%.0f\t%d\n", c, name, f.turns,
				f.PerCore, ratio(f.PerCore, base.PerCore), f.Low, f.High, f.Rate, ratio(f.Rate, base.Rate), 1e6/f.PerCore,
				f.P50/1000, f.P99/1000, ratio(f.P99, base.P99), f.RSS, f.Errors)
		}
	}
	_ = table.Flush()
}
