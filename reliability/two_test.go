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
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// A second process on the same store ends at once and says why, and the first
// one does not notice. First with other addresses, as with a copied
// configuration; then with the same, as when somebody starts the service twice.
//
// Caddy lets processes share an address, so in the latter case a connection
// that is opened while the second process starts may meet that one. How those
// end is counted.
func TestTwoProcesses(t *testing.T) {
	gate(t)
	s := newSystem(t, strict())
	s.Admin = freeAddress(t)
	at := s.Sites[0]
	first := s.spawn()
	s.up()
	realms := s.connectAll(at, connections)
	l := s.busy(at, realms, pace)
	n := times(3, 20)
	apart := (n + 1) / 2
	var longest time.Duration
	for range apart {
		second, others := *s, *at
		second.Admin, others.Origin = freeAddress(t), "http://"+freeAddress(t)
		second.Sites = []*site{&others}
		longest = max(longest, second.refused(l))
	}
	if n := l.severed.Load(); n > 0 {
		t.Errorf("%d connections to the first process broke", n)
	}
	newcomers := s.newcomers(at, realms[0])
	for i := range n - apart {
		second := *s
		if i%2 == 0 {
			second.Admin = "off"
		}
		longest = max(longest, second.refused(l))
	}
	met := newcomers()
	// Some refreshes of every connection beside them.
	if err := l.reach(connections * int64(3*life/pace)); err != nil {
		t.Error(err)
	}
	select {
	case <-first.ended:
		t.Errorf("the first process has ended: %v", first.err)
	default:
	}
	s.serves(at, realms)
	l.stop()
	l.mu.Lock()
	l.failed = slices.DeleteFunc(l.failed, func(text string) bool {
		return strings.Contains(text, "storage_unavailable") // the second one's
	})
	l.mu.Unlock()
	nothingLost(t, s, l)
	t.Logf("%d second processes, the slowest ended after %s; %d requests served by the first, %s, %d connections dialled again; "+
		"new connections beside %d with the same address: %v",
		n, longest.Round(time.Millisecond), l.served.Load(), l.percentiles(), l.severed.Load(), n-apart, met)
}

// refused starts a process that must end by itself, and returns when it has.
func (s *system) refused(l *load) time.Duration {
	s.t.Helper()
	start := time.Now()
	s.proc = nil // the first one is not this one's to forget
	p := s.spawn()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		s.t.Fatal("the second process still runs")
	}
	took := time.Since(start)
	if p.exitCode() == 0 || !bytes.Contains(p.log(), []byte("is in use by another process")) {
		s.t.Errorf("the second process ended with %d and says\n%s", p.exitCode(), p.lastLines(10))
	}
	p.forget()
	if err := l.reach(100); err != nil {
		s.t.Error(err)
	}
	return took
}

// newcomers sends requests on connections of their own until it is told to
// stop, and then returns how they ended.
func (s *system) newcomers(at *site, realm string) (stop func() map[string]int) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	quit, done := make(chan struct{}), make(chan struct{})
	ends := make(map[string]int)
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
			}
			a, err := s.do(c, http.MethodGet, at.Origin+companyInfo(realm), nil)
			switch {
			case severed(err):
				ends["broken"]++
			case err != nil:
				ends["failed"]++
			default:
				ends[strings.TrimSpace(fmt.Sprint(a.Status, " ", a.Error))]++
			}
		}
	}()
	return func() map[string]int {
		close(quit)
		<-done
		return ends
	}
}
