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
	"regexp"
	"testing"

	"github.com/freshbearer/freshbearer/grant"
)

// underApp is what a return URL of the fuzzed integration looks like, read
// without a parser: the origin, and then nothing that could belong to its host.
var underApp = regexp.MustCompile(`^https://(?i:app\.example\.com)(?:[/?#][!-\[\]-~]*)?$`)

// What a person is sent back to is under an origin of return_urls, as it was
// asked for and with what came of it. caddytest.TestReturnURLPayloads has the
// parser of browsers agree.
func FuzzReturnURL(f *testing.F) {
	for _, raw := range []string{
		"", "https://app.example.com", "https://app.example.com/", "https://app.example.com/back?a=1&freshbearer_connection=2#x",
		"https://app.example.com:443/", "https://app.example.com:/", "https://APP.example.com/?", "HTTPS://app.example.com/",
		"//app.example.com/", "https:app.example.com", "https:///app.example.com", "https://app.example.com@evil.example.net/",
		"https://app.example.com.evil.example.net/", "https://app.example.com\\@evil.example.net/", "https://app.example.com%2eevil.example.net",
		"https://app.example.com\t/", "https://evil.example.net#@app.example.com/", "javascript:alert(1)//https://app.example.com/",
		"https://app.example.com/%zz", "https://app.example.com/%2f%2fevil.example.net", "https://app.example.com//evil.example.net/..;a=b&c;d",
		"https://app.example.com/\u2028", "https://\uff41pp.example.com/", "https://[::1]/", "https://app.example.com?x=%", "https://app.example.com#",
		"https://user@app.example.com/", "https://user:x@app.example.com/", `https://app.example.com/?a=\b`, "https://app.example.com/?a=\u00e4", "https://app.example.com/?a=\u2028",
	} {
		f.Add(raw)
	}
	h := &ConnectHandler{integration: &Integration{returns: map[string]struct{}{"https://app.example.com": {}}}}
	f.Fuzz(func(t *testing.T, raw string) {
		if h.checkReturnURL(raw) != nil || raw == "" {
			return
		}
		if !underApp.MatchString(raw) {
			t.Errorf("%q is let through", raw)
		}
		for _, r := range []grant.Result{
			{Connection: "1", Account: "A & B"}, {Failure: grant.FailureDenied}, {Purpose: grant.PurposeDisconnect, Connection: "1"},
		} {
			r.ReturnURL = raw
			if back := h.backWith(r).URL; !underApp.MatchString(back) {
				t.Errorf("%q leads back to %q", raw, back)
			}
		}
	})
}
