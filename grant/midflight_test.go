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
	"testing"
	"time"

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
