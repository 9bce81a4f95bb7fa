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

package quickbooks

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
)

func TestModule(t *testing.T) {
	info := Provider{}.CaddyModule()
	if info.ID != "freshbearer.providers.quickbooks" {
		t.Errorf("id %q", info.ID)
	}
	if _, ok := info.New().(provider.Provider); !ok {
		t.Errorf("New makes a %T", info.New())
	}
}

func TestEndpoints(t *testing.T) {
	for _, environment := range (Provider{}).Environments() {
		endpoints := Provider{}.Endpoints(environment)
		addresses := []string{endpoints.AuthorizeURL, endpoints.TokenURL, endpoints.RevokeURL, endpoints.StatusPage}
		for _, name := range []string{Accounting, Payments, GraphQL, UserInfo} {
			origin := endpoints.APIs[name]
			if strings.Contains(origin, "sandbox") != (environment == Sandbox) {
				t.Errorf("%s, API %q: %s", environment, name, origin)
			}
			if u, err := url.Parse(origin); err != nil || u.Path != "" {
				t.Errorf("%s, API %q: %s is not an origin", environment, name, origin)
			}
			addresses = append(addresses, origin)
		}
		for _, address := range addresses {
			if u, err := url.Parse(address); err != nil || u.Scheme != "https" || !strings.HasSuffix(u.Host, ".intuit.com") {
				t.Errorf("%s: %q", environment, address)
			}
		}
	}
	if got := (Provider{}).Endpoints("staging"); got.TokenURL != "" || got.APIs != nil {
		t.Errorf("an unknown environment has endpoints: %+v", got)
	}
}

func TestConnections(t *testing.T) {
	for id, want := range map[string]bool{
		"1": true, "0123": true, "12345678901234567890": true,
		"": false, "123456789012345678901": false, "1a": false, "-1": false, " 1": false, "\u0661": false, "1/2": false,
	} {
		if got := (Provider{}).ValidConnection(id); got != want {
			t.Errorf("%q: %v", id, got)
		}
	}
	for query, want := range map[string]string{
		"code=x&state=y&realmId=123": "123",
		"code=x":                     "",
		"realmId=1&realmId=1":        "",
		"realmId=1&realmId=2":        "",
		"realmId=":                   "",
		"realmId=1%2F..%2F2":         "",
		"realmid=1":                  "",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Provider{}.CallbackConnection(values)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", query, got, err)
		}
	}
}

func TestLifetimes(t *testing.T) {
	for _, c := range []struct {
		value any
		want  time.Duration
	}{
		{float64(8726400), 8726400 * time.Second},
		{json.Number("100"), 100 * time.Second},
		{"100", 100 * time.Second},
		{int64(100), 100 * time.Second},
		{nil, 0},
		{float64(0), 0},
		{float64(-1), 0},
		{1e308, 0},
		{math.NaN(), 0},
		{math.Inf(1), 0},
		{"NaN", 0},
		{"soon", 0},
		{true, 0},
		{[]any{1}, 0},
	} {
		got := Provider{}.Lifetimes(func(member string) any {
			if member == "x_refresh_token_expires_in" {
				return c.value
			}
			return nil
		})
		if got.Refresh != c.want || got.Authorization != 0 {
			t.Errorf("%v: %+v, want %v", c.value, got, c.want)
		}
	}
}

func TestTraceID(t *testing.T) {
	for value, want := range map[string]string{
		"1-628f0be4-19ed5ea63980105102b16b1e":          "1-628f0be4-19ed5ea63980105102b16b1e",
		"gw-6f1f2c1e-0c3b-4a52-9d3f-0123456789ab":      "gw-6f1f2c1e-0c3b-4a52-9d3f-0123456789ab",
		"Root=1-628f0be4-19ed5ea63980105102b16b1e;x=1": "",
		"<script>":               "",
		strings.Repeat("a", 129): "",
		"":                       "",
	} {
		if got := (Provider{}).TraceID(http.Header{"Intuit_tid": {value}}); got != want {
			t.Errorf("%q: %q", value, got)
		}
	}
}

func TestAccountRequest(t *testing.T) {
	api, err := url.Parse("https://quickbooks.api.intuit.com/")
	if err != nil {
		t.Fatal(err)
	}
	request, err := Provider{}.AccountRequest(api, "123")
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://quickbooks.api.intuit.com/v3/company/123/companyinfo/123?minorversion=75"; request.URL.String() != want ||
		request.Method != http.MethodGet || request.Header.Get("Accept") != "application/json" {
		t.Errorf("%s %s %v", request.Method, request.URL, request.Header)
	}
	if target, err := (Provider{}).ParseTarget(request.URL.RequestURI()); err != nil || target.Connection != "123" {
		t.Errorf("our own target: %+v, %v", target, err)
	}
	if _, err := (Provider{}).AccountRequest(api, "1/../2"); err == nil {
		t.Error("a realm ID that is none was accepted")
	}
}

func TestAccountName(t *testing.T) {
	for _, c := range []struct {
		body, want string
		fails      bool
	}{
		{`{"CompanyInfo":{"CompanyName":"Müller & Söhne","Id":"1"},"time":"x"}`, "Müller & Söhne", false},
		{`{"CompanyInfo":{"CompanyName":" a\u0000b\u202ec\n "}}`, "a b c", false},
		{`{"CompanyInfo":{"CompanyName":"` + strings.Repeat("ä", 300) + `"}}`, strings.Repeat("ä", 200), false},
		{`{"CompanyInfo":{}}`, "", false},
		{`{"Fault":{"Error":[{"code":"100"}]}}`, "", true},
		{`{"CompanyInfo":{"CompanyName":7}}`, "", true},
		{`<IntuitResponse/>`, "", true},
		{``, "", true},
	} {
		got, err := Provider{}.AccountName([]byte(c.body))
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%.60s: %q, %v", c.body, got, err)
		}
	}
}

func TestRevokeRequest(t *testing.T) {
	request, err := Provider{}.RevokeRequest("https://example.com/revoke", secret.New(`RT1-"x"`))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil || string(body) != `{"token":"RT1-\"x\""}` || request.ContentLength != int64(len(body)) {
		t.Errorf("body %s, length %d, %v", body, request.ContentLength, err)
	}
	if request.Method != http.MethodPost || request.Header.Get("Content-Type") != "application/json" ||
		request.Header.Get("Accept") != "application/json" || request.Header.Get("Authorization") != "" {
		t.Errorf("%s %v", request.Method, request.Header)
	}
	if _, err := (Provider{}).RevokeRequest("://", secret.New("t")); err == nil {
		t.Error("a URL that is none was accepted")
	}
}
