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

package grant

import (
	"sync"
	"time"
)

// breaker keeps the refreshes of all connections away from a provider that is
// down. After a pause it asks for a probe, which costs no token; then it lets
// one refresh through, then two at once, four and so on.
type breaker struct {
	mu sync.Mutex
	// failures in a row while closed.
	failures int
	// openUntil is when a probe may be sent; zero while closed or half open.
	openUntil time.Time
	probing   bool
	// halfSince is when a probe got through; zero unless half open. Then limit
	// is how many refreshes may run at once, and running how many do.
	halfSince      time.Time
	limit, running int
}

const (
	// breakerLimit is how many failures in a row open the breaker: more than
	// one connection's two tries.
	breakerLimit = 5
	breakerPause = 30 * time.Second
	// The breaker closes after so many refreshes at once have gone well, or
	// after a time without a failure, if there are not so many.
	breakerWidth = 16
	breakerTrial = time.Minute
)

// admission is what a refresh may do.
type admission uint8

const (
	// admitted: go on, and report what came of it.
	admitted admission = iota
	// probeFirst: send a probe, report it with probed, and ask again.
	probeFirst
	// refused: not now.
	refused
)

// admit asks whether a refresh may start. If not, it tells how long to wait.
func (b *breaker) admit(now time.Time) (admission, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.halfSince.IsZero():
		if b.running >= b.limit {
			return refused, time.Second
		}
		b.running++
		return admitted, 0
	case b.openUntil.IsZero():
		return admitted, 0
	case now.Before(b.openUntil):
		return refused, b.openUntil.Sub(now)
	case b.probing:
		return refused, time.Second
	}
	b.probing = true
	return probeFirst, 0
}

// probed reports the outcome of a probe.
func (b *breaker) probed(now time.Time, reachable bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if !reachable {
		b.openUntil = now.Add(breakerPause)
		return
	}
	b.openUntil = time.Time{}
	b.halfSince, b.limit, b.running = now, 1, 0
}

// report tells what came of an admitted refresh: whether the provider answered
// in a way that shows it to be up. It returns whether that opened or closed
// the breaker.
func (b *breaker) report(now time.Time, up bool) (opened, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.halfSince.IsZero() {
		switch {
		case !b.openUntil.IsZero():
			// Begun before it opened.
		case up:
			b.failures = 0
		default:
			b.failures++
			if b.failures >= breakerLimit {
				b.openUntil = now.Add(breakerPause)
				return true, false
			}
		}
		return false, false
	}
	b.running = max(0, b.running-1)
	if !up {
		b.halfSince, b.openUntil, b.failures = time.Time{}, now.Add(breakerPause), 0
		return true, false
	}
	b.limit *= 2
	if b.limit > breakerWidth || now.Sub(b.halfSince) >= breakerTrial {
		b.halfSince, b.failures = time.Time{}, 0
		return false, true
	}
	return false, false
}

// phase tells whether refreshes are let through.
func (b *breaker) phase() BreakerPhase {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.halfSince.IsZero():
		return BreakerHalfOpen
	case !b.openUntil.IsZero():
		return BreakerOpen
	}
	return BreakerClosed
}

// pause tells how long no refresh will be admitted; 0 if one may try.
func (b *breaker) pause(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.openUntil.IsZero() && now.Before(b.openUntil):
		return b.openUntil.Sub(now)
	case b.probing, !b.halfSince.IsZero() && b.running >= b.limit:
		return time.Second
	}
	return 0
}
