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

package reliability_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// sample is the memory of a process at a time, in MiB.
type sample struct {
	at       time.Duration
	rss      float64
	anon     float64 // without the files that Badger maps
	goal     float64 // the heap at which Go collects next: about twice what is alive
	descr    int
	requests int64
}

// TestSoak keeps 200 connections busy whose tokens live five seconds, and
// watches the process's memory. What it grows to in the first third is warm-up.
func TestSoak(t *testing.T) {
	length := *soak
	if length == 0 && *long {
		length = time.Hour
	}
	if length == 0 {
		t.Skip("a soak takes long: use -soak 1h or -long")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("the memory of a process is read from /proc")
	}
	gate(t)
	s := newSystem(t, intuittest.Behaviour{AccessTokenTTL: 5 * time.Second, Rotation: intuittest.RotateAlways, RevokeFamily: true})
	s.Admin = freeAddress(t)
	at := s.Sites[0]
	s.spawn()
	s.up()
	realms := s.connectAll(at, 200)
	l := s.busy(at, realms, time.Second)
	began := time.Now()
	var samples []sample
	every := min(10*time.Second, length/20)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for time.Since(began) < length {
		<-tick.C
		now, err := memory(s.proc.cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if now.goal, err = s.heapGoal(); err != nil {
			t.Fatal(err)
		}
		now.at, now.requests = time.Since(began), l.served.Load()
		samples = append(samples, now)
		if len(samples)%30 == 0 {
			t.Logf("%s: RSS %.1f MiB, %.1f of them anonymous, heap goal %.1f MiB, %d descriptors, %d requests served, %d refreshes",
				now.at.Round(time.Second), now.rss, now.anon, now.goal, now.descr, now.requests, at.Intuit.Counters().Refreshes)
		}
		l.mu.Lock()
		l.took = l.took[max(0, len(l.took)-100000):] // the newest will do
		l.mu.Unlock()
	}
	l.stop()
	nothingLost(t, s, l)
	if n := l.severed.Load(); n > 0 {
		t.Errorf("%d connections broke", n)
	}
	steady := samples[len(samples)/3:]
	t.Logf("%s: %d requests served, %s; %d refreshes; after the first third RSS went from %.1f to %.1f MiB, %+.2f MiB/h; anonymous from %.1f to %.1f MiB, %+.2f MiB/h; heap goal %+.2f MiB/h",
		time.Since(began).Round(time.Second), l.served.Load(), l.percentiles(), at.Intuit.Counters().Refreshes,
		steady[0].rss, steady[len(steady)-1].rss, slope(steady, func(s sample) float64 { return s.rss }),
		steady[0].anon, steady[len(steady)-1].anon, slope(steady, func(s sample) float64 { return s.anon }),
		slope(steady, func(s sample) float64 { return s.goal }))
}

// heapGoal reads from the process's own metrics what tells growth of what is
// alive from pages that the runtime has not given back yet, in MiB.
func (s *system) heapGoal() (float64, error) {
	resp, err := s.client.Get("http://" + s.Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "go_memstats_next_gc_bytes "); ok {
			goal, err := strconv.ParseFloat(value, 64)
			return goal / (1 << 20), err
		}
	}
	return 0, errors.New("no go_memstats_next_gc_bytes among the metrics")
}

// memory reads what the kernel says of a process.
func memory(pid int) (sample, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return sample{}, err
	}
	var s sample
	for line := range bytes.Lines(status) {
		name, value, _ := strings.Cut(string(line), ":")
		var into *float64
		switch name {
		case "VmRSS":
			into = &s.rss
		case "RssAnon":
			into = &s.anon
		default:
			continue
		}
		kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		if err != nil {
			return s, fmt.Errorf("reading %q: %w", line, err)
		}
		*into = kib / 1024
	}
	descriptors, err := os.ReadDir(dir + "/fd")
	s.descr = len(descriptors)
	return s, err
}

// slope is that of the line with the least squares, an hour.
func slope(samples []sample, value func(sample) float64) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, s := range samples {
		x, y := s.at.Hours(), value(s)
		n++
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	if d := n*sumXX - sumX*sumX; d != 0 {
		return (n*sumXY - sumX*sumY) / d
	}
	return 0
}
