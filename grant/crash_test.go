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
	"net/http"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// mortal carries requests as long as the process that sends them lives.
type mortal struct {
	http.RoundTripper
	process context.Context
}

func (m mortal) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	context.AfterFunc(m.process, cancel)
	return m.RoundTripper.RoundTrip(r.WithContext(ctx))
}

func TestCrashInMidRefresh(t *testing.T) {
	for name, c := range map[string]struct {
		behaviour intuittest.Behaviour
		alive     bool
	}{
		"grace":  {intuittest.Behaviour{Rotation: intuittest.RotateAlways, Grace: time.Minute}, true},
		"by age": {intuittest.Behaviour{}, true},
		"strict": {intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := expired(t, c.behaviour)
			// The provider has rotated, and its answer dies with the process.
			w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultHangAfter})
			process, die := context.WithCancel(t.Context())
			defer die()
			alive := *w.client
			w.client.HTTP = mortal{provider.NewTransport(), process}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = w.keeper.Token(context.Background(), key)
			}()
			w.eventually("the provider has decided", func() bool { return w.intuit.Counters().RefreshesOK == 1 })
			store := w.store.Copy()
			die()
			<-ended
			w.client = &alive
			w.open(store)
			before := w.refreshes()
			if err := w.keeper.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
			// At once, and not when somebody asks: a grace time may be running.
			w.eventually("a refresh that nobody asked for", func() bool { return w.refreshes() > before })
			s, err := w.keeper.Token(t.Context(), key)
			if !c.alive {
				wantReauthorization(t, err, tokenstore.CauseRefreshResponseLost)
				return
			}
			if err != nil || w.call(s) != 200 {
				t.Errorf("lost: %v", err)
			}
			if intents, _ := w.keeper.Vault().Intents(t.Context()); len(intents) != 0 {
				t.Error("the intent is still open")
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
