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

package grant_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// counted is a store that counts the entries that are read.
type counted struct {
	*storetest.Memory
	reads atomic.Int64
}

func (c *counted) Get(ctx context.Context, name []byte) ([]byte, error) {
	c.reads.Add(1)
	return c.Memory.Get(ctx, name)
}

func (c *counted) Scan(ctx context.Context, prefix, after []byte, fn func(name, value []byte) bool) error {
	return c.Memory.Scan(ctx, prefix, after, func(name, value []byte) bool {
		c.reads.Add(1)
		return fn(name, value)
	})
}

// stored is a world with so many connections that nobody uses, none of them in
// memory; of some, the refresh token is due.
func stored(t *testing.T, clock clockwork.Clock, n, due int) (*world, *counted) {
	w := newWorld(t, clock, intuittest.Behaviour{})
	if err := w.keeper.Remove(t.Context(), w.record()); err != nil {
		t.Fatal(err)
	}
	now := clock.Now()
	for i := range n {
		id := fmt.Sprint(100_000 + i)
		r := &tokenstore.Record{
			Key: tokenstore.Key{Integration: "quickbooks", Connection: id}, Provider: "quickbooks", ClientID: intuittest.DefaultClientID,
			Epoch: 1, Generation: 1, State: tokenstore.StateConnected, Since: now, ConnectedAt: now,
			AccessToken: secret.New("access"), AccessIssuedAt: now, AccessExpiresAt: now.Add(time.Hour),
			RefreshToken: secret.New("refresh"), RefreshIssuedAt: now, RefreshExpiresAt: now.Add(100 * day), DueAt: now.Add(50 * day),
		}
		if i < due {
			g := w.intuit.Connect(id)
			r.RefreshToken = secret.New(g.RefreshToken)
			r.AccessIssuedAt, r.RefreshIssuedAt = now.Add(-60*day), now.Add(-60*day)
			r.AccessExpiresAt, r.RefreshExpiresAt, r.DueAt = now.Add(-60*day), now.Add(40*day), now.Add(-10*day)
		}
		w.save(r)
	}
	store := &counted{Memory: w.store.Copy()}
	w.openOn(store)
	return w, store
}

// A start reads nothing of the connections that need nothing, however many
// there are.
func TestStartReadsWhatIsOpen(t *testing.T) {
	var reads []int64
	for _, n := range []int{10, 1000} {
		w, store := stored(t, clockwork.NewFakeClockAt(time.Now()), n, 0)
		if err := w.keeper.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.keeper.AttendDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantResidents(0)
		reads = append(reads, store.reads.Load())
	}
	if reads[0] != reads[1] {
		t.Errorf("%d entries are read with 10 connections, %d with 1000", reads[0], reads[1])
	}
}

// The schedule reads those that are due, and one entry of the others.
func TestScheduleReadsWhatIsDue(t *testing.T) {
	const due = 3
	var reads []int64
	for _, n := range []int{10, 1000} {
		w, store := stored(t, clockwork.NewFakeClockAt(time.Now()), n, due)
		store.reads.Store(0)
		if err := w.keeper.AttendDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := w.refreshes(); got != due {
			t.Errorf("with %d connections: %d refreshes of %d that are due", n, got, due)
		}
		w.wantResidents(due)
		reads = append(reads, store.reads.Load())
		store.reads.Store(0)
		if err := w.keeper.AttendDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := store.reads.Load(); got > 1 {
			t.Errorf("with %d connections: %d entries are read when none is due", n, got)
		}
	}
	if reads[0] != reads[1] || reads[0] > 10*due {
		t.Errorf("%d entries are read with 10 connections, %d with 1000", reads[0], reads[1])
	}
}
