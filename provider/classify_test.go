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
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/provider"
)

func TestClassification(t *testing.T) {
	const (
		grant     = provider.OutcomeInvalidGrant
		refused   = provider.OutcomeClientRefused
		transient = provider.OutcomeTransient
		unknown   = provider.OutcomeUnknown
	)
	html := map[string]string{"Content-Type": "text/html"}
	page := "<html><body>503 Service Temporarily Unavailable, invalid_grant</body></html>"
	for _, c := range []struct {
		name    string
		status  int
		body    string
		header  map[string]string
		outcome provider.Outcome
		code    string
		text    string
	}{
		// The refusals that Intuit is known to give.
		{"bare invalid_grant", 400, `{"error":"invalid_grant"}`, nil, grant, "invalid_grant", ""},
		{"stale refresh token", 400, `{"error_description":"Incorrect or invalid refresh token","error":"invalid_grant"}`, nil, grant, "invalid_grant", "Incorrect or invalid refresh token"},
		{"other client", 400, `{"error":"invalid_grant","error_description":"Incorrect Token type or clientID"}`, nil, grant, "invalid_grant", "Incorrect Token type or clientID"},
		{"invalid_grant with 401", 401, `{"error":"invalid_grant"}`, nil, grant, "invalid_grant", ""},
		{"invalid_grant without a type", 400, `{"error":"invalid_grant"}`, map[string]string{"Content-Type": ""}, grant, "invalid_grant", ""},
		{"invalid_grant as problem", 400, `{"error":"invalid_grant"}`, map[string]string{"Content-Type": "application/problem+json"}, grant, "invalid_grant", ""},

		// What only looks like one.
		{"invalid_grant with 403", 403, `{"error":"invalid_grant"}`, nil, transient, "invalid_grant", ""},
		{"invalid_grant with 404", 404, `{"error":"invalid_grant"}`, nil, transient, "invalid_grant", ""},
		{"invalid_grant with 429", 429, `{"error":"invalid_grant"}`, nil, transient, "invalid_grant", ""},
		{"invalid_grant with 500", 500, `{"error":"invalid_grant"}`, nil, unknown, "invalid_grant", ""},
		{"invalid_grant with 200", 200, `{"error":"invalid_grant"}`, nil, unknown, "invalid_grant", ""},
		{"invalid_grant beside tokens", 200, `{"error":"invalid_grant","access_token":"a","refresh_token":"r"}`, nil, unknown, "invalid_grant", ""},
		{"invalid_grant in HTML", 400, page, html, transient, "", ""},
		{"invalid_grant JSON sent as HTML", 400, `{"error":"invalid_grant"}`, html, transient, "", ""},
		{"invalid_grant sent as text", 400, `{"error":"invalid_grant"}`, map[string]string{"Content-Type": "text/plain"}, transient, "", ""},
		{"invalid_grant in a coding", 400, `{"error":"invalid_grant"}`, map[string]string{"Content-Encoding": "br"}, transient, "", ""},
		{"invalid_grant in the description", 400, `{"error":"invalid_request","error_description":"invalid_grant"}`, nil, transient, "invalid_request", "invalid_grant"},
		{"invalid_grant deeper", 400, `{"details":{"error":"invalid_grant"}}`, nil, transient, "", ""},
		{"invalid_grant in a list", 400, `[{"error":"invalid_grant"}]`, nil, transient, "", ""},
		{"invalid_grant as object", 400, `{"error":{"code":"invalid_grant"}}`, nil, transient, "", ""},
		{"invalid_grant in capitals", 400, `{"error":"INVALID_GRANT"}`, nil, transient, "INVALID_GRANT", ""},
		{"invalid_grant with a space", 400, `{"error":"invalid_grant "}`, nil, transient, "invalid_grant ", ""},
		{"member in capitals", 400, `{"Error":"invalid_grant"}`, nil, transient, "", ""},
		{"member in capitals wins nothing", 400, `{"error":"invalid_request","ERROR":"invalid_grant"}`, nil, transient, "invalid_request", ""},
		{"error twice", 400, `{"error":"invalid_request","error":"invalid_grant"}`, nil, unknown, "", ""},
		{"cut JSON", 400, `{"error":"invalid_grant"`, nil, transient, "", ""},
		{"more after the JSON", 400, `{"error":"invalid_grant"}{}`, nil, transient, "", ""},
		{"not UTF-8", 400, "{\"error\":\"invalid_grant\",\"x\":\"\xff\"}", nil, transient, "", ""},
		{"form", 400, `error=invalid_grant`, map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, transient, "", ""},

		// The operator's keys.
		{"invalid_client", 401, `{"error":"invalid_client"}`, nil, refused, "invalid_client", ""},
		{"invalid_client with 400", 400, `{"error":"invalid_client"}`, nil, refused, "invalid_client", ""},
		{"unauthorized_client", 400, `{"error":"unauthorized_client"}`, nil, refused, "unauthorized_client", ""},
		{"unauthorized_client with 403", 403, `{"error":"unauthorized_client"}`, nil, refused, "unauthorized_client", ""},
		{"invalid_scope", 400, `{"error":"invalid_scope"}`, nil, refused, "invalid_scope", ""},
		{"unsupported_grant_type", 400, `{"error":"unsupported_grant_type"}`, nil, refused, "unsupported_grant_type", ""},
		{"invalid_client with 500", 500, `{"error":"invalid_client"}`, nil, unknown, "invalid_client", ""},
		{"invalid_client with 429", 429, `{"error":"invalid_client"}`, nil, transient, "invalid_client", ""},

		// Not now.
		{"invalid_request", 400, `{"error":"invalid_request","error_description":"missing"}`, nil, transient, "invalid_request", "missing"},
		{"unknown code", 400, `{"error":"temporarily_unavailable"}`, nil, transient, "temporarily_unavailable", ""},
		{"empty 400", 400, ``, nil, transient, "", ""},
		{"401 page", 401, page, html, transient, "", ""},
		{"403 page", 403, page, html, transient, "", ""},
		{"404", 404, `{}`, nil, transient, "", ""},
		{"408", 408, ``, nil, transient, "", ""},
		{"empty 429", 429, ``, nil, transient, "", ""},
		{"503 with Retry-After", 503, page, map[string]string{"Content-Type": "text/html", "Retry-After": "30"}, transient, "", ""},

		// Nobody knows.
		{"500", 500, `{}`, nil, unknown, "", ""},
		{"502 page", 502, page, html, unknown, "", ""},
		{"503 page", 503, page, html, unknown, "", ""},
		{"503 with a broken Retry-After", 503, page, map[string]string{"Content-Type": "text/html", "Retry-After": "soon"}, unknown, "", ""},
		{"504", 504, ``, nil, unknown, "", ""},
		{"504 with Retry-After", 504, ``, map[string]string{"Retry-After": "30"}, unknown, "", ""},
		{"200 page", 200, page, html, unknown, "", ""},
		{"200 empty", 200, ``, nil, unknown, "", ""},
		{"200 cut", 200, `{"access_token":"a","refresh_tok`, nil, unknown, "", ""},
		{"200 as text", 200, `{"access_token":"a"}`, map[string]string{"Content-Type": "text/plain"}, unknown, "", ""},
		{"200 with a type that is none", 200, `{"access_token":"a"}`, map[string]string{"Content-Type": "/;"}, unknown, "", ""},
		{"200 list", 200, `["access_token"]`, nil, unknown, "", ""},
		{"200 null", 200, `null`, nil, unknown, "", ""},
		{"200 without access token", 200, `{"refresh_token":"r"}`, nil, unknown, "", ""},
		{"200 with another name's case", 200, `{"Access_Token":"a"}`, nil, unknown, "", ""},
		{"200 of another type", 200, `{"access_token":"a","token_type":"mac"}`, nil, unknown, "", ""},
		{"200 of a type that is no text", 200, `{"access_token":"a","token_type":1}`, nil, unknown, "", ""},
		{"access token twice", 200, `{"access_token":"a","access_token":"b"}`, nil, unknown, "", ""},
		{"access token twice, once escaped", 200, `{"access_token":"a","access\u005ftoken":"b"}`, nil, unknown, "", ""},
		{"refresh token twice", 200, `{"access_token":"a","refresh_token":"r","refresh_token":"r"}`, nil, unknown, "", ""},
		{"more after the tokens", 200, `{"access_token":"a"} {"access_token":"b"}`, nil, unknown, "", ""},
		{"201", 201, `{"access_token":"a"}`, nil, unknown, "", ""},
		{"204", 204, ``, nil, unknown, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := map[string]string{"intuit_tid": traceID}
			for name, value := range c.header {
				header[name] = value
			}
			_, err := refresh(t, newClient(t, answer(c.status, c.body, header)))
			if err == nil {
				t.Fatal("accepted")
			}
			failure := tokenError(t, err)
			if failure.Outcome != c.outcome || failure.Status != c.status {
				t.Errorf("%s, status %d; want %s, status %d", failure.Outcome, failure.Status, c.outcome, c.status)
			}
			if failure.Code != c.code || failure.Description != c.text {
				t.Errorf("code %q, description %q; want %q, %q", failure.Code, failure.Description, c.code, c.text)
			}
			if failure.TraceID != traceID {
				t.Errorf("trace id %q", failure.TraceID)
			}
			if strings.ToLower(err.Error()[:1]) != err.Error()[:1] || !strings.Contains(err.Error(), string(c.outcome)) {
				t.Errorf("text %q", err)
			}
		})
	}
}

func TestTokenTypes(t *testing.T) {
	for _, kind := range []string{`"bearer"`, `"Bearer"`, `"BEARER"`, `null`} {
		if _, err := refresh(t, newClient(t, answer(http.StatusOK, `{"access_token":"a","token_type":`+kind+`}`, nil))); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	body := `{"x":1,"access_token":"a","x":{"access_token":["b"]},"Error":"invalid_grant","scope":"s","scope":"t"}`
	if _, err := refresh(t, newClient(t, answer(http.StatusOK, body, nil))); err != nil {
		t.Error(err)
	}
}

func TestRetryAfterAndSkew(t *testing.T) {
	at := func(d time.Duration) string { return start.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		name, retryAfter, date string
		wait, skew             time.Duration
	}{
		{"nothing", "", "", 0, 0},
		{"seconds", "30", "", 30 * time.Second, 0},
		{"padded", " 30 ", "", 30 * time.Second, 0},
		{"zero", "0", "", 0, 0},
		{"negative", "-5", "", 0, 0},
		{"words", "soon", "", 0, 0},
		{"a day", "86400", "", time.Hour, 0},
		{"more than an int64", "99999999999999999999", "", time.Hour, 0},
		{"date", at(time.Minute), "", time.Minute, 0},
		{"date in the past", at(-time.Minute), "", 0, 0},
		{"date next year", at(9000 * time.Hour), "", time.Hour, 0},
		{"date by the server's clock", at(11 * time.Minute), at(10 * time.Minute), time.Minute, 10 * time.Minute},
		{"server behind", "", at(-2 * time.Hour), 0, -2 * time.Hour},
		{"broken date", "30", "yesterday", 30 * time.Second, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := refresh(t, newClient(t, answer(429, "", map[string]string{"Retry-After": c.retryAfter, "Date": c.date})))
			failure := tokenError(t, err)
			if failure.RetryAfter != c.wait || failure.Skew != c.skew {
				t.Errorf("wait %v, skew %v; want %v, %v", failure.RetryAfter, failure.Skew, c.wait, c.skew)
			}
		})
	}
}
