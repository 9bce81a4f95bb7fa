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
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/provider"
)

// limits are what a caller may ask for at once and in a time. They begin anew
// with every configuration.
type limits struct {
	// rate is nil if there is no limit.
	rate       *rate.Limiter
	concurrent int64
	underWay   atomic.Int64
}

const wantPath = "must be a path below the company, such as /invoice: plain, with a slash before it and none after it"

func (c *Caller) provisionScope() error {
	for _, p := range c.Paths {
		if !plainPath(p) {
			return fmt.Errorf("paths: %q %s", p, wantPath)
		}
	}
	if c.RateLimit < 0 || c.RateLimitWindow < 0 || (c.RateLimit == 0) != (c.RateLimitWindow == 0) {
		return errors.New("rate_limit needs a positive number of requests and a positive window, such as 500 1m")
	}
	if c.MaxConcurrent < 0 {
		return errors.New("max_concurrent must be positive")
	}
	c.limits = &limits{concurrent: int64(c.MaxConcurrent)}
	if c.RateLimit > 0 {
		every := rate.Limit(float64(c.RateLimit) / time.Duration(c.RateLimitWindow).Seconds())
		c.limits.rate = rate.NewLimiter(every, c.RateLimit)
	}
	return nil
}

// plainPath tells whether a configured path can be the beginning of a target
// that the grammars let through.
func plainPath(p string) bool {
	return len(p) > 1 && p[0] == '/' && path.Clean(p) == p && strings.Trim(p[1:], "/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-") == ""
}

// enter counts a request against the caller's limits, or refuses it. Whoever
// enters must leave.
func (c *Caller) enter(clock func() time.Time) error {
	l := c.limits
	if n := l.underWay.Add(1); l.concurrent > 0 && n > l.concurrent {
		l.underWay.Add(-1)
		return &problem{
			Kind: kindCallerLimited, RetryAfter: time.Second,
			Detail: fmt.Sprintf("This proxy key may have %d requests under way at once. Wait for one to end.", l.concurrent),
		}
	}
	if l.rate == nil {
		return nil
	}
	now := clock()
	turn := l.rate.ReserveN(now, 1)
	wait := turn.DelayFrom(now)
	if wait <= 0 {
		return nil
	}
	turn.CancelAt(now)
	l.underWay.Add(-1)
	return &problem{
		Kind: kindCallerLimited, RetryAfter: wait,
		Detail: fmt.Sprintf("This proxy key may send %d requests in %s. Try again later.", c.RateLimit, time.Duration(c.RateLimitWindow)),
	}
}

func (c *Caller) leave() { c.limits.underWay.Add(-1) }

// inScope tells whether the caller may ask the API for this, whatever the
// connection: nothing is looked up, so that the answer says nothing of one.
func (c *Caller) inScope(method string, target provider.Target) error {
	if c.ReadOnly && !reads(method) && !(method == http.MethodPost && target.Query) {
		return &problem{Kind: kindOutOfScope, Detail: "This proxy key may only read: GET, HEAD, and queries by POST."}
	}
	if len(c.Paths) == 0 {
		return nil
	}
	for _, p := range c.Paths {
		// At the end of a segment: /invoice is not /invoices.
		if rest, ok := strings.CutPrefix(target.Resource, p); ok && (rest == "" || rest[0] == '/') {
			return nil
		}
	}
	return &problem{Kind: kindOutOfScope, Detail: "This proxy key may not use this part of the API."}
}

func reads(method string) bool { return method == http.MethodGet || method == http.MethodHead }

// caller lets a caller in to the apps' own API. Whoever it returns must leave.
func (h *ConnectHandler) caller(r *http.Request) (*Caller, error) {
	caller := h.app.callers.authenticate(r)
	if caller == nil {
		return nil, unauthorized()
	}
	if caller.ReadOnly && !reads(r.Method) {
		h.app.outOfScope(caller, h.integration)
		return nil, &problem{Kind: kindOutOfScope, Detail: "This proxy key may only read: it makes no links, and neither refreshes nor disconnects."}
	}
	return caller, caller.enter(time.Now)
}

// outOfScope notes for the operator that a caller has asked for more than it
// may.
func (a *App) outOfScope(c *Caller, in *Integration) {
	recordRefused(a.running.Load(), audit.ByCaller, c.name, in.name, "out_of_scope")
}
