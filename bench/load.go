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
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/freshbearer/freshbearer/bench/results"
)

// script is what wrk sends: requests for a thousand companies, one after the
// other, which are made beforehand, and, at the end, what came of all of them.
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
local requests, at, n = {}, 0, %d
function init()
	for i = 1, n do
		local company = string.format("%%d", 123140000000000 + i - 1)
		requests[i] = wrk.format(method, "/v3/company/" .. company .. string.gsub(path, "COMPANY", company), nil, body)
	end
end
function request()
	at = at %% n + 1
	return requests[at]
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
		text := fmt.Sprintf(script, a.method, a.body, a.path, key, companies)
		if err := os.WriteFile(filepath.Join(dir, name+".lua"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

const (
	// warmUp is which part of a turn is spent before it, uncounted.
	warmUp = 4
	// turnOverhead is about what starting and ending wrk twice takes.
	turnOverhead = 150 * time.Millisecond
	// loadLimit is how much longer than asked for wrk may take.
	loadLimit = 15 * time.Second
)

// visit asks for every company once: what a proxy does when it first sees one
// is not measured.
func (s *setup) visit(ctx context.Context, p *proxy) error {
	numbers, failures := make(chan int), make(chan error, companies)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := range numbers {
				failures <- s.ask(ctx, p, i)
			}
		})
	}
	for i := range companies {
		numbers <- i
	}
	close(numbers)
	group.Wait()
	close(failures)
	var errs error
	for err := range failures {
		if errs == nil {
			errs = err
		}
	}
	return errs
}

func (s *setup) ask(ctx context.Context, p *proxy, company int) error {
	url := fmt.Sprintf("http://%s/v3/company/%d/companyinfo/1", p.address, 123140000000000+company)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+s.key)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if n, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != http.StatusOK || n < 2000 {
		return errors.Join(fmt.Errorf("the answer is %s with %d bytes", response.Status, n), err)
	}
	return nil
}

// measure puts the load of a cell on a proxy: a short one that is not counted,
// and the one that is.
func (s *setup) measure(ctx context.Context, p *proxy, c results.Cell, round int, duration time.Duration) (results.Turn, error) {
	t := results.Turn{Proxy: p.name, Cell: c, Round: round}
	if err := s.load(ctx, p, duration/warmUp, &t); err != nil {
		return t, err
	}
	if err := s.load(ctx, p, duration, &t); err != nil {
		return t, err
	}
	var err error
	t.RSS, err = rss(p.pid())
	return t, err
}

// load puts a load on a proxy, and notes what came of it and what it took.
func (s *setup) load(ctx context.Context, p *proxy, duration time.Duration, t *results.Turn) error {
	ctx, cancel := context.WithTimeout(ctx, duration+loadLimit)
	defer cancel()
	before, err := s.usage(p)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	// wrk counts whole seconds, and ends early when it is interrupted.
	cmd := exec.CommandContext(ctx, "taskset", "-c", loadCore, "wrk", "-t1", "-c"+strconv.Itoa(t.Concurrency), "-d"+strconv.Itoa(int(duration.Seconds())+2)+"s",
		"-s", filepath.Join(s.dir, t.Request+".lua"), "http://"+p.address)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("running wrk: %w", err)
	}
	go interrupt(ctx, cmd.Process, duration)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("running wrk: %w", err)
	}
	after, err := s.usage(p)
	if err != nil {
		return err
	}
	after.since(before, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime(), t)
	_, line, ok := bytes.Cut(out.Bytes(), []byte("RESULT "))
	if !ok {
		return fmt.Errorf("wrk printed no result: %s", out.Bytes())
	}
	return json.Unmarshal(bytes.TrimSpace(line), t)
}

// interrupt interrupts wrk after a time, which begins when it is ready to be.
func interrupt(ctx context.Context, wrk *os.Process, after time.Duration) {
	for ; !interruptible(wrk.Pid); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			return
		}
	}
	select {
	case <-time.After(after):
		_ = wrk.Signal(os.Interrupt)
	case <-ctx.Done():
	}
}

// interruptible tells whether a process catches SIGINT: proc_pid_status(5).
func interruptible(pid int) bool {
	caught, err := strconv.ParseUint(field(fmt.Sprintf("/proc/%d/status", pid), "SigCgt"), 16, 64)
	return err == nil && caught&(1<<(syscall.SIGINT-1)) != 0
}
