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
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// saveGrants stores n grants; each token has the length.
func saveGrants(t *testing.T, k *grant.Keeper, n, length int) {
	t.Helper()
	now := time.Now()
	for i := range n {
		pad := strings.Repeat("x", length)
		r := &tokenstore.Record{
			Key:   tokenstore.Key{Integration: "quickbooks", Connection: fmt.Sprint(1000 + i)},
			Owner: "billing-app", Account: "Bücher & Co <GmbH>", Epoch: 1, Generation: 1,
			AccessToken: secret.New(fmt.Sprintf("access-sentinel-%d-%s", i, pad)), AccessIssuedAt: now, AccessExpiresAt: now.Add(time.Hour),
			RefreshToken: secret.New(fmt.Sprintf("refresh-sentinel-%d-%s", i, pad)), RefreshIssuedAt: now, RefreshExpiresAt: now.Add(100 * 24 * time.Hour),
			State: tokenstore.StateConnected, Since: now, ConnectedAt: now,
		}
		if err := k.Vault().Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func newIdentity(t *testing.T) *age.X25519Identity {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// opened decrypts an export to its end.
func opened(body []byte, identity age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(body), identity)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func exportURL(origin string, query url.Values) string {
	return origin + "/freshbearer/export?" + query.Encode()
}

func TestExportIsSealed(t *testing.T) {
	k, _ := openAdminStore(t, "/stores/export", storetest.NewMemory())
	saveGrants(t, k, 3, 0)
	expired, err := k.Vault().Load(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "1002"})
	if err != nil {
		t.Fatal(err)
	}
	expired.AccessExpiresAt = time.Now().Add(-time.Minute)
	expired.State = tokenstore.StateNeedsReauth
	if err := k.Vault().Save(t.Context(), expired); err != nil {
		t.Fatal(err)
	}
	one, two := newIdentity(t), newIdentity(t)
	resp, body := adminDo(t, http.MethodPost, exportURL(adminServer(t), url.Values{"recipient": {one.Recipient().String(), two.Recipient().String()}}))
	h := resp.Header
	if resp.StatusCode != 200 || h.Get("Cache-Control") != "no-store" || h.Get("Content-Type") != "application/octet-stream" ||
		!strings.Contains(h.Get("Content-Disposition"), `.ndjson.age"`) || h.Get(exportTrailer) != "" {
		t.Errorf("%s %v", resp.Status, h)
	}
	if bytes.Contains(body, []byte("sentinel")) || !bytes.HasPrefix(body, []byte("age-encryption.org/v1\n-> X25519 ")) {
		t.Fatalf("it is not sealed: %.60q", body)
	}
	if _, err := opened(body, newIdentity(t)); err == nil {
		t.Error("anybody can open it")
	}
	var x exported
	if err := json.Unmarshal([]byte(resp.Trailer.Get(exportTrailer)), &x); err != nil || x.Store != "/stores/export" || x.Connections != 3 ||
		x.States[tokenstore.StateNeedsReauth] != 1 || x.Hold != nil || strings.Contains(fmt.Sprint(resp.Trailer), "sentinel") {
		t.Errorf("%v %v", err, resp.Trailer)
	}
	for _, identity := range []age.Identity{one, two} {
		text, err := opened(body, identity)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]grantLine)
		for text := range bytes.Lines(text) {
			line, err := decodeImport(text)
			if err != nil {
				t.Fatalf("import does not read %s", text)
			}
			seen[line.Connection] = line
		}
		first, last := seen["1000"], seen["1002"]
		if len(seen) != 3 || first.Integration != "quickbooks" || first.RefreshToken != "refresh-sentinel-0-" || first.AccessToken != "access-sentinel-0-" ||
			!first.ExpiresAt.After(time.Now()) || !first.RefreshExpiresAt.After(first.ExpiresAt) || first.Owner != "billing-app" || first.Company != "Bücher & Co <GmbH>" {
			t.Errorf("%d lines: %+v", len(seen), first)
		}
		if last.RefreshToken == "" || last.AccessToken != "" || !last.ExpiresAt.IsZero() {
			t.Errorf("an access token that has ended: %+v", last)
		}
	}
	// Wherever it breaks off, it does not open to its end.
	for n := range body {
		if _, err := opened(body[:n], one); err == nil {
			t.Fatalf("%d of %d bytes look like all", n, len(body))
		}
	}
}

func TestExportRefuses(t *testing.T) {
	origin := adminServer(t)
	good := newIdentity(t).Recipient().String()
	k, _ := openAdminStore(t, "/stores/export", storetest.NewMemory())
	refused := func(name string, status int, query url.Values, words ...string) {
		t.Helper()
		resp, body := adminDo(t, http.MethodPost, exportURL(origin, query))
		if resp.StatusCode != status || resp.Trailer != nil || k.Hold() != nil {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
		for _, word := range words {
			if !strings.Contains(string(body), word) {
				t.Errorf("%s: it does not say %q: %s", name, word, body)
			}
		}
		for _, given := range query["recipient"] {
			if len(given) > 4 && strings.Contains(string(body), given) {
				t.Errorf("%s: it quotes what was given: %s", name, body)
			}
		}
	}
	refused("an empty store", 404, url.Values{"recipient": {good}, "hold": {""}}, "no connection to export")
	saveGrants(t, k, 1, 0)
	refused("an unknown integration", 404, url.Values{"recipient": {good}, "hold": {""}, "integration": {"xero"}}, "no connection to export")
	refused("an unknown store", 404, url.Values{"recipient": {good}, "hold": {""}, "store": {"/stores/two"}}, "/stores/export")
	if resp, _ := adminDo(t, http.MethodGet, exportURL(origin, url.Values{"recipient": {good}})); resp.StatusCode != 405 || resp.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET: %s", resp.Status)
	}
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":        "",
		"SSH":            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFAb4F0Lq1Q0Zb8hXr2fGmL5yXn1s1n3mE9eYk8hD0aB operator@example.com",
		"a plugin":       "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
		"post-quantum":   pq.Recipient().String(),
		"a slip":         good[:len(good)-1] + "b",
		"two in one":     good + " " + good,
		"a space before": " " + good,
		"github":         "github:operator",
		// The all-zero point is one that every secret key has the same secret with.
		"a low order": "age1" + strings.Repeat("q", 52) + "5cu47z",
	} {
		refused(name, 400, url.Values{"recipient": {good, text}, "hold": {""}}, "X25519")
	}
	refused("none", 400, url.Values{"hold": {""}}, "age recipient")
	for _, mistaken := range []string{newIdentity(t).String(), strings.ToLower(newIdentity(t).String()), pq.String(), "# public key: " + good + "\n" + newIdentity(t).String()} {
		refused("a secret key", 400, url.Values{"recipient": {mistaken}, "hold": {""}}, "make another pair of keys")
	}
	for name, values := range map[string][]string{"a word": {"yes"}, "a number": {"1"}, "two": {"true", "false"}} {
		refused("hold with "+name, 400, url.Values{"recipient": {good}, "hold": values}, "hold is true or false")
	}
	// Without what cannot be read it would be an export without a hold.
	for _, query := range []string{"&hold;", "&hold=%zz", "&hold%zz", "&hold;integration=quickbooks"} {
		if resp, body := adminDo(t, http.MethodPost, origin+"/freshbearer/export?recipient="+good+query); resp.StatusCode != 400 || resp.Trailer != nil {
			t.Errorf("%s: %s %.60q", query, resp.Status, body)
		}
	}
	many := make([]string, maxRecipients+1)
	for i := range many {
		many[i] = good
	}
	refused("many", 400, url.Values{"recipient": many, "hold": {""}}, "at most")
}

// The hold comes before the first token is read, or there is no export.
func TestExportHolds(t *testing.T) {
	store := storetest.NewMemory()
	k, _ := openAdminStore(t, "/stores/export", store)
	saveGrants(t, k, 1, 0)
	origin := adminServer(t)
	identity := newIdentity(t)
	if resp, _ := adminDo(t, http.MethodPost, exportURL(origin, url.Values{"recipient": {identity.Recipient().String()}, "hold": {"false"}})); resp.StatusCode != 200 || k.Hold() != nil {
		t.Errorf("hold=false: %s, %v", resp.Status, k.Hold())
	}
	address := exportURL(origin, url.Values{"recipient": {identity.Recipient().String()}, "hold": {""}})
	store.FailApply(1, storetest.BeforeApply, tokenstore.ErrFull)
	if resp, body := adminDo(t, http.MethodPost, address); resp.StatusCode != 507 || k.Hold() != nil {
		t.Errorf("with a hold that cannot be stored: %s %s", resp.Status, body)
	}
	for range 2 {
		resp, body := adminDo(t, http.MethodPost, address)
		var x exported
		if err := json.Unmarshal([]byte(resp.Trailer.Get(exportTrailer)), &x); err != nil || x.Hold == nil || x.Hold.Reason != tokenstore.HoldExported || x.Hold.Since.IsZero() {
			t.Errorf("%v %v", err, resp.Trailer)
		}
		if _, err := opened(body, identity); err != nil || k.Hold() == nil {
			t.Errorf("hold %v, %v", k.Hold(), err)
		}
	}
	if _, body := adminDo(t, http.MethodPost, origin+"/freshbearer/resume"); !strings.Contains(string(body), `"reason":"exported"`) || k.Hold() != nil {
		t.Errorf("resume: %s", body)
	}
}

// One that cannot be finished has no summary, no end, and nothing in the log but
// numbers.
func TestExportBrokenOff(t *testing.T) {
	store := storetest.NewMemory()
	k, _ := openAdminStore(t, "/stores/export", store)
	saveGrants(t, k, 1500, 8<<10)
	core, logs := observer.New(zap.DebugLevel)
	api := &adminAPI{logger: zap.New(core)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = api.serve(w, r) }))
	defer server.Close()
	identity := newIdentity(t)
	resp, err := http.Post(exportURL(server.URL, url.Values{"recipient": {identity.Recipient().String()}}), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	part := make([]byte, 1<<20)
	if _, err := io.ReadFull(resp.Body, part); err != nil {
		t.Fatal(err)
	}
	store.FailAll(errors.New("disk on fire"))
	rest, err := io.ReadAll(resp.Body)
	if err == nil || resp.Trailer.Get(exportTrailer) != "" {
		t.Errorf("%d bytes of an export that was broken off look like all of it", len(rest))
	}
	if _, err := opened(append(part, rest...), identity); err == nil {
		t.Error("it opens to its end")
	}
	store.FailAll(nil)
	broken := logs.FilterMessage("export broken off").All()
	if len(broken) != 1 || !strings.Contains(fmt.Sprint(broken[0].ContextMap()), "disk on fire") {
		t.Errorf("the log: %v", logs.All())
	}
	if text := fmt.Sprint(logs.All()); strings.Contains(text, "sentinel") {
		t.Errorf("a token is logged: %s", text)
	}
}

// The log of who did what has an export before its first token leaves.
func TestExportIsAudited(t *testing.T) {
	store := storetest.NewMemory()
	k, _ := openAdminStore(t, "/stores/export", store)
	saveGrants(t, k, 2, 0)
	log, err := audit.Open(t.Context(), audit.Options{Dir: t.TempDir(), Key: make([]byte, 32), Heads: k.Vault()})
	if err != nil {
		t.Fatal(err)
	}
	auditLogs.Store(k, log)
	defer auditLogs.Delete(k)
	defer log.Close()
	one, two := newIdentity(t).Recipient().String(), newIdentity(t).Recipient().String()
	origin := adminServer(t)
	adminDo(t, http.MethodPost, exportURL(origin, url.Values{"recipient": {one, two}, "hold": {""}, "integration": {"quickbooks"}}))
	adminDo(t, http.MethodPost, exportURL(origin, url.Values{"recipient": {"AGE-SECRET-KEY-1SENTINEL"}}))
	entries, err := log.Entries(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprint(e.What, " ", e.By, " ", e.Who, " ", e.Integration, " ", e.Outcome, " ", e.Count))
	}
	want := []string{
		"exported admin " + one + " quickbooks begun 0", "exported admin " + two + " quickbooks begun 0", "put_on_hold admin    0",
		"exported admin " + one + " quickbooks  2", "exported admin " + two + " quickbooks  2",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the audit log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
