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

package freshbearer

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/pace"
)

// Pacing says how many requests of one company go to the API. What is more
// waits, and is answered 429 if that takes too long.
type Pacing struct {
	// Sends all requests at once, however many there are.
	Off bool `json:"off,omitempty"`

	// How many requests of one company may begin in any 60 seconds. Default:
	// what the provider allows, for QuickBooks 500.
	PerMinute int `json:"per_minute,omitempty"`

	// How many requests of one company may begin in any second. Default: what
	// the provider allows, for QuickBooks 10.
	PerSecond int `json:"per_second,omitempty"`

	// How many requests of one company may be under way. Default: what the
	// provider allows, for QuickBooks 10.
	AtOnce int `json:"at_once,omitempty"`

	// How many requests of one company may wait. Each may hold a body of
	// replay_buffer. Default: 100.
	Queue int `json:"queue,omitempty"`

	// How long a request may wait. Default: 15s.
	Wait caddy.Duration `json:"wait,omitempty"`
}

const (
	defaultPacingQueue = 100
	defaultPacingWait  = 15 * time.Second

	// mostPerMinute is what the pacer can count in one second.
	mostPerMinute = 60_000
	mostPerSecond = 1000
	mostAtOnce    = 1000
	mostQueue     = 10_000
	mostWait      = 2 * time.Minute
)

// unmarshalPacing parses the pacing of an integration. Syntax:
//
//	pacing off
//	pacing {
//		per_minute <n>
//		per_second <n>
//		at_once    <n>
//		queue      <n>
//		wait       <duration>
//	}
//
// An API that gets too many requests of a company refuses some of them. With
// pacing they wait here instead, in the order in which they came, and none of
// them is refused as long as there is room in the queue. It is on for a provider
// whose limits are known. Each company has its own limits, whichever caller
// sends; a request that is sent again counts twice.
func unmarshalPacing(d *caddyfile.Dispenser) (*Pacing, error) {
	p := new(Pacing)
	if d.NextArg() {
		if d.Val() != "off" || d.NextArg() || d.NextBlock(d.Nesting()) {
			return nil, d.Err("pacing is either 'off' or a block with per_minute, per_second, at_once, queue or wait")
		}
		p.Off = true
		return p, nil
	}
	numbers := map[string]struct {
		to   *int
		most int
	}{"per_minute": {&p.PerMinute, mostPerMinute}, "per_second": {&p.PerSecond, mostPerSecond}, "at_once": {&p.AtOnce, mostAtOnce}, "queue": {&p.Queue, mostQueue}}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return nil, d.Errf("%s is already set", option)
		}
		seen[option] = true
		number, isNumber := numbers[option]
		if !isNumber && option != "wait" {
			return nil, d.Errf("unrecognized pacing option '%s'; there are: per_minute, per_second, at_once, queue, wait", option)
		}
		var value string
		if !d.AllArgs(&value) {
			return nil, d.ArgErr()
		}
		if isNumber {
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || n > number.most {
				return nil, d.Errf("%s: '%s' is not a number from 1 to %d", option, value, number.most)
			}
			*number.to = n
			continue
		}
		wait, err := caddy.ParseDuration(value)
		if err != nil || wait <= 0 || wait > mostWait {
			return nil, d.Errf("wait: '%s' is not a duration up to %s", value, mostWait)
		}
		p.Wait = caddy.Duration(wait)
	}
	if len(seen) == 0 {
		return nil, d.Err("pacing needs 'off', or a block with per_minute, per_second, at_once, queue or wait")
	}
	return p, nil
}

// paces sets the limits of the integration.
func (in *Integration) paces() error {
	p := in.Pacing
	if p == nil {
		p = new(Pacing)
	}
	if p.Off {
		if *p != (Pacing{Off: true}) {
			return fmt.Errorf("pacing is off, and has limits")
		}
		return nil
	}
	if p.PerMinute < 0 || p.PerMinute > mostPerMinute || p.PerSecond < 0 || p.PerSecond > mostPerSecond || p.AtOnce < 0 || p.AtOnce > mostAtOnce ||
		p.Queue < 0 || p.Queue > mostQueue || p.Wait < 0 || time.Duration(p.Wait) > mostWait {
		return fmt.Errorf("pacing: per_minute must be at most %d, per_second %d, at_once %d, queue %d and wait %s, and none negative",
			mostPerMinute, mostPerSecond, mostAtOnce, mostQueue, mostWait)
	}
	theirs := in.provider.Limits()
	in.limits = pace.Limits{
		PerMinute: cmp.Or(p.PerMinute, theirs.PerMinute), PerSecond: cmp.Or(p.PerSecond, theirs.PerSecond), AtOnce: cmp.Or(p.AtOnce, theirs.AtOnce),
		Queue: cmp.Or(p.Queue, defaultPacingQueue), Wait: cmp.Or(time.Duration(p.Wait), defaultPacingWait),
	}
	return nil
}

// pacer returns an integration's. Configurations share it, so that a reload
// does not forget what was sent.
func (s *sharedKeeper) pacer(integration string) *pace.Pacer {
	p, _ := s.pacers.LoadOrStore(integration, pace.New(clockwork.NewRealClock()))
	return p.(*pace.Pacer)
}

// pace waits until the request may go, or may go once more, and tells whether
// it had to wait.
func (x *exchange) pace(ctx context.Context) (waited bool, err error) {
	if x.integration.limits.None() {
		return false, nil
	}
	if x.slot.Held() {
		return x.slot.Again(ctx)
	}
	x.slot, waited, err = x.integration.pacer.Enter(ctx, x.key.Connection, x.integration.limits)
	return waited, err
}

// leave says that the request has ended.
func (x *exchange) leave() {
	if x.slot.Held() {
		x.slot.Leave()
	}
}

// rateLimited makes the answer to a request that did not get its turn.
func (x *exchange) rateLimited(e *pace.LimitError) *problem {
	limits := x.integration.limits
	var may []string
	for _, l := range []struct {
		n    int
		text string
	}{{limits.PerMinute, "a minute"}, {limits.PerSecond, "a second"}, {limits.AtOnce, "at once"}} {
		if l.n > 0 {
			may = append(may, fmt.Sprintf("%d %s", l.n, l.text))
		}
	}
	return &problem{
		Kind: kindRateLimited, RetryAfter: e.RetryAfter,
		Detail:      fmt.Sprintf("%s company %s may have so many requests: %s. Too many wait already, and this one was not sent; try again later.", x.integration.provider.Title(), x.key.Connection, strings.Join(may, ", ")),
		Integration: x.integration.name, Connection: x.key.Connection,
	}
}

// sayWhen adds to an API's own 429 when to try again, which SDKs need to know.
func (x *exchange) sayWhen(resp *http.Response) {
	wait := x.integration.provider.Limits().RetryAfter
	if resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") == "" && wait > 0 {
		resp.Header.Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
	}
}
