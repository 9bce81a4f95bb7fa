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

package intuittest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAuthorize(t *testing.T) {
	for _, tc := range []struct {
		name  string
		b     Behaviour
		query []string
		realm string
		err   string
	}{
		{"first company", Behaviour{}, nil, realmA, ""},
		{"another company", Behaviour{ConsentRealm: realmB}, nil, realmB, ""},
		{"openid only", Behaviour{}, []string{"scope", "openid email"}, "", ""},
		{"deny", Behaviour{Consent: ConsentDeny}, nil, "", "access_denied"},
		{"invalid scope", Behaviour{Consent: ConsentInvalidScope}, nil, "", "invalid_scope"},
		{"unknown scope", Behaviour{}, []string{"scope", "everything"}, "", "invalid_scope"},
		{"odd challenge method", Behaviour{}, []string{"code_challenge", "x", "code_challenge_method", "S512"}, "", "invalid_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := start(t, tc.b).authorize(tc.query...)
			if q.Get("realmId") != tc.realm || q.Get("error") != tc.err || q.Get("state") != "the state" || (q.Get("code") == "") != (tc.err != "") {
				t.Errorf("callback: %v", q)
			}
		})
	}
}

func TestAuthorizeWithoutRedirect(t *testing.T) {
	for _, tc := range []struct {
		name  string
		query []string
	}{
		{"unknown client", []string{"client_id", "nobody"}},
		{"no redirect_uri", []string{"redirect_uri", ""}},
		{"unregistered", []string{"redirect_uri", callback + "/"}},
		{"with a query", []string{"redirect_uri", callback + "?a=b"}},
		{"script", []string{"redirect_uri", "javascript:alert(1)"}},
		{"no state", []string{"state", ""}},
		{"no scope", []string{"scope", ""}},
		{"no response_type", []string{"response_type", ""}},
		{"token response", []string{"response_type", "token"}},
		{"production, http", []string{"client_id", "production", "redirect_uri", "http://app.example.com/callback"}},
		{"production, IP", []string{"client_id", "production", "redirect_uri", "https://127.0.0.1/callback"}},
		{"production, localhost", []string{"client_id", "production", "redirect_uri", "https://localhost/callback"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startWith(t, Config{Clients: []Client{{ID: "production", Secret: "s", Production: true}}})
			h.RegisterRedirectURI("id", callback)
			req, _ := http.NewRequest("GET", h.AuthorizeURL()+"?"+authorizeQuery(tc.query...).Encode(), nil)
			a := h.must(req)
			if a.status != 400 || a.header.Get("Location") != "" || !strings.Contains(a.body, "didn&#39;t connect") && !strings.Contains(a.body, "didn't connect") {
				t.Errorf("%d %v %s", a.status, a.header, a.body)
			}
		})
	}
}

func TestConsentPage(t *testing.T) {
	h := start(t, Behaviour{Consent: ConsentPage})
	req, _ := http.NewRequest("GET", h.AuthorizeURL()+"?"+authorizeQuery("state", `"><script>`).Encode(), nil)
	a := h.must(req)
	if a.status != 200 || !strings.Contains(a.body, "Company B") || strings.Contains(a.body, "<script>") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	decide := func(decision, realm string) answer {
		form := authorizeQuery("decision", decision, "realm", realm)
		req, _ := http.NewRequest("POST", h.AuthorizeURL(), strings.NewReader(form.Encode()))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return h.must(req)
	}
	if l := decide("connect", realmB).header.Get("Location"); !strings.Contains(l, "realmId="+realmB) || !strings.Contains(l, "code=") {
		t.Errorf("connect: %s", l)
	}
	if l := decide("deny", realmB).header.Get("Location"); !strings.Contains(l, "error=access_denied") {
		t.Errorf("deny: %s", l)
	}
	if a := decide("connect", "999"); a.status != 400 {
		t.Errorf("no such company: %d", a.status)
	}
}

func TestCodeExchange(t *testing.T) {
	const verifier = "0123456789012345678901234567890123456789012345"
	sum := sha256.Sum256([]byte(verifier))
	challenge := []string{"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256"}
	for _, tc := range []struct {
		name     string
		b        Behaviour
		query    []string
		form     []string
		client   string
		later    time.Duration
		status   int
		survives bool // the code can be used rightly after a refusal
	}{
		{name: "good", status: 200},
		{name: "other redirect_uri", form: []string{"redirect_uri", callback + "2"}, status: 400, survives: true},
		{name: "no redirect_uri", form: []string{"redirect_uri", ""}, status: 400, survives: true},
		{name: "other client", client: "other", status: 400, survives: true},
		{name: "just in time", later: 10*time.Minute - 1, status: 200},
		{name: "late", later: 10 * time.Minute, status: 400},
		{name: "short life", b: Behaviour{CodeTTL: time.Second}, later: time.Second, status: 400},
		{name: "PKCE", query: challenge, form: []string{"code_verifier", verifier}, status: 200},
		{name: "PKCE plain", query: []string{"code_challenge", verifier}, form: []string{"code_verifier", verifier}, status: 200},
		{name: "PKCE wrong", query: challenge, form: []string{"code_verifier", verifier + "6"}, status: 400},
		{name: "PKCE missing", query: challenge, status: 400},
		{name: "PKCE ignored", b: Behaviour{IgnorePKCE: true}, query: challenge, status: 200},
		{name: "verifier without challenge", form: []string{"code_verifier", verifier}, status: 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := start(t, tc.b)
			code := h.authorize(tc.query...).Get("code")
			h.Advance(tc.later)
			req := h.tokenRequest(codeForm(code, tc.form...))
			if tc.client != "" {
				req.SetBasicAuth(tc.client, tc.client+"-secret")
			}
			a := h.must(req)
			if a.status != tc.status {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if a.status == 200 {
				if _, tells := a.json(t)["realmId"]; tells {
					t.Error("the token answer must not tell the realm")
				}
				h.wantInfo(a.json(t)["access_token"].(string), 200)
			}
			if tc.survives {
				if a := h.must(h.tokenRequest(codeForm(code))); a.status != 200 {
					t.Errorf("the code was consumed: %d %s", a.status, a.body)
				}
			}
		})
	}
}

func TestCodeReuse(t *testing.T) {
	for _, harmless := range []bool{false, true} {
		h := start(t, Behaviour{CodeReuseHarmless: harmless})
		code := h.authorize().Get("code")
		out := h.must(h.tokenRequest(codeForm(code))).json(t)
		if a := h.must(h.tokenRequest(codeForm(code))); a.status != 400 || !strings.Contains(a.body, "invalid_grant") {
			t.Errorf("second use: %d %s", a.status, a.body)
		}
		if harmless {
			h.refreshOK(out["refresh_token"].(string))
			h.wantInfo(out["access_token"].(string), 200)
		} else {
			h.refreshRefused(out["refresh_token"].(string), descDeadRefresh)
			h.wantInfo(out["access_token"].(string), 401)
		}
		if c := h.Counters(); c.CodeReuses != 1 || c.CodeExchanges != 2 || c.CodeExchangesOK != 1 || c.Authorizations != 1 {
			t.Errorf("counters: %+v", c)
		}
	}
}

func TestReconsent(t *testing.T) {
	for _, replaces := range []bool{false, true} {
		h := start(t, Behaviour{ReconsentReplaces: replaces})
		old := h.Connect(realmA)
		h.must(h.tokenRequest(codeForm(h.authorize().Get("code"))))
		if replaces {
			h.refreshRefused(old.RefreshToken, descDeadRefresh)
		} else {
			h.refreshOK(old.RefreshToken)
		}
		if n := len(h.Grants(realmA)); n != 2 {
			t.Errorf("grants: %d", n)
		}
	}
}

func TestDiscovery(t *testing.T) {
	h := start(t, Behaviour{})
	for _, path := range []string{"/.well-known/openid_configuration", "/.well-known/openid_configuration/", "/.well-known/openid_sandbox_configuration"} {
		req, _ := http.NewRequest("GET", h.URL()+path, nil)
		out := h.must(req).json(t)
		if out["token_endpoint"] != h.TokenURL() || out["authorization_endpoint"] != h.AuthorizeURL() || out["revocation_endpoint"] != h.RevokeURL() {
			t.Errorf("%s: %v", path, out)
		}
	}
	if _, err := url.Parse(h.URL()); err != nil {
		t.Error(err)
	}
}
