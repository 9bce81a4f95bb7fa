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
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// habits are the ways in which a provider may rotate refresh tokens. Access
// tokens live 2 s in all of them.
var habits = []struct {
	name      string
	behaviour intuittest.Behaviour
}{
	{"byage", intuittest.Behaviour{Rotation: intuittest.RotateByAge, RotationAge: 3 * time.Second, RotationJitter: -1}},
	{"strict", intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true}},
	{"never", intuittest.Behaviour{Rotation: intuittest.RotateNever}},
	{"grace", intuittest.Behaviour{Rotation: intuittest.RotateAlways, Grace: time.Hour}},
}

const (
	shortLife  = 2 * time.Second
	sdkSeconds = 8
)

// sdkReport is what a driver says about one habit; see sdk/common.mjs.
type sdkReport struct {
	Habit    string   `json:"habit"`
	Calls    int      `json:"calls"`
	Creates  int      `json:"creates"`
	Uploads  int      `json:"uploads"`
	Failures int      `json:"failures"`
	Examples []string `json:"examples"`
}

func TestNodeQuickBooks(t *testing.T) { testSDK(t, "node-quickbooks.mjs") }

func TestIntuitOAuth(t *testing.T) { testSDK(t, "intuit-oauth.mjs") }

// testSDK runs a client against one proxy with an integration for each habit,
// all habits at once.
func testSDK(t *testing.T, driver string) {
	modules := installModules(t, "sdk")
	s := start(t, func(s *system) {
		s.Sites[0].Intuit.Close()
		s.Sites = nil
		for _, h := range habits {
			h.behaviour.AccessTokenTTL = shortLife
			s.addSite(h.name, h.behaviour)
		}
	})
	type proxy struct {
		Habit  string `json:"habit"`
		Origin string `json:"origin"`
	}
	var proxies []proxy
	recorders := make(map[string]*recorder)
	for _, site := range s.Sites {
		connectAt(t, site, s.Key, realmOne)
		r := newRecorder(t, site.Origin)
		recorders[site.Name] = r
		proxies = append(proxies, proxy{site.Name, r.Origin})
	}
	began := time.Now()
	reports := runDriver(t, driver, map[string]any{
		"modules": modules, "key": s.Key, "realm": realmOne, "seconds": sdkSeconds, "proxies": proxies,
	})
	if len(reports) != len(habits) {
		t.Fatalf("the driver reports on %d habits of %d", len(reports), len(habits))
	}
	t.Logf("%s ran for %.1f s", driver, time.Since(began).Seconds())
	for i, report := range reports {
		t.Run(report.Habit, func(t *testing.T) {
			checkSDK(t, s.Sites[i].Intuit, recorders[report.Habit], report)
		})
	}
}

func checkSDK(t *testing.T, in *intuittest.Server, wire *recorder, report sdkReport) {
	counters := in.Counters()
	t.Logf("%d calls, %d creates, %d uploads; %d refreshes, %d rotations; API %v",
		report.Calls, report.Creates, report.Uploads, counters.Refreshes, counters.Rotations, counters.APIStatus)
	if report.Failures > 0 {
		t.Errorf("%d calls failed, such as %q", report.Failures, report.Examples)
	}
	// As fast as the pacing lets them: 10 a second.
	if report.Calls < 50 {
		t.Errorf("only %d calls were made", report.Calls)
	}
	if want := report.Creates + report.Uploads; counters.Creates != want {
		t.Errorf("%d creates were carried out, %d were asked for", counters.Creates, want)
	}
	if twice := in.ExecutedTwice(); len(twice) > 0 {
		t.Errorf("%d creates were carried out twice: %+v", len(twice), twice)
	}
	checkRefreshes(t, in, report.Uploads)
	checkRotations(t, report.Habit, counters)

	got, answers := wire.answers(t)
	if answers != report.Calls {
		t.Errorf("the client made %d calls and got %d answers", report.Calls, answers)
	}
	tokens := tokensOf(in)
	if len(tokens) < 4 {
		t.Errorf("only %d tokens to look for", len(tokens))
	}
	for _, token := range tokens {
		if bytes.Contains(got, []byte(token)) {
			t.Errorf("the client got a token: %.24s…", token)
		}
	}
}

// checkRefreshes compares the refreshes with the expiries that passed.
//
// At least: a token serves requests for its 2 s and no longer, so in the time
// T between the first and the last API request at least T/2 tokens were used,
// one fewer of them refreshed; a pause without requests may make a token last
// longer by as much.
//
// At most: a token is refreshed when a sixth to a quarter of its life is left,
// which is 1.5 s after it was issued at the earliest, hence T/1.5 times, with
// one for each end. A body that is streamed asks for a token with half of its
// life left, so each upload may cost one more.
func checkRefreshes(t *testing.T, in *intuittest.Server, uploads int) {
	t.Helper()
	requests := in.APIRequests()
	if len(requests) < 2 {
		t.Fatal("there were no requests")
	}
	// A request is recorded when it ends, so the order is not that of time.
	times := make([]time.Time, len(requests))
	for i, r := range requests {
		times[i] = r.Time
	}
	slices.SortFunc(times, time.Time.Compare)
	first, last := times[0], times[len(times)-1]
	var pause time.Duration
	for i := 1; i < len(times); i++ {
		pause = max(pause, times[i].Sub(times[i-1]))
	}
	span := last.Sub(first)
	least := int(span/(shortLife+pause)) - 1
	most := int(span/(3*shortLife/4)) + 2 + uploads
	c := in.Counters()
	if c.Refreshes < least || c.Refreshes > most {
		t.Errorf("%d refreshes in %s (longest pause %s), expected %d to %d", c.Refreshes, span, pause, least, most)
	}
	if c.RefreshesOK != c.Refreshes {
		t.Errorf("%d of %d refreshes succeeded: %v", c.RefreshesOK, c.Refreshes, c.TokenRequests)
	}
	neverTwoAtOnce(t, in)
}

// neverTwoAtOnce checks that there was one flight at a time.
func neverTwoAtOnce(t *testing.T, in *intuittest.Server, realms ...string) {
	t.Helper()
	c := in.Counters()
	if c.OverlappingRefreshes != 0 || c.SupersededReuses != 0 {
		t.Errorf("%d refreshes overlapped, %d used a superseded token", c.OverlappingRefreshes, c.SupersededReuses)
	}
	for realm, n := range c.MaxConcurrentRefreshes {
		if n > 1 {
			t.Errorf("%d refreshes of %s were under way at once", n, realm)
		}
	}
	for _, realm := range append(realms, realmOne) {
		if c.MaxConcurrentRefreshes[realm] == 0 {
			t.Errorf("%s was never refreshed", realm)
		}
	}
	if c.DuplicateAuthorization != 0 {
		t.Errorf("%d requests had more than one Authorization line", c.DuplicateAuthorization)
	}
}

// checkRotations makes sure that the habit was what its name says.
func checkRotations(t *testing.T, habit string, c intuittest.Counters) {
	t.Helper()
	ok := c.Rotations == c.RefreshesOK
	switch habit {
	case "never":
		ok = c.Rotations == 0
	case "byage":
		ok = c.Rotations > 0 && c.Rotations < c.RefreshesOK
	}
	if !ok {
		t.Errorf("%d of %d refreshes rotated the token", c.Rotations, c.RefreshesOK)
	}
}

// runDriver runs sdk/<driver> with node.
func runDriver(t *testing.T, driver string, task any) []sdkReport {
	t.Helper()
	input, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "node"), filepath.Join("sdk", driver))
	cmd.Stdin = bytes.NewReader(input)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		t.Fatalf("running %s: %v\n%s", driver, err, problems.Bytes())
	}
	var reports []sdkReport
	if err := json.Unmarshal(out.Bytes(), &reports); err != nil {
		t.Fatalf("%s printed no report: %v\n%s%s", driver, err, out.Bytes(), problems.Bytes())
	}
	return reports
}
