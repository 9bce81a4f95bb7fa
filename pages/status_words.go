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

// Package pages renders the pages that the proxy shows in a browser. They run
package pages

import (
	"html/template"
	"slices"
	"strconv"
	"strings"
	"time"
)

// statusWords are the functions of the templates.
var statusWords = template.FuncMap{
	"style":   func() template.CSS { return template.CSS(statusStyle) },
	"states":  func() []string { return states },
	"stateOf": stateOf,
	"count":   grouped,
	"when":    when,
	"gauge":   newGauge,
	"plot":    newPlot,
	"web":     isWeb,
	"row":     func(frame Frame, connection Connection) row { return row{frame, connection} },
	"minus":   func(a, b int) int { return a - b },
	"plus":    func(a, b int) int { return a + b },
}

// row is a connection with the frame that its links need.
type row struct {
	Frame
	Connection
}

// states are the words of the API, the worst first.
var states = []string{"needs_reauth", "suspect", "revoke_pending", "connected", "disconnected"}

// States returns the states that the pages know, the worst first.
func States() []string { return slices.Clone(states) }

// state is how a state is shown: by a word, a colour and a shape.
type state struct {
	Word, Label, Tone string
}

// stateOf returns how a state is shown. An unknown one speaks for itself.
func stateOf(word string) state {
	s := state{Word: word, Label: word, Tone: "quiet"}
	switch word {
	case "connected":
		s.Label, s.Tone = "connected", "good"
	case "suspect":
		s.Label, s.Tone = "suspect", "warning"
	case "needs_reauth":
		s.Label, s.Tone = "needs reconnect", "bad"
	case "revoke_pending":
		s.Label, s.Tone = "revocation pending", "warning"
	}
	if !slices.Contains(states, word) {
		s.Word = "disconnected" // which decides on the shape only
	}
	return s
}

// grouped writes a number with its thousands apart.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// moment is a time, as people, machines and those who want it exact read it.
type moment struct{ Text, Exact, ISO string }

const exactTime = "2006-01-02 15:04:05 UTC"

func when(now, t time.Time) moment {
	if t.IsZero() {
		return moment{Text: "–"}
	}
	m := moment{Exact: t.UTC().Format(exactTime), ISO: t.UTC().Format(time.RFC3339)}
	switch d := now.Sub(t); {
	case d < 0:
		m.Text = "in " + roughly(-d)
	case d < 10*time.Second:
		m.Text = "just now"
	default:
		m.Text = roughly(d) + " ago"
	}
	return m
}

// roughly tells how long something is, in one unit, rounded down: what has an
// hour left must not seem to have two.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	unit := func(n time.Duration, one, more string) string {
		if n == 1 {
			return "1 " + one
		}
		return strconv.Itoa(int(n)) + " " + more
	}
	switch {
	case d < time.Minute:
		return unit(d/time.Second, "s", "s")
	case d < time.Hour:
		return unit(d/time.Minute, "min", "min")
	case d < 2*day:
		return unit(d/time.Hour, "h", "h")
	case d < 2*365*day:
		return unit(d/day, "day", "days")
	}
	tenths := int(d / (365 * day / 10))
	return strconv.Itoa(tenths/10) + "." + strconv.Itoa(tenths%10) + " years"
}

// gauge is a bar that tells how much of a life is left.
type gauge struct {
	Label, Text, Tone string
	// Width is the share that is left, in percent.
	Width  int
	Moment moment
}

func newGauge(now time.Time, label string, s Span) gauge {
	g := gauge{Label: label, Text: "unknown", Tone: "quiet"}
	if s.Until.IsZero() {
		return g
	}
	g.Moment = when(now, s.Until)
	left := s.Until.Sub(now)
	if left <= 0 {
		g.Text, g.Tone = "ended", "bad"
		return g
	}
	g.Text, g.Tone, g.Width = roughly(left), "good", 100
	if left < s.Soon {
		g.Tone = "warning"
	}
	if left < s.Life {
		// What is not over yet can be seen.
		g.Width = max(1, int(100*left.Seconds()/s.Life.Seconds()))
	}
	return g
}

// plot is a chart of refreshes: those that worked above the axis, the others
// below it, so that it can be read without its colours.
type plot struct {
	Bars                       []bar
	Refreshed, Failed, Refused int
	// Last is the answer that came last: "refreshed", "failed", "refused", or
	// nothing.
	From, To string
	Width    int
	// High is what the full height above the axis means.
	High int
}

// bar is a step of the plot. All lengths are in pixels of its drawing.
type bar struct {
	X, Up, Y, Failed, Refused, RefusedY int
	Text                                string
}

// The drawing: barWidth and a gap of one for each step; plotUp above the axis
// and plotDown below it.
const (
	barWidth = 5
	plotUp   = 34
	plotDown = 14
)

func newPlot(a Activity) plot {
	p := plot{Width: len(a.Buckets) * (barWidth + 1)}
	low := 0
	for _, b := range a.Buckets {
		p.Refreshed, p.Failed, p.Refused = p.Refreshed+b.Refreshed, p.Failed+b.Failed, p.Refused+b.Refused
		p.High, low = max(p.High, b.Refreshed), max(low, b.Failed+b.Refused)
	}
	// A few failures must not look like as many as the many refreshes above.
	low = max(low, p.High/4, 1)
	from := a.Until.Add(-time.Duration(len(a.Buckets)) * a.Step)
	p.From, p.To = clock(from), clock(a.Until)
	for i, b := range a.Buckets {
		if b == (Bucket{}) {
			continue
		}
		start := from.Add(time.Duration(i) * a.Step)
		drawn := bar{
			X: i * (barWidth + 1), Up: height(b.Refreshed, p.High, plotUp),
			Failed: height(b.Failed, low, plotDown), Refused: height(b.Refused, low, plotDown),
			Text: clock(start) + "–" + clock(start.Add(a.Step)) + ": " + counts(b),
		}
		drawn.Y, drawn.RefusedY = plotUp-drawn.Up, plotUp+1+drawn.Failed
		p.Bars = append(p.Bars, drawn)
	}
	return p
}

// height is a share of the whole height. What happened once can be seen.
func height(n, most, whole int) int {
	if n == 0 {
		return 0
	}
	return max(2, n*whole/most)
}

func clock(t time.Time) string { return t.UTC().Format("15:04") }

func counts(b Bucket) string {
	var parts []string
	for _, part := range []struct {
		n    int
		word string
	}{{b.Refreshed, "refreshed"}, {b.Failed, "failed"}, {b.Refused, "refused"}} {
		if part.n > 0 {
			parts = append(parts, grouped(part.n)+" "+part.word)
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// Words says what the plot shows.
func (p plot) Words() string { return counts(Bucket{p.Refreshed, p.Failed, p.Refused}) }
