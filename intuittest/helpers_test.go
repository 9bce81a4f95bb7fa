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
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	realmA   = "1111111111111111"
	realmB   = "2222222222222222"
	callback = "https://app.example.com/callback"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

type harness struct {
	*Server
	t      *testing.T
	client *http.Client
}

func start(t *testing.T, b Behaviour) *harness {
	return startWith(t, Config{Behaviour: b})
}

func startWith(t *testing.T, cfg Config) *harness {
	t.Helper()
	c := &clock{t: time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)}
	if cfg.Now == nil {
		cfg.Now = c.now
	}
	cfg.ClientID, cfg.ClientSecret = "id", "secret"
	cfg.Clients = append(cfg.Clients, Client{ID: "other", Secret: "other-secret"})
	cfg.Companies = []Company{{realmA, "Company A"}, {realmB, "Company B"}}
	s := NewServer(cfg)
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Timeout = 20 * time.Second
	t.Cleanup(func() {
		client.CloseIdleConnections()
		s.Close()
	})
	return &harness{s, t, client}
}

// answer is a whole HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil {
		t.Fatalf("not JSON: %v: %s", err, a.body)
	}
	return out
}

func (h *harness) do(req *http.Request) (answer, error) {
	res, err := h.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(body)}, err
}

func (h *harness) must(req *http.Request) answer {
	h.t.Helper()
	a, err := h.do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

func (h *harness) tokenRequest(form url.Values) *http.Request {
	req, _ := http.NewRequest("POST", h.TokenURL(), strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.SetBasicAuth("id", "secret")
	return req
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

func (h *harness) refreshWith(token string) answer {
	h.t.Helper()
	return h.must(h.tokenRequest(refreshForm(token)))
}

// refreshOK refreshes and returns the new access and refresh token.
func (h *harness) refreshOK(token string) (access, refresh string) {
	h.t.Helper()
	a := h.refreshWith(token)
	if a.status != 200 {
		h.t.Fatalf("refresh: %d %s", a.status, a.body)
	}
	out := a.json(h.t)
	return out["access_token"].(string), out["refresh_token"].(string)
}

func (h *harness) refreshRefused(token, description string) {
	h.t.Helper()
	a := h.refreshWith(token)
	if out := a.json(h.t); a.status != 400 || out["error"] != "invalid_grant" || out["error_description"] != description {
		h.t.Fatalf("refresh: %d %s, want invalid_grant %q", a.status, a.body, description)
	}
}

func (h *harness) apiRequest(method, path, token, body string) *http.Request {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, h.URL()+path, r)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req
}

// company sends a request below /v3/company/{realmA}.
func (h *harness) company(method, path, token, body string) answer {
	h.t.Helper()
	return h.must(h.apiRequest(method, "/v3/company/"+realmA+path, token, body))
}

func (h *harness) info(token string) answer {
	h.t.Helper()
	return h.company("GET", "/companyinfo/"+realmA, token, "")
}

func (h *harness) wantInfo(token string, status int) {
	h.t.Helper()
	if a := h.info(token); a.status != status {
		h.t.Fatalf("companyinfo: %d %s, want %d", a.status, a.body, status)
	}
}

func authorizeQuery(extra ...string) url.Values {
	q := url.Values{
		"client_id": {"id"}, "redirect_uri": {callback}, "response_type": {"code"},
		"scope": {ScopeAccounting}, "state": {"the state"},
	}
	for i := 0; i+1 < len(extra); i += 2 {
		if extra[i+1] == "" {
			q.Del(extra[i])
		} else {
			q.Set(extra[i], extra[i+1])
		}
	}
	return q
}

// authorize returns the query of the redirect back.
func (h *harness) authorize(extra ...string) url.Values {
	h.t.Helper()
	req, _ := http.NewRequest("GET", h.AuthorizeURL()+"?"+authorizeQuery(extra...).Encode(), nil)
	a := h.must(req)
	u, err := url.Parse(a.header.Get("Location"))
	if a.status != 302 || err != nil || !strings.HasPrefix(u.String(), callback+"?") {
		h.t.Fatalf("authorize: %d %v %s", a.status, a.header, a.body)
	}
	return u.Query()
}

func codeForm(code string, extra ...string) url.Values {
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	for i := 0; i+1 < len(extra); i += 2 {
		form.Set(extra[i], extra[i+1])
	}
	return form
}
