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

package freshbearer

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

var statusKey = tokenstore.Key{Integration: "quickbooks", Connection: "9130347957983546"}

// openStatusStore opens a store with one connection in it.
func openStatusStore(t *testing.T) *grant.Keeper {
	t.Helper()
	k, _ := openAdminStore(t, "/stores/one", storetest.NewMemory())
	k.Attach(nil)
	now := time.Now()
	if err := k.Vault().Save(t.Context(), &tokenstore.Record{
		Key: statusKey, Provider: "quickbooks", Account: "Craig's <Design>", State: tokenstore.StateConnected, Since: now,
		Epoch: 1, Generation: 7, ConnectedAt: now, AccessIssuedAt: now, AccessExpiresAt: now.Add(time.Hour),
		AccessToken: secret.New("sentinel-access"), RefreshToken: secret.New("sentinel-refresh"),
		RefreshIssuedAt: now, RefreshExpiresAt: now.Add(100 * 24 * time.Hour),
		History: []tokenstore.HistoryEntry{{Time: now, Event: "connected", Generation: 7}},
	}); err != nil {
		t.Fatal(err)
	}
	return k
}

func get(t *testing.T, client *http.Client, address string) (*http.Response, string) {
	t.Helper()
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(body), "sentinel") {
		t.Errorf("%s holds a token", address)
	}
	return resp, string(body)
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

func TestStatusForms(t *testing.T) {
	k := openStatusStore(t)
	origin := adminServer(t) + adminPath
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	for page, want := range map[string]string{
		"":            "Craig&#39;s &lt;Design&gt;",
		"?text=craig": "1–1 of 1", "?state=suspect&offset=50": "No connection fits", "?offset=5000": "1–1 of 1",
		"connection?integration=quickbooks&connection=9130347957983546": ">connected<",
		"disconnect?integration=quickbooks&connection=9130347957983546": "This cannot be undone",
	} {
		if resp, body := get(t, client, origin+page); resp.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%q: %s, lacks %q\n%s", page, resp.Status, want, body)
		}
	}
	if resp, _ := get(t, client, origin+"connection?integration=quickbooks&connection=1"); resp.StatusCode != 404 {
		t.Errorf("an unknown connection: %s", resp.Status)
	}
	_, body := get(t, client, origin+"disconnect?integration=quickbooks&connection=9130347957983546")
	token := tokenField.FindStringSubmatch(body)[1]
	form := url.Values{"do": {"disconnect"}, "token": {token}, "integration": {statusKey.Integration}, "connection": {statusKey.Connection}, "page": {"connection"}}
	without := url.Values{"do": {"disconnect"}, "integration": {statusKey.Integration}, "connection": {statusKey.Connection}}

	// Nothing but the form of the page changes anything.
	post := func(c *http.Client, method, body string, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, origin+"do", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	stranger := new(http.Client)
	for name, c := range map[string]struct {
		client *http.Client
		method string
		body   string
		header []string
		status int
	}{
		"cross-site":      {client, "POST", form.Encode(), []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"same-site":       {client, "POST", form.Encode(), []string{"Sec-Fetch-Site", "same-site"}, 403},
		"another origin":  {client, "POST", form.Encode(), []string{"Origin", "https://evil.example"}, 403},
		"no token":        {client, "POST", without.Encode(), nil, 403},
		"wrong token":     {client, "POST", strings.Replace(form.Encode(), token, k.FormToken("x", "status"), 1), nil, 403},
		"no cookie":       {stranger, "POST", form.Encode(), nil, 403},
		"wrong cookie":    {stranger, "POST", form.Encode(), []string{"Cookie", statusCookie + "=x"}, 403},
		"plain text":      {client, "POST", form.Encode(), []string{"Content-Type", "text/plain"}, 415},
		"GET":             {client, "GET", form.Encode(), nil, 405},
		"token in query":  {client, "POST", "", nil, 403},
		"nothing to do":   {client, "POST", strings.Replace(form.Encode(), "do=disconnect", "do=x", 1), nil, 400},
		"too long a form": {client, "POST", form.Encode() + strings.Repeat("x", maxForm), nil, 400},
	} {
		if resp := post(c.client, c.method, c.body, c.header...); resp.StatusCode != c.status {
			t.Errorf("%s: %s", name, resp.Status)
		}
		record, err := k.Describe(t.Context(), statusKey)
		if err != nil || record.State != tokenstore.StateConnected || record.Generation != 7 {
			t.Fatalf("%s: changed something: %v %+v", name, err, record)
		}
	}
	resp := post(client, "POST", form.Encode(), "Sec-Fetch-Site", "same-origin")
	if resp.Request.Method != http.MethodGet || resp.StatusCode != 200 || !strings.Contains(resp.Request.URL.Path, "connection") {
		t.Fatalf("the form of the page: %s at %s", resp.Status, resp.Request.URL)
	}
	if snap, err := k.Peek(t.Context(), statusKey); err != nil || snap.Told() != grant.StateRevokePending {
		t.Errorf("after it: %v %v", snap, err)
	}
	told := resp.Request.URL.String()
	if _, body := get(t, client, told); !strings.Contains(body, "has not confirmed that its tokens are revoked") || !strings.Contains(body, `role="status"`) {
		t.Errorf("the page does not tell what came of it:\n%s", body)
	}
	for name, address := range map[string]string{
		"made up":     strings.Replace(told, "outcome=revoke_pending", "outcome=disconnected", 1),
		"another one": strings.Replace(told, "of="+statusKey.Connection, "of=12", 1),
	} {
		if _, body := get(t, client, address); strings.Contains(body, `role="status"`) {
			t.Errorf("%s: an address tells what never happened", name)
		}
	}
	if _, body := get(t, stranger, told); strings.Contains(body, `role="status"`) {
		t.Error("another browser is told what came of it")
	}
}

func TestStatusDefaultDeny(t *testing.T) {
	for _, placeholder := range []string{"", "{http.request.header.X-User}", "{http.request.tls.client.subject}"} {
		h := &StatusHandler{app: new(App), UserFrom: placeholder, logger: zap.NewNop()}
		if placeholder == "" {
			h.UserFrom = defaultUserFrom
		}
		for _, method := range []string{"GET", "POST", "HEAD"} {
			r := httptest.NewRequest(method, "/status/", nil)
			r = r.WithContext(context.WithValue(r.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
			w := httptest.NewRecorder()
			if err := h.ServeHTTP(w, r, nil); err != nil || w.Code != http.StatusForbidden || len(w.Result().Cookies()) > 0 {
				t.Errorf("%s %s: %d %v", method, h.UserFrom, w.Code, err)
			}
		}
	}
}

func TestStatusBridge(t *testing.T) {
	openStatusStore(t)
	socket := filepath.Join(t.TempDir(), "admin.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	admin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "127.0.0.1" || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" || len(r.CookiesNamed(bridgeCookie)) > 0 {
			t.Errorf("passed on: %s %v", r.Host, r.Header)
		}
		if err := (&adminAPI{logger: zap.NewNop()}).serve(w, r); err != nil {
			t.Error(err)
		}
	}))
	admin.Listener = listener
	admin.Start()
	defer admin.Close()
	near := httptest.NewUnstartedServer(nil)
	b, err := newBridge(near.Listener.Addr(), "unix/"+socket+"|0600", "/stores/one")
	if err != nil {
		t.Fatal(err)
	}
	near.Config.Handler = b
	near.Start()
	defer near.Close()

	ask := func(target string, change func(*http.Request)) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+b.host+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(req)
		}
		resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	key := "/?key=" + b.key
	with := func(r *http.Request) { r.AddCookie(&http.Cookie{Name: bridgeCookie, Value: b.cookie}) }
	for name, c := range map[string]struct {
		target string
		change func(*http.Request)
		status int
	}{
		"no key":       {"/", nil, 403},
		"wrong key":    {"/?key=x", nil, 403},
		"another host": {key, func(r *http.Request) { r.Host = "evil.example" }, 421},
		"another name": {key, func(r *http.Request) { r.Host = strings.Replace(b.host, "127.0.0.1", "localhost", 1) }, 421},
		"prefetched":   {key, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") }, 503},
		"posted":       {key, func(r *http.Request) { r.Method = http.MethodPost }, 405},
		"no cookie":    {b.path, nil, 403},
		"wrong cookie": {b.path, func(r *http.Request) { r.AddCookie(&http.Cookie{Name: bridgeCookie, Value: "x"}) }, 403},
		"another path": {adminPath, with, 404},
		"the backup":   {b.path + "backup", with, 404},
		"dots":         {b.path + "../../config/", with, 404},
		"a foreign form": {b.path + "do", func(r *http.Request) {
			with(r)
			r.Method = http.MethodPost
			r.Header.Set("Sec-Fetch-Site", "same-site")
		}, 403},
	} {
		if got := ask(c.target, c.change); got != c.status {
			t.Errorf("%s: %d", name, got)
		}
	}
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar}
	if resp, body := get(t, client, b.url()); resp.StatusCode != 200 || !strings.Contains(body, "9130347957983546") || resp.Request.URL.RawQuery != "store=%2Fstores%2Fone" {
		t.Fatalf("the page: %s at %s", resp.Status, resp.Request.URL)
	}
	if resp, _ := get(t, new(http.Client), b.url()); resp.StatusCode != 403 {
		t.Errorf("the key opens twice: %s", resp.Status)
	}
	_, body := get(t, client, "http://"+b.host+b.path)
	resp, err := client.PostForm("http://"+b.host+b.path+"do", url.Values{
		"do": {"disconnect"}, "token": {tokenField.FindStringSubmatch(body)[1]},
		"integration": {statusKey.Integration}, "connection": {statusKey.Connection},
	})
	if err != nil || resp.StatusCode != 200 || !strings.HasSuffix(resp.Request.URL.Path, adminPath) {
		t.Errorf("a form through the bridge: %v %v", resp, err)
	}
	_ = resp.Body.Close()
	for listen, fine := range map[string]bool{
		"127.0.0.1:0": true, "[::1]:8081": true, "127.1.2.3:1": true,
		"0.0.0.0:0": false, ":0": false, "localhost:0": false, "192.0.2.1:80": false, "127.0.0.1": false,
	} {
		if err := loopbackOnly(listen); (err == nil) != fine {
			t.Errorf("--listen %s: %v", listen, err)
		}
	}
}

// A hold says what it is for, and what must be sure before it ends.
func TestHoldTexts(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for reason, want := range map[tokenstore.HoldReason][]string{
		tokenstore.HoldRestored: {"restored from a backup of 2026-11-27 12:00:00 UTC", "no other process uses the store"},
		tokenstore.HoldCopied:   {"not where it was", "no other process uses the store"},
		tokenstore.HoldExported: {"exported at 2026-11-28 12:00:00 UTC", "nobody uses the grants that were exported"},
	} {
		text := holdText(&tokenstore.Hold{Reason: reason, Since: at, BackupAt: at.Add(-24 * time.Hour)})
		for _, words := range append(want, "caddy freshbearer resume") {
			if !strings.Contains(text, words) {
				t.Errorf("%s does not say %q: %s", reason, words, text)
			}
		}
	}
}
