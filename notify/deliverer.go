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

package notify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// lifetime is how long a notice is tried to be delivered. One that could
	// not be tried in that time is tried once.
	lifetime = 3 * 24 * time.Hour
	// queueLimit is how many notices of an integration may wait.
	queueLimit = 100_000
	// lookEvery is how often the outbox is read as a whole. Notices are told
	// of when they are stored; this finds those whose writer did not know that
	// they were.
	lookEvery = time.Hour
	// lookAgain is when to read it again if that failed.
	lookAgain = time.Minute
	// storeAgain is when to try again what failed because of the store.
	storeAgain = 5 * time.Second
	// closeGrace is how long closing waits for answers of receivers, closeEnd
	// how long for the store after that.
	closeGrace = 3 * time.Second
	closeEnd   = 2 * time.Second
)

// Options are what a Deliverer needs to know. The zero value of a field means
// its default.
type Options struct {
	Clock  clockwork.Clock
	Logger *zap.Logger
	// QueueLimit is how many notices of one integration may wait before the
	// oldest are given up, minor ones first. Default: 100,000.
	QueueLimit int
}

// Deliverer delivers what is in the outbox of a vault. It is safe for
// concurrent use.
type Deliverer struct {
	vault  *tokenstore.Vault
	clock  clockwork.Clock
	logger *zap.Logger
	limit  int
	client *http.Client

	mu      sync.Mutex
	queues  map[string]*queue
	targets map[string]*Target // by what the vault calls the queue
	// uses counts the calls of Use.
	uses    int
	closing bool

	wake chan struct{}
	// stopped is closed when run has returned.
	stopped chan struct{}
	// life is cancelled when Close gives up waiting.
	life    context.Context
	end     context.CancelFunc
	closed  chan struct{}
	sending sync.WaitGroup
}

// Start starts delivering. The vault has one deliverer, which must be closed
// before it.
func Start(vault *tokenstore.Vault, opts Options) *Deliverer {
	if opts.Clock == nil {
		opts.Clock = clockwork.NewRealClock()
	}
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	if opts.QueueLimit == 0 {
		opts.QueueLimit = queueLimit
	}
	d := &Deliverer{
		vault: vault, clock: opts.Clock, logger: opts.Logger, limit: opts.QueueLimit, client: newClient(),
		queues: make(map[string]*queue), targets: make(map[string]*Target),
		wake: make(chan struct{}, 1), stopped: make(chan struct{}), closed: make(chan struct{}),
	}
	d.life, d.end = context.WithCancel(context.Background())
	vault.OnNotice(d.add)
	go d.run()
	return d
}

// Use sets the targets, by the name of their integration, in place of the ones
// before. What waits for another try is tried at once: the change may be what
// it has waited for. Notices of an integration without a target wait for one
// until they are too old.
func (d *Deliverer) Use(targets map[string]*Target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.targets = make(map[string]*Target, len(targets))
	for name, t := range targets {
		d.targets[d.vault.Queue(name)] = t
	}
	d.uses++
	for _, q := range d.queues {
		q.startOver()
	}
	d.nudge()
}

// Close ends the deliveries under way. Those that are cut off are made again
// after the next start. It takes five seconds at most.
func (d *Deliverer) Close() {
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		return
	}
	d.closing = true
	d.mu.Unlock()
	d.vault.OnNotice(nil)
	close(d.closed)

	idle := make(chan struct{})
	go func() {
		<-d.stopped
		d.sending.Wait()
		close(idle)
	}()
	limit := time.NewTimer(closeGrace)
	defer limit.Stop()
	select {
	case <-idle:
	case <-limit.C:
		d.end()
		limit.Reset(closeEnd)
		select {
		case <-idle:
		case <-limit.C:
		}
	}
	d.end()
	d.client.CloseIdleConnections()
}

// add notes a notice. It is called while a token is being stored, so it does
// nothing that takes time.
func (d *Deliverer) add(ref tokenstore.NoticeRef) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[ref.Queue()]
	if q == nil {
		q = newQueue()
		d.queues[ref.Queue()] = q
	}
	q.add(ref)
	d.nudge()
}

func (d *Deliverer) nudge() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Deliverer) run() {
	defer close(d.stopped)
	look := d.clock.Now()
	for {
		now := d.clock.Now()
		if !now.Before(look) {
			look = now.Add(lookEvery)
			if err := d.vault.Notices(d.life, func(ref tokenstore.NoticeRef) bool { d.add(ref); return true }); err != nil {
				look = now.Add(lookAgain)
				d.logger.Error("reading the outbox; it will be tried again", zap.Error(err))
			}
		}
		d.giveUpOldest()
		next := d.dispatch(now)
		if next.IsZero() || look.Before(next) {
			next = look
		}
		timer := d.clock.NewTimer(max(next.Sub(now), time.Millisecond))
		select {
		case <-d.wake:
		case <-timer.Chan():
		case <-d.closed:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// dispatch starts what may be tried now, and returns when there is more to
// try, the zero time if nothing waits for a time.
func (d *Deliverer) dispatch(now time.Time) (next time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, q := range d.queues {
		for !d.closing {
			l, at := q.take(now)
			if l == nil {
				if !at.IsZero() && (next.IsZero() || at.Before(next)) {
					next = at
				}
				break
			}
			target, ref, uses := d.targets[name], l.refs[0], d.uses
			d.sending.Go(func() { d.try(q, l, target, ref, uses) })
		}
		if len(q.lanes) == 0 && q.failures == 0 {
			delete(d.queues, name)
		}
	}
	return next
}

// result is what came of a try.
type result struct {
	// gone tells that the notice needs no further try.
	gone bool
	// delivered and failed say so of the receiver; neither of it if the try
	// did not reach it for reasons of our own.
	delivered, failed bool
	// wait is how long to wait at least.
	wait time.Duration
}

func (d *Deliverer) try(q *queue, l *lane, target *Target, ref tokenstore.NoticeRef, uses int) {
	r := d.deliver(target, ref)
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock.Now()
	l.notBefore = now.Add(r.wait)
	switch {
	case r.delivered:
		if q.failures > 0 {
			d.logger.Info("the receiver of notices accepts them again", zap.Int("waiting", q.count))
		}
		q.succeeded(l)
	case uses != d.uses:
		// What it has met with says nothing about the target of now.
		l.notBefore = now
	case r.failed:
		q.failed(l, now, r.wait)
	}
	if r.gone {
		q.remove(ref)
	}
	q.giveBack(l, ref.Connection())
	d.nudge()
}

// deliver tries to deliver a notice.
func (d *Deliverer) deliver(target *Target, ref tokenstore.NoticeRef) (r result) {
	defer func() {
		if p := recover(); p != nil {
			d.logger.Error("panic while delivering a notice", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			r = result{failed: true}
		}
	}()
	n, err := d.vault.ReadNotice(d.life, ref)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		return result{gone: true}
	case errors.Is(err, tokenstore.ErrAltered):
		d.logger.Error("a notice cannot be read and is given up", zap.Error(err))
		return d.drop(d.vault.DropNotices(d.life, ref))
	case err != nil:
		d.logger.Error("a notice cannot be read", zap.Error(err))
		return result{wait: storeAgain}
	}
	log := d.logger.With(zap.String("integration", n.Integration), zap.String("id", n.ID))
	left := n.Time.Add(lifetime).Sub(d.clock.Now())
	if target == nil && left > 0 {
		return result{wait: left}
	}
	if target == nil {
		return d.giveUp(log, n, errNoTarget)
	}
	err = d.send(d.life, target, n)
	var refused *refusal
	switch {
	case err == nil:
		log.Debug("notice delivered")
		r = d.drop(d.vault.DropNotice(context.WithoutCancel(d.life), n))
		r.delivered = true
		return r
	case d.life.Err() != nil:
		return result{}
	case errors.As(err, &refused) && refused.status == http.StatusGone:
		log.Error("the receiver wants no such notice (410); it is given up")
		return d.drop(d.vault.DropNotice(d.life, n))
	case left <= 0:
		// Not before it was tried: it may have waited for another one.
		r = d.giveUp(log, n, err)
	case errors.As(err, &refused):
		r.wait = refused.retryAfter
		fallthrough
	default:
		d.trouble(ref, log, err)
	}
	r.failed = true
	return r
}

var errNoTarget = errors.New("its integration names no receiver")

// giveUp ends the life of a notice that is too old.
func (d *Deliverer) giveUp(log *zap.Logger, n *tokenstore.Notice, why error) result {
	log.Error("a notice was not accepted for too long and is given up", zap.Time("from", n.Time), zap.Error(why))
	return d.drop(d.vault.DropNotice(d.life, n))
}

// drop says what became of a notice that was to be deleted. One that could not
// be is delivered again, with the same ID.
func (d *Deliverer) drop(err error) result {
	switch {
	case err == nil:
		return result{gone: true}
	case errors.Is(err, tokenstore.ErrConflict):
		return result{}
	}
	d.logger.Error("a notice could not be deleted; it may be delivered again", zap.Error(err))
	return result{wait: storeAgain}
}

// trouble warns of the first failure after a success; the others are more of
// the same.
func (d *Deliverer) trouble(ref tokenstore.NoticeRef, log *zap.Logger, err error) {
	d.mu.Lock()
	first := d.queues[ref.Queue()] != nil && d.queues[ref.Queue()].failures == 0
	d.mu.Unlock()
	level := zap.DebugLevel
	if first {
		level = zap.WarnLevel
	}
	log.Log(level, "a notice was not accepted; it will be tried again", zap.Error(err))
}

// giveUpOldest keeps the queues within their bound.
func (d *Deliverer) giveUpOldest() {
	var victims []tokenstore.NoticeRef
	d.mu.Lock()
	for _, q := range d.queues {
		victims = append(victims, q.trim(d.limit)...)
	}
	d.mu.Unlock()
	if len(victims) == 0 {
		return
	}
	d.logger.Error("too many notices wait for their receiver; the oldest are given up", zap.Int("notices", len(victims)))
	if err := d.vault.DropNotices(d.life, victims...); err != nil {
		d.logger.Error("notices that were given up could not be deleted", zap.Error(fmt.Errorf("%d notices: %w", len(victims), err)))
	}
}
