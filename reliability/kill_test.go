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
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// connections is how many a gate keeps busy, life how long their tokens live:
// with a request every pace, some are being refreshed at any time.
const (
	connections = 40
	life        = 2 * time.Second
	pace        = 50 * time.Millisecond
)

// strict takes every second use of a refresh token for theft.
func strict() intuittest.Behaviour {
	return intuittest.Behaviour{AccessTokenTTL: life, Rotation: intuittest.RotateAlways, RevokeFamily: true}
}

// graceful still knows the token before for half a minute, as providers do that
// have a grace time.
func graceful() intuittest.Behaviour {
	b := strict()
	b.Grace = 30 * time.Second
	return b
}

// slowAnswers delays what the token endpoint has already decided: the time in
// which a death of the process costs an answer is longer.
func slowAnswers(in *intuittest.Server, d time.Duration) {
	in.ClearFaults(intuittest.EndpointToken)
	if d > 0 {
		in.FailToken(intuittest.Fault{Kind: intuittest.FaultDelayAfter, Delay: d, Times: -1})
	}
}

// kill -9 at any moment, again and again, also while what the kill before has
// left is being repaired.
func TestKill(t *testing.T) {
	for name, behaviour := range map[string]intuittest.Behaviour{"grace": graceful(), "strict": strict()} {
		t.Run(name, func(t *testing.T) {
			gate(t)
			k := &killing{system: newSystem(t, behaviour), mayLose: name == "strict"}
			k.at = k.Sites[0]
			k.spawn()
			k.up()
			k.realms = k.connectAll(k.at, connections)
			k.load = k.busy(k.at, k.realms, pace)
			k.run(times(12, 500))
		})
	}
}

// killing is the gate in progress.
type killing struct {
	*system
	at      *site
	realms  []string
	load    *load
	mayLose bool

	kills []time.Time
	// lost counts the losses that were explained, slowest is the longest time
	// between the provider's decision and the kill that lost its answer.
	lost    int
	slowest time.Duration
	// recovered counts the answers that were lost and asked for again, latest
	// is the longest time until that was done.
	recovered int
	latest    time.Duration
	seenSeq   int
	last      map[string]intuittest.TokenRequest
}

func (k *killing) run(n int) {
	random := dice(k.t)
	k.last = make(map[string]intuittest.TokenRequest)
	began := time.Now()
	for i := range n {
		delay := time.Duration(0)
		if i%2 == 1 {
			delay = 200 * time.Millisecond
		}
		slowAnswers(k.at.Intuit, delay)
		// From the start of the process on, so that some die before they have
		// repaired anything.
		time.Sleep(time.Until(k.proc.spawned.Add(time.Duration(random.Int64N(int64(1500 * time.Millisecond))))))
		if delay > 0 {
			// Tokens that were issued together are refreshed together, and most
			// moments are between that: this one is while an answer is held back.
			duringAnswer(k.at.Intuit)
			time.Sleep(time.Duration(random.Int64N(int64(delay))))
		}
		k.proc.kill()
		k.kills = append(k.kills, time.Now())
		k.follow()
		k.spawn()
		if len(k.suspects()) > 0 && (i%2 == 0 || i == n-1) {
			k.up()
			k.settle()
		}
		if k.t.Failed() {
			k.t.Fatalf("after %d kills", i+1)
		}
		if (i+1)%50 == 0 {
			k.t.Logf("%d kills: %d answers asked for again, %d connections lost and explained", i+1, k.recovered, k.lost)
		}
	}
	slowAnswers(k.at.Intuit, 0)
	k.up()
	k.repaired()
	k.settle()
	k.serves(k.at, k.realms)
	k.load.stop()
	k.settle()
	k.follow()
	neverTwoAtOnce(k.t, k.at.Intuit)

	if failed := k.load.failures(); len(failed) > 0 {
		k.t.Errorf("%d requests were answered, but badly, such as %q", len(failed), failed[:min(5, len(failed))])
	}
	if k.recovered+k.lost == 0 {
		k.t.Error("no kill has cost an answer: this proves nothing")
	}
	if !k.mayLose && k.lost > 0 {
		k.t.Errorf("%d connections were lost", k.lost)
	}
	c := k.at.Intuit.Counters()
	k.t.Logf("%d kills in %s; %d requests served, %s; %d refreshes, %d rotations; %d lost answers asked for again, the latest %s after the provider's decision; "+
		"%d connections lost, all explained, at most %s between the provider's decision and the kill",
		n, time.Since(began).Round(time.Second), k.load.served.Load(), k.load.percentiles(), c.Refreshes, c.Rotations,
		k.recovered, k.latest.Round(time.Millisecond), k.lost, k.slowest.Round(time.Millisecond))
}

// duringAnswer waits until the provider has replaced a token. If it does not,
// because the process is not up yet, that is as good a moment as any.
func duringAnswer(in *intuittest.Server) {
	before := in.Counters().Rotations
	_ = eventually(2*life, func() error {
		if in.Counters().Rotations == before {
			return errors.New("no rotation")
		}
		return nil
	})
}

// repaired waits until every connection has been refreshed, or was refused, by
// the process that runs now: only then is nothing left of the kills before.
func (k *killing) repaired() {
	k.t.Helper()
	if err := eventually(30*time.Second, func() error {
		asked := make(map[string]bool)
		for _, r := range k.at.Intuit.TokenRequests() {
			asked[r.Realm] = asked[r.Realm] || r.Time.After(k.proc.spawned)
		}
		for _, realm := range k.realms {
			if !asked[realm] {
				return fmt.Errorf("%s has not been refreshed since the last kill", realm)
			}
		}
		return nil
	}); err != nil {
		k.t.Error(err)
	}
}

// settle waits until every connection whose refresh token the provider has
// refused is answered with 428, checks that it had to come to that, and has a
// human connect it again.
func (k *killing) settle() {
	k.t.Helper()
	if err := eventually(30*time.Second, func() error {
		refused := k.suspects()
		for realm, a := range k.load.buried() {
			// An answer that was on its way while a human reconnected it.
			if k.lost > 0 && !slices.Contains(refused, realm) {
				continue
			}
			if err := k.explain(realm, a); err != nil {
				k.t.Errorf("%s: %v", realm, err)
			}
			if err := k.connect(k.at, realm, a.ReauthURL); err != nil {
				k.t.Errorf("reconnecting %s: %v", realm, err)
			}
		}
		if left := k.suspects(); len(left) > 0 {
			return fmt.Errorf("%d connections are refused by the provider and not reported", len(left))
		}
		return nil
	}); err != nil {
		k.t.Error(err)
	}
}

// suspects are the connections whose last token request was refused.
func (k *killing) suspects() []string {
	refused := make(map[string]bool)
	for _, r := range k.at.Intuit.TokenRequests() {
		refused[r.Realm] = r.Outcome == "invalid_grant"
	}
	maps.DeleteFunc(refused, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(refused))
}

// explain checks from what the provider has seen that a loss could not be
// helped: it had replaced the refresh token, its answer was lost to a kill, and
// nobody has ever used what was in that answer.
func (k *killing) explain(realm string, a answer) error {
	if !k.mayLose {
		k.lost++
		return fmt.Errorf("lost with a provider that has a grace time: %s", a)
	}
	if a.Cause != "refresh_response_lost" || a.ReauthURL == "" {
		return fmt.Errorf("the loss is explained as %q: %s", a.Cause, a)
	}
	var requests []intuittest.TokenRequest
	for _, r := range k.at.Intuit.TokenRequests() {
		switch {
		case r.Realm != realm:
		case r.GrantType == "authorization_code":
			requests = nil
		default:
			requests = append(requests, r)
		}
	}
	decided := -1
	for i, r := range requests {
		if r.Outcome == "ok" {
			decided = i
		}
	}
	if decided < 0 || decided == len(requests)-1 {
		return fmt.Errorf("no lost answer among %d token requests", len(requests))
	}
	lost := requests[decided]
	if !lost.Rotated || !requests[decided+1].Superseded || requests[decided+1].RefreshToken != lost.RefreshToken {
		return fmt.Errorf("the refused token is not the one that was replaced last: %+v", requests[decided:])
	}
	// In the order of the log: the access token of the lost answer is the last
	// one that was issued before the answer was logged.
	var token string
	for _, e := range k.at.Intuit.Events() {
		if e.Seq < lost.Seq && e.Realm == realm && e.Kind == "issue" {
			token = e.Detail
		}
	}
	if token == "" {
		return errors.New("the log does not reach back to the lost answer")
	}
	for _, r := range k.at.Intuit.APIRequests() {
		if r.TokenID == token {
			return errors.New("the access token of the lost answer was used: the answer was there, and should have been durable")
		}
	}
	// The request may have been in a socket's buffer when the process died.
	const slack = time.Second
	for _, kill := range k.kills {
		if before := kill.Sub(lost.Time); before > -slack && before < slack {
			k.lost++
			k.slowest = max(k.slowest, before)
			return nil
		}
	}
	return fmt.Errorf("no kill near the lost answer of %s", lost.Time.Format("15:04:05.000"))
}

// follow reads what is new in the provider's log, and counts the answers that
// were lost and asked for again.
func (k *killing) follow() {
	for _, r := range k.at.Intuit.TokenRequests() {
		if r.Seq <= k.seenSeq || r.GrantType != "refresh_token" {
			continue
		}
		k.seenSeq = r.Seq
		before, ok := k.last[r.Realm]
		if ok && r.Outcome == "ok" && before.Outcome == "ok" && before.Rotated && before.RefreshToken == r.RefreshToken {
			k.recovered++
			k.latest = max(k.latest, r.Time.Sub(before.Time))
		}
		k.last[r.Realm] = r
	}
}
