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
	"fmt"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/zap/zapcore"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// allSealed is what an operator waits for in the log.
const allSealed = "all records are sealed with the first encryption key; former keys may be removed from encryption_key"

func parseRing(t *testing.T, keys ...secret.String) *tokenstore.Keyring {
	t.Helper()
	r, err := tokenstore.ParseKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRotate(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	former, fresh := tokenstore.GenerateKey(), tokenstore.GenerateKey()
	w.ring = parseRing(t, former)
	w.open(storetest.NewMemory())
	w.seed()
	w.token()

	// Without another key there is nothing to do, and nothing to say.
	if err := w.keeper.Rotate(t.Context(), w.ring); err != nil {
		t.Fatal(err)
	}
	if n := w.logs.FilterMessage(allSealed).Len(); n != 0 {
		t.Errorf("logged %d times", n)
	}

	both := parseRing(t, fresh, former)
	if err := w.keeper.Rotate(t.Context(), both); !errors.Is(err, tokenstore.ErrKeysReplaced) {
		t.Fatalf("rotating to a ring that is not in use: %v", err)
	}
	if err := w.keeper.Vault().UseKeys(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 2; i++ { // the second time, because a former key is still configured
		if err := w.keeper.Rotate(t.Context(), both); err != nil {
			t.Fatal(err)
		}
		if n := w.logs.FilterMessage(allSealed).Len(); n != i {
			t.Errorf("logged %d times, want %d", n, i)
		}
	}
	// The keeper's record in memory can still be saved.
	w.intuit.RevokeAccess(realm)
	if _, err := w.keeper.Reject(t.Context(), w.token()); err != nil {
		t.Errorf("refreshing a connection that was sealed anew: %v", err)
	}
	if err := w.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.Rotate(t.Context(), both); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("rotating after Close: %v", err)
	}
	w.ring = parseRing(t, fresh)
	w.open(w.store.Copy())
	w.token()
}

func TestRotateFails(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	former, fresh := tokenstore.GenerateKey(), tokenstore.GenerateKey()
	w.ring = parseRing(t, former)
	w.open(storetest.NewMemory())
	w.seed()
	both := parseRing(t, fresh, former)
	if err := w.keeper.Vault().UseKeys(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	for i, fail := range []func(){
		func() { w.store.FailApply(1, storetest.BeforeApply, errors.New("disk on fire")) },
		func() { w.store.Damage("g") },
	} {
		fail()
		if err := w.keeper.Rotate(t.Context(), both); err != nil {
			t.Fatal(err)
		}
		if n := w.logs.FilterLevelExact(zapcore.ErrorLevel).Len(); n != i+1 {
			t.Errorf("%d errors were logged, want %d", n, i+1)
		}
	}
	if n := w.logs.FilterMessage(allSealed).Len(); n != 0 {
		t.Error("the former key was given free")
	}
}

// stuckStore does not finish a call that seals a grant anew before the call is
// given up.
type stuckStore struct {
	tokenstore.Store
	stuck chan struct{}
}

func (s stuckStore) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	if len(changes) == 1 && changes[0].Name[0] == 'g' {
		close(s.stuck)
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Store.Apply(ctx, changes...)
}

// Close does not wait for the end of a rotation, only for its last step.
func TestCloseStopsRotation(t *testing.T) {
	former, fresh := tokenstore.GenerateKey(), tokenstore.GenerateKey()
	store := stuckStore{storetest.NewMemory(), make(chan struct{})}
	vault, err := tokenstore.OpenVault(t.Context(), store, parseRing(t, former))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		r := &tokenstore.Record{Key: tokenstore.Key{Integration: "quickbooks", Connection: fmt.Sprint(i)}}
		if err := vault.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	both := parseRing(t, fresh, former)
	if err := vault.UseKeys(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	keeper := grant.NewKeeper(vault, grant.Options{})
	rotated := make(chan error, 1)
	go func() { rotated <- keeper.Rotate(context.Background(), both) }()
	<-store.stuck
	began := time.Now()
	if err := keeper.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("Close took %s", took)
	}
	select {
	case err := <-rotated:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the rotation outlives Close")
	}
}
