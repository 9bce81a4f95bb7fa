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
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestOverlappingRefreshes(t *testing.T) {
	for _, tc := range []struct {
		name         string
		b            Behaviour
		second       int
		winnersToken string // "" if it still works
	}{
		{"second refused", Behaviour{}, 400, ""},
		{"family", Behaviour{RevokeFamily: true}, 400, descDeadRefresh},
		{"allowed", Behaviour{AllowParallel: true}, 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := start(t, tc.b)
			token := h.Connect(realmA).RefreshToken
			gate := h.Hold(EndpointToken, realmA)
			first := make(chan answer, 1)
			go func() {
				a, _ := h.do(h.tokenRequest(refreshForm(token)))
				first <- a
			}()
			<-gate.Arrived()
			if a := h.refreshWith(token); a.status != tc.second {
				t.Errorf("second: %d %s", a.status, a.body)
			}
			gate.Release()
			if a := <-first; a.status != 200 {
				t.Errorf("first: %d %s", a.status, a.body)
			}
			if h.OverlappingRefreshes() != 1 || h.MaxConcurrentRefreshes(realmA) != 2 {
				t.Errorf("counters: %+v", h.Counters())
			}
			if tc.winnersToken == "" {
				h.refreshOK(token)
			} else {
				h.refreshRefused(token, tc.winnersToken)
			}
		})
	}
}

func TestAbandonedRefreshIsNoOverlap(t *testing.T) {
	h := start(t, Behaviour{Rotation: RotateAlways})
	token := h.Connect(realmA).RefreshToken
	gate := h.Hold(EndpointToken, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.do(h.tokenRequest(refreshForm(token)).WithContext(ctx))
		done <- err
	}()
	<-gate.Arrived()
	cancel()
	if <-done == nil {
		t.Fatal("the request was answered")
	}
	h.refreshOK(token) // the abandoned one did not rotate it
	if c := h.Counters(); c.OverlappingRefreshes != 0 || c.MaxConcurrentRefreshes[realmA] != 1 {
		t.Errorf("counters: %+v", c)
	}
}

func TestRevoke(t *testing.T) {
	for _, tc := range []struct {
		name, ctype string
		body        func(token string) string
		access      bool
	}{
		{"JSON", "application/json", func(s string) string { return `{"token":"` + s + `"}` }, false},
		{"form", "application/x-www-form-urlencoded", func(s string) string { return "token=" + url.QueryEscape(s) }, false},
		{"access token", "application/json", func(s string) string { return `{"token":"` + s + `"}` }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := start(t, Behaviour{})
			g := h.Connect(realmA)
			token := g.RefreshToken
			if tc.access {
				token = g.AccessToken
			}
			revoke := func(id, secret string) answer {
				req, _ := http.NewRequest("POST", h.RevokeURL(), strings.NewReader(tc.body(token)))
				req.Header.Set("Content-Type", tc.ctype)
				req.SetBasicAuth(id, secret)
				return h.must(req)
			}
			if a := revoke("id", "wrong"); a.status != 401 {
				t.Errorf("wrong secret: %d", a.status)
			}
			if a := revoke("other", "other-secret"); a.status != 400 {
				t.Errorf("other client: %d", a.status)
			}
			h.SetBehaviour(func(b *Behaviour) { b.RevokeThrottled = true })
			if a := revoke("id", "secret"); a.status != 429 || a.body != "" {
				t.Errorf("throttled: %d %q", a.status, a.body)
			}
			h.SetBehaviour(func(b *Behaviour) { b.RevokeThrottled = false })
			if a := revoke("id", "secret"); a.status != 200 || a.body != "" {
				t.Errorf("%d %q", a.status, a.body)
			}
			if a := revoke("id", "secret"); a.status != 400 || a.body != "" {
				t.Errorf("again: %d %q", a.status, a.body)
			}
			h.wantInfo(g.AccessToken, 401)
			h.refreshRefused(g.RefreshToken, descDeadRefresh)
			if n := h.Counters().Revocations; n != 1 {
				t.Errorf("revocations: %d", n)
			}
		})
	}
}

// A hang that comes after the rotation counts as under way until its client
// gives up, and no longer.
func TestHangAfterIsAFlight(t *testing.T) {
	for range 20 {
		h := start(t, Behaviour{Rotation: RotateNever})
		token := h.Connect(realmA).RefreshToken
		h.FailToken(Fault{Kind: FaultHangAfter})
		h.giveUp(h.tokenRequest(refreshForm(token)), "the answer that is lost", func() bool { return len(h.TokenRequests()) == 1 })
		h.refreshOK(token)
		if n := h.OverlappingRefreshes(); n != 0 {
			t.Fatalf("overlapping: %d", n)
		}
	}
}

func TestRevokeReaches(t *testing.T) {
	for name, tc := range map[string]struct {
		b             Behaviour
		superseded    bool
		status        int
		lives, others bool
	}{
		"its own grant":                    {Behaviour{}, false, 200, false, true},
		"all of the client and company":    {Behaviour{RevokeEndsAll: true}, false, 200, false, false},
		"by a superseded token":            {Behaviour{}, true, 200, false, true},
		"nothing by a superseded token":    {Behaviour{RevokeCurrentOnly: true}, true, 400, true, true},
		"its own grant by a current token": {Behaviour{RevokeCurrentOnly: true}, false, 200, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			tc.b.Rotation = RotateAlways
			h := start(t, tc.b)
			other, elsewhere := h.Connect(realmA), h.Connect(realmB)
			token := h.Connect(realmA).RefreshToken
			_, current := h.refreshOK(token)
			if !tc.superseded {
				token = current
			}
			req, _ := http.NewRequest("POST", h.RevokeURL(), strings.NewReader("token="+token))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.SetBasicAuth("id", "secret")
			if a := h.must(req); a.status != tc.status {
				t.Errorf("status %d", a.status)
			}
			for _, g := range []struct {
				token string
				lives bool
			}{{current, tc.lives}, {other.RefreshToken, tc.others}, {elsewhere.RefreshToken, true}} {
				if g.lives {
					h.refreshOK(g.token)
				} else {
					h.refreshRefused(g.token, descDeadRefresh)
				}
			}
		})
	}
}
