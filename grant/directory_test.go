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
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// scanned is a store whose scans are counted and can be held up.
type scanned struct {
	*storetest.Memory
	scans atomic.Int32
	// at is called before every scan.
	at func(n int32)
}

func (s *scanned) Scan(ctx context.Context, prefix, after []byte, fn func(name, value []byte) bool) error {
	n := s.scans.Add(1)
	if s.at != nil {
		s.at(n)
	}
	return s.Memory.Scan(ctx, prefix, after, fn)
}

// member is a connection of a list.
func member(id, account string, state tokenstore.State) *tokenstore.Record {
	r := &tokenstore.Record{
		Key: tokenstore.Key{Integration: "quickbooks", Connection: id}, Owner: "billing", Account: account,
		Epoch: 1, Generation: 1, State: state, Since: time.Unix(1700000000, 5).UTC(),
		AccessToken: secret.New("access-token"), RefreshToken: secret.New("refresh-token"),
	}
	if state == tokenstore.StateDisconnected {
		r.AccessToken, r.RefreshToken = secret.String{}, secret.String{}
	}
	return r
}

func (w *world) list(f grant.Filter) grant.Listing {
	w.t.Helper()
	l, err := w.keeper.List(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func ids(l grant.Listing) (ids []string) {
	for _, e := range l.Entries {
		ids = append(ids, e.Connection)
	}
	return ids
}

func TestList(t *testing.T) {
	w := newWorld(t, clockwork.NewFakeClockAt(time.Now()), intuittest.Behaviour{})
	if err := w.keeper.Remove(t.Context(), w.record()); err != nil {
		t.Fatal(err)
	}
	pending := member("6", "Pending", tokenstore.StateDisconnected)
	pending.RefreshToken = secret.New("to-be-revoked")
	other := member("8", "beta", tokenstore.StateConnected)
	other.Integration, other.Owner = "other", "CRM"
	for _, r := range []*tokenstore.Record{
		member("1", "beta", tokenstore.StateConnected), member("2", "Alpha", tokenstore.StateConnected),
		member("3", "Ärzte", tokenstore.StateSuspect), member("4", "zeta", tokenstore.StateNeedsReauth),
		member("5", "gone", tokenstore.StateDisconnected), pending, member("7", "BETA", tokenstore.StateConnected), other,
	} {
		w.save(r)
	}
	all := w.list(grant.Filter{})
	if got, want := ids(all), []string{"4", "3", "6", "2", "1", "7", "8", "5"}; !slices.Equal(got, want) {
		t.Errorf("order: %v, want %v", got, want)
	}
	want := map[tokenstore.State]int{
		tokenstore.StateNeedsReauth: 1, tokenstore.StateSuspect: 1, grant.StateRevokePending: 1,
		tokenstore.StateConnected: 4, tokenstore.StateDisconnected: 1,
	}
	if !reflect.DeepEqual(all.Counts, want) || all.Total != 8 || all.Damaged != 0 {
		t.Errorf("%v, total %d, damaged %d", all.Counts, all.Total, all.Damaged)
	}
	for name, c := range map[string]struct {
		filter grant.Filter
		want   []string
		total  int
	}{
		"integration":  {grant.Filter{Integration: "other"}, []string{"8"}, 1},
		"state":        {grant.Filter{State: grant.StateRevokePending}, []string{"6"}, 1},
		"text":         {grant.Filter{Text: "ETA"}, []string{"4", "1", "7", "8"}, 4},
		"letters":      {grant.Filter{Text: "äR"}, []string{"3"}, 1},
		"owner":        {grant.Filter{Text: "crm"}, []string{"8"}, 1},
		"connection":   {grant.Filter{Text: "5"}, []string{"5"}, 1},
		"allow":        {grant.Filter{Allow: func(e *grant.Entry) bool { return e.Owner == "CRM" }}, []string{"8"}, 1},
		"page":         {grant.Filter{Offset: 2, Limit: 3}, []string{"6", "2", "1"}, 8},
		"beyond":       {grant.Filter{Offset: 20}, nil, 8},
		"below":        {grant.Filter{Offset: -2, Limit: 1}, []string{"4"}, 8},
		"nothing fits": {grant.Filter{Text: "nobody"}, nil, 0},
	} {
		if l := w.list(c.filter); !slices.Equal(ids(l), c.want) || l.Total != c.total {
			t.Errorf("%s: %v of %d", name, ids(l), l.Total)
		}
	}
	if l := w.list(grant.Filter{State: tokenstore.StateSuspect}); l.Total != 1 || l.Counts[tokenstore.StateConnected] != 4 {
		t.Errorf("the counts leave out other states: %v", l.Counts)
	}
	if e := all.Entries[0]; !e.Since.Equal(time.Unix(1700000000, 0)) || !e.ConnectedAt.IsZero() {
		t.Errorf("times: %+v", e)
	}
	if bytes.Contains(fmt.Append(nil, all), []byte("token")) {
		t.Error("a list holds a token")
	}
}

func TestListCountsDamage(t *testing.T) {
	w := newWorld(t, clockwork.NewFakeClockAt(time.Now()), intuittest.Behaviour{})
	w.store.Damage("g")
	l := w.list(grant.Filter{})
	if l.Damaged != 1 || l.Total != 0 {
		t.Errorf("%+v", l)
	}
}

// The store is read once; what happens then shows all the same, until nobody
// has asked for long.
func TestListIsKeptCurrent(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	store := &scanned{Memory: w.store.Copy()}
	w.openOn(store)
	store.scans.Store(0)
	if l := w.list(grant.Filter{}); len(l.Entries) != 1 || l.Entries[0].Generation != 1 {
		t.Fatalf("%+v", l)
	}
	read := store.scans.Load()
	if _, err := w.keeper.Refresh(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if l := w.list(grant.Filter{}); l.Entries[0].Generation != 2 {
		t.Errorf("after a refresh: %+v", l.Entries[0])
	}
	if _, err := w.keeper.Disconnect(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if l := w.list(grant.Filter{}); l.Entries[0].State != tokenstore.StateDisconnected {
		t.Errorf("after the end: %+v", l.Entries[0])
	}
	r, err := w.keeper.Describe(t.Context(), key)
	if err != nil || len(r.History) == 0 {
		t.Errorf("history: %v", err)
	}
	if err := w.keeper.Remove(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keeper.Describe(t.Context(), key); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("described: %v", err)
	}
	if l := w.list(grant.Filter{}); l.Total != 0 {
		t.Errorf("removed: %+v", l)
	}
	if n := store.scans.Load(); n != read {
		t.Errorf("%d scans, then %d", read, n)
	}
	clock.Advance(9 * time.Minute)
	w.list(grant.Filter{})
	clock.Advance(2 * time.Minute)
	w.list(grant.Filter{})
	if n := store.scans.Load(); n != read {
		t.Errorf("dropped too early: %d scans", n)
	}
	w.eventually("the directory is dropped", func() bool {
		clock.Advance(11 * time.Minute)
		time.Sleep(5 * time.Millisecond)
		w.list(grant.Filter{})
		return store.scans.Load() > read
	})
	if err := w.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keeper.List(t.Context(), grant.Filter{}); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := w.keeper.Describe(t.Context(), key); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A write whose call failed may have been carried out.
func TestListResolvesDoubt(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	w.list(grant.Filter{})
	r := w.record()
	r.Account = "renamed"
	w.store.FailApply(1, storetest.AfterApply, errors.New("the disk hangs"))
	if err := w.keeper.Save(t.Context(), r); err == nil {
		t.Fatal("the write did not fail")
	}
	if l := w.list(grant.Filter{}); l.Entries[0].Account != "renamed" {
		t.Errorf("%+v", l.Entries[0])
	}
}

// Connections are stored, changed and deleted while the store is being read,
// and none of the writes waits for that.
func TestListWhileWritten(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	const n = 1000
	records := make([]*tokenstore.Record, n)
	for i := range records {
		records[i] = member(strconv.Itoa(1000+i), "Company "+strconv.Itoa(i%50), tokenstore.StateConnected)
		w.save(records[i])
	}
	store := &scanned{Memory: w.store.Copy()}
	w.openOn(store)
	states := []tokenstore.State{tokenstore.StateConnected, tokenstore.StateSuspect, tokenstore.StateNeedsReauth}
	change := func(from, to int) {
		for i := from; i < to; i++ {
			r := records[i]
			loaded, err := w.keeper.Vault().Load(t.Context(), r.Key)
			if errors.Is(err, tokenstore.ErrNotFound) {
				loaded, err = member(r.Connection, "new", tokenstore.StateConnected), nil
			}
			if err != nil {
				t.Error(err)
				return
			}
			if rand.IntN(5) == 0 && loaded.Stored() != nil {
				err = w.keeper.Remove(t.Context(), loaded)
			} else {
				loaded.Generation++
				loaded.State = states[rand.IntN(len(states))]
				loaded.Account = "Company " + strconv.Itoa(rand.IntN(50))
				err = w.keeper.Save(t.Context(), loaded)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	store.scans.Store(0)
	store.at = func(int32) {
		// In the middle of the reading: a write that waited for it would hang.
		change(0, n/2)
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.list(grant.Filter{}) })
	for range 4 {
		wg.Go(func() {
			for range 3 {
				w.list(grant.Filter{Text: "company", Limit: 10})
			}
		})
	}
	wg.Go(func() { change(n/2, n) })
	wg.Wait()
	store.at = nil
	truth := make(map[string]*tokenstore.Record)
	if _, err := w.keeper.Inspect(t.Context(), func(r *tokenstore.Record) { truth[r.Connection] = r }); err != nil {
		t.Fatal(err)
	}
	l := w.list(grant.Filter{Limit: grant.MaxPage})
	if l.Total != len(truth) {
		t.Errorf("%d listed, %d stored", l.Total, len(truth))
	}
	fresh := slices.Clone(l.Entries)
	for _, e := range l.Entries {
		if r := truth[e.Connection]; r == nil || r.Generation != e.Generation || r.State != e.State || r.Account != e.Account {
			t.Fatalf("listed %+v", e)
		}
	}
	// A directory that is made anew has the same order.
	w.open(store.Memory.Copy())
	if again := w.list(grant.Filter{Limit: grant.MaxPage}); !reflect.DeepEqual(again.Entries, fresh) {
		t.Error("the order that was kept is not the order that is made")
	}
}

// array is a store for many records: Memory sorts all of them at every scan.
type array struct {
	tokenstore.Store
	names  []string
	values map[string][]byte
}

func (a *array) Scan(_ context.Context, prefix, after []byte, fn func(name, value []byte) bool) error {
	i, found := slices.BinarySearch(a.names, string(max(string(prefix), string(after))))
	if found && string(after) == a.names[i] {
		i++
	}
	for ; i < len(a.names) && bytes.HasPrefix([]byte(a.names[i]), prefix); i++ {
		if !fn([]byte(a.names[i]), bytes.Clone(a.values[a.names[i]])) {
			break
		}
	}
	return nil
}

// sorted freezes a store for reading.
func sorted(b *testing.B, m *storetest.Memory) *array {
	a := &array{Store: m, values: make(map[string][]byte)}
	err := m.Scan(b.Context(), nil, nil, func(name, value []byte) bool {
		a.names = append(a.names, string(name))
		a.values[string(name)] = value
		return true
	})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// BenchmarkList asks for pages of 100,000 connections with full histories:
// "first" reads the store (in memory, sealed), the others do not. "changed"
// has a hundred refreshes and a death between two questions. B/connection is
// what the directory takes of the heap.
func BenchmarkList(b *testing.B) {
	const n = 100_000
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		b.Fatal(err)
	}
	memory := storetest.NewMemory()
	vault, err := tokenstore.OpenVault(b.Context(), memory, ring)
	if err != nil {
		b.Fatal(err)
	}
	records := make([]*tokenstore.Record, n)
	for i := range records {
		r := member(strconv.Itoa(4620816365000000000+i), fmt.Sprintf("The Company Number %d", i*7919%n), tokenstore.StateConnected)
		r.ConnectedAt, r.AccessIssuedAt, r.AccessExpiresAt = time.Now(), time.Now(), time.Now()
		for range tokenstore.HistoryLimit {
			r.Note(tokenstore.HistoryEntry{Time: time.Now(), Event: "refreshed", Generation: 1, TraceID: "1-5f3c2a10-0123456789abcdef01234567"})
		}
		if err := vault.Save(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if i < 101 {
			records[i] = r
		}
	}
	store := sorted(b, memory)
	open := func() *grant.Keeper {
		vault, err := tokenstore.OpenVault(b.Context(), store, ring)
		if err != nil {
			b.Fatal(err)
		}
		return grant.NewKeeper(vault, grant.Options{})
	}
	list := func(k *grant.Keeper, f grant.Filter) {
		if l, err := k.List(b.Context(), f); err != nil || l.Total == 0 {
			b.Fatal(l.Total, err)
		}
	}
	b.Run("first", func(b *testing.B) {
		for b.Loop() {
			list(open(), grant.Filter{})
		}
	})
	k := open()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	list(k, grant.Filter{})
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	size := float64(after.HeapAlloc-before.HeapAlloc) / n
	for name, f := range map[string]grant.Filter{
		"page":  {},
		"last":  {Offset: n - 50},
		"text":  {Text: "number 4711"},
		"allow": {Allow: func(e *grant.Entry) bool { return e.Owner == "billing" }},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				list(k, f)
			}
			b.ReportMetric(size, "B/connection")
		})
	}
	b.Run("changed", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			for j, r := range records[:101] {
				r.Generation++
				if j == 100 {
					r.Account = "Renamed " + strconv.Itoa(i)
				}
				if err := k.Save(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
			list(k, grant.Filter{})
		}
	})
	runtime.KeepAlive(k)
}
