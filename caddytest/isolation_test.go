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
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

var isolation = flag.Duration("isolation", 0, "how long TestIsolation asks for 1,000 companies; 0 is 2 s and 40 companies")

// No request gets another company's token, or one of a company that its caller
// may not use, while tokens are refused and refreshed all the time. The oracle
// is what the simulated Intuit recorded.
func TestIsolation(t *testing.T) {
	const parallel, round = 64, 5 * time.Second
	companies, lasts := 40, 2*time.Second
	if *isolation > 0 {
		companies, lasts = 1000, *isolation
	}
	realms := make([]string, companies)
	owner := make(map[string]*caller, companies)
	lists := make([][]string, 2)
	for i := range realms {
		realms[i] = fmt.Sprintf("2000000000000%05d", i)
		lists[i%2] = append(lists[i%2], realms[i])
	}
	var owners []*caller
	s := start(t, func(s *system) {
		s.Admin = freeAddress(t)
		config := intuittest.Config{
			ClientID: intuittest.DefaultClientID, ClientSecret: intuittest.DefaultClientSecret, History: 200000,
		}
		for _, realm := range realms {
			config.Companies = append(config.Companies, intuittest.Company{RealmID: realm, Name: "Company " + realm})
		}
		in := intuittest.NewServer(config)
		t.Cleanup(in.Close)
		s.Sites[0].Intuit = in
		for i, name := range []string{"even", "odd"} {
			owners = append(owners, s.addCaller(name, strings.Join(lists[i], " ")))
		}
	})
	for i, realm := range realms {
		owner[realm] = owners[i%2]
		s.connect(realm)
	}
	c := client(t)
	var served, refused, foreign, refreshed, sent atomic.Int64
	ask := func(id int) {
		realm, asking := realms[rand.IntN(len(realms))], owners[rand.IntN(2)]
		a, err := do(c, http.MethodGet, s.Proxy+companyInfo(realm), nil, "Authorization: Bearer "+asking.Key, "Request-Id: "+asking.Name)
		switch {
		case err != nil:
			t.Errorf("asking: %v", err)
		case owner[realm] != asking:
			foreign.Add(1)
			if a.Status != http.StatusForbidden {
				t.Errorf("another caller's company was answered %d", a.Status)
			}
		case a.Status == http.StatusOK:
			served.Add(1)
			if !bytes.Contains(a.Body, []byte(realm)) {
				t.Errorf("%s was answered %s", realm, a.Body)
			}
		case a.Status == http.StatusUnauthorized || a.Status == http.StatusServiceUnavailable:
			// Its tokens were refused faster than they are replaced.
			refused.Add(1)
		default:
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if id == 0 {
			s.Intuit.RevokeAccess(realms[rand.IntN(len(realms))])
		}
	}
	for begun := time.Now(); time.Since(begun) < lasts && !t.Failed(); {
		s.Intuit.ResetCounters()
		end := time.Now().Add(min(round, lasts-time.Since(begun)))
		var wg sync.WaitGroup
		for id := range parallel {
			wg.Go(func() {
				for time.Now().Before(end) && !t.Failed() {
					ask(id)
				}
			})
		}
		wg.Wait()
		counters, requests := s.Intuit.Counters(), s.Intuit.APIRequests()
		if counters.APIRequests != len(requests) {
			t.Fatalf("%d of %d requests were recorded", len(requests), counters.APIRequests)
		}
		for _, r := range requests {
			path := strings.Split(r.Target, "/")
			if len(path) != 6 || path[3] != path[5] || r.TokenRealm != "" && r.TokenRealm != path[3] {
				t.Errorf("%s was sent with a token of %q", r.Target, r.TokenRealm)
			} else if by := r.Header.Get("Request-Id"); by != owner[path[3]].Name {
				t.Errorf("%s was sent for %q", r.Target, by)
			}
			if r.TokenRealm == "" && r.Status != http.StatusUnauthorized {
				t.Errorf("%s with a token of nobody's was answered %d", r.Target, r.Status)
			}
		}
		sent.Add(int64(len(requests)))
		refreshed.Add(int64(counters.Refreshes))
	}
	if served.Load() == 0 || foreign.Load() == 0 || refreshed.Load() == 0 {
		t.Error("nothing was shown")
	}
	// The metrics do not grow with the companies, and name none.
	series := 0
	for name, family := range s.scrape(c) {
		if !strings.HasPrefix(name, "caddy_freshbearer_") {
			continue
		}
		for _, m := range family.GetMetric() {
			series += max(1, len(m.GetHistogram().GetBucket()))
			for _, label := range m.GetLabel() {
				if owner[label.GetValue()] != nil {
					t.Errorf("%s names a company: %s", name, label)
				}
			}
		}
	}
	if series > 200 {
		t.Errorf("%d series of metrics", series)
	}
	t.Logf("%d companies, %d at once, %s: %d requests at Intuit, %d answered, %d refused in a row, %d of others' companies, %d refreshes",
		companies, parallel, lasts, sent.Load(), served.Load(), refused.Load(), foreign.Load(), refreshed.Load())
}

// A grant of one environment is not used at the other's API, and is there
// again when the setting is put back.
func TestEnvironmentIsBound(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.Intuit.ResetCounters()
	c := client(t)
	s.Sites[0].Options = []string{"environment sandbox"}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if a := s.get(c, realmOne); a.Status != http.StatusServiceUnavailable || a.problem(t).Error != "client_refused" {
		t.Errorf("in another environment: %d %s", a.Status, a.Body)
	}
	if n := s.Intuit.Counters().APIRequests; n != 0 {
		t.Errorf("%d requests went up", n)
	}
	s.Sites[0].Options = nil
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Errorf("in its own again: %d %s", a.Status, a.Body)
	}
}
