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
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// picky is a provider that takes every chance to end the wrong grant: strict
// about refresh tokens, and a revocation ends all that the client has of a
// company, but says "already gone" of a token that was superseded.
func picky() intuittest.Behaviour {
	return intuittest.Behaviour{
		Rotation: intuittest.RotateAlways, RevokeFamily: true, RevokeEndsAll: true, RevokeCurrentOnly: true,
	}
}

func (w *world) failRevoke(f intuittest.Fault) {
	w.t.Helper()
	if err := w.intuit.QueueFault(intuittest.EndpointRevoke, f); err != nil {
		w.t.Fatal(err)
	}
}

// ended says what is left of a grant that was given up, at the provider or in
// the record.
func (w *world) ended(key tokenstore.Key) error {
	for _, g := range w.intuit.Grants(key.Connection) {
		if g.RefreshValid || g.AccessValid {
			return errors.New("a grant lives on at the provider")
		}
	}
	r, err := w.keeper.Vault().Load(context.Background(), key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil
	}
	switch {
	case err != nil:
		return err
	case r.State != tokenstore.StateDisconnected || r.Cause != tokenstore.CauseDisconnected:
		return fmt.Errorf("the record says %s, %s", r.State, r.Cause)
	case !r.AccessToken.Empty() || !r.RefreshToken.Empty() || !r.PreviousRefreshToken.Empty():
		return errors.New("the record still holds tokens")
	}
	return nil
}

func (w *world) wantEnded() {
	w.t.Helper()
	if err := w.ended(key); err != nil {
		w.t.Error(err)
	}
}

func (w *world) disconnect() *grant.Snapshot {
	w.t.Helper()
	s, err := w.keeper.Disconnect(w.t.Context(), key)
	if err != nil {
		w.t.Fatalf("Disconnect: %v", err)
	}
	if s.State != tokenstore.StateDisconnected {
		w.t.Fatalf("the connection is %s", s.State)
	}
	_, err = w.keeper.Token(w.t.Context(), key)
	wantReauthorization(w.t, err, tokenstore.CauseDisconnected)
	return s
}

func TestDisconnect(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), picky())
	before := w.token()
	if w.disconnect().RevokePending {
		t.Error("revoked, and still pending")
	}
	w.wantEnded()
	_, err := w.keeper.Reject(t.Context(), before)
	wantReauthorization(t, err, tokenstore.CauseDisconnected)
	w.disconnect()
	if c := w.intuit.Counters(); c.Refreshes != 0 || c.Revocations != 1 {
		t.Errorf("%d refreshes, %d revocations", c.Refreshes, c.Revocations)
	}
	_, err = w.keeper.Disconnect(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "1"})
	wantReauthorization(t, err, tokenstore.CauseNeverConnected)

	// A disconnected company is everybody's to connect, and nobody's to connect
	// by mistake.
	a := w.begin(grant.Link{Caller: "crm", Connection: "123146096291789"})
	_, err = w.finish(a, w.consent(a))
	wantFailure(t, err, grant.FailureOtherAccount)
	w.wantEnded()
	a = w.begin(grant.Link{Caller: "crm"})
	if _, err := w.finish(a, w.consent(a)); err != nil {
		t.Fatal(err)
	}
	if s := w.token(); w.call(s) != 200 || s.Owner != "crm" || s.Epoch != 2 {
		t.Errorf("owner %q, epoch %d", s.Owner, s.Epoch)
	}
}

func TestDisconnectADeadGrant(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), picky())
	w.intuit.KillGrant(realm)
	w.disconnect()
	w.wantEnded()
}

// The provider is down when a grant is given up: it ends here at once, and at
// the provider when that answers again, whoever is alive then.
func TestDisconnectWhileTheProviderIsDown(t *testing.T) {
	for _, kind := range []intuittest.FaultKind{
		intuittest.FaultUnavailable, intuittest.FaultThrottled, intuittest.FaultReset, intuittest.FaultResetAfter,
		intuittest.FaultStatusAfter,
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t, clockwork.NewRealClock(), picky())
			w.failRevoke(intuittest.Fault{Kind: kind, Times: 3})
			refresh := w.record().RefreshToken
			if !w.disconnect().RevokePending {
				t.Error("not revoked, and not pending")
			}
			w.disconnect()
			if err := w.keeper.AttendDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			const message = "a disconnected grant may live on at the provider; its revocation is tried again within the hour, and at the next start"
			if n := w.logs.FilterMessage(message).Len(); n == 0 {
				t.Error("nobody was told")
			}
			for _, entry := range w.logs.All() {
				if text := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(text, refresh.Reveal()) || strings.Contains(text, realm) {
					t.Errorf("a secret is logged: %s", text)
				}
			}
			w.intuit.ClearFaults()
			// A new process.
			w.open(w.store.Copy())
			if err := w.keeper.AttendDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.wantEnded()
			before := w.store.Applies()
			if err := w.keeper.AttendDue(t.Context()); err != nil || w.store.Applies() != before {
				t.Errorf("it is still due: %v", err)
			}
		})
	}
}

// A crash at any point of a disconnection: once it is durable, the next process
// completes it.
func TestCrashInMidDisconnect(t *testing.T) {
	t.Run("before the revocation", func(t *testing.T) {
		w := newWorld(t, clockwork.NewRealClock(), picky())
		gate := w.intuit.Hold(intuittest.EndpointRevoke, realm)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = w.keeper.Disconnect(context.Background(), key)
		}()
		<-gate.Arrived()
		store, first := w.store.Copy(), w.keeper
		w.open(store)
		w.keeper.Watch()
		w.eventually("the next process revokes it", func() bool { return w.ended(key) == nil })
		gate.Release()
		<-done
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("after it", func(t *testing.T) {
		w := newWorld(t, clockwork.NewRealClock(), picky())
		w.store.FailApply(2, storetest.BeforeApply, errors.New("disk on fire"))
		if !w.disconnect().RevokePending {
			t.Error("the record could not be written, and nothing is pending")
		}
		w.open(w.store.Copy())
		if err := w.keeper.AttendDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantEnded()
	})
	t.Run("in mid refresh", func(t *testing.T) {
		w := expired(t, picky())
		gate := w.intuit.Hold(intuittest.EndpointToken, realm)
		go func() { _, _ = w.keeper.Token(context.Background(), key) }()
		<-gate.Arrived()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if s, err := w.keeper.Disconnect(ctx, key); err != nil || s.State != tokenstore.StateDisconnected || !s.RevokePending {
			t.Fatalf("%+v, %v", s, err)
		}
		store, first := w.store.Copy(), w.keeper
		w.open(store)
		if err := w.keeper.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.keeper.AttendDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantEnded()
		gate.Release()
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestDisconnectThatCannotBeStored(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), picky())
	w.token()
	w.store.FailApply(1, storetest.BeforeApply, errors.New("disk on fire"))
	_, err := w.keeper.Disconnect(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonStorage)
	if w.call(w.token()) != 200 || w.intuit.Counters().Revocations != 0 {
		t.Error("a grant whose end is not durable was revoked")
	}
	w.disconnect()
	w.wantEnded()
}

// Tokens that are only in memory are the ones to revoke.
func TestDisconnectWithTokensThatCouldNotBeStored(t *testing.T) {
	w := expired(t, picky())
	w.store.FailApply(2, storetest.BeforeApply, errors.New("disk on fire"))
	if w.call(w.token()) != 200 {
		t.Fatal("the new token is not in use")
	}
	w.disconnect()
	w.wantEnded()
}

func TestDisconnectTheGrantOfAnotherClient(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), picky())
	r := w.record()
	r.ClientID = "another"
	w.save(r)
	if !w.disconnect().RevokePending || w.record().RefreshToken.Empty() {
		t.Error("a refusal to revoke the token of another client was believed")
	}
}

// Closing does not wait for a revocation that hangs: the record remembers it.
func TestCloseDoesNotWaitForARevocation(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), picky())
	gate := w.intuit.Hold(intuittest.EndpointRevoke, realm)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		_, _ = w.keeper.Disconnect(context.Background(), key)
	}()
	<-gate.Arrived()
	began := time.Now()
	if err := w.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	<-returned
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing took %s", took)
	}
	w.open(w.store.Copy())
	if err := w.keeper.AttendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantEnded()
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
