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

// Package results holds what bench measures, one turn of a proxy after the
// other, and compares the turns that belong together.
package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Cell is what is asked for, through every proxy.
type Cell struct {
	// Upstream is how the API is spoken to: plain, tls1 or tls2.
	Upstream string `json:"upstream"`
	// Request is get (2 KiB), post (4 KiB up) or download (1 MiB).
	Request     string `json:"request"`
	Concurrency int    `json:"concurrency"`
}

func (c Cell) String() string { return fmt.Sprintf("%s/%s/%d", c.Upstream, c.Request, c.Concurrency) }

// Turn is what one turn of a proxy came to.
type Turn struct {
	Proxy string `json:"proxy"`
	Cell
	Round int `json:"round"`
	// Requests were answered in Seconds and took the proxy CPUSeconds. Of Errors
	// no answer came, and Refused were answered by 400 or more. P50 and P99 are
	// in microseconds, RSS is in KiB.
	Requests   int     `json:"requests"`
	Errors     int     `json:"errors"`
	Refused    int     `json:"refused"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	RSS        int     `json:"rss_kib"`
	// Busy is the share of its time that the proxy's core was not idle, and
	// LoadBusy that of the load's.
	Busy     float64 `json:"busy"`
	LoadBusy float64 `json:"load_busy"`
	// Others and LoadOthers are the shares that other processes than the
	// measured ones had of them; Steal is what the hypervisor took of either.
	Others     float64 `json:"others"`
	LoadOthers float64 `json:"load_others"`
	Steal      float64 `json:"steal"`
}

const (
	// disturbedFrom is from which share of a core on other work has disturbed a
	// turn. The kernel counts in hundredths of a second.
	disturbedFrom = 0.05
	// busyFrom is from which share on a core counts as busy.
	busyFrom = 0.93
)

// Disturbed tells that other work on the machine took part.
func (t Turn) Disturbed() bool { return max(t.Others, t.LoadOthers, t.Steal) >= disturbedFrom }

// Saturated tells that the proxy's core was what bounded the requests. If it
// was not, requests a second are those of the load, or of latency.
func (t Turn) Saturated() bool { return t.Busy >= busyFrom }

// Rate is how many requests a second of the wall clock had.
func (t Turn) Rate() float64 { return float64(t.Requests) / t.Seconds }

// PerCPU is how many requests a second of the proxy's CPU had.
func (t Turn) PerCPU() float64 { return float64(t.Requests) / max(t.CPUSeconds, 0.01) }

// CPUPerThousand is what 1,000 requests took, in seconds of the proxy's CPU.
func (t Turn) CPUPerThousand() float64 { return t.CPUSeconds / max(float64(t.Requests), 1) * 1000 }

// Tail is the time that 99 % of the answers came within.
func (t Turn) Tail() float64 { return t.P99 }

// About says what measured, and where.
type About struct {
	Date    string   `json:"date"`
	Command []string `json:"command"`
	Machine string   `json:"machine"`
	// Versions are those of the programs.
	Versions map[string]string `json:"versions"`
}

// Line is one of a file of results: About a run, or a turn of it.
type Line struct {
	About *About `json:"about,omitempty"`
	*Turn
}

// Read reads a file of results. About is that of the last run in it.
func Read(file string) (turns []Turn, about About, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, about, err
	}
	defer f.Close()
	for decoder := json.NewDecoder(f); ; {
		var l Line
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return turns, about, nil
		} else if err != nil {
			return nil, about, fmt.Errorf("%s: %w", file, err)
		}
		if l.About != nil {
			about = *l.About
		} else if l.Turn != nil {
			turns = append(turns, *l.Turn)
		}
	}
}

// Of returns a proxy's turns in a cell.
func Of(turns []Turn, proxy string, c Cell) (of []Turn) {
	for _, t := range turns {
		if t.Proxy == proxy && t.Cell == c {
			of = append(of, t)
		}
	}
	return of
}

// Median returns the median of a figure of the turns, 0 if there are none.
func Median(turns []Turn, figure func(Turn) float64) float64 {
	var values []float64
	for _, t := range turns {
		values = append(values, figure(t))
	}
	return median(values)
}

// Ratios compares a proxy's turns in a cell with those that another one had in
// the same round, just before or after.
func Ratios(turns []Turn, proxy, reference string, c Cell, figure func(Turn) float64) (ratios []float64) {
	references := Of(turns, reference, c)
	for _, t := range Of(turns, proxy, c) {
		for _, r := range references {
			if r.Round == t.Round && figure(r) > 0 {
				ratios = append(ratios, figure(t)/figure(r))
			}
		}
	}
	return ratios
}

// Ratio is the median of Ratios, 0 if there are none.
func Ratio(turns []Turn, proxy, reference string, c Cell, figure func(Turn) float64) float64 {
	return median(Ratios(turns, proxy, reference, c, figure))
}

func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}
