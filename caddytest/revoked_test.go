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
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

// customer is the body of a create that is told from all others by its
// document number.
func customer(number string, size int) []byte {
	body, err := json.Marshal(map[string]string{
		"DisplayName": "Customer " + number, "DocNumber": number, "Notes": strings.Repeat("ä"+number+" ", size/(len(number)+3)),
	})
	if err != nil {
		panic(err) // strings always marshal
	}
	return body
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// createAll sends each body as a create, all at once, and returns the answers
// in the same order. A chunked body has no Content-Length.
func (s *system) createAll(c *http.Client, bodies [][]byte, chunked func(i int) bool) []answer {
	s.t.Helper()
	answers := make([]answer, len(bodies))
	errs := make([]error, len(bodies))
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i, body := range bodies {
		wg.Go(func() {
			<-gate
			answers[i], errs[i] = s.create(c, body, chunked(i))
		})
	}
	close(gate)
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			s.t.Errorf("create %d: %v", i, err)
		}
	}
	return answers
}

func (s *system) create(c *http.Client, body []byte, chunked bool) (answer, error) {
	var reader io.Reader = bytes.NewReader(body)
	if chunked {
		reader = struct{ io.Reader }{reader} // hides the length
	}
	req, err := http.NewRequest(http.MethodPost, s.Proxy+"/v3/company/"+realmOne+"/customer?minorversion=75", reader)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	return read(resp)
}

func never(int) bool { return false }

// checkExecuted compares what the API has carried out with the bodies that
// were answered with 200: each once, each whole.
func (s *system) checkExecuted(bodies [][]byte, answers []answer) {
	s.t.Helper()
	executed := make(map[string]int)
	for _, c := range s.Intuit.Creates() {
		executed[c.BodySHA256]++
	}
	for i, body := range bodies {
		n, want := executed[digest(body)], 0
		if answers[i].Status == http.StatusOK {
			want = 1
		}
		if n != want {
			s.t.Errorf("create %d was answered %d and carried out %d times", i, answers[i].Status, n)
		}
		delete(executed, digest(body))
	}
	if len(executed) > 0 {
		s.t.Errorf("the API has carried out %d creates that nobody has sent", len(executed))
	}
	if twice := s.Intuit.ExecutedTwice(); len(twice) > 0 {
		s.t.Errorf("creates were carried out twice: %+v", twice)
	}
}

func countStatus(answers []answer) map[int]int {
	n := make(map[int]int)
	for _, a := range answers {
		n[a.Status]++
	}
	return n
}

// connectedAndAccepted is a system with a connection whose token the API has
// taken once, with fresh counters.
func connectedAndAccepted(t *testing.T, change ...func(*system)) (*system, *http.Client) {
	t.Helper()
	s := start(t, change...)
	s.connect(realmOne)
	c := client(t)
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Fatalf("the first request was answered %d: %s", a.Status, a.Body)
	}
	s.Intuit.ResetCounters()
	return s, c
}

// An access token dies early, and 200 requests find out at once.
func TestRevokedEarly(t *testing.T) {
	for _, h := range habits {
		t.Run(h.name, func(t *testing.T) {
			s, c := connectedAndAccepted(t, unpaced)
			s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { *b = h.behaviour })
			if n := s.Intuit.RevokeAccess(realmOne); n != 1 {
				t.Fatalf("%d tokens were revoked", n)
			}
			const n = 200
			bodies := make([][]byte, n)
			for i := range bodies {
				bodies[i] = customer(fmt.Sprintf("%s-%d", h.name, i), 100+50*i)
			}
			// Half of them without a length: the proxy must find out itself
			// that it can hold them.
			answers := s.createAll(c, bodies, func(i int) bool { return i%2 == 0 })
			if got := countStatus(answers); got[http.StatusOK] != n {
				t.Errorf("of %d requests, by status: %v", n, got)
			}
			s.checkExecuted(bodies, answers)
			counters := s.Intuit.Counters()
			if counters.Refreshes != 1 || counters.RefreshesOK != 1 {
				t.Errorf("%d refreshes, %d of them good; one was needed", counters.Refreshes, counters.RefreshesOK)
			}
			neverTwoAtOnce(t, s.Intuit)
			t.Logf("API answers by status: %v", counters.APIStatus)
		})
	}
}

// What is longer than the replay buffer goes up as it comes, and once.
func TestRevokedEarlyStreaming(t *testing.T) {
	s, c := connectedAndAccepted(t, func(s *system) {
		s.Sites[0].Options = []string{"replay_buffer 4KiB"}
	})
	s.Intuit.RevokeAccess(realmOne)
	const n = 40
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = customer(fmt.Sprintf("stream-%d", i), 16<<10+4096*i)
	}
	answers := s.createAll(c, bodies, func(i int) bool { return i%2 == 0 })
	statuses := countStatus(answers)
	if statuses[http.StatusOK]+statuses[http.StatusUnauthorized] != n || statuses[http.StatusUnauthorized] == 0 {
		t.Errorf("of %d requests, by status: %v; expected 200 or the API's 401, and at least one of those", n, statuses)
	}
	s.checkExecuted(bodies, answers)
	counters := s.Intuit.Counters()
	if counters.Refreshes != 1 {
		t.Errorf("%d refreshes; one was needed", counters.Refreshes)
	}
	if counters.APIRequests != n {
		t.Errorf("%d requests made %d to the API: a stream was replayed", n, counters.APIRequests)
	}
	neverTwoAtOnce(t, s.Intuit)
	t.Logf("by status: %v", statuses)

	// The app that got a 401 tries again, as it would at Intuit.
	for i, a := range answers {
		if a.Status != http.StatusUnauthorized {
			continue
		}
		if strings.Contains(string(a.Body), "AB0") || !strings.Contains(string(a.Body), "3200") {
			t.Fatalf("the 401 that was passed on: %s", a.Body)
		}
		again, err := s.create(c, bodies[i], true)
		if err != nil {
			t.Fatal(err)
		}
		answers[i] = again
	}
	if got := countStatus(answers); got[http.StatusOK] != n {
		t.Errorf("after the second try, by status: %v", got)
	}
	s.checkExecuted(bodies, answers)
}

// The API answers 401 before it has read the body. Nothing of the body may get
// lost on the second try.
func TestRefusedBeforeBody(t *testing.T) {
	s, c := connectedAndAccepted(t)
	var bodies [][]byte
	var answers []answer
	for i, size := range []int{1, 100, 4 << 10, 64 << 10, 300 << 10, 900 << 10, 1000 << 10} {
		for _, chunked := range []bool{false, true} {
			s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTokenRefusedEarly})
			body := customer(fmt.Sprintf("early-%d-%t", i, chunked), size)
			a, err := s.create(c, body, chunked)
			if err != nil {
				t.Fatal(err)
			}
			if a.Status != http.StatusOK {
				t.Errorf("%d bytes, chunked %t: %d %s", len(body), chunked, a.Status, a.Body)
			}
			bodies, answers = append(bodies, body), append(answers, a)
		}
	}
	s.checkExecuted(bodies, answers)
	counters := s.Intuit.Counters()
	if counters.Refreshes != len(bodies) || counters.APIStatus[http.StatusUnauthorized] != len(bodies) {
		t.Errorf("%d refusals made %d refreshes; API %v", len(bodies), counters.Refreshes, counters.APIStatus)
	}

	// Longer than the buffer: refused once, sent once.
	s.Intuit.ResetCounters()
	s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTokenRefusedEarly})
	long := customer("early-long", 3<<20)
	a, err := s.create(c, long, false)
	if err != nil {
		t.Fatal(err)
	}
	if counters := s.Intuit.Counters(); a.Status != http.StatusUnauthorized || counters.APIRequests != 1 || counters.Creates != 0 {
		t.Errorf("a long body was answered %d, with %d requests and %d creates at the API", a.Status, counters.APIRequests, counters.Creates)
	}
	if a, err = s.create(c, long, false); err != nil || a.Status != http.StatusOK {
		t.Errorf("the second try: %d %v", a.Status, err)
	}
	s.checkExecuted([][]byte{long}, []answer{a})
}
