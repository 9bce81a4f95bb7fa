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

// A human disconnects and connects again at once. The revocation of the old
// grant is still on its way: the new one must not be made before it arrives,
// because the provider may end that, too.
func TestReconnectionWaitsForARevocation(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), picky())
	a := w.begin(grant.Link{Caller: "billing", Connection: realm})
	query := w.consent(a)
	gate := w.intuit.Hold(intuittest.EndpointRevoke, realm)
	disconnected, connected := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := w.keeper.Disconnect(context.Background(), key)
		disconnected <- err
	}()
	<-gate.Arrived()
	go func() {
		_, err := w.finish(a, query)
		connected <- err
	}()
	select {
	case err := <-connected:
		t.Errorf("connected while the revocation was under way: %v", err)
		connected <- err
	case <-time.After(200 * time.Millisecond):
	}
	gate.Release()
	if err := errors.Join(<-disconnected, <-connected); err != nil {
		t.Fatal(err)
	}
	if s := w.token(); s.Epoch != 2 || w.call(s) != 200 {
		t.Errorf("epoch %d does not work", s.Epoch)
	}
	// And the other way round: what was connected again is not revoked.
	before := w.intuit.Counters().Revocations
	w.failRevoke(intuittest.Fault{Kind: intuittest.FaultUnavailable})
	w.disconnect()
	a = w.begin(grant.Link{Caller: "billing", Connection: realm})
	if _, err := w.finish(a, w.consent(a)); err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.AttendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.intuit.Counters().Revocations; n != before || w.call(w.token()) != 200 {
		t.Errorf("%d revocations of a connection that works", n-before)
	}
}

// The endpoint for revocations hangs: nobody waits for it but those who
// disconnect.
func TestRevocationsThatHangHoldUpNobody(t *testing.T) {
	w := expired(t, picky())
	keys := w.many(20)
	w.failRevoke(intuittest.Fault{Kind: intuittest.FaultHang, Times: -1})
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan []error, 1)
	go func() {
		_, errs := all(len(keys), func(i int) (*grant.Snapshot, error) { return w.keeper.Disconnect(ctx, keys[i]) })
		done <- errs
	}()
	w.eventually("all are disconnected", func() bool {
		for _, key := range keys {
			if s, err := w.keeper.Peek(t.Context(), key); err != nil || s.State != tokenstore.StateDisconnected {
				return false
			}
		}
		return true
	})
	// The revocations give up after FlightLimit, 10s.
	soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if s, err := w.keeper.Token(soon, key); err != nil || w.call(s) != 200 {
		t.Errorf("a refresh stands in line behind revocations: %v", err)
	}
	hangUp()
	for i, err := range <-done {
		if err != nil {
			t.Errorf("disconnection %d: %v", i, err)
		}
	}
	began := time.Now()
	if err := w.keeper.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("closing took %s", took)
	}
}
