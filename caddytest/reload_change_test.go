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

package caddytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

// A configuration that is refused changes nothing, however far it came.
func TestRejectedReload(t *testing.T) {
	resetCounted()
	s := start(t, func(s *system) {
		s.Store = "counted"
		s.Admin = freeAddress(t)
	})
	s.connect(realmOne)
	c, operator := client(t), client(t)
	good, err := s.config()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("FRESHBEARER_TEST_OTHER", "wrong")
	t.Setenv("FRESHBEARER_TEST_EMPTY", "")
	stranger := newStranger(t)
	for name, change := range map[string]struct {
		edit func(apps map[string]any)
		want string
	}{
		"another app fails to provision": {
			func(apps map[string]any) {
				apps["tls"] = map[string]any{"certificates": map[string]any{
					"load_files": []any{map[string]any{"certificate": "/nonexistent.pem", "key": "/nonexistent.key"}},
				}}
			}, "nonexistent.pem",
		},
		"another app fails to start": {
			func(apps map[string]any) {
				servers := apps["http"].(map[string]any)["servers"].(map[string]any)
				servers["taken"] = map[string]any{"listen": []any{stranger}}
			}, "address already in use",
		},
		"the client secret is missing": {
			func(apps map[string]any) {
				setting(apps, "integrations", "quickbooks")["client_secret"] = "{env.FRESHBEARER_TEST_EMPTY}"
			}, "FRESHBEARER_TEST_EMPTY",
		},
		"the encryption key is another": {
			func(apps map[string]any) {
				s.addKey("stranger")
				apps["freshbearer"].(map[string]any)["encryption_keys"] = []any{s.Keys[1]}
				s.Keys = s.Keys[:1]
			}, "encryption key",
		},
		"there is no caller": {
			func(apps map[string]any) { apps["freshbearer"].(map[string]any)["callers"] = map[string]any{} }, "no caller",
		},
		"the handler names no integration": {
			func(apps map[string]any) {
				integrations := apps["freshbearer"].(map[string]any)["integrations"].(map[string]any)
				integrations["renamed"] = integrations["quickbooks"]
				delete(integrations, "quickbooks")
			}, "quickbooks",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var config map[string]any
			if err := json.Unmarshal(good, &config); err != nil {
				t.Fatal(err)
			}
			change.edit(config["apps"].(map[string]any))
			bad, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			a, err := s.post(operator, bad)
			if err != nil || a.Status == http.StatusOK || !bytes.Contains(a.Body, []byte(change.want)) {
				t.Errorf("the configuration was answered %d %s %v, expected an error with %q", a.Status, a.Body, err, change.want)
			}
			// The running configuration serves, and refreshes with its own keys.
			s.Intuit.ResetCounters()
			if a := s.get(c, realmOne); a.Status != http.StatusOK {
				t.Errorf("after it: %d %s", a.Status, a.Body)
			}
			s.Intuit.RevokeAccess(realmOne)
			if a := s.get(c, realmOne); a.Status != http.StatusOK {
				t.Errorf("after it, with a token to refresh: %d %s", a.Status, a.Body)
			}
			if n := s.Intuit.Counters().RefreshesOK; n != 1 {
				t.Errorf("%d refreshes", n)
			}
		})
	}
	if opens, closes := counted.opens.Load(), counted.closes.Load(); opens != 1 || closes != 0 {
		t.Errorf("the store was opened %d times and closed %d times", opens, closes)
	}
}

// setting returns an object of the freshbearer app.
func setting(apps map[string]any, path ...string) map[string]any {
	at := apps["freshbearer"].(map[string]any)
	for _, name := range path {
		at = at[name].(map[string]any)
	}
	return at
}

// newStranger listens on an address, so that Caddy cannot.
func newStranger(t *testing.T) string {
	t.Helper()
	other := intuittest.NewServer(intuittest.Config{})
	t.Cleanup(other.Close)
	return strings.TrimPrefix(other.URL(), "http://")
}

// A configuration without the app gives the store back, and one with it takes
// it up again.
func TestReloadWithoutApp(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	c := client(t)
	s.Apps = false
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if a := s.get(c, realmOne); a.Status != http.StatusNotFound {
		t.Errorf("without the app: %d %s", a.Status, a.Body)
	}
	config := &badger.Config{Path: filepath.Join(s.Dir, "store")}
	if err := eventually(5*time.Second, func() error {
		store, err := config.Open(zap.NewNop())
		if err != nil {
			return err
		}
		return store.Close()
	}); err != nil {
		t.Errorf("the store is still held: %v", err)
	}
	s.Apps = true
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Errorf("with the app again: %d %s", a.Status, a.Body)
	}
}

// A reload brings a new client secret, and it is in force at once.
func TestReloadWithNewSecret(t *testing.T) {
	s, c := connectedAndAccepted(t)
	t.Setenv("FRESHBEARER_TEST_OTHER", "not-the-secret-of-this-client")
	right := s.Sites[0].Secret
	s.Sites[0].Secret = "{env.FRESHBEARER_TEST_OTHER}"
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Errorf("with a wrong secret, and no need of it: %d %s", a.Status, a.Body)
	}
	s.Intuit.RevokeAccess(realmOne)
	a := s.get(c, realmOne)
	if p := a.problem(t); a.Status != http.StatusServiceUnavailable || p.Error != "client_refused" || a.Header.Get("Retry-After") != "" {
		t.Errorf("with a wrong secret: %d %s, Retry-After %q", a.Status, a.Body, a.Header.Get("Retry-After"))
	}
	s.Sites[0].Secret = right
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Errorf("with the right secret again: %d %s", a.Status, a.Body)
	}
	if got := s.Intuit.Counters().TokenRequests; got["refresh_token ok"] != 1 || got["refresh_token invalid_client"] != 1 {
		t.Errorf("token requests: %v", got)
	}
}

// Requests of the former configuration wait for a refresh while the next one
// comes. The flight goes on, they get their answers, and the connections that
// they make then serve the next configuration.
func TestReloadDuringRefresh(t *testing.T) {
	s, c := connectedAndAccepted(t, unpaced)
	s.Intuit.RevokeAccess(realmOne)
	gate := s.Intuit.Hold(intuittest.EndpointToken, realmOne)
	const n = 16
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = do(c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, s.bearer()); err != nil {
				t.Errorf("request %d: %v", i, err)
			}
		})
	}
	<-gate.Arrived()
	if err := eventually(5*time.Second, func() error {
		if refused := s.Intuit.Counters().APIStatus[http.StatusUnauthorized]; refused < 1 {
			return fmt.Errorf("%d requests were refused", refused)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.Sites[0].Options = []string{"link_lifetime 20m"}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	gate.Release()
	wg.Wait()
	if got := countStatus(answers); got[http.StatusOK] != n {
		t.Errorf("by status: %v", got)
	}
	if got := s.Intuit.Counters(); got.Refreshes != 1 || got.RefreshesOK != 1 {
		t.Errorf("%d refreshes, %d of them good", got.Refreshes, got.RefreshesOK)
	}
	neverTwoAtOnce(t, s.Intuit)
	// One for each request, and one or two to the token endpoint.
	before := settled(c)
	if before.upstream > n+2 {
		t.Errorf("%d connections to Intuit are open", before.upstream)
	}
	for range 10 {
		if s.get(c, realmOne).Status != http.StatusOK {
			t.Error("the new configuration does not work")
		}
	}
	if now := settled(c); now.upstream > before.upstream {
		t.Errorf("the new configuration made connections of its own: %d, and %d before", now.upstream, before.upstream)
	}
}
