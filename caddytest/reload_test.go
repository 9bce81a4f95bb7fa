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
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// post sends a configuration to Caddy's admin API, as `caddy reload` does.
func (s *system) post(c *http.Client, config []byte) (answer, error) {
	return do(c, http.MethodPost, "http://"+s.Admin+"/load", config,
		"Content-Type: application/json", "Cache-Control: must-revalidate")
}

// workers is how many goroutines keep the proxy busy.
const workers = 16

// load keeps the proxy busy, with a read and a create in turn from each worker,
// until stop is called.
type load struct {
	requests, created, redialled atomic.Int64

	mu     sync.Mutex
	failed []string
	quit   chan struct{}
	wg     sync.WaitGroup
}

func (s *system) busy(c *http.Client) *load {
	l := &load{quit: make(chan struct{})}
	for worker := range workers {
		l.wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.quit:
					return
				default:
				}
				if i%2 == 0 {
					l.send(func() (answer, error) {
						return do(c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, s.bearer())
					})
					continue
				}
				body := customer(fmt.Sprintf("load-%d-%d", worker, i), 200)
				if l.send(func() (answer, error) { return s.create(c, body, i%4 == 1) }) {
					l.created.Add(1)
				}
			}
		})
	}
	return l
}

// send counts what is not answered with 200. A connection that Caddy closed
// before it took a request from it is dialled again: a reload closes the idle
// connections of the former configuration and drops what waits in the queue of
// its listening socket, and every HTTP client must live with the first. That no
// request was cut off half-way shows in the creates, which would be two then.
func (l *load) send(request func() (answer, error)) bool {
	a, err := request()
	for try := 0; err != nil && closedByServer(err) && try < 5; try++ {
		l.redialled.Add(1)
		a, err = request()
	}
	l.requests.Add(1)
	if err == nil && a.Status == http.StatusOK {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, fmt.Sprintf("%d %.300s %v", a.Status, a.Body, err))
	return false
}

func closedByServer(err error) bool {
	text := err.Error()
	return strings.Contains(text, "EOF") && !strings.Contains(text, "unexpected EOF") ||
		strings.Contains(text, "connection reset by peer") || strings.Contains(text, "broken pipe") ||
		strings.Contains(text, "server closed idle connection") || strings.Contains(text, "use of closed network connection")
}

// reach waits until so many requests were answered.
func (l *load) reach(n int64) error {
	return eventually(10*time.Second, func() error {
		if l.requests.Load() < n {
			return errors.New("the load stands still")
		}
		return nil
	})
}

// census counts goroutines: connections to the simulated Intuit, with all
// that belongs to them on both sides, and others.
type census struct {
	upstream, others int
	stacks           string
}

func (c census) String() string {
	return fmt.Sprintf("%d connections, %d others", c.upstream, c.others)
}

// settled closes the client's connections, and counts the goroutines once they
// have not become fewer for a second.
func settled(c *http.Client) census {
	c.CloseIdleConnections()
	var least census
	since := time.Now()
	for first := true; first || time.Since(since) < time.Second; first = false {
		var stacks bytes.Buffer
		_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		now := census{stacks: stacks.String()}
		now.upstream = strings.Count(now.stacks, "net/http.(*persistConn).readLoop(")
		connections := now.upstream + strings.Count(now.stacks, "net/http.(*persistConn).writeLoop(") +
			strings.Count(now.stacks, "intuittest.(*wireConn).Read(")
		now.others = strings.Count("\n"+now.stacks, "\ngoroutine ") - connections
		if first || now.upstream+now.others < least.upstream+least.others {
			least, since = now, time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
	return least
}

func (l *load) stop() {
	close(l.quit)
	l.wg.Wait()
}

func TestReloadUnderLoad(t *testing.T) {
	resetCounted()
	s := start(t, unpaced, func(s *system) {
		s.Store = "counted"
		s.Admin = freeAddress(t)
		s.Sites[0].Intuit.SetBehaviour(func(b *intuittest.Behaviour) {
			b.AccessTokenTTL, b.Rotation, b.RevokeFamily = shortLife, intuittest.RotateAlways, true
		})
	})
	s.connect(realmOne)
	s.Intuit.ResetCounters()
	c := client(t)
	// The same load without a reload, to compare with: it leaves as many idle
	// connections to the API behind.
	warmUp := s.busy(c)
	if err := warmUp.reach(500); err != nil {
		t.Fatalf("before the reloads: %v", err)
	}
	warmUp.stop()
	before := settled(c)
	s.Intuit.ResetCounters()

	const reloads = 20
	l := s.busy(c)
	operator := client(t)
	tick := time.NewTicker(time.Second / 3)
	defer tick.Stop()
	for i := range reloads {
		// Something of the integration changes every time.
		s.Sites[0].Options = []string{fmt.Sprintf("link_lifetime %dm", 10+i), fmt.Sprintf("refresh_before %dm", 5+i)}
		config, err := s.config()
		if err != nil {
			t.Fatal(err)
		}
		if a, err := s.post(operator, config); err != nil || a.Status != http.StatusOK {
			t.Errorf("reload %d: %d %s %v", i, a.Status, a.Body, err)
		}
		// Some requests of this configuration, before the next one comes. A
		// third of a second each, so that several expiries pass, too.
		if err := l.reach(l.requests.Load() + 100); err != nil {
			t.Fatalf("after reload %d: %v", i, err)
		}
		<-tick.C
	}
	l.stop()

	t.Logf("%d requests, %d of them creates, %d dialled again; %d refreshes", l.requests.Load(), l.created.Load(),
		l.redialled.Load(), s.Intuit.Counters().Refreshes)
	if len(l.failed) > 0 {
		t.Errorf("%d requests failed, such as %q", len(l.failed), l.failed[:min(3, len(l.failed))])
	}
	if creates := s.Intuit.Counters().Creates; int64(creates) != l.created.Load() {
		t.Errorf("%d creates were answered, %d carried out", l.created.Load(), creates)
	}
	if twice := s.Intuit.ExecutedTwice(); len(twice) > 0 {
		t.Errorf("%d creates were carried out twice", len(twice))
	}
	checkRefreshes(t, s.Intuit, 0)
	if opens, closes := counted.opens.Load(), counted.closes.Load(); opens != 1 || closes != 0 {
		t.Errorf("the store was opened %d times and closed %d times", opens, closes)
	}

	// What served the twenty former configurations has ended.
	operator.CloseIdleConnections()
	after := settled(c)
	t.Logf("before the reloads: %s; after them: %s", before, after)
	if after.others > before.others+reloads/4 {
		t.Errorf("%d goroutines before %d reloads, %d after them:\n%s", before.others, reloads, after.others, after.stacks)
	}
	// One for each worker, and as many for what net/http dialled in vain and
	// for the token endpoint.
	if after.upstream > 2*workers {
		t.Errorf("%d connections to Intuit are open for %d workers: former configurations left theirs behind", after.upstream, workers)
	}
	s.stop()
	if opens, closes := counted.opens.Load(), counted.closes.Load(); opens != 1 || closes != 1 {
		t.Errorf("in the end the store was opened %d times and closed %d times", opens, closes)
	}
}
