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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/notify"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// openAdminStore puts a keeper with a store into the pool, as a running
// configuration does.
func openAdminStore(t testing.TB, identity string, store *storetest.Memory) (*grant.Keeper, *tokenstore.Keyring) {
	t.Helper()
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	vault, err := tokenstore.OpenVault(t.Context(), store, ring)
	if err != nil {
		t.Fatal(err)
	}
	k := grant.NewKeeper(vault, grant.Options{})
	_, _, err = keepers.LoadOrNew(identity, func() (caddy.Destructor, error) {
		return &sharedKeeper{identity: identity, keeper: k, deliverer: notify.Start(vault, notify.Options{})}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := keepers.Delete(identity); err != nil {
			t.Error(err)
		}
	})
	return k, ring
}

// adminServer serves the endpoints as Caddy's admin API does.
func adminServer(t *testing.T) string {
	t.Helper()
	routes := (&adminAPI{logger: zap.NewNop()}).Routes()
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) {
			err := route.Handler.ServeHTTP(w, r)
			var e caddy.APIError
			if errors.As(err, &e) {
				http.Error(w, e.Err.Error(), e.HTTPStatus)
			} else if err != nil {
				t.Errorf("%s %s: not an APIError: %v", r.Method, r.URL, err)
			}
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func adminDo(t *testing.T, method, url string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

func TestAdminEndpoints(t *testing.T) {
	origin := adminServer(t)
	refused := func(method, target string, status int, words ...string) {
		t.Helper()
		resp, body := adminDo(t, method, origin+target)
		if resp.StatusCode != status {
			t.Errorf("%s %s: %d %s", method, target, resp.StatusCode, body)
		}
		for _, word := range words {
			if !strings.Contains(string(body), word) {
				t.Errorf("%s %s does not say %q: %s", method, target, word, body)
			}
		}
	}
	refused(http.MethodGet, "/freshbearer/backup", 503, "no token store is open")
	_, ring := openAdminStore(t, "/stores/one", storetest.NewMemory())
	refused(http.MethodGet, "/freshbearer/backup/", 404)
	refused(http.MethodPost, "/freshbearer/backup", 405)
	refused(http.MethodGet, "/freshbearer/resume", 405)
	if resp, _ := adminDo(t, http.MethodGet, origin+"/freshbearer/resume"); resp.Header.Get("Allow") != http.MethodPost {
		t.Errorf("Allow is %q", resp.Header.Get("Allow"))
	}
	refused(http.MethodGet, "/freshbearer/backup?store=/stores/two", 404, "/stores/one")

	resp, body := adminDo(t, http.MethodGet, origin+"/freshbearer/backup")
	b, err := tokenstore.OpenBackup(ring, bytes.NewReader(body))
	if resp.StatusCode != 200 || err != nil {
		t.Fatalf("a backup: %s %v", resp.Status, err)
	}
	kind, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if err != nil || kind != "attachment" || !strings.HasPrefix(params["filename"], "freshbearer-20") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the header of a backup: %v", resp.Header)
	}
	if resp, body := adminDo(t, http.MethodPost, origin+"/freshbearer/resume"); resp.StatusCode != 200 || string(body) != `{"store":"/stores/one","released":null}`+"\n" {
		t.Errorf("resume of a store that is not on hold: %s %s", resp.Status, body)
	}

	// A second store, which is on hold.
	restored := storetest.NewMemory()
	if err := b.Restore(t.Context(), restored, time.Now()); err != nil {
		t.Fatal(err)
	}
	vault, err := tokenstore.OpenVault(t.Context(), restored, ring)
	if err != nil {
		t.Fatal(err)
	}
	k := grant.NewKeeper(vault, grant.Options{})
	if _, _, err = keepers.LoadOrNew("/stores/two", func() (caddy.Destructor, error) {
		return &sharedKeeper{identity: "/stores/two", keeper: k, deliverer: notify.Start(vault, notify.Options{})}, nil
	}); err != nil {
		t.Fatal(err)
	}
	defer keepers.Delete("/stores/two")
	refused(http.MethodGet, "/freshbearer/backup", 400, "/stores/one", "/stores/two")
	refused(http.MethodPost, "/freshbearer/resume", 400, "/stores/one", "/stores/two")
	if k.Hold() == nil {
		t.Fatal("a store that nobody named was released")
	}
	restored.FailApply(1, storetest.BeforeApply, tokenstore.ErrFull)
	refused(http.MethodPost, "/freshbearer/resume?store=/stores/two", 507)
	var answer released
	_, body = adminDo(t, http.MethodPost, origin+"/freshbearer/resume?store=/stores/two")
	if err := json.Unmarshal(body, &answer); err != nil || answer.Store != "/stores/two" || answer.Released == nil ||
		answer.Released.Reason != tokenstore.HoldRestored || !answer.Released.BackupAt.Equal(b.CreatedAt) {
		t.Errorf("resume: %v %s", err, body)
	}
	if k.Hold() != nil {
		t.Error("still on hold")
	}
	restored.FailAll(errors.New("disk on fire"))
	refused(http.MethodGet, "/freshbearer/backup?store=/stores/two", 500, "disk on fire")
	restored.FailAll(nil)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	refused(http.MethodGet, "/freshbearer/backup?store=/stores/two", 503)
}

// fill makes a store so large that no buffer of a connection holds it.
func fill(t *testing.T, store *storetest.Memory) {
	t.Helper()
	value := bytes.Repeat([]byte("x"), tokenstore.MaxValue)
	for i := range 500 {
		if err := store.Apply(t.Context(), tokenstore.Change{Name: fmt.Appendf(nil, "x%05d", i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that reads nothing any more is left after a while, and does not keep
// the store from being closed. What a client has got of a backup that was broken
// off does not look whole, even if it knows nothing of backups.
func TestBackupBrokenOff(t *testing.T) {
	for name, goesOn := range map[string]bool{"client stops": false, "client goes on": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			store := storetest.NewMemory()
			k, _ := openAdminStore(t, name, store)
			fill(t, store)
			resp, err := http.Get(adminServer(t) + "/freshbearer/backup?" + url.Values{"store": {name}}.Encode())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			time.Sleep(time.Second) // until the buffers between the two are full
			closed := make(chan error, 1)
			go func() { closed <- k.Close() }()
			for goesOn && !errors.Is(k.Backup(t.Context(), io.Discard), tokenstore.ErrClosed) {
				time.Sleep(time.Millisecond)
			}
			read := func() {
				if n, err := io.Copy(io.Discard, resp.Body); err == nil {
					t.Errorf("%d bytes of a backup that was broken off look like all of it", n)
				}
			}
			if goesOn {
				read()
			}
			select {
			case err := <-closed:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(2 * downloadStall):
				t.Fatal("the store cannot be closed")
			}
			if !goesOn {
				read()
			}
		})
	}
}

// Caddy gives a request ten seconds to be read; the lines of an import have the
// time that they need.
func TestBodiesTakeTheirTime(t *testing.T) {
	const deadline = 50 * time.Millisecond
	endpoint := adminEndpoints["import"]
	defer func() { adminEndpoints["import"] = endpoint }()
	read := endpoint
	read.serve = func(_ *adminAPI, w http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(w, r.Body)
		return err
	}
	adminEndpoints["import"] = read
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := new(adminAPI).serve(w, r); err != nil {
			t.Error(err)
		}
	}))
	server.Config.ReadTimeout = deadline
	server.Start()
	defer server.Close()
	body, lines := io.Pipe()
	go func() {
		_, _ = io.WriteString(lines, "one\n")
		time.Sleep(3 * deadline)
		_, _ = io.WriteString(lines, "two\n")
		_ = lines.Close()
	}()
	resp, err := http.Post(server.URL+"/freshbearer/import", "", body)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "one\ntwo\n" {
		t.Errorf("%q, %v", text, err)
	}
}
