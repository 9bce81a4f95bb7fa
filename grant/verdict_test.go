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
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// What is known of a grant, and what Intuit answers, each with each.
func TestVerdicts(t *testing.T) {
	past := time.Now().Add(-time.Hour)
	histories := []struct {
		name   string
		change func(*tokenstore.Record)
		cause  tokenstore.Cause
		// asks is whether the provider has a say at all.
		asks bool
	}{
		{"nothing odd", func(*tokenstore.Record) {}, tokenstore.CauseRevokedOrReplaced, true},
		{"100 days without a refresh", func(r *tokenstore.Record) { r.RefreshExpiresAt = past }, tokenstore.CauseRefreshTokenExpired, true},
		{"5 years since the consent", func(r *tokenstore.Record) { r.AuthorizationExpiresAt = past }, tokenstore.CauseAuthorizationExpired, true},
		{"both ends", func(r *tokenstore.Record) { r.RefreshExpiresAt, r.AuthorizationExpiresAt = past, past }, tokenstore.CauseAuthorizationExpired, true},
		{"an answer was lost", func(r *tokenstore.Record) { r.UnansweredSince = past }, tokenstore.CauseRefreshResponseLost, true},
		{"an answer was lost, and 100 days", func(r *tokenstore.Record) { r.UnansweredSince, r.RefreshExpiresAt = past, past }, tokenstore.CauseRefreshTokenExpired, true},
		{"another client id", func(r *tokenstore.Record) { r.ClientID = "another" }, tokenstore.CauseWrongClient, true},
		{"another client id, and an answer was lost", func(r *tokenstore.Record) { r.ClientID, r.UnansweredSince = "another", past }, tokenstore.CauseWrongClient, true},
		{"disconnected", func(r *tokenstore.Record) {
			r.State, r.Cause = tokenstore.StateDisconnected, tokenstore.CauseDisconnected
		}, tokenstore.CauseDisconnected, false},
	}
	// The shapes of Intuit's answer (reference/intuit.md §2.3).
	const otherClient = "Incorrect Token type or clientID"
	descriptions := []string{"", "Incorrect or invalid refresh token", "Token invalid", otherClient}

	for _, h := range histories {
		for _, description := range descriptions {
			t.Run(h.name+"/"+description, func(t *testing.T) {
				w := expired(t, intuittest.Behaviour{}, h.change)
				body := `{"error":"invalid_grant"}`
				if description != "" {
					body = fmt.Sprintf(`{"error_description":%q,"error":"invalid_grant"}`, description)
				}
				w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultStatus, Status: 400, Body: body, ContentType: "application/json", Times: -1})
				want := h.cause
				if description == otherClient && h.asks {
					want = tokenstore.CauseWrongClient
				}
				_, err := w.keeper.Token(t.Context(), key)
				wantReauthorization(t, err, want)

				tries := w.refreshes()
				if !h.asks {
					if tries != 0 {
						t.Errorf("%d token requests", tries)
					}
					return
				}
				for range 20 {
					_, err := w.keeper.Token(t.Context(), key)
					wantReauthorization(t, err, want)
				}
				if n := w.refreshes(); n != tries || n > 2 {
					t.Errorf("%d token requests, then %d", tries, n)
				}
				r := w.record()
				last := r.History[len(r.History)-1]
				if last.Event != "needs_reauth: "+string(want) || last.Error != "invalid_grant" || last.Description != description ||
					last.Generation != 1 || last.Time.IsZero() {
					t.Errorf("the history ends with %+v", last)
				}
				if want != tokenstore.CauseWrongClient || h.cause != want {
					if events := history(r); !strings.Contains(events, "refused, refused again, needs_reauth") {
						t.Errorf("the history: %s", events)
					}
				}
			})
		}
	}
	t.Run("never connected", func(t *testing.T) {
		w := expired(t, intuittest.Behaviour{})
		_, err := w.keeper.Token(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "404"})
		wantReauthorization(t, err, tokenstore.CauseNeverConnected)
	})
}

// A refusal stays in the history, also if no verdict comes of it.
func TestRefusalWithoutAVerdictIsNoted(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant}, intuittest.Fault{Kind: intuittest.FaultThrottled})
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonProvider)
	r := w.record()
	if r.State != tokenstore.StateConnected || history(r) != "refused" || r.History[0].Error != "invalid_grant" {
		t.Errorf("%s: %+v", r.State, r.History)
	}
	if intents, err := w.keeper.Vault().Intents(t.Context()); err != nil || len(intents) != 0 {
		t.Errorf("%d intents are left, %v", len(intents), err)
	}
}

func history(r *tokenstore.Record) string {
	var events []string
	for _, e := range r.History {
		events = append(events, e.Event)
	}
	return strings.Join(events, ", ")
}

// An incident on the status page speaks for the grant, a page that cannot be
// read does not speak at all.
func TestStatusPageHasASay(t *testing.T) {
	broken := intuittest.Fault{Kind: intuittest.FaultUnavailable, Times: -1}
	for name, c := range map[string]struct {
		page, incident bool
		fault          *intuittest.Fault
		suspect        bool
	}{
		"incident":             {page: true, incident: true, suspect: true},
		"no incident":          {page: true},
		"switched off":         {incident: true},
		"page is broken":       {page: true, incident: true, fault: &broken},
		"page answers rubbish": {page: true, incident: true, fault: &intuittest.Fault{Kind: intuittest.FaultGarbage, Times: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			w := expired(t, intuittest.Behaviour{IncidentOpen: c.incident})
			if c.page {
				w.client.Endpoints.StatusPage = w.intuit.URL()
			}
			if c.fault != nil {
				if err := w.intuit.QueueFault(intuittest.EndpointStatusPage, *c.fault); err != nil {
					t.Fatal(err)
				}
			}
			w.intuit.KillGrant(realm)
			_, err := w.keeper.Token(t.Context(), key)
			if !c.suspect {
				wantReauthorization(t, err, tokenstore.CauseRevokedOrReplaced)
				return
			}
			e := wantUnavailable(t, err, grant.ReasonSuspect)
			if e.RetryAfter != 30*time.Second || e.Incident == nil || e.Incident.Name != "Elevated OAuth errors" || !strings.HasPrefix(e.Incident.URL, "https://stspg.io/") {
				t.Errorf("%+v, incident %+v", e, e.Incident)
			}
			for range 100 {
				_, err := w.keeper.Token(t.Context(), key)
				wantUnavailable(t, err, grant.ReasonSuspect)
			}
			if n := w.refreshes(); n != 1 {
				t.Errorf("%d token requests", n)
			}
			if r := w.record(); r.State != tokenstore.StateSuspect || history(r) != "refused, suspect: the provider has an incident" {
				t.Errorf("%s: %s", r.State, history(r))
			}
		})
	}
}

// Between an incident's end and the next look at the page, a dead grant stays
// suspect; then it is found out.
func TestDeadGrantIsFoundOutAfterTheIncident(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{IncidentOpen: true})
	w.client.Endpoints.StatusPage = w.intuit.URL()
	w.intuit.KillGrant(realm)
	clock.Advance(2 * time.Hour)
	ask := func() error {
		done := make(chan error, 1)
		go func() {
			_, err := w.keeper.Token(t.Context(), key)
			done <- err
		}()
		for {
			select {
			case err := <-done:
				return err
			default:
				lapse(clock, time.Second, time.Second)
			}
		}
	}
	wantUnavailable(t, ask(), grant.ReasonSuspect)
	lapse(clock, 30*time.Minute, time.Second)
	wantUnavailable(t, ask(), grant.ReasonSuspect)
	// The history is not full of an incident.
	if r := w.record(); len(r.History) > 3 || r.History[len(r.History)-1].Count < 10 {
		t.Errorf("the history: %+v", r.History)
	}
	w.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.IncidentOpen = false })
	lapse(clock, 3*time.Minute, time.Second)
	wantReauthorization(t, ask(), tokenstore.CauseRevokedOrReplaced)
}

// A suspect is not one for ever, even if an incident is never closed.
func TestSuspicionEnds(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{IncidentOpen: true})
	w.client.Endpoints.StatusPage = w.intuit.URL()
	w.intuit.KillGrant(realm)
	clock.Advance(2 * time.Hour)
	go func() { _, _ = w.keeper.Token(t.Context(), key) }()
	w.eventually("the grant is suspect", func() bool {
		lapse(clock, time.Second, time.Second)
		return w.record().State == tokenstore.StateSuspect
	})
	lapse(clock, 24*time.Hour, time.Minute)
	w.eventually("the grant is pronounced dead", func() bool {
		lapse(clock, 10*time.Second, time.Second)
		return w.record().State == tokenstore.StateNeedsReauth
	})
}

// A token that still works is served while its grant is suspect.
func TestSuspectServesItsLastToken(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{IncidentOpen: true, IncidentInvalidGrant: true})
	w.client.Endpoints.StatusPage = w.intuit.URL()
	r := w.record()
	r.AccessIssuedAt, r.AccessExpiresAt = time.Now().Add(-59*time.Minute), time.Now().Add(time.Minute)
	w.save(r)
	w.token()
	w.eventually("the grant is suspect", func() bool { return w.record().State == tokenstore.StateSuspect })
	for range 100 {
		if w.call(w.token()) != 200 {
			t.Fatal("the token that still works is not served")
		}
	}
	if n := w.refreshes(); n != 1 {
		t.Errorf("%d token requests", n)
	}
}
