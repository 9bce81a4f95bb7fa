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
	"testing"
	"time"
)

// SIGTERM at any moment: the process ends soon, and takes what the provider
// still answers with it. The provider is strict, so that a single answer that
// was not waited for, or not stored, is a lost connection.
func TestSIGTERM(t *testing.T) {
	gate(t)
	s := newSystem(t, strict())
	at, random := s.Sites[0], dice(t)
	s.spawn()
	s.up()
	realms := s.connectAll(at, connections)
	l := s.busy(at, realms, pace)
	n := times(8, 300)
	var longest time.Duration
	began := time.Now()
	for i := range n {
		// The longest outlives what Caddy waits for, the requests: then only the
		// keeper waits for the answer.
		delay := []time.Duration{0, 400 * time.Millisecond, 100 * time.Millisecond}[i%3]
		slowAnswers(at.Intuit, delay)
		s.up()
		time.Sleep(time.Duration(random.Int64N(int64(time.Second))))
		if delay > 0 && i%2 == 1 {
			// Left to chance, few moments are while an answer is held back.
			duringAnswer(at.Intuit)
		}
		took, err := s.proc.terminate(90 * time.Second)
		longest = max(longest, took)
		if err != nil {
			t.Fatalf("SIGTERM %d: %v after %s", i, err, took)
		}
		s.spawn()
		if t.Failed() {
			t.Fatalf("after %d times SIGTERM", i+1)
		}
	}
	slowAnswers(at.Intuit, 0)
	s.up()
	s.serves(at, realms)
	l.stop()
	nothingLost(t, s, l)
	c := at.Intuit.Counters()
	t.Logf("%d times SIGTERM in %s, the longest end took %s; %d requests served, %s; %d broken connections; %d refreshes, %d of them superseded",
		n, time.Since(began).Round(time.Second), longest.Round(time.Millisecond), l.served.Load(), l.percentiles(), l.severed.Load(), c.Refreshes, c.SupersededReuses)
}

// nothingLost checks a load against a strict provider.
func nothingLost(t *testing.T, s *system, l *load) {
	t.Helper()
	for realm, a := range l.buried() {
		t.Errorf("%s was lost: %s", realm, a)
	}
	if failed := l.failures(); len(failed) > 0 {
		t.Errorf("%d requests failed, such as %q", len(failed), failed[:min(5, len(failed))])
	}
	c := l.at.Intuit.Counters()
	if c.Refreshes < connections {
		t.Errorf("%d refreshes: this proves nothing", c.Refreshes)
	}
	if c.SupersededReuses != 0 {
		t.Errorf("%d times a refresh token was sent that had been replaced", c.SupersededReuses)
	}
	neverTwoAtOnce(t, l.at.Intuit)
}

// Reloads under load, one after the other, each with a change.
func TestReload(t *testing.T) {
	gate(t)
	s := newSystem(t, strict())
	s.Admin = freeAddress(t)
	at, random := s.Sites[0], dice(t)
	s.spawn()
	s.up()
	realms := s.connectAll(at, connections)
	l := s.busy(at, realms, pace)
	n := times(8, 200)
	began := time.Now()
	for i := range n {
		delay := time.Duration(0)
		if i%2 == 1 {
			delay = 100 * time.Millisecond
		}
		slowAnswers(at.Intuit, delay)
		at.Link = 10 + i%1000
		if err := s.reload(); err != nil {
			t.Fatalf("reload %d: %v", i, err)
		}
		if err := l.reach(100 + random.Int64N(400)); err != nil {
			t.Fatalf("after reload %d: %v", i, err)
		}
	}
	slowAnswers(at.Intuit, 0)
	s.serves(at, realms)
	l.stop()
	nothingLost(t, s, l)
	c := at.Intuit.Counters()
	t.Logf("%d reloads in %s; %d requests served, %s; %d connections closed by a reload and dialled again; %d refreshes, %d of them superseded",
		n, time.Since(began).Round(time.Second), l.served.Load(), l.percentiles(), l.severed.Load(), c.Refreshes, c.SupersededReuses)
	if took, err := s.proc.terminate(90 * time.Second); err != nil {
		t.Errorf("the end after the reloads: %v after %s", err, took)
	}
}

// reload sends the Caddyfile to the admin API, as `caddy reload` does.
func (s *system) reload() error {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+s.Admin+"/load", bytes.NewReader(s.config()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	// A reload replaces the admin endpoint too, so nothing is kept open there.
	req.Close = true
	a, err := send(s.client, req)
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("%d %s", a.Status, a.Body)
	}
	return err
}
