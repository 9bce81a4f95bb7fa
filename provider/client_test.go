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

package provider_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/provider/quickbooks"
	"github.com/freshbearer/freshbearer/secret"
)

const (
	clientSecret = "client-secret/with+odd=characters"
	sentRefresh  = "RT1-39-H3-1785429816sentsentsentsent"
	newRefresh   = "RT1-40-H3-1785516216newnewnewnewnew"
	newAccess    = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0..aXY.Y2lwaGVy.dGFn"
	traceID      = "1-628f0be4-19ed5ea63980105102b16b1e"
)

var start = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

// newClient makes a client of a server that answers every request by handler.
func newClient(t testing.TB, handler http.HandlerFunc) *provider.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return clientOf(t, server.URL)
}

func clientOf(t testing.TB, base string) *provider.Client {
	t.Helper()
	transport := provider.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	return &provider.Client{
		Provider: quickbooks.Provider{},
		Endpoints: provider.Endpoints{
			AuthorizeURL: base + "/authorize",
			TokenURL:     base + "/token",
			RevokeURL:    base + "/revoke",
			APIs:         map[string]string{"": base},
		},
		ClientID:     "client id",
		ClientSecret: secret.New(clientSecret),
		RedirectURL:  "https://qb.example.com/oauth/callback",
		Scopes:       []string{"com.intuit.quickbooks.accounting", "openid"},
		Clock:        clockwork.NewFakeClockAt(start),
		HTTP:         transport,
	}
}

// answer makes a handler that gives one fixed answer. A field with an empty
// value is left out.
func answer(status int, body string, header map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		w.Header()["Date"] = nil
		for name, value := range header {
			if value == "" {
				w.Header()[name] = nil
				continue
			}
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func goodAnswer() string {
	return fmt.Sprintf(`{"token_type":"bearer","access_token":%q,"expires_in":3600,"refresh_token":%q,`+
		`"x_refresh_token_expires_in":8726400,"x_refresh_token_hard_expires_in":156032154,"id_token":"x"}`,
		newAccess, newRefresh)
}

func refresh(t testing.TB, client *provider.Client) (*provider.Tokens, error) {
	t.Helper()
	return client.Refresh(t.Context(), secret.New(sentRefresh))
}

func tokenError(t testing.TB, err error) *provider.TokenError {
	t.Helper()
	found, ok := errors.AsType[*provider.TokenError](err)
	if !ok {
		t.Fatalf("the error is %T (%v), want *provider.TokenError", err, err)
	}
	return found
}

func TestAuthCodeURL(t *testing.T) {
	client := clientOf(t, "https://appcenter.example.com")
	state, verifier := provider.NewState(), provider.NewVerifier()
	if len(state) != 43 || len(verifier) != 43 || state == provider.NewState() {
		t.Fatalf("state %q, verifier %q", state, verifier)
	}
	address, err := url.Parse(client.AuthCodeURL(state, verifier))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(verifier))
	want := url.Values{
		"response_type":         {"code"},
		"client_id":             {"client id"},
		"redirect_uri":          {"https://qb.example.com/oauth/callback"},
		"scope":                 {"com.intuit.quickbooks.accounting openid"},
		"state":                 {state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(sum[:])},
		"code_challenge_method": {"S256"},
	}
	if got := address.Query().Encode(); got != want.Encode() {
		t.Errorf("query\n got %s\nwant %s", got, want.Encode())
	}
}

// seen is what a token endpoint was sent.
type seen struct {
	method, path, body string
	header             http.Header
}

func recording(seen *seen, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen.method, seen.path, seen.body, seen.header = r.Method, r.URL.String(), string(body), r.Header
		then(w, r)
	}
}

func TestRefresh(t *testing.T) {
	var request seen
	client := newClient(t, recording(&request, answer(http.StatusOK, goodAnswer(), map[string]string{
		"intuit_tid": traceID,
		"Date":       start.Add(7 * time.Second).Format(http.TimeFormat),
	})))
	tokens, err := refresh(t, client)
	if err != nil {
		t.Fatal(err)
	}
	if tokens.AccessToken.Reveal() != newAccess || tokens.RefreshToken.Reveal() != newRefresh {
		t.Error("the tokens are not those of the answer")
	}
	if !tokens.RequestedAt.Equal(start) || !tokens.ExpiresAt.Equal(start.Add(time.Hour)) {
		t.Errorf("requested at %v, expires at %v", tokens.RequestedAt, tokens.ExpiresAt)
	}
	want := provider.Lifetimes{Refresh: 8726400 * time.Second, Authorization: 156032154 * time.Second}
	if tokens.Lifetimes != want {
		t.Errorf("lifetimes %v, want %v", tokens.Lifetimes, want)
	}
	if tokens.TraceID != traceID || tokens.Skew != 7*time.Second {
		t.Errorf("trace id %q, skew %v", tokens.TraceID, tokens.Skew)
	}

	if request.method != http.MethodPost || request.path != "/token" {
		t.Errorf("request %s %s", request.method, request.path)
	}
	if want := "grant_type=refresh_token&refresh_token=" + sentRefresh; request.body != want {
		t.Errorf("body %q, want %q", request.body, want)
	}
	basic := base64.StdEncoding.EncodeToString([]byte("client+id:" + url.QueryEscape(clientSecret)))
	for name, want := range map[string]string{
		"Accept":          "application/json",
		"Accept-Encoding": "identity",
		"Authorization":   "Basic " + basic,
		"Content-Type":    "application/x-www-form-urlencoded",
		"X-Include-Refresh-Token-Hard-Expires-In": "true",
	} {
		if got := request.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestExchange(t *testing.T) {
	var request seen
	client := newClient(t, recording(&request, answer(http.StatusOK, goodAnswer(), nil)))
	verifier := provider.NewVerifier()
	tokens, err := client.Exchange(t.Context(), "the code", verifier)
	if err != nil {
		t.Fatal(err)
	}
	if tokens.RefreshToken.Reveal() != newRefresh {
		t.Error("the refresh token is not that of the answer")
	}
	want := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {"the code"},
		"redirect_uri":  {client.RedirectURL},
		"code_verifier": {verifier},
	}
	if request.body != want.Encode() {
		t.Errorf("body\n got %s\nwant %s", request.body, want.Encode())
	}
}

func TestExchangeNeedsARefreshToken(t *testing.T) {
	client := newClient(t, answer(http.StatusOK, `{"access_token":"a"}`, nil))
	_, err := client.Exchange(t.Context(), "code", "verifier")
	if failure := tokenError(t, err); failure.Outcome != provider.OutcomeUnknown || failure.Status != http.StatusOK {
		t.Errorf("%v", err)
	}
}

func TestNothingToSend(t *testing.T) {
	client := newClient(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	_, err := client.Refresh(t.Context(), secret.String{})
	if tokenError(t, err).Outcome != provider.OutcomeTransient {
		t.Error(err)
	}
	_, err = client.Exchange(t.Context(), "", "verifier")
	if tokenError(t, err).Outcome != provider.OutcomeTransient {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Refresh(ended, secret.New(sentRefresh))
	if tokenError(t, err).Outcome != provider.OutcomeTransient || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err = client.Account(t.Context(), secret.New("bad\r\ntoken"), "123"); err == nil {
		t.Error("a token with a line break was sent")
	}
	if err = client.Revoke(t.Context(), secret.String{}); err == nil || errors.Is(err, provider.ErrAlreadyRevoked) {
		t.Errorf("revoking no token: %v", err)
	}
	client.Endpoints.TokenURL = "https://user:" + clientSecret + "@[broken"
	_, err = refresh(t, client)
	if tokenError(t, err).Outcome != provider.OutcomeTransient || strings.Contains(err.Error(), clientSecret) {
		t.Error(err)
	}
}

func TestRefreshKeepsTheSentToken(t *testing.T) {
	for _, body := range []string{
		`{"access_token":"a"}`,
		`{"access_token":"a","refresh_token":null}`,
		`{"access_token":"a","refresh_token":""}`,
		`{"access_token":"a","error":null}`,
		`{"access_token":"a","error":""}`,
	} {
		tokens, err := refresh(t, newClient(t, answer(http.StatusOK, body, nil)))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if tokens.RefreshToken.Reveal() != sentRefresh {
			t.Errorf("%s: another refresh token than the sent one", body)
		}
	}
}

func TestExpiryCountsFromTheRequest(t *testing.T) {
	clock := clockwork.NewFakeClockAt(start)
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		clock.Advance(45 * time.Second)
		answer(http.StatusOK, goodAnswer(), map[string]string{"Date": start.Add(45 * time.Second).Format(http.TimeFormat)})(w, r)
	})
	client.Clock = clock
	tokens, err := refresh(t, client)
	if err != nil {
		t.Fatal(err)
	}
	if !tokens.ExpiresAt.Equal(start.Add(time.Hour)) || tokens.Skew != 0 {
		t.Errorf("expires at %v, skew %v", tokens.ExpiresAt, tokens.Skew)
	}
}

func TestRealClockAndTransport(t *testing.T) {
	client := newClient(t, answer(http.StatusOK, goodAnswer(), nil))
	client.Clock, client.HTTP = nil, nil
	before := time.Now().Round(0)
	tokens, err := refresh(t, client)
	if err != nil {
		t.Fatal(err)
	}
	if tokens.RequestedAt.Before(before) || tokens.RequestedAt != tokens.RequestedAt.Round(0) {
		t.Errorf("requested at %v", tokens.RequestedAt)
	}
}
