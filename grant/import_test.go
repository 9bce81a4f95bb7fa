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
	"errors"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const importedRealm = "9130357849536736"

// importOf is an import of what the simulated Intuit has granted to another
// program.
func (w *world) importOf() grant.Import {
	w.t.Helper()
	g := w.intuit.Connect(importedRealm)
	return grant.Import{
		Key:          tokenstore.Key{Integration: "quickbooks", Connection: importedRealm},
		RefreshToken: secret.New(g.RefreshToken), AccessToken: secret.New(g.AccessToken), ExpiresAt: g.AccessTokenExpiresAt,
		Owner: "billing",
	}
}

func (w *world) wantImport(i grant.Import, replace bool, outcome grant.ImportOutcome, proof grant.Proof) {
	w.t.Helper()
	o, p, err := w.keeper.Import(w.t.Context(), i, replace)
	if err != nil || o != outcome || p != proof {
		w.t.Fatalf("the import is %q, %q, %v; want %q, %q", o, p, err, outcome, proof)
	}
}

func TestImport(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	i := w.importOf()
	w.intuit.ResetCounters()
	w.wantImport(i, false, grant.Imported, grant.Proven)
	w.wantImport(i, false, grant.ImportUnchanged, "")
	snap, err := w.keeper.Token(t.Context(), i.Key)
	if err != nil || snap.Owner != "billing" || snap.Account == "" || snap.State != tokenstore.StateConnected {
		t.Fatalf("%+v, %v", snap, err)
	}
	if n := len(w.intuit.TokenRequests()); n != 0 {
		t.Errorf("%d token requests", n)
	}
	// It is refreshed like any other, and what it has become is still the same.
	clock.Advance(2 * time.Hour)
	if _, err := w.keeper.Token(t.Context(), i.Key); err != nil || w.refreshes() != 1 {
		t.Fatalf("%d refreshes, %v", w.refreshes(), err)
	}
	w.wantImport(i, false, grant.ImportUnchanged, "")
	w.wantImport(i, true, grant.ImportUnchanged, "")
	// Another grant of a connection that works.
	other := w.importOf()
	w.wantImport(other, false, grant.ImportExists, "")
	w.wantImport(other, true, grant.Imported, grant.Proven)
	if snap, err = w.keeper.Token(t.Context(), i.Key); err != nil || snap.Epoch != 2 {
		t.Errorf("%+v, %v", snap, err)
	}
	// One that is dead needs no replace.
	r, err := w.keeper.Vault().Load(t.Context(), i.Key)
	if err != nil {
		t.Fatal(err)
	}
	r.State, r.Cause = tokenstore.StateNeedsReauth, tokenstore.CauseRevokedOrReplaced
	w.save(r)
	w.open(w.store.Copy())
	third := w.importOf()
	w.wantImport(third, false, grant.Imported, grant.Proven)
	if _, err := w.keeper.Token(t.Context(), i.Key); err != nil {
		t.Error(err)
	}
}

// Without an access token that the API takes, the first request refreshes.
func TestImportWithoutAccessToken(t *testing.T) {
	for name, change := range map[string]func(w *world, i *grant.Import){
		"none":    func(_ *world, i *grant.Import) { i.AccessToken, i.ExpiresAt = secret.String{}, time.Time{} },
		"expired": func(_ *world, i *grant.Import) { i.ExpiresAt = time.Now().Add(-time.Minute) },
		"revoked": func(w *world, _ *grant.Import) { w.intuit.RevokeAccess(importedRealm) },
		"API is down": func(w *world, _ *grant.Import) {
			w.intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultReset, Times: 2})
		},
		"not a token":  func(_ *world, i *grant.Import) { i.AccessToken = secret.New("two words") },
		"never issued": func(_ *world, i *grant.Import) { i.AccessToken = secret.New("eyJhbGciOi") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
			i := w.importOf()
			change(w, &i)
			w.wantImport(i, false, grant.Imported, grant.Unproven)
			if w.refreshes() != 0 {
				t.Error("the refresh token was used")
			}
			if _, err := w.keeper.Token(t.Context(), i.Key); err != nil || w.refreshes() != 1 {
				t.Errorf("%d refreshes, %v", w.refreshes(), err)
			}
		})
	}
}

func TestImportRefuses(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	for name, c := range map[string]struct {
		change func(*grant.Import)
		want   error
	}{
		"another company's": {func(i *grant.Import) {
			g, _ := w.intuit.Tokens(realm)
			i.AccessToken = secret.New(g.AccessToken)
		}, grant.ErrImportAccount},
		"no refresh token":          {func(i *grant.Import) { i.RefreshToken = secret.String{} }, grant.ErrImportToken},
		"a refresh token of two":    {func(i *grant.Import) { i.RefreshToken = secret.New("a b") }, grant.ErrImportToken},
		"no connection":             {func(i *grant.Import) { i.Connection = "" }, grant.ErrImportConnection},
		"a connection of letters":   {func(i *grant.Import) { i.Connection = "QB" }, grant.ErrImportConnection},
		"an unknown integration":    {func(i *grant.Import) { i.Integration = "xero" }, grant.ErrNotConfigured},
		"a refresh token of a line": {func(i *grant.Import) { i.RefreshToken = secret.New("a\r\nb") }, grant.ErrImportToken},
	} {
		i := w.importOf()
		c.change(&i)
		if _, _, err := w.keeper.Import(t.Context(), i, true); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.keeper.Describe(t.Context(), i.Key); !errors.Is(err, tokenstore.ErrNotFound) && i.Connection != "" {
			t.Errorf("%s: something was stored, %v", name, err)
		}
	}
}

// Two imports at once, and one in the middle of a refresh, lose no token.
func TestImportRaces(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	for range 30 {
		i := w.importOf()
		i.AccessToken = secret.String{}
		outcomes, errs := all(6, func(n int) (grant.ImportOutcome, error) {
			if n%3 == 2 {
				_, err := w.keeper.Token(t.Context(), i.Key)
				if errors.As(err, new(*grant.ReauthorizationError)) {
					err = nil // not imported yet
				}
				return "", err
			}
			o, _, err := w.keeper.Import(t.Context(), i, true)
			return o, err
		})
		imported := 0
		for n, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
			if outcomes[n] == grant.Imported {
				imported++
			}
		}
		if imported != 1 {
			t.Errorf("imported %d times: %v", imported, outcomes)
		}
		snap, err := w.keeper.Token(t.Context(), i.Key)
		if err != nil || w.intuit.Counters().SupersededReuses != 0 {
			t.Fatalf("%+v, %v, %d reuses", snap, err, w.intuit.Counters().SupersededReuses)
		}
	}
}

// A token that the provider has replaced does not come back, however old the
// list that is imported is, within a week of them.
func TestImportOfSupersededTokens(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	i := w.importOf()
	w.wantImport(i, false, grant.Imported, grant.Proven)
	tokens := []secret.String{i.RefreshToken}
	refresh := func() {
		t.Helper()
		clock.Advance(2 * time.Hour)
		if _, err := w.keeper.Token(t.Context(), i.Key); err != nil {
			t.Fatal(err)
		}
		r, err := w.keeper.Vault().Load(t.Context(), i.Key)
		if err != nil {
			t.Fatal(err)
		}
		if last := tokens[len(tokens)-1]; !last.Equal(r.RefreshToken) {
			tokens = append(tokens, r.RefreshToken)
		}
	}
	for range 8 {
		refresh()
		// The provider's habit may change.
		w.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Rotation = intuittest.RotateNever })
		refresh()
		w.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Rotation = intuittest.RotateAlways })
		w.open(w.store.Copy())
		for _, token := range tokens {
			old := i
			old.RefreshToken, old.AccessToken = token, secret.String{}
			w.wantImport(old, true, grant.ImportUnchanged, "")
		}
	}
	if len(tokens) != 9 {
		t.Fatalf("%d tokens", len(tokens))
	}
	// Nor when the grant is dead: it is not these that would help.
	r, err := w.keeper.Vault().Load(t.Context(), i.Key)
	if err != nil {
		t.Fatal(err)
	}
	r.State, r.Cause = tokenstore.StateNeedsReauth, tokenstore.CauseRevokedOrReplaced
	w.save(r)
	old := i
	old.RefreshToken, old.AccessToken = tokens[2], secret.String{}
	w.wantImport(old, true, grant.ImportUnchanged, "")
	// What is remembered does not grow, and is no token.
	if len(r.Superseded) != 64 {
		t.Errorf("%d bytes are remembered", len(r.Superseded))
	}
}
