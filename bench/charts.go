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
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/freshbearer/freshbearer/bench/results"
)

//go:embed chart.svg.tmpl
var chartText string

var chartTemplate = template.Must(template.New("chart").Parse(chartText))

// The measures of a chart, in pixels.
const (
	chartWidth  = 760
	chartHead   = 60
	panelHead   = 26
	panelGap    = 22
	barHeight   = 16
	rowHeight   = 22
	labelWidth  = 150
	valueWidth  = 90
	noteHeight  = 16
	chartMargin = 16
	noteSize    = 118 // how many characters of a note fit
)

type chart struct {
	Width, Height                int
	Title, Subtitle, Description string
	Panels                       []panel
	Notes                        []note
}

type panel struct {
	Title            string
	X, Y             int
	One, Top, Bottom int // the line at 1, 0 for none
	line             bool
	Bars             []bar
}

type bar struct {
	Label, Value, Class, LabelClass string
	X, Y, Width, Height             int
	LabelX, ValueX, TextY           int
	ratio                           float64
}

type note struct {
	Y    int
	Text string
}

// upstreamNames and requestNames are for people.
var (
	upstreamNames = map[string]string{"plain": "plain HTTP", "tls1": "TLS, HTTP/1.1", "tls2": "TLS, HTTP/2"}
	requestNames  = map[string]string{"get": "GET 2 KiB", "post": "POST 4 KiB", "download": "download 1 MiB"}
	proxyLabels   = map[string]string{"caddy": "plain Caddy", "httputil": "Go httputil", "haproxy": "HAProxy"}
)

func proxyLabel(name string) string {
	if label, ok := proxyLabels[name]; ok {
		return label
	}
	return name
}

// drawCharts draws the results into a directory.
func drawCharts(dir string, turns []results.Turn, about results.About) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const higher, lower = "longer is better", "shorter is better"
	for name, c := range map[string]*chart{
		"throughput.svg": proxiesChart(turns, "Requests for each second of the proxy’s CPU",
			"GET of 2 KiB, 16 connections; plain Caddy is 1; "+higher, results.Turn.PerCPU, false),
		"latency.svg": proxiesChart(turns, "99 % of the answers come within",
			"GET of 2 KiB, 16 connections; plain Caddy is 1; "+lower, results.Turn.Tail, true),
		"cells.svg": cellsChart(turns),
	} {
		if c == nil {
			continue // nothing of it was measured
		}
		c.notes(about, turns)
		var text bytes.Buffer
		if err := chartTemplate.Execute(&text, c); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// proxiesChart compares all proxies, a panel for each way to speak to the API,
// with the best one first.
func proxiesChart(turns []results.Turn, title, subtitle string, figure func(results.Turn) float64, milliseconds bool) *chart {
	c := &chart{Width: chartWidth, Height: chartHead, Title: title, Subtitle: subtitle}
	most := 0.0
	for _, upstream := range upstreams {
		cell := results.Cell{Upstream: upstream, Request: "get", Concurrency: 16}
		var bars []bar
		for _, name := range proxyNames() {
			ratio := results.Ratio(turns, name, kinds[0].name, cell, figure)
			if ratio == 0 {
				continue
			}
			b := bar{Label: proxyLabel(name), Value: fmt.Sprintf("%.2f", ratio), Class: classOf(name), LabelClass: classOf(name), ratio: ratio}
			if milliseconds {
				b.Value += fmt.Sprintf("  (%.1f ms)", results.Median(results.Of(turns, name, cell), figure)/1000)
			}
			bars, most = append(bars, b), max(most, ratio)
		}
		if len(bars) == 0 {
			continue
		}
		slices.SortStableFunc(bars, func(a, b bar) int {
			if (a.ratio < b.ratio) == milliseconds {
				return -1
			}
			return 1
		})
		c.Panels = append(c.Panels, panel{Title: "API over " + upstreamNames[upstream], Bars: bars})
	}
	if len(c.Panels) == 0 {
		return nil
	}
	for i := range c.Panels {
		c.Height = c.Panels[i].place(chartMargin, c.Height, chartWidth-2*chartMargin, labelWidth, most) + panelGap
	}
	c.describe()
	return c
}

func classOf(name string) string {
	switch name {
	case ours:
		return "ours"
	case kinds[0].name:
		return "reference"
	}
	return ""
}

// cellsChart compares freshbearer with plain Caddy in all cells: requests on
// the left, and times on the right.
func cellsChart(turns []results.Turn) *chart {
	c := &chart{
		Width: chartWidth, Height: chartHead, Title: "freshbearer against plain Caddy, in every cell",
		Subtitle: "Plain Caddy is 1, the dashed line. Left: requests for each second of CPU, longer is better. Right: p99, shorter is better.",
	}
	type pair struct{ left, right panel }
	var pairs []pair
	var mostLeft, mostRight float64
	for _, upstream := range upstreams {
		p := pair{panel{Title: "API over " + upstreamNames[upstream] + ": requests", line: true}, panel{Title: "p99", line: true}}
		for _, cell := range measuredCells(turns) {
			requests := results.Ratio(turns, ours, kinds[0].name, cell, results.Turn.PerCPU)
			tail := results.Ratio(turns, ours, kinds[0].name, cell, results.Turn.Tail)
			if cell.Upstream != upstream || requests == 0 || tail == 0 {
				continue
			}
			label := fmt.Sprintf("%s, c=%d", requestNames[cell.Request], cell.Concurrency)
			p.left.Bars = append(p.left.Bars, bar{Label: label, Value: fmt.Sprintf("%.2f", requests), Class: "ours", ratio: requests})
			p.right.Bars = append(p.right.Bars, bar{Value: fmt.Sprintf("%.2f", tail), Class: "ours", ratio: tail})
			mostLeft, mostRight = max(mostLeft, requests), max(mostRight, tail)
		}
		if len(p.left.Bars) > 0 {
			pairs = append(pairs, p)
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	const rightWidth = 250
	for _, p := range pairs {
		p.left.place(chartMargin, c.Height, chartWidth-3*chartMargin-rightWidth, labelWidth, mostLeft)
		c.Height = p.right.place(chartWidth-chartMargin-rightWidth, c.Height, rightWidth, 0, mostRight) + panelGap
		c.Panels = append(c.Panels, p.left, p.right)
	}
	c.describe()
	return c
}

// place computes where everything is, and returns where the panel ends. most is
// what the longest bar stands for.
func (p *panel) place(x, y, width, labels int, most float64) int {
	most = max(most, 1)
	from, room := x+labels, width-labels-valueWidth
	at := func(ratio float64) int { return from + max(1, int(ratio/most*float64(room))) }
	p.X, p.Y, p.Top = x, y+14, y+panelHead-4
	if p.line {
		p.One = at(1)
	}
	y += panelHead
	for i := range p.Bars {
		b := &p.Bars[i]
		b.X, b.Y, b.Width, b.Height = from, y, at(b.ratio)-from, barHeight
		b.LabelX, b.ValueX, b.TextY = from-8, at(b.ratio)+6, y+barHeight-3
		y += rowHeight
	}
	p.Bottom = y - 2
	return y
}

// describe says in words what the bars say.
func (c *chart) describe() {
	var text strings.Builder
	fmt.Fprintf(&text, "%s.", c.Subtitle)
	for _, p := range c.Panels {
		fmt.Fprintf(&text, " %s:", p.Title)
		for i, b := range p.Bars {
			if i > 0 {
				text.WriteByte(',')
			}
			fmt.Fprintf(&text, " %s", strings.TrimSpace(b.Label+" "+b.Value))
		}
		text.WriteByte('.')
	}
	c.Description = text.String()
}

// notes writes the command, and the machine, under the chart.
func (c *chart) notes(about results.About, turns []results.Turn) {
	rounds := make(map[int]bool)
	for _, t := range turns {
		rounds[t.Round] = true
	}
	for _, text := range []string{
		fmt.Sprintf("Medians of %d interleaved rounds, compared within each round. The proxy has one core, the load and the API another one.", len(rounds)),
		fmt.Sprintf("%s. %s, Linux %s, %s.", about.Date, about.Machine, about.Versions["kernel"], about.Versions["go"]),
		strings.Join(about.Command, " "),
	} {
		if cut := []rune(text); len(cut) > noteSize {
			text = string(cut[:noteSize-1]) + "…"
		}
		c.Notes = append(c.Notes, note{c.Height, text})
		c.Height += noteHeight
	}
	c.Height += chartMargin - noteHeight/2
}
