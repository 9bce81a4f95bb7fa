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

package audit

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// refusalInterval is how often the same refusal is written; between two
	// entries it is counted.
	refusalInterval = time.Minute
	// maxRefusals is how many different refusals are told apart. Names are those
	// of the configuration, so there are few.
	maxRefusals = 64
)

// refusals counts what strangers can cause as often as they like, so that they
// fill no disk and nobody waits for one.
type refusals struct {
	mu      sync.Mutex
	waiting map[Entry]*refusal
	wake    chan struct{}
	quit    chan struct{}
	stopped chan struct{}
}

// refusal is one kind of them. It is written at once when it comes up, and
// then once in an interval.
type refusal struct {
	count int
	due   time.Time
}

func (r *refusals) start(l *Log) {
	r.waiting = make(map[Entry]*refusal)
	r.wake, r.quit, r.stopped = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go r.run(l)
}

// stop writes what is left.
func (r *refusals) stop() {
	r.mu.Lock()
	select {
	case <-r.quit:
	default:
		close(r.quit)
	}
	r.mu.Unlock()
	<-r.stopped
}

// Refuse notes that somebody was refused, and returns at once. Equal refusals
// are written once in a minute, with their count, so a connection is not named.
func (l *Log) Refuse(by Actor, who, integration, why string) {
	r := &l.refusals
	e := Entry{What: Refused, By: by, Who: who, Integration: integration, Outcome: why}
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.waiting[e]
	if !ok && len(r.waiting) >= maxRefusals {
		e = Entry{What: Refused, By: ByStranger, Outcome: "other"}
		known, ok = r.waiting[e]
	}
	if !ok {
		known = new(refusal)
		r.waiting[e] = known
	}
	if known.count++; known.count == 1 {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

func (r *refusals) run(l *Log) {
	defer close(r.stopped)
	for {
		next := r.flush(l, false)
		timer := l.clock.NewTimer(next)
		select {
		case <-r.wake:
		case <-timer.Chan():
		case <-r.quit:
			timer.Stop()
			r.flush(l, true)
			return
		}
		timer.Stop()
	}
}

// flush writes what is due, or all, and returns when to look again.
func (r *refusals) flush(l *Log, all bool) time.Duration {
	now, next := l.clock.Now(), refusalInterval
	var due []Entry
	r.mu.Lock()
	for e, known := range r.waiting {
		switch wait := known.due.Sub(now); {
		case known.count > 0 && (all || wait <= 0):
			counted := e
			counted.Count = known.count
			due = append(due, counted)
			known.count, known.due = 0, now.Add(refusalInterval)
		case known.count > 0:
			next = min(next, wait)
		case wait <= 0:
			delete(r.waiting, e)
		}
	}
	r.mu.Unlock()
	for _, e := range due {
		if err := l.Record(context.Background(), e); err != nil {
			l.logger.Error("a refusal could not be written to the audit log", zap.Error(err))
		}
	}
	return next
}
