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
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// script is what wrk sends: a request for a company of a thousand, and, at the
// end, what came of all of them.
const script = `
local method, body, path = %q, %q, %q
wrk.headers["Authorization"] = "Bearer %s"
wrk.headers["Accept"] = "application/json"
if body ~= "" then
	wrk.headers["Content-Type"] = "application/json"
	body = string.rep("x", 4096)
else
	body = nil
end
math.randomseed(os.time())
function request()
	local company = string.format("%%d", 123140000000000 + math.random(0, %d))
	return wrk.format(method, "/v3/company/" .. company .. string.gsub(path, "COMPANY", company), nil, body)
end
function done(summary, latency)
	local e = summary.errors
	io.write(string.format('RESULT {"requests":%%d,"errors":%%d,"refused":%%d,"seconds":%%f,"p50_us":%%f,"p99_us":%%f}\n', summary.requests,
		e.connect + e.read + e.write + e.timeout, e.status, summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
`

// asked are the requests of the cells.
var asked = map[string]struct{ method, body, path string }{
	"get":      {"GET", "", "/companyinfo/COMPANY?minorversion=75"},
	"post":     {"POST", "4 KiB", "/invoice?minorversion=75"},
	"download": {"GET", "", "/invoice/1/pdf"},
}

// writeScripts writes a script for each kind of request.
func writeScripts(dir, key string) error {
	for name, a := range asked {
		text := fmt.Sprintf(script, a.method, a.body, a.path, key, companies-1)
		if err := os.WriteFile(filepath.Join(dir, name+".lua"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// measure puts the load of a cell on a proxy: a short one that is not counted,
// and the one that is.
func (s *setup) measure(ctx context.Context, p *proxy, c cell, round int, duration time.Duration) (result, error) {
	r := result{Proxy: p.name, cell: c, Round: round}
	if _, err := s.load(ctx, p, c, duration/4, &r); err != nil {
		return r, err
	}
	cpu, err := s.load(ctx, p, c, duration, &r)
	r.CPUSeconds = cpu
	if err != nil {
		return r, err
	}
	if r.Refused > 0 {
		return r, fmt.Errorf("%d of %d requests were refused", r.Refused, r.Requests)
	}
	r.RSS, err = rss(p.pid())
	return r, err
}

// load returns the seconds of CPU that a load took the proxy.
func (s *setup) load(ctx context.Context, p *proxy, c cell, duration time.Duration, r *result) (float64, error) {
	before, err := cpuSeconds(p.pid())
	if err != nil {
		return 0, err
	}
	// wrk counts whole seconds.
	seconds := strconv.Itoa(max(1, int(duration.Round(time.Second).Seconds())))
	cmd := exec.CommandContext(ctx, "taskset", "-c", loadCore, "wrk", "-t1", "-c"+strconv.Itoa(c.Concurrency), "-d"+seconds+"s",
		"-s", filepath.Join(s.dir, c.Request+".lua"), "http://"+p.address)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("running wrk: %w", err)
	}
	_, line, ok := bytes.Cut(out, []byte("RESULT "))
	if !ok {
		return 0, fmt.Errorf("wrk printed no result: %s", out)
	}
	if err := json.Unmarshal(bytes.TrimSpace(line), r); err != nil {
		return 0, err
	}
	after, err := cpuSeconds(p.pid())
	return after - before, err
}

// ticks is how many of the kernel's ticks are a second: USER_HZ, which is 100 on
// everything that Linux runs on.
const ticks = 100

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
