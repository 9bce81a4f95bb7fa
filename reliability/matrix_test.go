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
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// habit is when a provider replaces refresh tokens, and what it thinks of the
// one before.
type habit struct {
	name      string
	behaviour intuittest.Behaviour
}

var habits = []habit{
	{"strict", intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true}},
	{"grace", intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true, Grace: 5 * time.Minute}},
	// As Intuit says of itself: a value lives a day, and the one before is dead.
	{"age", intuittest.Behaviour{RevokeFamily: true}},
}

// expectation is the exact answer of a cell whose access token has expired.
type expectation struct {
	status int
	// error and cause are those of the proxy's own answers.
	error, cause string
	// most is how many token requests the fault may cost, until it is over.
	most int
}

var (
	// served: the refresh brings a token, if late.
	served = expectation{status: http.StatusOK, most: 1}
	// again: it does with the second try, which follows at once.
	again = expectation{status: http.StatusOK, most: 2}
	// later: the provider is unwell, which is not a matter for a human.
	later = expectation{status: http.StatusServiceUnavailable, error: "token_unavailable", most: 8}
	// lost: the provider has replaced the token, takes no other, and its answer
	// did not arrive. One request is lost, one asks again, and one confirms.
	lost = expectation{status: http.StatusPreconditionRequired, error: "reauthorization_required", cause: "refresh_response_lost", most: 3}
)

// mode is something that goes wrong at the token endpoint. In the order of the
// habits, expired is what a caller without a valid token is answered. One with
// a valid token is always served, at once.
type mode struct {
	name    string
	fault   intuittest.Fault
	expired [3]expectation
	// hangs: the request that hangs does so for a minute, whatever else happens.
	hangs bool
}

func same(e expectation) [3]expectation { return [3]expectation{e, e, e} }

// modes are those of F6, F7 and T-D7 of the failure model.
var modes = []mode{
	{name: "slow", fault: intuittest.Fault{Kind: intuittest.FaultDelay, Delay: 4 * time.Second, Times: -1}, expired: same(served)},
	{name: "hanging", fault: intuittest.Fault{Kind: intuittest.FaultHang, Times: -1}, expired: same(later), hangs: true},
	{name: "unavailable", fault: intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1}, expired: same(later)},
	{name: "throttled", fault: intuittest.Fault{Kind: intuittest.FaultThrottled, Times: -1}, expired: same(later)},
	{name: "garbage", fault: intuittest.Fault{Kind: intuittest.FaultGarbage, Times: -1}, expired: same(later)},
	{name: "huge", fault: intuittest.Fault{Kind: intuittest.FaultHuge, Times: -1}, expired: same(later)},
	{name: "dripping", fault: intuittest.Fault{Kind: intuittest.FaultDrip, Delay: time.Millisecond, Times: -1}, expired: same(served)},
	{name: "reset after", fault: intuittest.Fault{Kind: intuittest.FaultResetAfter}, expired: [3]expectation{lost, again, again}},
	{name: "truncated after", fault: intuittest.Fault{Kind: intuittest.FaultTruncatedAfter}, expired: [3]expectation{lost, again, again}},
	{name: "status after", fault: intuittest.Fault{Kind: intuittest.FaultStatusAfter}, expired: [3]expectation{lost, again, again}},
	{name: "delayed after", fault: intuittest.Fault{Kind: intuittest.FaultDelayAfter, Delay: 4 * time.Second, Times: -1}, expired: same(served)},
}

const (
	// callerWait is the longest that a caller waits; overhead is what a busy
	// machine may add to it. It is shorter than what slow endpoints take, so
	// that a caller who waits for one is told from one who waits for a CPU.
	callerWait = 15 * time.Second
	overhead   = 2 * time.Second
	// A token of a cell with a valid token lives so long; it is refreshed in
	// the last quarter.
	validLife = 15 * time.Second
)

// cell is one combination, with a connection, an integration and a provider of
// its own: breakers and backoff of one must not answer for another.
type cell struct {
	mode
	habit string
	valid bool
	want  expectation
	at    *site
	realm string
	// saw is what happened, for those who want to read it.
	saw string
}

// All combinations of what goes wrong at the token endpoint, how the provider
// rotates, and whether the access token at hand is still valid: 66 cells, all
// at once, through the real process.
func TestFaultMatrix(t *testing.T) {
	gate(t)
	var cells []*cell
	var behaviours []intuittest.Behaviour
	for _, m := range modes {
		for i, h := range habits {
			for _, valid := range []bool{true, false} {
				b := h.behaviour
				b.AccessTokenTTL = 3 * time.Second
				if valid {
					b.AccessTokenTTL = validLife
				}
				behaviours = append(behaviours, b)
				cells = append(cells, &cell{mode: m, habit: h.name, valid: valid, want: m.expired[i], realm: intuittest.DefaultRealm})
			}
		}
	}
	s := newSystem(t, behaviours...)
	s.spawn()
	s.up()
	var mu sync.Mutex
	var most time.Duration
	var wg sync.WaitGroup
	for i, c := range cells {
		c.at = s.Sites[i]
		wg.Go(func() {
			took, err := c.run(s)
			mu.Lock()
			defer mu.Unlock()
			most = max(most, took)
			if err != nil {
				t.Errorf("%s, %s, valid %t: %v", c.name, c.habit, c.valid, err)
			}
		})
	}
	wg.Wait()
	for _, c := range cells {
		neverTwoAtOnce(t, c.at.Intuit)
		t.Logf("%-15s  %-6s  valid %-5t  %s", c.name, c.habit, c.valid, c.saw)
	}
	t.Logf("%d cells; the longest wait of a caller was %s", len(cells), most.Round(time.Millisecond))
	if most > callerWait+overhead {
		t.Errorf("a caller waited %s", most)
	}
}

// run returns the longest wait of a caller.
func (c *cell) run(s *system) (longest time.Duration, err error) {
	if err := s.connect(c.at, c.realm, ""); err != nil {
		return 0, err
	}
	connected, _ := c.at.Intuit.Tokens(c.realm)
	expires := connected.AccessTokenExpiresAt
	c.at.Intuit.ResetCounters()
	c.at.Intuit.FailToken(c.fault)
	// What a refresh brings outlives the test.
	c.at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = time.Hour })
	if c.valid {
		longest, err = c.whileValid(s, expires)
	} else {
		longest, err = c.afterwards(s, expires)
	}
	if err != nil || c.hangs && !*long {
		return longest, err
	}
	return longest, c.heals(s)
}

// whileValid asks all the time until shortly before the token's end: nobody
// notices that it cannot be refreshed.
func (c *cell) whileValid(s *system, expires time.Time) (longest time.Duration, err error) {
	for time.Now().Before(expires.Add(-200 * time.Millisecond)) {
		a, err := s.get(c.at, c.realm)
		longest = max(longest, a.Took)
		switch {
		case err != nil:
			return longest, err
		case a.Status != http.StatusOK:
			return longest, fmt.Errorf("with a valid token: %s", a)
		case a.Took > overhead:
			return longest, fmt.Errorf("a caller with a valid token waited %s", a.Took)
		}
		time.Sleep(50 * time.Millisecond) // the pace of the caller
	}
	c.saw = fmt.Sprintf("200 all the time, %d token requests", c.at.Intuit.Counters().Refreshes)
	// The hanging one is not listed before it has ended.
	if n := c.at.Intuit.Counters().MostRefreshes; n != 1 {
		return longest, fmt.Errorf("%d token requests at once in the window before the token's end", n)
	}
	return longest, nil
}

// afterwards asks when the token has expired, with several callers at once, who
// all get the same, and again while the fault lasts.
func (c *cell) afterwards(s *system, expires time.Time) (longest time.Duration, err error) {
	time.Sleep(time.Until(expires.Add(100 * time.Millisecond)))
	const callers = 4
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	ask := func() {
		a, err := s.get(c.at, c.realm)
		if err == nil {
			err = c.check(a)
		}
		mu.Lock()
		defer mu.Unlock()
		longest = max(longest, a.Took)
		errs = append(errs, err)
		c.saw = strings.Join(strings.Fields(fmt.Sprint(a.Status, " ", a.Error, " ", a.Cause)), " ")
	}
	for range callers {
		wg.Go(ask)
	}
	wg.Wait()
	if !c.hangs { // or it would be another quarter of a minute
		ask()
	}
	if err := errors.Join(errs...); err != nil {
		return longest, err
	}
	n := c.at.Intuit.Counters().Refreshes
	c.saw += fmt.Sprintf(", %d token requests, %s", n, longest.Round(time.Millisecond))
	if n > c.want.most {
		return longest, fmt.Errorf("%d token requests, not %d at most", n, c.want.most)
	}
	return longest, nil
}

// check compares an answer with the expected one, to the letter.
func (c *cell) check(a answer) error {
	if a.Status != c.want.status || a.Error != c.want.error || a.Cause != c.want.cause {
		return fmt.Errorf("expected %d %s %s, got %s", c.want.status, c.want.error, c.want.cause, a)
	}
	if after, err := strconv.Atoi(a.Header.Get("Retry-After")); (err == nil && after > 0) != (a.Status == http.StatusServiceUnavailable) {
		return fmt.Errorf("Retry-After is %q with %d", a.Header.Get("Retry-After"), a.Status)
	}
	if (a.ReauthURL != "") != (a.Status == http.StatusPreconditionRequired) {
		return fmt.Errorf("reauth_url is %q with %d", a.ReauthURL, a.Status)
	}
	return nil
}

// heals ends the fault, and expects the connection to work by itself; only what
// was lost for good is repaired by a human, as its answer says.
func (c *cell) heals(s *system) error {
	if c.fault.Times < 0 {
		c.at.Intuit.ClearFaults()
	}
	var reauth string
	err := eventually(90*time.Second, func() error {
		a, err := s.get(c.at, c.realm)
		if err == nil && a.Status == http.StatusPreconditionRequired && c.want == lost {
			reauth = a.ReauthURL
			return c.check(a)
		}
		if err == nil && a.Status != http.StatusOK {
			err = errors.New(a.String())
		}
		if err == nil && c.valid && c.want == lost {
			err = errors.New("the last token is still served")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("after the fault: %w", err)
	}
	if reauth == "" {
		return nil
	}
	if err := s.connect(c.at, c.realm, reauth); err != nil {
		return err
	}
	if a, err := s.get(c.at, c.realm); err != nil || a.Status != http.StatusOK {
		return fmt.Errorf("after the repair: %s %w", a, err)
	}
	return nil
}
