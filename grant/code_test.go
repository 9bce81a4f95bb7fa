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
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// exchangeElsewhere redeems a code as another program with the same keys would.
func (w *world) exchangeElsewhere(code string) {
	w.t.Helper()
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {w.client.RedirectURL}}
	req, err := http.NewRequest(http.MethodPost, w.intuit.TokenURL(), strings.NewReader(form.Encode()))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(intuittest.DefaultClientID, intuittest.DefaultClientSecret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("the other program's exchange: %s", resp.Status)
	}
}

// reconfigure is a reload with other settings.
func (w *world) reconfigure(change func(redirectURL, clientID *string)) {
	next := *w.client
	change(&next.RedirectURL, &next.ClientID)
	w.client = &next
	w.attach()
}

const movedURL = "http://127.0.0.1/moved/oauth/callback"

func TestCodeThatIsRefused(t *testing.T) {
	const (
		used, expired    = grant.CodeUsed, grant.CodeExpired
		redirect, client = grant.CodeRedirectURL, grant.CodeOtherClient
		changed          = grant.CodeRedirectChanged
	)
	unregister := func(w *world) { w.intuit.RegisterRedirectURI(intuittest.DefaultClientID, movedURL+"/elsewhere") }
	move := func(w *world) {
		unregister(w)
		w.reconfigure(func(redirectURL, _ *string) { *redirectURL = movedURL })
	}
	for name, c := range map[string]struct {
		behaviour intuittest.Behaviour
		// meanwhile is what happens between the consent and the callback, later
		// how long it takes.
		meanwhile func(w *world, query url.Values)
		later     time.Duration
		// named are the causes if Intuit describes the error, silent if not.
		named, silent []grant.CodeCause
	}{
		"redeemed by another program": {
			behaviour: intuittest.Behaviour{IgnorePKCE: true},
			meanwhile: func(w *world, q url.Values) { w.exchangeElsewhere(q.Get("code")) },
			// The simulated Intuit says that the code is invalid, no more.
			named:  []grant.CodeCause{used, redirect, client, expired},
			silent: []grant.CodeCause{used, redirect, client, expired},
		},
		"redeemed by another program long ago": {
			behaviour: intuittest.Behaviour{IgnorePKCE: true},
			meanwhile: func(w *world, q url.Values) { w.exchangeElsewhere(q.Get("code")) },
			later:     2 * time.Minute,
			named:     []grant.CodeCause{used, expired, redirect, client},
			silent:    []grant.CodeCause{used, expired, redirect, client},
		},
		"too old": {
			behaviour: intuittest.Behaviour{CodeTTL: 6 * time.Minute},
			later:     6 * time.Minute,
			named:     []grant.CodeCause{expired},
			silent:    []grant.CodeCause{expired, used, redirect, client},
		},
		"redirect URL not registered any more": {
			meanwhile: func(w *world, _ url.Values) { unregister(w) },
			named:     []grant.CodeCause{redirect},
			silent:    []grant.CodeCause{used, redirect, client, expired},
		},
		"redirect URL moved, here and in the portal": {
			meanwhile: func(w *world, _ url.Values) { move(w) },
			later:     6 * time.Minute,
			named:     []grant.CodeCause{changed},
			silent:    []grant.CodeCause{changed, used, expired, client},
		},
		"another client's code": {
			meanwhile: func(w *world, q url.Values) {
				other := *w.client
				other.ClientID = otherClientID
				q.Set("code", w.consent(&grant.Authorization{URL: other.AuthCodeURL("state", "verifier")}).Get("code"))
			},
			named:  []grant.CodeCause{client},
			silent: []grant.CodeCause{used, redirect, client, expired},
		},
	} {
		for description, want := range map[intuittest.Description][]grant.CodeCause{
			intuittest.DescriptionFirst: c.named, intuittest.DescriptionSwapped: c.named, intuittest.DescriptionAbsent: c.silent,
		} {
			t.Run(name+" "+string(description), func(t *testing.T) {
				clock := clockwork.NewFakeClockAt(time.Now())
				c.behaviour.Descriptions = description
				w := newWorld(t, clock, c.behaviour)
				a := w.begin(grant.Link{Caller: "billing", ReturnURL: "https://app.example.com/"})
				query := w.consent(a)
				if c.meanwhile != nil {
					c.meanwhile(w, query)
				}
				clock.Advance(c.later)
				exchanges := w.intuit.Counters().CodeExchanges
				result, err := w.finish(a, query)
				wantFailure(t, err, grant.FailureCode)
				var e *grant.AuthorizationError
				errors.As(err, &e)
				if !slices.Equal(e.Causes, want) {
					t.Errorf("%s %q: causes %q, want %q", e.Failure, e.Detail, e.Causes, want)
				}
				if e.TraceID == "" || e.ReturnURL == "" || e.CodeAge != c.later || result.Connection != "" {
					t.Errorf("%+v, %+v", e, result)
				}
				// The same browser again: the same answer, and Intuit is spared.
				_, again := w.finish(a, query)
				wantFailure(t, again, grant.FailureCode)
				if n := w.intuit.Counters().CodeExchanges - exchanges; n != 1 {
					t.Errorf("%d exchanges", n)
				}
				if r := w.record(); r.Epoch != 1 {
					t.Errorf("epoch %d", r.Epoch)
				}
			})
		}
	}
}

// A code that was redeemed here is not sent again, not even after a restart:
// Intuit would end the grant for it.
func TestCodeThatWasRedeemedHere(t *testing.T) {
	for name, c := range map[string]struct {
		restart bool
		later   time.Duration
	}{
		"at once": {}, "after a restart": {restart: true}, "as long as codes live": {later: 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clockwork.NewFakeClockAt(time.Now())
			w := newWorld(t, clock, intuittest.Behaviour{IgnorePKCE: true})
			first := w.begin(grant.Link{Caller: "billing"})
			query := w.consent(first)
			if _, err := w.finish(first, query); err != nil {
				t.Fatal(err)
			}
			if c.restart {
				w.open(w.store.Copy())
			}
			clock.Advance(c.later)
			second := w.begin(grant.Link{Caller: "billing"}) // forgets what has expired
			stolen := w.consent(second)
			stolen.Set("code", query.Get("code"))
			_, err := w.finish(second, stolen)
			wantFailure(t, err, grant.FailureCode)
			var e *grant.AuthorizationError
			if errors.As(err, &e); !slices.Equal(e.Causes, []grant.CodeCause{grant.CodeUsedHere}) || e.TraceID != "" {
				t.Errorf("%+v", e)
			}
			if n := w.intuit.Counters(); n.CodeExchanges != 1 || n.CodeReuses != 0 || w.call(w.token()) != http.StatusOK {
				t.Errorf("%d exchanges", n.CodeExchanges)
			}
		})
	}
}

// A reload of the configuration while the human is at Intuit's page.
func TestReconfiguredMeanwhile(t *testing.T) {
	t.Run("redirect URL", func(t *testing.T) {
		w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
		a := w.begin(grant.Link{Caller: "billing"})
		query := w.consent(a)
		w.reconfigure(func(redirectURL, _ *string) { *redirectURL = movedURL })
		if _, err := w.finish(a, query); err != nil {
			t.Errorf("the code is not redeemed with the redirect URL that it is for: %v", err)
		}
		next := w.begin(grant.Link{Caller: "billing"})
		if _, err := w.finish(next, w.consent(next)); err != nil {
			t.Errorf("with the new one: %v", err)
		}
	})
	t.Run("client", func(t *testing.T) {
		w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
		a := w.begin(grant.Link{Caller: "billing"})
		query := w.consent(a)
		w.reconfigure(func(_, clientID *string) { *clientID = otherClientID })
		_, err := w.finish(a, query)
		wantFailure(t, err, grant.FailureChanged)
		if n := w.intuit.Counters().CodeExchanges; n != 0 {
			t.Errorf("%d exchanges", n)
		}
	})
}

// No code is spent that could not be remembered, or whose grant could not be
// stored.
func TestNoCodeIsSpentIfTheStoreFails(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	a := w.begin(grant.Link{Caller: "billing"})
	query := w.consent(a)
	w.store.FailApply(2, storetest.BeforeApply, errors.New("disk")) // the state can still be taken
	_, err := w.finish(a, query)
	wantFailure(t, err, grant.FailureStorage)
	if n := w.intuit.Counters().CodeExchanges; n != 0 {
		t.Errorf("%d exchanges", n)
	}
}
