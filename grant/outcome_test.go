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
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// expired makes a world whose access token has just ended, on a real clock,
// because retries and confirmations wait.
func expired(t *testing.T, b intuittest.Behaviour, change ...func(*tokenstore.Record)) *world {
	t.Helper()
	w := newWorld(t, clockwork.NewRealClock(), b)
	r := w.record()
	r.AccessExpiresAt = time.Now().Add(-time.Second)
	for _, c := range change {
		c(r)
	}
	w.save(r)
	return w
}

func TestDeadGrant(t *testing.T) {
	strict := intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true}
	past := time.Now().Add(-time.Hour)
	for name, c := range map[string]struct {
		change func(*tokenstore.Record)
		cause  tokenstore.Cause
	}{
		"revoked":               {func(*tokenstore.Record) {}, tokenstore.CauseRevokedOrReplaced},
		"not used in time":      {func(r *tokenstore.Record) { r.RefreshExpiresAt = past }, tokenstore.CauseRefreshTokenExpired},
		"five years are over":   {func(r *tokenstore.Record) { r.RefreshExpiresAt, r.AuthorizationExpiresAt = past, past }, tokenstore.CauseAuthorizationExpired},
		"an answer was lost":    {func(r *tokenstore.Record) { r.UnansweredSince = past }, tokenstore.CauseRefreshResponseLost},
		"issued to another app": {func(r *tokenstore.Record) { r.ClientID = "another" }, tokenstore.CauseWrongClient},
	} {
		t.Run(name, func(t *testing.T) {
			w := expired(t, strict, c.change)
			w.intuit.KillGrant(realm)
			_, errs := all(50, func(int) (*grant.Snapshot, error) { return w.keeper.Token(t.Context(), key) })
			for _, err := range errs {
				e := wantReauthorization(t, err, c.cause)
				if e.ProviderError != "invalid_grant" || e.TraceID == "" || e.Since.IsZero() {
					t.Fatalf("the error does not say enough: %+v", e)
				}
			}
			for range 12000 { // 60,000 in all
				_, err := w.keeper.Token(t.Context(), key)
				wantReauthorization(t, err, c.cause)
			}
			if n := w.refreshes(); n > 2 {
				t.Errorf("a dead grant cost %d token requests", n)
			}
			r := w.record()
			if r.State != tokenstore.StateNeedsReauth || r.Cause != c.cause || r.RefreshToken.Empty() {
				t.Errorf("stored: %s, %s, token kept: %t", r.State, r.Cause, !r.RefreshToken.Empty())
			}
			if n := w.logs.FilterMessage("connection must be authorized again").Len(); n != 1 {
				t.Errorf("%d warnings for one change of state", n)
			}
			// A restart asks the provider nothing.
			w.open(w.store.Copy())
			_, err := w.keeper.Token(t.Context(), key)
			wantReauthorization(t, err, c.cause)
			if n := w.refreshes(); n > 2 {
				t.Errorf("after a restart: %d token requests", n)
			}
		})
	}
}

func TestDeadGrantServesItsLastToken(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	r := w.record()
	r.AccessIssuedAt = time.Now().Add(-59 * time.Minute)
	r.AccessExpiresAt = time.Now().Add(time.Minute)
	w.save(r)
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant, Times: -1})
	w.token()
	w.eventually("the grant is pronounced dead", func() bool { return w.record().State == tokenstore.StateNeedsReauth })
	for range 10 {
		if w.call(w.token()) != 200 {
			t.Fatal("the token that still works is not served")
		}
	}
	if n := w.refreshes(); n != 2 {
		t.Errorf("%d token requests", n)
	}
}

func TestOneInvalidGrantIsNotBelieved(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant})
	if s := w.token(); s.State != tokenstore.StateConnected || w.call(s) != 200 {
		t.Errorf("state %s", s.State)
	}
}

func TestLostAnswer(t *testing.T) {
	kinds := []intuittest.FaultKind{
		intuittest.FaultResetAfter, intuittest.FaultStatusAfter, intuittest.FaultTruncatedAfter,
		intuittest.FaultGarbage, intuittest.FaultNoAccessToken, intuittest.FaultReset,
	}
	t.Run("grace", func(t *testing.T) {
		for _, kind := range kinds {
			w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, Grace: time.Minute, RevokeFamily: true})
			w.intuit.FailToken(intuittest.Fault{Kind: kind})
			if w.call(w.token()) != 200 || w.refreshes() != 2 {
				t.Errorf("%s: %d token requests", kind, w.refreshes())
			}
			if r := w.record(); !r.UnansweredSince.IsZero() {
				t.Errorf("%s: the record still speaks of an unanswered request", kind)
			}
		}
	})
	t.Run("strict", func(t *testing.T) {
		for _, kind := range kinds[:3] {
			w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
			w.intuit.FailToken(intuittest.Fault{Kind: kind})
			_, err := w.keeper.Token(t.Context(), key)
			wantReauthorization(t, err, tokenstore.CauseRefreshResponseLost)
			if n := w.refreshes(); n > 3 {
				t.Errorf("%s: %d token requests", kind, n)
			}
		}
	})
}

func TestSupersededTokenIsTriedLast(t *testing.T) {
	behaviour := intuittest.Behaviour{Rotation: intuittest.RotateAlways, Grace: time.Hour}
	refreshed := func(t *testing.T) *world {
		w := expired(t, behaviour)
		w.token()
		r := w.record()
		if r.PreviousRefreshToken.Empty() {
			t.Fatal("the superseded token was not kept")
		}
		r.AccessExpiresAt = time.Now().Add(-time.Second)
		w.save(r)
		w.open(w.store.Copy())
		w.intuit.ResetCounters()
		return w
	}
	t.Run("alive", func(t *testing.T) {
		w := refreshed(t)
		before := w.record().PreviousRefreshToken
		w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant, Times: 2})
		if w.call(w.token()) != 200 {
			t.Error("the provider went back to the former token, and the grant was lost")
		}
		requests := w.intuit.TokenRequests()
		if len(requests) != 3 || !before.Equal(secret.New(requests[2].RefreshToken)) {
			t.Errorf("%d token requests, the last one with another token than the former", len(requests))
		}
	})
	t.Run("dead", func(t *testing.T) {
		w := refreshed(t)
		w.intuit.KillGrant(realm)
		for range 100 {
			_, err := w.keeper.Token(t.Context(), key)
			wantReauthorization(t, err, tokenstore.CauseRevokedOrReplaced)
		}
		if n := w.refreshes(); n != 3 {
			t.Errorf("%d token requests", n)
		}
	})
}

func TestProviderTrouble(t *testing.T) {
	for kind, reason := range map[intuittest.FaultKind]grant.Reason{
		intuittest.FaultUnavailable:    grant.ReasonProvider,
		intuittest.FaultGatewayTimeout: grant.ReasonProvider,
		intuittest.FaultThrottled:      grant.ReasonProvider,
		intuittest.FaultRetryAfter:     grant.ReasonProvider,
		intuittest.FaultGarbage:        grant.ReasonProvider,
		intuittest.FaultInvalidRequest: grant.ReasonProvider,
		intuittest.FaultRedirect:       grant.ReasonProvider,
		intuittest.FaultInvalidClient:  grant.ReasonClientRefused,
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := expired(t, intuittest.Behaviour{})
			w.intuit.FailToken(intuittest.Fault{Kind: kind, Times: -1})
			for range 100 {
				_, err := w.keeper.Token(t.Context(), key)
				e := wantUnavailable(t, err, reason)
				if waits := e.RetryAfter > 0; waits != (reason == grant.ReasonProvider) {
					t.Fatalf("Retry-After is %s", e.RetryAfter)
				}
			}
			if n := w.refreshes(); n > 4 {
				t.Errorf("%d token requests while backing off", n)
			}
			r := w.record()
			if r.State != tokenstore.StateConnected {
				t.Errorf("state %s", r.State)
			}
			intents, err := w.keeper.Vault().Intents(t.Context())
			if err != nil || len(intents) != 0 {
				t.Errorf("intents left behind: %v, %v", intents, err)
			}
		})
	}
}

func TestRecoveryAfterTrouble(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.token()
	clock.Advance(2 * time.Hour)
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: 2})
	_, err := w.keeper.Token(t.Context(), key)
	e := wantUnavailable(t, err, grant.ReasonProvider)
	clock.Advance(e.RetryAfter)
	if w.call(w.token()) != 200 {
		t.Error("not recovered when it was said to try again")
	}
}

func TestTokenThatCannotBeStored(t *testing.T) {
	for name, when := range map[string]storetest.When{"lost": storetest.BeforeApply, "applied, but reported as lost": storetest.AfterApply} {
		t.Run(name, func(t *testing.T) {
			w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
			w.store.FailApply(2, when, errors.New("input/output error")) // 1 is the intent
			if s := w.token(); s.Generation != 2 || w.call(s) != 200 {
				t.Fatal("the new token is not used")
			}
			w.eventually("the new token is stored", func() bool { return w.record().Generation == 2 })
			w.open(w.store.Copy())
			if w.call(w.token()) != 200 {
				t.Error("the token did not survive a restart")
			}
		})
	}
	t.Run("until the end", func(t *testing.T) {
		w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
		for n := 2; n < 4; n++ {
			w.store.FailApply(n, storetest.BeforeApply, errors.New("input/output error"))
		}
		w.token()
		if err := w.keeper.Close(); err != nil {
			t.Fatal(err)
		}
		w.open(w.store.Copy())
		if r := w.record(); r.Generation != 2 {
			t.Errorf("closing did not store the new token: generation %d", r.Generation)
		}
	})
}

func TestNoTokenIsSpentIfTheStoreFails(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	w.store.FailApply(1, storetest.BeforeApply, errors.New("no space left on device"))
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonStorage)
	if n := w.refreshes(); n != 0 {
		t.Errorf("%d token requests without a durable intent", n)
	}
}

func TestNoTokenIsSpentWithoutSpace(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	w.store.Full(true)
	_, err := w.keeper.Token(t.Context(), key)
	if e := wantUnavailable(t, err, grant.ReasonStorage); e.RetryAfter <= 0 || !errors.Is(err, tokenstore.ErrFull) {
		t.Errorf("%v, Retry-After %s", err, e.RetryAfter)
	}
	if n := w.refreshes(); n != 0 {
		t.Errorf("%d token requests without space for the answer", n)
	}
}

func TestWrongClientIsRepairedByTheRightOne(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	right := *w.client
	wrong := right
	w.intuit.ConnectAs(intuittest.DefaultClientID, realm)
	wrong.ClientID = "development-keys"
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant})
	w.client = &wrong
	mistake := w.attach()
	_, err := w.keeper.Token(t.Context(), key)
	wantReauthorization(t, err, tokenstore.CauseWrongClient)
	mistake.Detach()
	if w.call(w.token()) != 200 {
		t.Error("the right client is configured again, and the grant stays dead")
	}
}

func TestNewGrantThatCannotBeStored(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{ReconsentReplaces: true})
	a := w.begin(grant.Link{Caller: "billing"})
	query := w.consent(a)
	w.store.FailApply(3, storetest.BeforeApply, errors.New("input/output error")) // 1 redeems the state, 2 notes the code
	if _, err := w.finish(a, query); err != nil {
		t.Fatal(err)
	}
	if w.call(w.token()) != 200 {
		t.Error("the new grant is not used")
	}
	w.eventually("the new grant is stored", func() bool { return w.record().Epoch == 2 })
}

func TestUnreadableRecordDoesNotStopTheStart(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	r := w.record()
	intent := tokenstore.Intent{Key: key, Epoch: r.Epoch, Generation: r.Generation, Time: time.Now()}
	if err := w.keeper.Vault().PutIntent(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	w.store.Damage("g")
	w.open(w.store.Copy())
	if err := w.keeper.Recover(t.Context()); err != nil {
		t.Fatalf("one damaged record keeps all others from starting: %v", err)
	}
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonStorage)
}

func TestNothingSecretIsLogged(t *testing.T) {
	w := expired(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	before := w.record()
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultGarbage})
	w.token()
	after := w.record()
	w.intuit.KillGrant(realm)
	w.keeper.Reject(t.Context(), w.token())
	for _, entry := range w.logs.All() {
		text := entry.Message
		for name, value := range entry.ContextMap() {
			text += " " + name + "=" + fmt.Sprint(value)
		}
		for what, s := range map[string]string{
			"an access token": after.AccessToken.Reveal(), "a refresh token": after.RefreshToken.Reveal(),
			"a former refresh token": before.RefreshToken.Reveal(), "the client secret": intuittest.DefaultClientSecret,
			"the company": realm,
		} {
			if strings.Contains(text, s) {
				t.Errorf("the log names %s: %s", what, text)
			}
		}
	}
	if w.logs.Len() == 0 {
		t.Error("nothing was logged at all")
	}
}
