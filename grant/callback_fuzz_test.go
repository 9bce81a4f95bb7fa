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

package grant_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
)

// FuzzCallback sends a browser back with anything in the query and the cookie.
// STATE, CODE, REALM and COOKIE in them are those of an authorization that is
// under way. Only the one callback that belongs to it stores a grant, nothing
// is redeemed without its state and its cookie, and no error repeats what came.
func FuzzCallback(f *testing.F) {
	for _, seed := range [][2]string{
		{"state=STATE&code=CODE&realmId=REALM", "COOKIE"}, {"state=STATE&code=CODE&realmId=REALM", ""}, {"state=STATE&code=CODE&realmId=REALM", "COOKIE2"},
		{"state=STATE&code=CODE&realmId=REALM&code=CODE", "COOKIE"}, {"state=STATE&state=STATE&code=CODE&realmId=REALM", "COOKIE"},
		{"state=STATE&code=CODE", "COOKIE"}, {"state=STATE&code=CODE&realmId=1", "COOKIE"}, {"state=STATE&code=CODE&realmId=REALM;1", "COOKIE"},
		{"state=STATE&code=&realmId=REALM", "COOKIE"}, {"code=CODE&realmId=REALM", "COOKIE"}, {"state=&code=CODE&realmId=REALM", "COOKIE"},
		{"state=STATE&error=access_denied", "COOKIE"}, {"state=STATE&error=access_denied&code=CODE&realmId=REALM", "COOKIE"},
		{"state=STATE&code=CODE&realmId=REALM&iss=https%3A%2F%2Fevil.example.com", "COOKIE"}, {"state=STATE%00&code=CODE&realmId=REALM", "COOKIE"},
		{"state=STATE&code=CODEx&realmId=REALM", "COOKIE"}, {"%zz&state=STATE&code=CODE&realmId=REALM", "COOKIE"}, {"", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	clock := clockwork.NewFakeClock()
	w := newWorld(f, clock, intuittest.Behaviour{})
	var (
		under *grant.Authorization
		good  url.Values
	)
	f.Fuzz(func(t *testing.T, raw, cookie string) {
		w.t = t
		if under == nil {
			// Those that were left end, or there would be too many.
			clock.Advance(11 * time.Minute)
			under = w.begin(grant.Link{Caller: "billing"})
			good = w.consent(under)
		}
		fill := strings.NewReplacer("STATE", good.Get("state"), "CODE", good.Get("code"), "REALM", realm, "COOKIE", under.CookieValue)
		raw, cookie = fill.Replace(raw), fill.Replace(cookie)
		// As net/http reads a request's query: what does not parse is left out.
		query, _ := url.ParseQuery(raw)
		is := func(name string) bool { return len(query[name]) == 1 && query[name][0] == good.Get(name) }
		proven := is("state") && cookie == under.CookieValue
		belongs := proven && is("code") && is("realmId") && len(query["error"]) == 0

		w.intuit.ResetCounters()
		before := w.record()
		result, err := w.keeper.FinishAuthorization(t.Context(), grant.Callback{
			Integration: "quickbooks", Query: query, Cookie: cookie,
			MayReplace: func(string, string, string) bool { return true },
		})
		after, exchanges := w.record(), w.intuit.Counters().CodeExchanges
		switch {
		case err == nil && (!belongs || result.Connection != realm || after.Epoch != before.Epoch+1):
			t.Fatalf("%q with cookie %q was taken: %+v", raw, cookie, result)
		case err != nil && (after.Epoch != before.Epoch || !after.RefreshToken.Equal(before.RefreshToken)):
			t.Fatalf("%q with cookie %q was refused, and stored: %v", raw, cookie, err)
		case exchanges > 0 && !proven:
			t.Fatalf("%q with cookie %q redeemed a code", raw, cookie)
		}
		if err != nil {
			for _, name := range []string{"state", "code"} {
				if strings.Contains(err.Error(), good.Get(name)) {
					t.Fatalf("%q: the error holds the %s: %v", raw, name, err)
				}
			}
		}
		if err == nil || slices.Contains(query["state"], good.Get("state")) {
			under = nil // its state may be used up
		}
	})
}
