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
	"context"
	"encoding/json"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// save stores a record, and with it the notices of what that changes. What has
// changed is told to the observer once it is stored. All records are stored by
// this or by remove.
func (k *Keeper) save(ctx context.Context, r *tokenstore.Record) error {
	return k.changed(r, r, func(notices []tokenstore.Notice) error { return k.vault.Save(ctx, r, notices...) })
}

// remove deletes a record, in the same way.
func (k *Keeper) remove(ctx context.Context, r *tokenstore.Record) error {
	return k.changed(r, nil, func(notices []tokenstore.Notice) error { return k.vault.Delete(ctx, r, notices...) })
}

func (k *Keeper) changed(r, after *tokenstore.Record, write func([]tokenstore.Notice) error) error {
	// Of two changes of one connection, the first one must be told first. Only
	// the write and an entry in a queue are under the lock.
	order := k.telling.of(r.Key)
	order.Lock()
	defer order.Unlock()
	events := k.events(r.Stored(), after, k.clock.Now())
	if err := k.timed(func() error { return write(k.notices(events)) }); err != nil {
		// It may have been written all the same.
		k.directory.doubt(r.Key)
		return err
	}
	k.directory.note(r.Key, after)
	for _, e := range events {
		k.meter(e.Integration).happened(e)
		k.telling.tell(e)
	}
	return nil
}

// timed carries out a write to the store, and takes down how long it took and
// whether it failed. That another was faster is no failure of the store.
func (k *Keeper) timed(write func() error) error {
	began := k.clock.Now()
	err := write()
	k.stored.observe(k.clock.Since(began))
	if err != nil && !errors.Is(err, tokenstore.ErrConflict) {
		k.notStored.Add(1)
	}
	return err
}

// notices returns what the outbox is to keep of events.
func (k *Keeper) notices(events []Event) (notices []tokenstore.Notice) {
	for _, e := range events {
		in := k.integration(e.Integration)
		if in == nil || !in.Notices[e.Type] {
			continue
		}
		body, err := json.Marshal(e)
		if err != nil || len(body) > tokenstore.MaxNotice {
			// Tokens must not fail to be stored because of what is told of them.
			k.logger.Error("a notice cannot be stored; nobody will be told",
				zap.String("integration", e.Integration), zap.String("event", string(e.Type)), zap.Int("bytes", len(body)), zap.Error(err))
			continue
		}
		notices = append(notices, tokenstore.Notice{
			Key: tokenstore.Key{Integration: e.Integration, Connection: e.Connection},
			ID:  e.ID, Time: e.Time, Minor: e.Type == EventRefreshed, Body: body,
		})
	}
	return notices
}

const (
	// observeQueue is how many events may wait for the observer. It is not
	// there to be relied on: what must arrive goes through the outbox.
	observeQueue = 1024
	// observeEnd is how long closing waits for the observer.
	observeEnd = 2 * time.Second
)

// telling hands events to the observer of the configuration in force, one
// after the other and never in the way of a refresh.
type telling struct {
	stripes [64]sync.Mutex
	seed    maphash.Seed

	queue chan Event
	lost  atomic.Int64
	// end is closed when no more events come, giveUp when there is no more
	// time, done when the last one was told.
	end, giveUp, done chan struct{}
	start             sync.Once
}

func (t *telling) init() {
	t.seed = maphash.MakeSeed()
	t.queue = make(chan Event, observeQueue)
	t.end, t.giveUp, t.done = make(chan struct{}), make(chan struct{}), make(chan struct{})
}

// of returns the lock that orders the changes of a connection.
func (t *telling) of(key tokenstore.Key) *sync.Mutex {
	return &t.stripes[maphash.Comparable(t.seed, key)%uint64(len(t.stripes))]
}

func (t *telling) tell(e Event) {
	select {
	case t.queue <- e:
	default:
		t.lost.Add(1)
	}
}

// observe tells events until the keeper closes.
func (k *Keeper) observe() {
	t := &k.telling
	defer close(t.done)
	for {
		select {
		case e := <-t.queue:
			k.observed(e)
			continue
		case <-t.end:
		}
		select {
		case e := <-t.queue:
			select {
			case <-t.giveUp:
				return
			default:
				k.observed(e)
			}
		default:
			return
		}
	}
}

func (k *Keeper) observed(e Event) {
	if n := k.telling.lost.Swap(0); n > 0 {
		k.logger.Error("event handlers are too slow; events were not handed to them", zap.Int64("events", n))
	}
	// A configuration that was taken back refuses; the one in force then may
	// be another.
	for in := k.integration(e.Integration); in != nil && in.Observe != nil; {
		if in.Observe(e) {
			return
		}
		next := k.integration(e.Integration)
		if next == in {
			return
		}
		in = next
	}
}

// stopTelling lets the observer have what there is, for as long as closing can
// wait. Nothing is stored any more.
func (k *Keeper) stopTelling() {
	t := &k.telling
	t.start.Do(func() { close(t.done) }) // it never was
	close(t.end)
	limit := time.NewTimer(observeEnd)
	defer limit.Stop()
	select {
	case <-t.done:
	case <-limit.C:
		close(t.giveUp)
		k.logger.Error("event handlers are too slow; the last events were not handed to them", zap.Int("events", len(t.queue)))
	}
}
