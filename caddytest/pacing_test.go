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
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// limited has Intuit enforce its limits, and take a while.
func limited(s *system) {
	s.Admin = freeAddress(s.t)
	s.Sites[0].Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.EnforceLimits, b.Latency = true, 20*time.Millisecond })
}

// burst sends n requests for a company at once.
func (s *system) burst(c *http.Client, realm string, n int) []answer {
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = s.get(c, realm) })
	}
	wg.Wait()
	return answers
}

// What Intuit would refuse (see TestPacingOff) waits, and is served; another
// company does not wait for it. Intuit's own limits are off: when a request
// arrives there depends on how busy this machine is.
func TestPacing(t *testing.T) {
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s := start(t, limited, change)
			s.connect(realmOne)
			s.connect(realmTwo)
			c := client(t)
			s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.EnforceLimits = false })
			other := make(chan time.Duration)
			go func() {
				time.Sleep(100 * time.Millisecond)
				began := time.Now()
				s.get(c, realmTwo)
				other <- time.Since(began)
			}()
			began := time.Now()
			answers := s.burst(c, realmOne, 35)
			if took := time.Since(began); took < 3*time.Second {
				t.Errorf("35 requests took %s, which is more than 10 a second", took)
			}
			if n := countStatus(answers); n[http.StatusOK] != 35 {
				t.Errorf("35 requests at once were answered %v", n)
			}
			if took := <-other; took > 2*time.Second {
				t.Errorf("a request of another company took %s", took)
			}
			families := s.scrape(c)
			if n := value(families, `pacing_waits_total{integration="quickbooks"}`); n < 25 {
				t.Errorf("%v requests waited", n)
			}
			if value(families, `pacing_wait_seconds_total{integration="quickbooks"}`) < 25 || value(families, `pacing_waiting{integration="quickbooks"}`) != 0 {
				t.Errorf("%v", families["caddy_freshbearer_pacing_wait_seconds_total"])
			}
		})
	}
}

// With Intuit's limits in force, the pacing of a new configuration lets a burst
// through without one 429, which costs the same burst many without it (see
// TestPacingOff). When a request arrives depends on how busy this machine is:
// one of three bursts is enough.
func TestPacingPrevents429(t *testing.T) {
	s := start(t, limited)
	s.connect(realmOne)
	c := client(t)
	for try := 1; ; try++ {
		n := countStatus(s.burst(c, realmOne, 25))
		if n[http.StatusOK] == 25 {
			return
		}
		t.Logf("25 requests at once were answered %v", n)
		if try == 3 {
			t.Fatal("Intuit refuses requests that were paced")
		}
		time.Sleep(2 * time.Second) // until Intuit has forgotten the burst
	}
}

// Without pacing Intuit refuses some; its 429 says when to try again.
func TestPacingOff(t *testing.T) {
	s := start(t, limited, unpaced)
	s.connect(realmOne)
	c := client(t)
	refused := 0
	for _, a := range s.burst(c, realmOne, 35) {
		if a.Status != http.StatusTooManyRequests {
			continue
		}
		refused++
		if a.Header.Get("Retry-After") != "60" || a.Header.Get("Proxy-Status") != "" {
			t.Errorf("%v", a.Header)
		}
	}
	if refused < 15 {
		t.Errorf("%d of 35 were refused", refused)
	}
	// When Intuit says when, that is passed on.
	s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultRetryAfter, RetryAfter: 7 * time.Second})
	if a := s.get(c, realmOne); a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") != "7" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	s.expect(c, map[string]float64{fmt.Sprintf(requests, "api_throttled"): float64(refused + 1)})
}

// What finds too many waiting is answered in the proxy's own words, and is not
// sent. Who hangs up makes room.
func TestPacingFull(t *testing.T) {
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s := start(t, change, func(s *system) {
				s.Admin = freeAddress(t)
				s.Sites[0].Options = []string{"pacing {", "at_once 2", "queue 3", "wait 20s", "}"}
			})
			s.connect(realmOne)
			c := client(t)
			s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Latency = 3 * time.Second })
			if name == "reverse_proxy" { // whose API must answer in a second
				s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Latency = 700 * time.Millisecond })
			}
			before := len(s.Intuit.APIRequests())
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.Proxy+companyInfo(realmOne), nil)
					req.Header.Set("Authorization", "Bearer "+s.Key)
					if resp, err := c.Do(req); err == nil {
						_ = resp.Body.Close()
					}
				})
			}
			s.expect(c, map[string]float64{`pacing_waiting{integration="quickbooks"}`: 3})
			a := s.get(c, realmOne)
			p := a.problem(t)
			if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); a.Status != http.StatusTooManyRequests || p.Error != "rate_limited" || p.Connection != realmOne || err != nil || wait < 1 {
				t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
			}
			hangUp()
			wg.Wait()
			s.expect(c, map[string]float64{
				`pacing_waiting{integration="quickbooks"}`: 0, fmt.Sprintf(requests, "rate_limited"): 1, fmt.Sprintf(requests, "caller_gone"): 5,
			})
			if n := len(s.Intuit.APIRequests()) - before; n > 5 {
				t.Errorf("%d requests were sent", n)
			}
			if a := s.get(c, realmOne); a.Status != http.StatusOK {
				t.Errorf("a slot was lost: %d %s", a.Status, a.Body)
			}
		})
	}
}

// What is sent again counts twice, and a reload does not forget what was sent.
func TestPacingCounts(t *testing.T) {
	s := start(t, func(s *system) {
		s.Sites[0].Options = []string{"pacing {", "per_minute 4", "wait 1s", "}"}
	})
	s.connect(realmOne)
	c := client(t)
	for range 2 { // one request, and one that is sent twice
		if a := s.get(c, realmOne); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		s.Intuit.RevokeAccess(realmOne)
	}
	s.Sites[0].Options = append(s.Sites[0].Options, "return_urls https://app.example.com")
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	// Its first try is the fourth request; there is no room for the second.
	for range 2 {
		if a := s.get(c, realmOne); a.Status != http.StatusTooManyRequests || a.problem(t).Error != "rate_limited" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	}
	if n := s.Intuit.Counters().Refreshes; n != 2 {
		t.Errorf("%d refreshes", n)
	}
}
