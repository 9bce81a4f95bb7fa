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
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// consent follows the consent page as a browser would, to the callback's query.
func (w *world) consent(a *grant.Authorization) url.Values {
	w.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(a.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	u, err := resp.Location()
	if err != nil {
		w.t.Fatalf("%s: %v", resp.Status, err)
	}
	return u.Query()
}

func (w *world) begin(l grant.Link) *grant.Authorization {
	w.t.Helper()
	l.Integration = "quickbooks"
	a, err := w.keeper.BeginAuthorization(w.t.Context(), grant.Start{Link: l})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) finish(a *grant.Authorization, query url.Values) (grant.Result, error) {
	return w.keeper.FinishAuthorization(w.t.Context(), grant.Callback{
		Integration: "quickbooks", Query: query, Cookie: a.CookieValue,
		MayReplace: func(caller, owner, _ string) bool { return caller == owner },
	})
}

func wantFailure(t *testing.T, err error, failure grant.Failure) {
	t.Helper()
	var e *grant.AuthorizationError
	if !errors.As(err, &e) || e.Failure != failure {
		t.Fatalf("got %v, want %s", err, failure)
	}
}

func TestAuthorization(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	a := w.begin(grant.Link{Caller: "billing", ReturnURL: "https://app.example.com/"})
	query := w.consent(a)
	if grant.StateCookie(query.Get("state")) != a.CookieName {
		t.Error("the cookie's name does not belong to the state")
	}
	result, err := w.finish(a, query)
	if err != nil {
		t.Fatal(err)
	}
	if result.Connection != realm || result.Account == "" || result.ReturnURL != "https://app.example.com/" {
		t.Errorf("result: %+v", result)
	}
	r := w.record()
	if r.Epoch != 2 || r.Generation != 2 || r.Owner != "billing" || r.AuthorizationExpiresAt.IsZero() {
		t.Errorf("stored: epoch %d, generation %d, owner %q", r.Epoch, r.Generation, r.Owner)
	}
	if w.call(w.token()) != 200 {
		t.Error("the new grant does not work")
	}
	// A code cannot be redeemed twice, nor a state.
	if again, err := w.finish(a, query); err != nil || !reflect.DeepEqual(again, result) {
		t.Errorf("the same callback from the same browser: %+v, %v", again, err)
	}
	if r := w.record(); r.Epoch != 2 {
		t.Errorf("epoch %d after the same callback", r.Epoch)
	}
	if n := w.intuit.Counters().CodeExchanges; n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestParallelCallbacks(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	a := w.begin(grant.Link{Caller: "billing"})
	query := w.consent(a)
	results, errs := all(100, func(int) (grant.Result, error) { return w.finish(a, query) })
	for i, err := range errs {
		if err != nil || results[i].Connection != realm {
			t.Errorf("%+v, %v", results[i], err)
		}
	}
	if n, r := w.intuit.Counters(), w.record(); n.CodeExchanges != 1 || n.CodeReuses != 0 || r.Epoch != 2 {
		t.Errorf("%d exchanges, epoch %d", n.CodeExchanges, r.Epoch)
	}
}

func TestCallbackThatIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		link    grant.Link
		change  func(*world, *grant.Authorization, url.Values)
		failure grant.Failure
		// exchanged tells whether the code may be redeemed.
		exchanged bool
		// renewed: the consent may have ended the stored tokens, so the new ones
		// take their place, although the link was not for them.
		renewed bool
	}{
		"another browser": {
			change:  func(_ *world, a *grant.Authorization, _ url.Values) { a.CookieValue = "another" },
			failure: grant.FailureState,
		},
		"no cookie": {
			change:  func(_ *world, a *grant.Authorization, _ url.Values) { a.CookieValue = "" },
			failure: grant.FailureState,
		},
		"no state": {
			change:  func(_ *world, _ *grant.Authorization, q url.Values) { q.Del("state") },
			failure: grant.FailureState,
		},
		"two states": {
			change:  func(_ *world, _ *grant.Authorization, q url.Values) { q.Add("state", "x") },
			failure: grant.FailureCallback,
		},
		"two codes": {
			change:  func(_ *world, _ *grant.Authorization, q url.Values) { q.Add("code", "x") },
			failure: grant.FailureCallback,
		},
		"state of another authorization": {
			change: func(w *world, _ *grant.Authorization, q url.Values) {
				q.Set("state", w.consent(w.begin(grant.Link{})).Get("state"))
			},
			failure: grant.FailureState,
		},
		"the human said no": {
			change: func(_ *world, _ *grant.Authorization, q url.Values) {
				q.Del("code")
				q.Set("error", "access_denied")
			},
			failure: grant.FailureDenied,
		},
		"another error": {
			change: func(_ *world, _ *grant.Authorization, q url.Values) {
				q.Del("code")
				q.Set("error", "invalid_scope<script>")
			},
			failure: grant.FailureProvider,
		},
		"no account": {
			change:  func(_ *world, _ *grant.Authorization, q url.Values) { q.Del("realmId") },
			failure: grant.FailureCallback,
		},
		"an edited account": {
			change:    func(_ *world, _ *grant.Authorization, q url.Values) { q.Set("realmId", "123146096291789") },
			failure:   grant.FailureAccount,
			exchanged: true,
		},
		"a wrong code": {
			change:    func(_ *world, _ *grant.Authorization, q url.Values) { q.Set("code", "made-up") },
			failure:   grant.FailureCode,
			exchanged: true,
		},
		"a link for another account": {
			link:      grant.Link{Connection: "123146096291789"},
			failure:   grant.FailureOtherAccount,
			exchanged: true,
			renewed:   true,
		},
		"an account of another caller": {
			link:      grant.Link{Caller: "crm"},
			failure:   grant.FailureOwned,
			exchanged: true,
			renewed:   true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{ReconsentReplaces: c.renewed})
			before := w.record()
			link := c.link
			if link.Caller == "" {
				link.Caller = "billing"
			}
			a := w.begin(link)
			query := w.consent(a)
			if c.change != nil {
				c.change(w, a, query)
			}
			_, err := w.finish(a, query)
			wantFailure(t, err, c.failure)
			var e *grant.AuthorizationError
			if errors.As(err, &e); strings.ContainsAny(e.Detail, "<>") {
				t.Errorf("detail holds what a stranger wrote: %q", e.Detail)
			}
			after := w.record()
			if same := after.RefreshToken.Equal(before.RefreshToken); same == c.renewed || after.Owner != before.Owner {
				t.Errorf("stored: the same token %t, owner %q", same, after.Owner)
			}
			if w.call(w.token()) != 200 {
				t.Error("the stored grant no longer works")
			}
			if n := w.intuit.Counters().CodeExchanges; (n > 0) != c.exchanged {
				t.Errorf("%d exchanges", n)
			}
		})
	}
}

func TestUnwantedGrantIsRevokedUnlessItsAccountIsConnected(t *testing.T) {
	for name, known := range map[string]bool{"unknown": false, "connected": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
			if !known {
				if err := w.keeper.Vault().Delete(t.Context(), w.record()); err != nil {
					t.Fatal(err)
				}
			}
			a := w.begin(grant.Link{Caller: "billing", Connection: "123146096291789"})
			_, err := w.finish(a, w.consent(a))
			wantFailure(t, err, grant.FailureOtherAccount)
			if n := w.intuit.Counters().Revocations; (n == 0) != known {
				t.Errorf("%d revocations", n)
			}
		})
	}
}

func TestAuthorizationExpires(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	a := w.begin(grant.Link{Caller: "billing"})
	query := w.consent(a)
	late := w.begin(grant.Link{Caller: "billing"})
	lateQuery := w.consent(late)
	clock.Advance(10 * time.Minute)
	for range 2 {
		// By then the browser has dropped the cookie.
		_, err := w.finish(&grant.Authorization{}, query)
		wantFailure(t, err, grant.FailureExpired)
	}
	_, err := w.finish(a, query)
	wantFailure(t, err, grant.FailureExpired)
	clock.Advance(10 * time.Minute)
	_, err = w.finish(late, lateQuery)
	wantFailure(t, err, grant.FailureState)
	if n := w.intuit.Counters().CodeExchanges; n != 0 {
		t.Errorf("%d exchanges", n)
	}
}

func TestAuthorizationRepairsADeadGrant(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	w.intuit.KillGrant(realm)
	_, err := w.keeper.Token(t.Context(), key)
	wantReauthorization(t, err, tokenstore.CauseRevokedOrReplaced)
	a := w.begin(grant.Link{Caller: "crm", Connection: realm})
	if _, err := w.finish(a, w.consent(a)); err != nil {
		t.Fatal(err)
	}
	if s := w.token(); w.call(s) != 200 || s.Owner != "billing" {
		t.Errorf("owner %q: a reconnection changes no owner", s.Owner)
	}
}

func TestLinks(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	link := grant.Link{Integration: "quickbooks", Caller: "billing", ExpiresAt: clock.Now().Add(time.Minute).Unix()}
	text := w.keeper.SignLink(link)
	if got, err := w.keeper.OpenLink(text); err != nil || got != link {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range text {
		changed := []byte(text)
		changed[i] ^= 1
		if got, err := w.keeper.OpenLink(string(changed)); err == nil {
			t.Fatalf("byte %d changed, and still %+v", i, got)
		}
	}
	for _, bad := range []string{"", ".", "a.b", text + ".", text + "A", strings.Repeat("A", 1<<20)} {
		if _, err := w.keeper.OpenLink(bad); !errors.Is(err, grant.ErrLinkInvalid) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
	if _, err := w.keeper.OpenLink(w.keeper.SignResult(grant.Result{Integration: "quickbooks"})); !errors.Is(err, grant.ErrLinkInvalid) {
		t.Errorf("a result was taken for a link: %v", err)
	}
	clock.Advance(time.Minute)
	if _, err := w.keeper.OpenLink(text); !errors.Is(err, grant.ErrLinkExpired) {
		t.Errorf("expired: %v", err)
	}
	// Links outlive the process.
	w.open(w.store.Copy())
	if _, err := w.keeper.OpenLink(text); !errors.Is(err, grant.ErrLinkExpired) {
		t.Errorf("after a restart: %v", err)
	}
}
