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

package caddytest_test

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Strangers cost no look into the store and no request to Intuit, however many
// they are.
func TestStrangersCostNothing(t *testing.T) {
	resetCounted()
	s := start(t, func(s *system) { s.Store = "counted" })
	s.connect(realmOne)
	s.Intuit.RevokeAccess(realmOne)
	s.Intuit.ResetCounters()
	c := client(t)
	// The first one is told to the audit log at once.
	mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, "Authorization: Bearer wrong")
	atRest()
	reads, writes := counted.reads.Load(), counted.writes.Load()
	const each, workers = 1250, 8
	var wrong atomic.Int64
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range each {
				a, err := do(c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, fmt.Sprintf("Authorization: Bearer %d-%d", w, i))
				if err != nil || a.Status != http.StatusUnauthorized {
					wrong.Add(1)
				}
			}
		})
	}
	group.Wait()
	if n := wrong.Load(); n != 0 {
		t.Errorf("%d of %d were not refused", n, each*workers)
	}
	if r, w := counted.reads.Load()-reads, counted.writes.Load()-writes; r != 0 || w != 0 {
		t.Errorf("%d reads and %d writes", r, w)
	}
	if n := s.Intuit.Counters().APIRequests + len(s.Intuit.TokenRequests()); n != 0 {
		t.Errorf("%d requests went to Intuit", n)
	}
}

// Callers that promise long bodies and send a little take little memory, even
// those that may be here.
func TestSlowBodies(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.Intuit.ResetCounters()
	const n, sent = 1000, 4 << 10
	head := "POST /v3/company/" + realmOne + "/customer HTTP/1.1\r\nHost: " + strings.TrimPrefix(s.Proxy, "http://") + "\r\n" + s.bearer() +
		"\r\nContent-Type: application/json\r\n"
	for framing, length := range map[string]string{
		"length": "Content-Length: 1048576\r\n\r\n" + strings.Repeat(" ", sent),
		"chunks": "Transfer-Encoding: chunked\r\n\r\n100000\r\n" + strings.Repeat(" ", sent),
	} {
		before := inUse()
		conns := make([]net.Conn, n)
		for i := range conns {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.Proxy, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			conns[i] = conn
			if _, err := conn.Write([]byte(head + length)); err != nil {
				t.Fatal(err)
			}
		}
		// All are being read: one goroutine of Caddy's each stands in a read.
		if err := eventually(20*time.Second, func() error {
			if got := standing("readBody"); got < n {
				return fmt.Errorf("%d of %d bodies are being read", got, n)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		took := inUse() - before
		t.Logf("%s: %d bodies take %.1f MiB", framing, n, float64(took)/(1<<20))
		if took > 192<<20 {
			t.Errorf("%s: %d bodies take %d MiB", framing, n, took>>20)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
		if err := eventually(20*time.Second, func() error {
			if got := standing("readBody"); got > 0 {
				return fmt.Errorf("%d bodies are still being read", got)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if n := s.Intuit.Counters().APIRequests; n != 0 {
		t.Errorf("%d requests went up", n)
	}
}

// inUse is the memory that is in use, or would be without the collector.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// standing counts the goroutines with a function of that name in their stack.
func standing(function string) int {
	stacks := make([]byte, 64<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), "."+function+"(")
}
