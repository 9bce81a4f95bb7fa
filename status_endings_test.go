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
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// The status page warns of authorizations that end soon, and only of those.
func TestStatusEndings(t *testing.T) {
	for name, c := range map[string]struct {
		days  []int
		alarm string
		tone  string
	}{
		"far":      {[]int{31, 400}, "", ""},
		"soon":     {[]int{400, 20}, "quickbooks: an authorization ends soon.", "warning"},
		"several":  {[]int{29, 8, 28}, "quickbooks: 3 authorizations end soon.", "warning"},
		"the last": {[]int{400, 6}, "quickbooks: an authorization ends soon.", "bad"},
	} {
		t.Run(name, func(t *testing.T) {
			k := openStatusStore(t)
			first := time.Time{}
			for i, days := range c.days {
				ends := time.Now().Add(time.Duration(days)*24*time.Hour - time.Minute)
				if first.IsZero() || ends.Before(first) {
					first = ends
				}
				if err := k.Vault().Save(t.Context(), &tokenstore.Record{
					Key: tokenstore.Key{Integration: "quickbooks", Connection: string(rune('1' + i))}, Account: "Bakery " + string(rune('1'+i)),
					State: tokenstore.StateConnected, Epoch: 1, Generation: 1, AccessToken: secret.New("sentinel"), RefreshToken: secret.New("sentinel"),
					AuthorizationExpiresAt: ends,
				}); err != nil {
					t.Fatal(err)
				}
			}
			resp, body := get(t, http.DefaultClient, adminServer(t)+adminPath)
			if resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
			if c.alarm == "" {
				if strings.Contains(body, "ends soon") || strings.Contains(body, "end soon") {
					t.Error("there is an alarm")
				}
				return
			}
			notice := `<div class="notice ` + c.tone + `"><p><strong>` + c.alarm + `</strong> The first is that of Bakery `
			_, rest, ok := strings.Cut(body, notice)
			if rest, _, _ = strings.Cut(rest, "</p>"); !ok || !strings.Contains(rest, exactly(first)) {
				t.Errorf("no %s, or not %s: %s", notice, exactly(first), rest)
			}
		})
	}
}
