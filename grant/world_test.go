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
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/provider/quickbooks"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

const realm = intuittest.DefaultRealm

// otherClientID is a client of another app.
const otherClientID = "other-client-id"

var key = tokenstore.Key{Integration: "quickbooks", Connection: realm}

// world is a keeper, its store and the Intuit it talks to.
type world struct {
	t      testing.TB
	clock  clockwork.Clock
	intuit *intuittest.Server
	ring   *tokenstore.Keyring
	store  *storetest.Memory
	keeper *grant.Keeper
	logs   *observer.ObservedLogs
	client *provider.Client
	// options changes those of the keepers that are opened from then on.
	options func(*grant.Options)
}

// newWorld makes a world with one connection, whose access token is fresh.
func newWorld(t testing.TB, clock clockwork.Clock, b intuittest.Behaviour) *world {
	t.Helper()
	w := &world{t: t, clock: clock}
	w.intuit = intuittest.NewServer(intuittest.Config{
		ClientID: intuittest.DefaultClientID, ClientSecret: intuittest.DefaultClientSecret,
		Clients: []intuittest.Client{{ID: otherClientID, Secret: "other-secret"}},
		Now:     clock.Now, Behaviour: b,
	})
	t.Cleanup(w.intuit.Close)
	var err error
	if w.ring, err = tokenstore.ParseKeyring(tokenstore.GenerateKey()); err != nil {
		t.Fatal(err)
	}
	w.client = &provider.Client{
		Provider: quickbooks.Provider{},
		Endpoints: provider.Endpoints{
			AuthorizeURL: w.intuit.AuthorizeURL(), TokenURL: w.intuit.TokenURL(), RevokeURL: w.intuit.RevokeURL(),
			APIs: map[string]string{"": w.intuit.URL()},
		},
		ClientID:     intuittest.DefaultClientID,
		ClientSecret: secret.New(intuittest.DefaultClientSecret),
		RedirectURL:  "http://127.0.0.1/oauth/callback",
		Scopes:       []string{"com.intuit.quickbooks.accounting"},
		Clock:        clock,
	}
	w.open(storetest.NewMemory())
	w.seed()
	return w
}

// open starts a keeper on a store: a restart, if the store is a copy.
func (w *world) open(store *storetest.Memory) {
	w.t.Helper()
	w.store = store
	w.openOn(store)
}

// openOn is open for another store.
func (w *world) openOn(store tokenstore.Store) {
	w.t.Helper()
	vault, err := tokenstore.OpenVault(w.t.Context(), store, w.ring)
	if err != nil {
		w.t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	w.logs = logs
	options := grant.Options{
		Clock: w.clock, Logger: zap.New(core), ConfirmAfter: 10 * time.Millisecond, FlightLimit: 10 * time.Second,
	}
	if w.options != nil {
		w.options(&options)
	}
	w.keeper = grant.NewKeeper(vault, options)
	w.attach()
	keeper := w.keeper
	w.t.Cleanup(func() { _ = keeper.Close() })
}

func (w *world) attach() *grant.Attachment {
	return w.keeper.Attach(map[string]*grant.Integration{"quickbooks": {
		Name: "quickbooks", Provider: "quickbooks", Environment: "sandbox",
		Client: w.client, RefreshBefore: 10 * time.Minute,
	}})
}

// seed stores a connection as a connect flow would have.
func (w *world) seed(change ...func(*tokenstore.Record)) {
	w.t.Helper()
	g := w.intuit.Connect(realm)
	now := w.clock.Now()
	r := &tokenstore.Record{
		Key: key, Provider: "quickbooks", Environment: "sandbox", ClientID: intuittest.DefaultClientID,
		Owner: "billing", Epoch: 1, Generation: 1,
		AccessToken: secret.New(g.AccessToken), AccessIssuedAt: now, AccessExpiresAt: g.AccessTokenExpiresAt,
		RefreshToken: secret.New(g.RefreshToken), RefreshIssuedAt: now, RefreshExpiresAt: g.RefreshTokenExpiresAt,
		State: tokenstore.StateConnected, Since: now, ConnectedAt: now,
	}
	for _, c := range change {
		c(r)
	}
	w.save(r)
}

func (w *world) save(r *tokenstore.Record) {
	w.t.Helper()
	if err := w.keeper.Vault().Save(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) record() *tokenstore.Record {
	w.t.Helper()
	r, err := w.keeper.Vault().Load(context.Background(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) token() *grant.Snapshot {
	w.t.Helper()
	s, err := w.keeper.Token(w.t.Context(), key)
	if err != nil {
		w.t.Fatalf("Token: %v", err)
	}
	return s
}

// call makes an API request with a snapshot's token and returns its status.
func (w *world) call(s *grant.Snapshot) int {
	w.t.Helper()
	_, err := w.client.Account(w.t.Context(), secret.New(s.Authorization().Reveal()[len("Bearer "):]), realm)
	if err == nil {
		return 200
	}
	var e *provider.RequestError
	if !errors.As(err, &e) {
		w.t.Fatal(err)
	}
	return e.Status
}

func (w *world) refreshes() int { return w.intuit.Counters().Refreshes }

// eventually polls, because background work has no other sign of its end.
func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			w.t.Fatalf("never happened: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// all runs n calls at once and returns their results.
func all[T any](n int, call func(i int) (T, error)) ([]T, []error) {
	results, errs := make([]T, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i], errs[i] = call(i) })
	}
	wg.Wait()
	return results, errs
}

func wantReauthorization(t testing.TB, err error, cause tokenstore.Cause) *grant.ReauthorizationError {
	t.Helper()
	var e *grant.ReauthorizationError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a ReauthorizationError", err)
	}
	if e.Cause != cause {
		t.Fatalf("cause is %s, want %s", e.Cause, cause)
	}
	return e
}

func wantUnavailable(t *testing.T, err error, reason grant.Reason) *grant.UnavailableError {
	t.Helper()
	var e *grant.UnavailableError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an UnavailableError", err)
	}
	if e.Reason != reason {
		t.Fatalf("reason is %s, want %s", e.Reason, reason)
	}
	return e
}
