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
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
)

func requestError(t *testing.T, err error) *provider.RequestError {
	t.Helper()
	found, ok := errors.AsType[*provider.RequestError](err)
	if !ok {
		t.Fatalf("the error is %T (%v), want *provider.RequestError", err, err)
	}
	return found
}

func TestRevoke(t *testing.T) {
	var request seen
	client := newClient(t, recording(&request, answer(http.StatusOK, "", nil)))
	if err := client.Revoke(t.Context(), secret.New(sentRefresh)); err != nil {
		t.Fatal(err)
	}
	if request.method != http.MethodPost || request.path != "/revoke" || request.body != `{"token":"`+sentRefresh+`"}` {
		t.Errorf("%s %s %s", request.method, request.path, request.body)
	}
	check := http.Request{Header: request.header}
	id, password, ok := check.BasicAuth()
	if !ok || id != "client+id" || password != url.QueryEscape(clientSecret) ||
		request.header.Get("Accept") != "application/json" || request.header.Get("Content-Type") != "application/json" {
		t.Errorf("header %v", request.header)
	}
}

func TestRevokeOutcomes(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		header map[string]string
		gone   bool
	}{
		{"empty 400", 400, "", nil, true},
		{"invalid_token", 400, `{"error":"invalid_token"}`, nil, true},
		{"invalid_grant", 400, `{"error":"invalid_grant"}`, nil, true},
		{"empty object", 400, `{}`, nil, true},
		{"invalid_client", 400, `{"error":"invalid_client"}`, nil, false},
		{"invalid_request", 400, `{"error":"invalid_request"}`, nil, false},
		{"page", 400, "<html></html>", map[string]string{"Content-Type": "text/html"}, false},
		{"too long", 400, strings.Repeat(" ", 70<<10), nil, false},
		{"too long 200", 200, strings.Repeat(" ", 70<<10), nil, false},
		{"401", 401, "", nil, false},
		{"403", 403, "", nil, false},
		{"404", 404, "", nil, false},
		{"429", 429, "", map[string]string{"Retry-After": "7"}, false},
		{"500", 500, "", nil, false},
		{"503", 503, "", map[string]string{"Retry-After": "7"}, false},
		{"202", 202, "", nil, false},
		{"204", 204, "", nil, false},
	} {
		header := map[string]string{"intuit_tid": traceID}
		for name, value := range c.header {
			header[name] = value
		}
		err := newClient(t, answer(c.status, c.body, header)).Revoke(t.Context(), secret.New(sentRefresh))
		failure := requestError(t, err)
		if errors.Is(err, provider.ErrAlreadyRevoked) != c.gone || failure.Status != c.status || failure.TraceID != traceID {
			t.Errorf("%s: %v", c.name, err)
		}
		if want := c.header["Retry-After"] != ""; (failure.RetryAfter == 7*time.Second) != want {
			t.Errorf("%s: wait %v", c.name, failure.RetryAfter)
		}
		if strings.Contains(err.Error(), sentRefresh) {
			t.Errorf("%s: the text holds the token", c.name)
		}
	}
	err := clientOf(t, rawServer(t, "")).Revoke(t.Context(), secret.New(sentRefresh))
	if failure := requestError(t, err); failure.Status != 0 || errors.Is(err, provider.ErrAlreadyRevoked) {
		t.Errorf("reset: %v", err)
	}
}

func TestAccount(t *testing.T) {
	var request seen
	client := newClient(t, recording(&request, answer(http.StatusOK, `{"CompanyInfo":{"CompanyName":"Acme"}}`, nil)))
	account, err := client.Account(t.Context(), secret.New(newAccess), "9130350000000000")
	if err != nil || account != (provider.Account{Connection: "9130350000000000", Name: "Acme"}) {
		t.Fatalf("%+v, %v", account, err)
	}
	if request.method != http.MethodGet || request.path != "/v3/company/9130350000000000/companyinfo/9130350000000000?minorversion=75" ||
		request.header.Get("Authorization") != "Bearer "+newAccess || request.header.Get("Accept") != "application/json" {
		t.Errorf("%s %s %v", request.method, request.path, request.header)
	}
	if _, err := client.Account(t.Context(), secret.New(newAccess), "1/../2"); err == nil {
		t.Error("a connection id that is none was accepted")
	}
	client.Endpoints.APIs = nil
	if _, err := client.Account(t.Context(), secret.New(newAccess), "1"); err == nil {
		t.Error("no API, no error")
	}
}

func TestAccountOutcomes(t *testing.T) {
	xml := map[string]string{"Content-Type": "application/xml"}
	html := map[string]string{"Content-Type": "text/html"}
	wrongRealm := `<IntuitResponse><Fault type="AuthenticationFault"><Error code="100"/></Fault></IntuitResponse>`
	for _, c := range []struct {
		name     string
		status   int
		body     string
		header   map[string]string
		mismatch bool
	}{
		{"wrong realm", 401, wrongRealm, xml, true},
		{"wrong cluster", 401, strings.Replace(wrongRealm, "100", "130", 1), xml, true},
		{"wrong environment", 403, `{"fault":{"error":[{"code":"3100"}]}}`, nil, true},
		{"token refused", 401, `{"fault":{"error":[{"code":"3200"}]}}`, nil, false},
		{"page", 403, "<html></html>", html, false},
		{"page 401", 401, "<html></html>", html, false},
		{"empty 401", 401, "", nil, false},
		{"empty 403", 403, "", nil, false},
		{"404", 404, "{}", nil, false},
		{"429", 429, wrongRealm, xml, false},
		{"500", 500, wrongRealm, xml, false},
		{"200 with a fault", 200, `{"Fault":{"Error":[{"code":"100"}]}}`, nil, false},
		{"200 page", 200, "<html></html>", html, false},
		{"200 too long", 200, strings.Repeat(" ", 70<<10), nil, false},
	} {
		_, err := newClient(t, answer(c.status, c.body, c.header)).Account(t.Context(), secret.New(newAccess), "1")
		if failure := requestError(t, err); errors.Is(err, provider.ErrAccountMismatch) != c.mismatch || failure.Status != c.status {
			t.Errorf("%s: %v", c.name, err)
		}
		if strings.Contains(err.Error(), newAccess) {
			t.Errorf("%s: the text holds the token", c.name)
		}
	}
}
