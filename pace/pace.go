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

// Package pace holds requests back that an API would refuse, because a company
// sends more of them than the API allows. Companies do not wait for each other.
package pace

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
)

// Limits are what a company may send, and how long what is more may wait.
type Limits struct {
	// PerMinute and PerSecond are how many requests may begin in any span of
	// that length, AtOnce how many may be under way; 0 for any number.
	PerMinute, PerSecond, AtOnce int
	// Queue is how many requests may wait, Wait how long each of them.
	Queue int
	Wait  time.Duration
}

// None tells whether nothing is limited.
func (l Limits) None() bool { return l.PerMinute == 0 && l.PerSecond == 0 && l.AtOnce == 0 }

// LimitError says that a request did not get its turn.
type LimitError struct {
	// RetryAfter is when there may be room for it.
	RetryAfter time.Duration
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("more requests than the API allows; there is room in %s", e.RetryAfter)
}

// Pacer lets requests go, of each company in the order in which they came. It
// is safe for concurrent use.
type Pacer struct {
	clock clockwork.Clock
	// began is what time is counted from, so that a clock that is set does not
	// matter.
	began   time.Time
	seed    maphash.Seed
	stripes [64]stripe

	waiting atomic.Int64
	waits   atomic.Uint64
	waited  atomic.Int64
}

// stripe holds some of the companies. Its lock is theirs.
type stripe struct {
	mu        sync.Mutex
	companies map[string]*company
	sweptAt   time.Duration
}

// company is what one has sent of late.
type company struct {
	pacer   *Pacer
	stripe  *stripe
	limits  Limits
	minute  window
	second  window
	running int
	queue   []*waiter
	// armed tells that dispatch will be called by itself.
	armed bool
}

// waiter is a request in the queue.
type waiter struct {
	// more tells that it wants to be one more at once.
	more bool
	// gone is closed when it may go.
	gone chan struct{}
}

// New returns a pacer.
func New(clock clockwork.Clock) *Pacer {
	return &Pacer{clock: clock, began: clock.Now(), seed: maphash.MakeSeed()}
}

// Slot is a request that may go. The zero value is none.
type Slot struct{ company *company }

// Held tells whether there is a request.
func (s Slot) Held() bool { return s.company != nil }

// Enter waits until a request of a company may go, and tells whether it had to
// wait. The slot must be given back with Leave. The error is a *LimitError if
// there is no turn for it, or that of ctx.
func (p *Pacer) Enter(ctx context.Context, name string, limits Limits) (Slot, bool, error) {
	s := &p.stripes[maphash.String(p.seed, name)%uint64(len(p.stripes))]
	s.mu.Lock()
	c := s.companies[name]
	if c == nil {
		p.sweep(s)
		c = &company{pacer: p, stripe: s}
		s.companies[name] = c
	}
	c.limits = limits
	waited, err := c.enter(ctx, true)
	if err != nil {
		return Slot{}, waited, err
	}
	return Slot{c}, waited, nil
}

// Again waits until the request of the slot may be sent once more. Its errors
// are those of Enter; the slot is held all the same.
func (s Slot) Again(ctx context.Context) (waited bool, err error) {
	s.company.stripe.mu.Lock()
	return s.company.enter(ctx, false)
}

// Leave says that the request has ended.
func (s Slot) Leave() {
	c := s.company
	c.stripe.mu.Lock()
	defer c.stripe.mu.Unlock()
	c.running--
	if len(c.queue) > 0 {
		c.dispatch()
	}
}

// Stats are what a pacer has counted, and how many requests wait now.
type Stats struct {
	Waiting int64
	// Waits is how many requests had to wait, whether they got their turn or
	// not, and Waited how long in all.
	Waits  uint64
	Waited time.Duration
}

// Stats returns what was counted.
func (p *Pacer) Stats() Stats {
	return Stats{Waiting: p.waiting.Load(), Waits: p.waits.Load(), Waited: time.Duration(p.waited.Load())}
}

// sweepEvery bounds how often companies are forgotten. That is done when there
// is a new one, so that there are not many more than have sent of late.
const sweepEvery = 2 * time.Minute

func (p *Pacer) sweep(s *stripe) {
	now := p.clock.Since(p.began)
	if s.companies == nil {
		s.companies, s.sweptAt = make(map[string]*company), now
	}
	if now-s.sweptAt < sweepEvery {
		return
	}
	s.sweptAt = now
	for name, c := range s.companies {
		if c.advance(now); c.running == 0 && c.minute.total == 0 && c.second.total == 0 && len(c.queue) == 0 {
			delete(s.companies, name)
		}
	}
}

// enter is called with the lock held, and gives it back.
func (c *company) enter(ctx context.Context, more bool) (waited bool, err error) {
	p, limits := c.pacer, c.limits
	now := p.clock.Since(p.began)
	c.advance(now)
	// What is sent again goes before those that have not begun.
	ahead := len(c.queue)
	if !more {
		ahead = 0
	}
	if ahead == 0 && c.fits(more) {
		c.take(more)
		c.stripe.mu.Unlock()
		return false, nil
	}
	room := c.room(ahead+1, now)
	if len(c.queue) >= limits.Queue || room > limits.Wait {
		c.stripe.mu.Unlock()
		return false, &LimitError{RetryAfter: max(room, time.Second)}
	}
	w := &waiter{more: more, gone: make(chan struct{})}
	c.queue = slices.Insert(c.queue, ahead, w)
	c.dispatch()
	c.stripe.mu.Unlock()
	return true, c.wait(ctx, w, limits.Wait)
}

// wait waits for the turn.
func (c *company) wait(ctx context.Context, w *waiter, most time.Duration) error {
	p := c.pacer
	p.waits.Add(1)
	p.waiting.Add(1)
	began := p.clock.Now()
	defer func() {
		p.waiting.Add(-1)
		p.waited.Add(int64(p.clock.Since(began)))
	}()
	timer := p.clock.NewTimer(most)
	defer timer.Stop()
	var hungUp error
	select {
	case <-w.gone:
		return nil
	case <-timer.Chan():
	case <-ctx.Done():
		hungUp = fmt.Errorf("waiting for the turn of a request: %w", ctx.Err())
	}
	c.stripe.mu.Lock()
	defer c.stripe.mu.Unlock()
	i := slices.Index(c.queue, w)
	if i < 0 {
		return nil // its turn came in the same moment
	}
	c.queue = slices.Delete(c.queue, i, i+1)
	c.dispatch()
	if hungUp != nil {
		return hungUp
	}
	return &LimitError{RetryAfter: max(c.room(len(c.queue)+1, p.clock.Since(p.began)), time.Second)}
}

// dispatch lets go whoever may, and sees to it that it is called again.
func (c *company) dispatch() {
	now := c.pacer.clock.Since(c.pacer.began)
	c.advance(now)
	for len(c.queue) > 0 && c.fits(c.queue[0].more) {
		c.take(c.queue[0].more)
		close(c.queue[0].gone)
		c.queue = slices.Delete(c.queue, 0, 1)
	}
	if len(c.queue) == 0 || c.armed {
		return
	}
	if wait := c.room(1, now); wait > 0 {
		c.armed = true
		c.pacer.clock.AfterFunc(wait, func() {
			c.stripe.mu.Lock()
			defer c.stripe.mu.Unlock()
			c.armed = false
			c.dispatch()
		})
	}
}

// second is a fifth longer than one: requests do not arrive as they were sent.
// At QuickBooks that costs nothing in the long run, because 10 in 1.2 seconds
// are the 500 of a minute.
const second = 1200 * time.Millisecond

// advance forgets what is too long ago to count.
func (c *company) advance(now time.Duration) {
	c.minute.advance(now, time.Minute)
	c.second.advance(now, second)
}

func (c *company) fits(more bool) bool {
	return (c.limits.PerMinute == 0 || c.minute.total < c.limits.PerMinute) &&
		(c.limits.PerSecond == 0 || c.second.total < c.limits.PerSecond) &&
		(!more || c.limits.AtOnce == 0 || c.running < c.limits.AtOnce)
}

func (c *company) take(more bool) {
	if c.limits.PerMinute > 0 {
		c.minute.take()
	}
	if c.limits.PerSecond > 0 {
		c.second.take()
	}
	if more {
		c.running++
	}
}

// room tells when n more requests may have begun, as far as is known now.
func (c *company) room(n int, now time.Duration) time.Duration {
	return max(c.minute.room(n, c.limits.PerMinute, now, time.Minute), c.second.room(n, c.limits.PerSecond, now, second))
}
