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

package quickbooks

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestScrub(t *testing.T) {
	const (
		legacy = "AB01730024136mqXyZ0123456789abcdef"
		jwe    = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2IiwieC5vcmciOiJIMCJ9..aXY_-.Y2lwaGVy.dGFn"
	)
	for _, c := range []struct{ name, body, want string }{
		{"JSON", gatewayJSON, strings.Replace(gatewayJSON, legacy, "[redacted]", 1)},
		{"XML", gatewayXML, strings.Replace(gatewayXML, legacy, "[redacted]", 1)},
		{"short identifier", `{"detail":"Token expired: q1w2e3r4"}`, `{"detail":"Token expired: [redacted]"}`},
		{"without a space", `<Detail>token expired:q1w2e3r4</Detail>`, `<Detail>token expired:[redacted]</Detail>`},
		{"at the end", "Token expired: " + legacy, "Token expired: [redacted]"},
		{"at the start", legacy + "!", "[redacted]!"},
		{"after an escape", `{"detail":"x\n` + legacy + `\n"}`, `{"detail":"x\n[redacted]\n"}`},
		{"refresh token", `{"detail":"RT1-39-H3-1785429816rcysb9dns1ofreknypnm"}`, `{"detail":"[redacted]"}`},
		{"old refresh token", `AB11726871839y8FNaYf2oRfOuPpXrFFs`, `[redacted]`},
		{"JWE", `{"detail":"Bearer ` + jwe + `"}`, `{"detail":"Bearer [redacted]"}`},
		{"two", legacy + " and " + jwe + ".", "[redacted] and [redacted]"},
	} {
		original := []byte(c.body)
		if got := string(Provider{}.Scrub(original)); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		if string(original) != c.body {
			t.Errorf("%s: the body itself was changed", c.name)
		}
	}
	for _, body := range []string{
		"",
		serviceXML("100"),
		`{"fault":{"error":[{"message":"message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403","detail":null,"code":"3100"}]}}`,
		`{"detail":"Malformed bearer token: too short or too long"}`,
		`{"detail":"Token expired"}`,
		`{"detail":"Token expired: reconnecting"}`,
		`{"requestId":"9F0C1AB0-1AB0-4AB1-8AB0-AB0123456789"}`,
		`AB0 AB1short RT1-x eyJhb`,
	} {
		original := []byte(body)
		got := Provider{}.Scrub(original)
		if string(got) != body {
			t.Errorf("%s: changed to %s", body, got)
		}
		if len(got) > 0 && &got[0] != &original[0] {
			t.Errorf("%s: copied for nothing", body)
		}
	}
}

// TestScrubIsLinear fails by minutes if a run is read once for each of its
// bytes.
func TestScrubIsLinear(t *testing.T) {
	for _, unit := range []string{"a", " ", ": ", "AB0", "AB0.", "eyJ", "RT1-", "Token expired: ", "Token expired: a"} {
		body := bytes.Repeat([]byte(unit), 256<<10/len(unit))
		begin := time.Now()
		Provider{}.Scrub(body)
		took := time.Since(begin)
		t.Logf("%q: %v", unit, took)
		if took > 10*time.Second {
			t.Errorf("%q: %v", unit, took)
		}
	}
}
