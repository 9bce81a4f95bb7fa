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
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestTokenAnswer(t *testing.T) {
	h := start(t, Behaviour{})
	g := h.Connect(realmA)
	h.Advance(84 * time.Minute)
	req := h.tokenRequest(refreshForm(g.RefreshToken))
	req.Header.Set("x-include-refresh-token-hard-expires-in", "true")
	a := h.must(req)
	out := a.json(t)
	if a.status != 200 || out["token_type"] != "bearer" || out["expires_in"] != 3600.0 || out["refresh_token"] != g.RefreshToken {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if out["x_refresh_token_expires_in"] != 8726400.0-84*60 {
		t.Errorf("x_refresh_token_expires_in does not count down: %v", out["x_refresh_token_expires_in"])
	}
	if out["x_refresh_token_hard_expires_in"] != 5*365*86400.0-84*60 {
		t.Errorf("x_refresh_token_hard_expires_in: %v", out["x_refresh_token_hard_expires_in"])
	}
	access := out["access_token"].(string)
	if parts := strings.Split(access, "."); len(parts) != 5 || parts[1] != "" || len(access) < 800 || len(access) > 1100 {
		t.Errorf("access token: %s", access)
	}
	if !regexp.MustCompile(`^RT1-\d\d-H0-\d{10}[a-z0-9]+$`).MatchString(g.RefreshToken) {
		t.Errorf("refresh token: %s", g.RefreshToken)
	}
	if !regexp.MustCompile(`^1-[0-9a-f]{8}-[0-9a-f]{24}$`).MatchString(a.header.Get("intuit_tid")) {
		t.Errorf("intuit_tid: %v", a.header)
	}
	if want := h.Now().UTC().Format(http.TimeFormat); a.header.Get("Date") != want {
		t.Errorf("Date %s, want the simulated %s", a.header.Get("Date"), want)
	}
	if strings.Contains(h.refreshWith(g.RefreshToken).body, "hard") {
		t.Error("the hard expiry is told without being asked for")
	}
}

func TestRotation(t *testing.T) {
	const same, other = true, false
	for _, tc := range []struct {
		name  string
		b     Behaviour
		after []time.Duration
		want  []bool
	}{
		{"by age", Behaviour{RotationJitter: -1}, []time.Duration{0, 23 * time.Hour, time.Hour, time.Hour}, []bool{same, same, other, same}},
		{"by age with jitter", Behaviour{}, []time.Duration{24*time.Hour - 1, 2 * time.Hour}, []bool{same, other}},
		{"short age", Behaviour{RotationAge: time.Second, RotationJitter: -1}, []time.Duration{0, time.Second}, []bool{same, other}},
		{"always", Behaviour{Rotation: RotateAlways}, []time.Duration{0, 0}, []bool{other, other}},
		{"never", Behaviour{Rotation: RotateNever}, []time.Duration{50 * time.Hour, 50 * time.Hour}, []bool{same, same}},
		{"third use", Behaviour{Rotation: RotateAfterUses, RotationUses: 3}, []time.Duration{0, 0, 0, 0, 0, 0}, []bool{same, same, other, same, same, other}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := start(t, tc.b)
			token := h.Connect(realmA).RefreshToken
			rotations := 0
			for i, d := range tc.after {
				h.Advance(d)
				_, next := h.refreshOK(token)
				if (next == token) != tc.want[i] {
					t.Errorf("refresh %d: same value: %t", i, next == token)
				}
				if next != token {
					rotations++
				}
				token = next
			}
			if c := h.Counters(); c.Rotations != rotations || c.RefreshesOK != len(tc.after) {
				t.Errorf("counters: %+v", c)
			}
		})
	}
}

func TestSupersededValue(t *testing.T) {
	for _, tc := range []struct {
		name         string
		b            Behaviour
		later        time.Duration
		oldWorks     bool
		newStillGood bool
	}{
		{"strict", Behaviour{}, 0, false, true},
		{"in grace", Behaviour{Grace: 24 * time.Hour}, 23 * time.Hour, true, true},
		{"after grace", Behaviour{Grace: 24 * time.Hour}, 24 * time.Hour, false, true},
		{"family", Behaviour{RevokeFamily: true}, 0, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.b.Rotation = RotateAlways
			h := start(t, tc.b)
			old := h.Connect(realmA).RefreshToken
			access, fresh := h.refreshOK(old)
			h.SetBehaviour(func(b *Behaviour) { b.Rotation = RotateNever })
			h.Advance(tc.later)
			if tc.oldWorks {
				if _, got := h.refreshOK(old); got != fresh {
					t.Errorf("the old value gives %s, want the current one", got)
				}
			} else {
				h.refreshRefused(old, descBadRefresh)
				if n := h.Counters().SupersededReuses; n != 1 {
					t.Errorf("superseded reuses: %d", n)
				}
			}
			if tc.newStillGood {
				h.refreshOK(fresh)
			} else {
				h.refreshRefused(fresh, descDeadRefresh)
				h.wantInfo(access, 200)
			}
		})
	}
}

func TestRefreshRefusals(t *testing.T) {
	h := start(t, Behaviour{})
	g := h.Connect(realmA)
	h.refreshRefused("RT1-unknown", descBadRefresh)
	h.refreshRefused(g.AccessToken, descOtherClient)

	req := h.tokenRequest(refreshForm(g.RefreshToken))
	req.SetBasicAuth("other", "other-secret")
	if a := h.must(req); a.status != 400 || !strings.Contains(a.body, descOtherClient) {
		t.Errorf("another client's token: %d %s", a.status, a.body)
	}
	h.refreshOK(g.RefreshToken) // nothing was consumed

	h.Advance(8726400 * time.Second)
	h.refreshRefused(g.RefreshToken, descDeadRefresh)

	hard := start(t, Behaviour{HardTTL: 48 * time.Hour, RotationJitter: -1})
	token := hard.Connect(realmA).RefreshToken
	hard.Advance(47 * time.Hour)
	_, token = hard.refreshOK(token)
	hard.Advance(time.Hour)
	hard.refreshRefused(token, descDeadRefresh)
}

func TestClientAuthentication(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).RefreshToken
	for _, tc := range []struct {
		name   string
		change func(*http.Request, url.Values)
		status int
		want   string
	}{
		{"basic", func(*http.Request, url.Values) {}, 200, "bearer"},
		{"post", func(r *http.Request, f url.Values) {
			r.Header.Del("Authorization")
			f.Set("client_id", "id")
			f.Set("client_secret", "secret")
		}, 200, "bearer"},
		{"wrong secret", func(r *http.Request, _ url.Values) { r.SetBasicAuth("id", "no") }, 401, `{"error":"invalid_client"}`},
		{"unknown id", func(r *http.Request, _ url.Values) { r.SetBasicAuth("no", "secret") }, 401, "invalid_client"},
		{"no scheme", func(r *http.Request, _ url.Values) { r.Header.Set("Authorization", "x") }, 401, "invalid_client"},
		{"two lines", func(r *http.Request, _ url.Values) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, 401, "invalid_client"},
		{"none", func(r *http.Request, _ url.Values) { r.Header.Del("Authorization") }, 401, "invalid_client"},
		{"no grant type", func(_ *http.Request, f url.Values) { f.Del("grant_type") }, 400, "invalid_request"},
		{"odd grant type", func(_ *http.Request, f url.Values) { f.Set("grant_type", "password") }, 400, "unsupported_grant_type"},
		{"blank token", func(_ *http.Request, f url.Values) { f.Set("refresh_token", "") }, 400, "invalid_request"},
		{"repeated", func(_ *http.Request, f url.Values) { f.Add("refresh_token", "x") }, 400, "invalid_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			form := refreshForm(token)
			req := h.tokenRequest(form)
			tc.change(req, form)
			changed := h.tokenRequest(form)
			changed.Header = req.Header
			if a := h.must(changed); a.status != tc.status || !strings.Contains(a.body, tc.want) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestErrorDescriptions(t *testing.T) {
	h := start(t, Behaviour{})
	for form, want := range map[Description]string{
		DescriptionFirst:   `{"error_description":"Incorrect or invalid refresh token","error":"invalid_grant"}`,
		DescriptionSwapped: `{"error":"invalid_grant","error_description":"Incorrect or invalid refresh token"}`,
		DescriptionAbsent:  `{"error":"invalid_grant"}`,
	} {
		h.SetBehaviour(func(b *Behaviour) { b.Descriptions = form })
		if a := h.refreshWith("no"); a.body != want || a.header.Get("Content-Length") != fmt.Sprint(len(want)) {
			t.Errorf("%q: %s %v", form, a.body, a.header)
		}
	}
}

func TestAccessTokenLife(t *testing.T) {
	h := start(t, Behaviour{})
	g := h.Connect(realmA)
	h.Advance(time.Hour - 1)
	h.wantInfo(g.AccessToken, 200)
	next, _ := h.refreshOK(g.RefreshToken)
	h.wantInfo(g.AccessToken, 200) // a refresh leaves the old one alive
	h.Advance(1)
	h.wantInfo(g.AccessToken, 401)

	h.SetBehaviour(func(b *Behaviour) { b.OldAccessDies = true })
	last, _ := h.refreshOK(g.RefreshToken)
	h.wantInfo(next, 401)
	h.wantInfo(last, 200)

	h.SetBehaviour(func(b *Behaviour) { b.EarlyExpiry = time.Hour })
	h.wantInfo(last, 401)
	h.SetBehaviour(func(b *Behaviour) { b.EarlyExpiry, b.AccessTokenTTL = 0, time.Minute })
	if out := h.refreshWith(g.RefreshToken).json(t); out["expires_in"] != 60.0 {
		t.Errorf("expires_in: %v", out["expires_in"])
	}

	if n := h.RevokeAccess(realmA); n == 0 {
		t.Error("nothing was revoked")
	}
	h.wantInfo(last, 401)
	h.refreshOK(g.RefreshToken)
	if h.KillGrant(realmA) != 1 || h.KillGrant(realmA) != 0 {
		t.Error("a grant dies once")
	}
	h.refreshRefused(g.RefreshToken, descDeadRefresh)
}

func TestIDToken(t *testing.T) {
	h := start(t, Behaviour{})
	q := h.authorize("scope", "openid "+ScopeAccounting)
	out := h.must(h.tokenRequest(codeForm(q.Get("code")))).json(t)
	parts := strings.Split(fmt.Sprint(out["id_token"]), ".")
	if len(parts) != 3 {
		t.Fatalf("id_token: %v", out["id_token"])
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !strings.Contains(string(claims), `"aud":["id"]`) || !strings.Contains(string(claims), `"realmid":"`+realmA+`"`) {
		t.Errorf("claims: %s %v", claims, err)
	}
	req, _ := http.NewRequest("GET", h.URL()+"/op/v1/jwks", nil)
	if a := h.must(req); !strings.Contains(a.body, `"kid":"intuittest"`) {
		t.Errorf("keys: %s", a.body)
	}
	req = h.apiRequest("GET", "/v1/openid_connect/userinfo", out["access_token"].(string), "")
	if a := h.must(req); a.status != 200 || !strings.Contains(a.body, `"email"`) {
		t.Errorf("user info: %d %s", a.status, a.body)
	}
}
