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
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/provider/quickbooks"
	"github.com/freshbearer/freshbearer/secret"
)

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// FuzzTokenResponse gives the client any answer at all. Nothing but a
// well-formed grant may come out as tokens, nothing but a well-formed
// invalid_grant as one, and no secret in an error's text.
func FuzzTokenResponse(f *testing.F) {
	const kind = "application/json;charset=UTF-8"
	f.Add(200, kind, "", goodAnswer())
	f.Add(200, "", "", `{"access_token":"a","refresh_token":null,"expires_in":"1e308"}`)
	f.Add(200, kind, "", `{"access_token":"a\r\nX: y","expires_in":-1}`)
	f.Add(200, kind, "", `{"access_token":"a","access\u005ftoken":"b"}`)
	f.Add(200, kind, "", `{"access_token":"a","expires_in":NaN}`)
	f.Add(200, "text/html", "", "<html>")
	f.Add(307, kind, "", "")
	f.Add(400, kind, "", `{"error":"invalid_grant","error_description":"bad `+sentRefresh+`"}`)
	f.Add(400, kind, "", `{"error":"`+sentRefresh+`","access_token":"`+newAccess+`","error_description":"`+newAccess+`"}`)
	f.Add(401, kind, "", `{"error":"invalid_client"}`)
	f.Add(400, kind, "", `{"Error":"invalid_grant","error":{"a":[]}}`)
	f.Add(429, kind, "99999999999999999999", "")
	f.Add(503, "text/html", "Mon, 23 Nov 2026 06:10:00 GMT", "<html>")
	f.Add(200, kind, "", strings.Repeat("[", 1000))
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter, body string) {
		client := &provider.Client{
			Provider:     quickbooks.Provider{},
			Endpoints:    provider.Endpoints{TokenURL: "https://token.example/token"},
			ClientID:     "id",
			ClientSecret: secret.New(clientSecret),
			Clock:        clockwork.NewFakeClockAt(start),
			HTTP: roundTripFunc(func(request *http.Request) (*http.Response, error) {
				header := http.Header{"Date": {retryAfter}, "Retry-After": {retryAfter}, "Intuit_tid": {retryAfter}}
				if contentType != "" {
					header.Set("Content-Type", contentType)
				}
				return &http.Response{
					StatusCode: status,
					Header:     header,
					Body:       io.NopCloser(strings.NewReader(body)),
					Request:    request,
				}, nil
			}),
		}
		tokens, err := client.Refresh(t.Context(), secret.New(sentRefresh))
		if err == nil {
			checkTokens(t, status, tokens)
			return
		}
		failure, ok := errors.AsType[*provider.TokenError](err)
		if !ok {
			t.Fatalf("%T: %v", err, err)
		}
		var members map[string]any
		_ = json.Unmarshal([]byte(body), &members)
		switch failure.Outcome {
		case provider.OutcomeInvalidGrant:
			if members["error"] != "invalid_grant" || status != 400 && status != 401 {
				t.Fatalf("status %d, body %q: %v", status, body, err)
			}
		case provider.OutcomeClientRefused, provider.OutcomeTransient, provider.OutcomeUnknown:
		default:
			t.Fatalf("outcome %q", failure.Outcome)
		}
		if failure.Status != status || failure.RetryAfter < 0 || failure.RetryAfter > time.Hour {
			t.Fatalf("%+v", failure)
		}
		if len(failure.Description) > 200 || strings.ContainsFunc(failure.Code+failure.Description, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q, %q", failure.Code, failure.Description)
		}
		text := err.Error()
		if strings.Contains(text, sentRefresh) || strings.Contains(failure.TraceID, sentRefresh) {
			t.Fatalf("the text holds the sent token: %s", text)
		}
		// A token that is part of our own words proves nothing.
		failure.Code, failure.Description = "", "[redacted]"
		words := failure.Error()
		if token, _ := members["access_token"].(string); len(token) >= 8 && !strings.Contains(words, token) && strings.Contains(text, token) {
			t.Fatalf("the text holds the answer's token: %s", text)
		}
	})
}

func checkTokens(t *testing.T, status int, tokens *provider.Tokens) {
	t.Helper()
	if status != http.StatusOK {
		t.Fatalf("status %d was taken for a success", status)
	}
	for token, limit := range map[string]int{tokens.AccessToken.Reveal(): 8 << 10, tokens.RefreshToken.Reveal(): 4 << 10} {
		if token == "" || len(token) > limit || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("token %q", token)
		}
	}
	if lives := tokens.ExpiresAt.Sub(tokens.RequestedAt); lives <= 0 || lives > 24*time.Hour {
		t.Fatalf("lives %v", lives)
	}
	if tokens.Lifetimes.Refresh < 0 || tokens.Lifetimes.Authorization < 0 {
		t.Fatalf("lifetimes %+v", tokens.Lifetimes)
	}
}
