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
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// load keeps every connection of a site busy, whatever becomes of the process,
// until stop is called.
type load struct {
	s  *system
	at *site

	served, severed atomic.Int64

	mu sync.Mutex
	// dead has the last answer that asks for a human, by connection.
	dead map[string]answer
	// failed are other answers than 200 and 428. Those that the process gave
	// are a failure; a connection that broke is counted as severed.
	failed []string
	// took is how long the answered requests took.
	took []time.Duration

	quit chan struct{}
	wg   sync.WaitGroup
}

// busy starts a load with one request per connection and pace.
func (s *system) busy(at *site, realms []string, pace time.Duration) *load {
	l := &load{s: s, at: at, dead: make(map[string]answer), quit: make(chan struct{})}
	for i, realm := range realms {
		l.wg.Go(func() {
			// Spread over the pace, so that they do not come in bursts.
			wait := time.NewTimer(time.Duration(i) * pace / time.Duration(len(realms)))
			defer wait.Stop()
			for {
				select {
				case <-l.quit:
					return
				case <-wait.C:
				}
				wait.Reset(pace)
				l.one(realm)
			}
		})
	}
	s.t.Cleanup(l.stop)
	return l
}

// one sends a request, again if its connection broke: a process that stops or
// reloads closes idle connections, which every HTTP client must live with.
func (l *load) one(realm string) {
	a, err := l.s.get(l.at, realm)
	for try := 0; severed(err) && try < 3; try++ {
		l.severed.Add(1)
		a, err = l.s.get(l.at, realm)
	}
	if severed(err) {
		return // nobody is there
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, a.Took)
	switch {
	case err == nil && a.Status == http.StatusOK:
		l.served.Add(1)
	case err == nil && a.Status == http.StatusPreconditionRequired:
		l.dead[realm] = a
	default:
		l.failed = append(l.failed, fmt.Sprintf("%s after %s: %s %v", time.Now().Format("15:04:05.000"), a.Took, a, err))
	}
}

func (l *load) stop() {
	select {
	case <-l.quit:
		return
	default:
	}
	close(l.quit)
	l.wg.Wait()
}

// buried returns the connections that were answered with 428, and forgets
// them.
func (l *load) buried() map[string]answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	dead := l.dead
	l.dead = make(map[string]answer)
	return dead
}

// failures returns what failed so far, and forgets it.
func (l *load) failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	failed := l.failed
	l.failed = nil
	return failed
}

// reach waits until so many more requests were served.
func (l *load) reach(more int64) error {
	want := l.served.Load() + more
	return eventually(30*time.Second, func() error {
		if n := l.served.Load(); n < want {
			return fmt.Errorf("the load stands still: %d of %d requests are served", n, want)
		}
		return nil
	})
}

// percentiles describes how long the answers took.
func (l *load) percentiles() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return percentiles(l.took)
}

func percentiles(took []time.Duration) string {
	if len(took) == 0 {
		return "no request"
	}
	sorted := slices.Sorted(slices.Values(took))
	at := func(share float64) time.Duration {
		return sorted[int(share*float64(len(sorted)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %s, p99 %s, most %s", at(0.5), at(0.99), at(1))
}
