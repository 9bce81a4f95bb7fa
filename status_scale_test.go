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
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// saveMany saves n connections, of which every hundredth needs somebody.
func saveMany(t testing.TB, k *grant.Keeper, n int) {
	t.Helper()
	now := time.Now()
	for i := range n {
		state := tokenstore.StateConnected
		if i%100 == 0 {
			state = tokenstore.StateNeedsReauth
		}
		if err := k.Vault().Save(t.Context(), &tokenstore.Record{
			Key:      tokenstore.Key{Integration: "quickbooks", Connection: strconv.Itoa(4620816365000000000 + i)},
			Provider: "quickbooks", Account: fmt.Sprintf("The Company Number %d", i*7919%n), State: state, Since: now,
			Epoch: 1, Generation: 7, ConnectedAt: now, AccessIssuedAt: now, AccessExpiresAt: now.Add(time.Hour),
			AccessToken: secret.New("sentinel-access"), RefreshToken: secret.New("sentinel-refresh"),
			RefreshIssuedAt: now, RefreshExpiresAt: now.Add(100 * 24 * time.Hour),
		}); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	companyLink = regexp.MustCompile(`href="connection\?[^"]*connection=(\d+)`)
	turnPage    = regexp.MustCompile(`rel="(prev|next)" href="([^"]*)"`)
)

// Whoever turns the pages sees each connection that fits, once, and comes back.
func TestStatusPageTurns(t *testing.T) {
	const n = 2*grant.DefaultPage + 20
	k, _ := openAdminStore(t, "/stores/one", storetest.NewMemory())
	k.Attach(nil)
	saveMany(t, k, n)
	origin := adminServer(t) + adminPath
	for query, want := range map[string][]int{
		"": {grant.DefaultPage, grant.DefaultPage, 20}, "?text=company+number": {grant.DefaultPage, grant.DefaultPage, 20},
		"?state=needs_reauth": {2}, "?state=connected": {grant.DefaultPage, grant.DefaultPage, 18},
	} {
		seen := make(map[string]bool)
		at := query
		for i, rows := range want {
			_, body := get(t, http.DefaultClient, origin+at)
			before := len(seen)
			for _, link := range companyLink.FindAllStringSubmatch(body, -1) {
				seen[link[1]] = true
			}
			if len(seen)-before != rows {
				t.Errorf("page %d of %q has %d companies that none before it has; expected %d", i+1, query, len(seen)-before, rows)
			}
			ways := make(map[string]string)
			for _, way := range turnPage.FindAllStringSubmatch(body, -1) {
				ways[way[1]] = html.UnescapeString(way[2])
			}
			if _, ok := ways["prev"]; ok != (i > 0) {
				t.Errorf("page %d of %q leads back: %t", i+1, query, ok)
			}
			next, ok := ways["next"]
			if ok != (i < len(want)-1) {
				t.Errorf("page %d of %q leads on: %t", i+1, query, ok)
			}
			at = next
		}
	}
}

// BenchmarkStatusPage renders pages of 100,000 connections, as they are once
// the directory is built; what building it costs is grant.BenchmarkList/first.
func BenchmarkStatusPage(b *testing.B) {
	const n = 100_000
	k, _ := openAdminStore(b, "/stores/many", storetest.NewMemory())
	k.Attach(nil)
	saveMany(b, k, n)
	d := &desk{keeper: k, logger: zap.NewNop()}
	page := func(b *testing.B, query string) {
		w := httptest.NewRecorder()
		d.serve(w, httptest.NewRequest(http.MethodGet, "/"+query, http.NoBody), "")
		if w.Code != http.StatusOK || w.Body.Len() < 5000 {
			b.Fatal(w.Code, w.Body)
		}
	}
	page(b, "")
	for name, query := range map[string]string{
		"page": "", "last": "?offset=99950", "text": "?text=number+4711", "state": "?state=needs_reauth", "nothing": "?text=nobody",
		"connection": "?text=4620816365000004711",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				page(b, query)
			}
		})
	}
}
