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

package badger

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/provider/quickbooks"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// refreshing is a keeper on a store of this engine, with connections at a
// provider that is reached over loopback.
type refreshing struct {
	clock  *clockwork.FakeClock
	store  *store
	keeper *grant.Keeper
	keys   []tokenstore.Key
}

func newRefreshing(b *testing.B, connections int, latency time.Duration) *refreshing {
	r := &refreshing{clock: clockwork.NewFakeClockAt(time.Now())}
	intuit := intuittest.NewServer(intuittest.Config{
		ClientID: intuittest.DefaultClientID, ClientSecret: intuittest.DefaultClientSecret,
		Now: r.clock.Now, Behaviour: intuittest.Behaviour{Latency: latency, RefreshTTL: 10 * 365 * 24 * time.Hour},
	})
	b.Cleanup(intuit.Close)
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		b.Fatal(err)
	}
	opened, err := (&Config{Path: newDir(b)}).Open(zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	r.store = opened.(*store)
	vault, err := tokenstore.OpenVault(b.Context(), r.store, ring)
	if err != nil {
		b.Fatal(err)
	}
	r.keeper = grant.NewKeeper(vault, grant.Options{Clock: r.clock, MaxRefreshes: connections})
	b.Cleanup(func() {
		if err := r.keeper.Close(); err != nil {
			b.Error(err)
		}
	})
	r.keeper.Attach(map[string]*grant.Integration{"quickbooks": {
		Name: "quickbooks", Provider: "quickbooks", Environment: "sandbox", RefreshBefore: 10 * time.Minute,
		Client: &provider.Client{
			Provider:  quickbooks.Provider{},
			Endpoints: provider.Endpoints{TokenURL: intuit.TokenURL()},
			ClientID:  intuittest.DefaultClientID, ClientSecret: secret.New(intuittest.DefaultClientSecret),
			Clock: r.clock,
		},
	}})
	now := r.clock.Now()
	for i := range connections {
		g := intuit.Connect(strconv.Itoa(4620816365000000000 + i))
		record := &tokenstore.Record{
			Key:      tokenstore.Key{Integration: "quickbooks", Connection: g.Realm},
			Provider: "quickbooks", Environment: "sandbox", ClientID: intuittest.DefaultClientID, Owner: "billing",
			Epoch: 1, Generation: 1, State: tokenstore.StateConnected, Since: now, ConnectedAt: now,
			AccessToken: secret.New(g.AccessToken), AccessIssuedAt: now, AccessExpiresAt: g.AccessTokenExpiresAt,
			RefreshToken: secret.New(g.RefreshToken), RefreshIssuedAt: now, RefreshExpiresAt: g.RefreshTokenExpiresAt,
		}
		if err := vault.Save(b.Context(), record); err != nil {
			b.Fatal(err)
		}
		r.keys = append(r.keys, record.Key)
	}
	return r
}

// all refreshes all connections at once.
func (r *refreshing) all(b *testing.B) {
	r.clock.Advance(2 * time.Minute) // the most that a connection is refreshed by hand is once a minute
	errs := make([]error, len(r.keys))
	var group sync.WaitGroup
	for i, key := range r.keys {
		group.Go(func() { _, errs[i] = r.keeper.Refresh(b.Context(), key) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRefresh refreshes so many connections at once, each with its two
// synced writes, at a provider that answers at once and at one that takes its
// time. The provider is in this process, and takes its share of the CPU. syncs/refresh are counted by Badger's versions,
// of which each synced write has one; what Badger writes when a log is full is
// not among them.
//
//	go test ./tokenstore/badger -run xxx -bench Refresh
func BenchmarkRefresh(b *testing.B) {
	for _, latency := range []time.Duration{0, 300 * time.Millisecond} {
		for _, connections := range []int{1, 16, 64, 256} {
			b.Run(fmt.Sprintf("latency=%v/at-once=%d", latency, connections), func(b *testing.B) {
				r := newRefreshing(b, connections, latency)
				r.all(b) // opens the HTTP connections
				before, err := r.store.version()
				if err != nil {
					b.Fatal(err)
				}
				for b.Loop() {
					r.all(b)
				}
				after, err := r.store.version()
				if err != nil {
					b.Fatal(err)
				}
				refreshes := float64(b.N * connections)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(refreshes/b.Elapsed().Seconds(), "refreshes/s")
				b.ReportMetric(float64(after-before)/refreshes, "syncs/refresh")
			})
		}
	}
}
