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

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func TestReconnectedInMidRefresh(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	done := make(chan error, 1)
	go func() {
		_, err := w.keeper.Token(t.Context(), key)
		done <- err
	}()
	<-gate.Arrived()
	fresh := w.intuit.Connect(realm)
	r := w.record()
	r.Epoch, r.Generation = r.Epoch+1, r.Generation+1
	r.AccessToken, r.RefreshToken = secret.New(fresh.AccessToken), secret.New(fresh.RefreshToken)
	r.AccessExpiresAt = fresh.AccessTokenExpiresAt
	w.save(r)
	gate.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := w.token()
	if r := w.record(); s.Epoch != 2 || !r.RefreshToken.Equal(secret.New(fresh.RefreshToken)) {
		t.Errorf("epoch %d: the older flight won over the new authorization", s.Epoch)
	}
}

func TestDeletedInMidRefresh(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	done := make(chan error, 1)
	go func() {
		_, err := w.keeper.Token(t.Context(), key)
		done <- err
	}()
	<-gate.Arrived()
	if err := w.keeper.Vault().Delete(t.Context(), w.record()); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	wantReauthorization(t, <-done, tokenstore.CauseNeverConnected)
	if _, err := w.keeper.Vault().Load(t.Context(), key); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("the flight brought the connection back: %v", err)
	}
}

// What a flight brings is stored although somebody else has changed something
// in the record that is not the tokens.
func TestRecordChangedInMidRefresh(t *testing.T) {
	w := expired(t, picky())
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	done := make(chan error, 1)
	go func() {
		_, err := w.keeper.Token(t.Context(), key)
		done <- err
	}()
	<-gate.Arrived()
	r := w.record()
	r.Owner = "crm"
	w.save(r)
	gate.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if r := w.record(); r.Generation != 2 || r.Owner != "crm" {
		t.Errorf("generation %d, owner %q", r.Generation, r.Owner)
	}
	if w.call(w.token()) != 200 {
		t.Error("the token does not work")
	}
}

// A connection that is deleted and made anew counts its generations anew, too:
// the flight of the old one must not take it for its own.
func TestDeletedAndMadeAnewInMidRefresh(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = w.keeper.Token(t.Context(), key)
	}()
	<-gate.Arrived()
	if err := w.keeper.Vault().Delete(t.Context(), w.record()); err != nil {
		t.Fatal(err)
	}
	w.seed()
	anew := w.record()
	gate.Release()
	<-done
	if r := w.record(); !r.RefreshToken.Equal(anew.RefreshToken) || w.intuit.Counters().Revocations != 0 {
		t.Error("the flight of the deleted connection won over the new one, or ended a grant")
	}
}

// The warning of an authorization's end must not close the intent of a refresh
// that is under way.
func TestWarningInMidRefresh(t *testing.T) {
	b := picky()
	b.HardTTL = 20 * 24 * time.Hour
	w := expired(t, b, func(r *tokenstore.Record) {
		r.AuthorizationExpiresAt = time.Now().Add(b.HardTTL)
		r.DueAt = time.Now().Add(-time.Hour)
	})
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	done := make(chan error, 1)
	go func() {
		_, err := w.keeper.Token(t.Context(), key)
		done <- err
	}()
	<-gate.Arrived()
	// It waits for the flight, which is held.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.keeper.AttendDue(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("looking after what is due: %v", err)
	}
	if intents, err := w.keeper.Vault().Intents(t.Context()); err != nil || len(intents) != 1 {
		t.Errorf("%d intents, %v", len(intents), err)
	}
	gate.Release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.AttendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := w.record(); r.Generation != 2 || r.Warned == 0 {
		t.Errorf("generation %d, %d warnings", r.Generation, r.Warned)
	}
}

// Whatever the flight of the former authorization comes to, its callers get a
// token of the new one, even if the new one's first has expired meanwhile.
func TestReconnectedInMidRefreshAndExpired(t *testing.T) {
	for name, refused := range map[string]bool{"the old token is refused": true, "the old token is refreshed": false} {
		t.Run(name, func(t *testing.T) {
			w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
			if refused {
				w.intuit.KillGrant(realm)
				// Asked again, and then held.
				w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant})
			}
			gate := w.intuit.Hold(intuittest.EndpointToken, realm)
			const callers = 10
			done := make(chan error, callers)
			for range callers {
				go func() {
					s, err := w.keeper.Token(context.Background(), key)
					if err == nil && (s.Epoch != 2 || w.call(s) != 200) {
						err = fmt.Errorf("a token of epoch %d that does not work", s.Epoch)
					}
					done <- err
				}()
			}
			<-gate.Arrived()
			fresh := w.intuit.Connect(realm)
			r := w.record()
			r.Epoch, r.Generation = r.Epoch+1, r.Generation+1
			r.AccessToken, r.RefreshToken = secret.New(fresh.AccessToken), secret.New(fresh.RefreshToken)
			w.save(r) // its end is that of the old one, which is past
			gate.Release()
			for range callers {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
			if r := w.record(); r.Epoch != 2 || r.Generation != 3 {
				t.Errorf("epoch %d, generation %d", r.Epoch, r.Generation)
			}
		})
	}
}

// The token of a new authorization is refused while the flight of the former
// one is still under way: that flight's end is no answer to the refusal.
func TestRefusedWhileAFormerFlightEnds(t *testing.T) {
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	gate := w.intuit.Hold(intuittest.EndpointToken, realm)
	go func() { _, _ = w.keeper.Token(context.Background(), key) }()
	<-gate.Arrived()
	a := w.begin(grant.Link{Caller: "billing", Connection: realm})
	if _, err := w.finish(a, w.consent(a)); err != nil {
		t.Fatal(err)
	}
	refused := w.token()
	if refused.Epoch != 2 {
		t.Fatalf("epoch %d", refused.Epoch)
	}
	w.intuit.RevokeAccess(realm)
	newer := make(chan error, 1)
	go func() {
		s, err := w.keeper.Reject(context.Background(), refused)
		if err == nil && (s.Generation == refused.Generation || w.call(s) != 200) {
			err = fmt.Errorf("the token of generation %d again", s.Generation)
		}
		newer <- err
	}()
	// It waits for the flight, which is held.
	select {
	case err := <-newer:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	gate.Release()
	if err := <-newer; err != nil {
		t.Error(err)
	}
}
