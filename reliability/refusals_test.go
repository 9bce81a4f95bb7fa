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
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// An API that refuses every token costs two tries a call, and the token
// endpoint next to nothing.
func TestRefusalStorm(t *testing.T) {
	gate(t)
	s := newSystem(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	at := s.Sites[0]
	s.spawn()
	s.up()
	realm := s.connectAll(at, 1)[0]
	mustServe(t, s, at, realm)
	at.Intuit.ResetCounters()
	at.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTokenRefused, Times: -1})
	n := int64(times(2000, 10000))
	const callers = 32
	var sent, wrong atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range callers {
		wg.Go(func() {
			for sent.Add(1) <= n {
				if a, err := s.get(at, realm); err != nil || a.Status != http.StatusUnauthorized {
					if wrong.Add(1) <= 3 {
						t.Errorf("%s %v", a, err)
					}
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	c := at.Intuit.Counters()
	minutes := int(took/time.Minute) + 1
	if wrong.Load() > 0 || c.APIRequests > 2*int(n) || c.Refreshes > 2*minutes {
		t.Errorf("%d of %d calls were not answered with the API's 401; %d requests went up, and %d refreshes in %s",
			wrong.Load(), n, c.APIRequests, c.Refreshes, took)
	}
	at.Intuit.ClearFaults()
	s.serves(at, []string{realm})
	neverTwoAtOnce(t, at.Intuit)
	t.Logf("%d refused calls in %s: %d requests to the API, %d refreshes", n, took.Round(time.Millisecond), c.APIRequests, c.Refreshes)
}
