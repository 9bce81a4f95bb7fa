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
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/bench/results"
)

// ticks is how many of the kernel's ticks are a second: USER_HZ, which is 100 on
// everything that Linux runs on.
const ticks = 100

// usage is what was used of the cores until a moment, in seconds.
type usage struct {
	at time.Time
	// proxy and api are those of the processes.
	proxy, api      float64
	proxyCore, load coreTimes
}

// coreTimes are the times of a core. What the kernel does for interrupts, which
// on loopback is the network, is in none of the processes.
type coreTimes struct{ processes, idle, steal float64 }

// usage returns what was used until now.
func (s *setup) usage(p *proxy) (u usage, err error) {
	u.at = time.Now()
	if u.proxy, err = cpuSeconds(p.pid()); err != nil {
		return u, err
	}
	if u.api, err = cpuSeconds(s.apiProcess.Process.Pid); err != nil {
		return u, err
	}
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, err
	}
	if u.proxyCore, err = timesOf(data, proxyCore); err != nil {
		return u, err
	}
	u.load, err = timesOf(data, loadCore)
	return u, err
}

// since notes what was used since before; wrk is what the load itself took.
func (u usage) since(before usage, wrk time.Duration, t *results.Turn) {
	wall := u.at.Sub(before.at).Seconds()
	t.CPUSeconds = u.proxy - before.proxy
	share := func(seconds float64) float64 { return float64(int(1000*min(max(seconds/wall, 0), 1))) / 1000 }
	t.Busy = share(wall - (u.proxyCore.idle - before.proxyCore.idle))
	t.LoadBusy = share(wall - (u.load.idle - before.load.idle))
	t.Others = share(u.proxyCore.processes - before.proxyCore.processes - t.CPUSeconds)
	t.LoadOthers = share(u.load.processes - before.load.processes - (u.api - before.api) - wrk.Seconds())
	t.Steal = share(max(u.proxyCore.steal-before.proxyCore.steal, u.load.steal-before.load.steal))
}

// timesOf reads the times of a core: proc_stat(5).
func timesOf(stat []byte, core string) (c coreTimes, err error) {
	for line := range bytes.Lines(stat) {
		fields := strings.Fields(string(line))
		if len(fields) < 9 || fields[0] != "cpu"+core {
			continue
		}
		var v [8]float64
		for i := range v {
			if v[i], err = strconv.ParseFloat(fields[i+1], 64); err != nil {
				return c, err
			}
			v[i] /= ticks
		}
		// user, nice, system, idle, iowait, irq, softirq, steal
		return coreTimes{processes: v[0] + v[1] + v[2], idle: v[3] + v[4], steal: v[7]}, nil
	}
	return c, fmt.Errorf("/proc/stat has no core %s", core)
}

// cpuSeconds is what a process has used of its core: proc_pid_stat(5).
func cpuSeconds(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold spaces.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return float64(user+system) / ticks, err
}

// rss is what a process holds of the memory, in KiB.
func rss(pid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}

// describe says what measures, and where.
func describe(ctx context.Context) results.About {
	about := results.About{
		Date:    time.Now().UTC().Format(time.DateOnly),
		Command: append([]string{"go", "run", "./bench"}, os.Args[1:]...),
		Machine: fmt.Sprintf("%d cores", runtime.NumCPU()),
		Versions: map[string]string{
			"go": runtime.Version(), "nginx": version(ctx, "nginx", "-v"), "haproxy": version(ctx, "haproxy", "-v"), "node": version(ctx, "node", "-v"),
			"kernel": version(ctx, "uname", "-r"), "commit": version(ctx, "git", "rev-parse", "--short", "HEAD"),
		},
	}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		about.Machine += ", " + model
	}
	if kib, err := strconv.Atoi(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB")); err == nil {
		about.Machine += fmt.Sprintf(", %.0f GiB", float64(kib)/(1<<20))
	}
	return about
}

// field returns the first value of a name in a file of lines "name: value".
func field(file, name string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// version is the first line of what a program says of itself, empty if it is
// not there.
func version(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}
