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

package provider_test

import (
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/provider"
)

func TestErrorsHoldNoSecret(t *testing.T) {
	const code = "L3ab43lqwoizxcnbvnpoqwjf"
	verifier := provider.NewVerifier()
	secrets := []string{sentRefresh, clientSecret, newAccess, newRefresh, code, verifier}
	for _, member := range []string{"error", "error_description"} {
		for _, status := range []int{200, 400, 500} {
			for _, known := range secrets {
				body := `{"access_token":"` + newAccess + `","refresh_token":"` + newRefresh + `","error":"invalid_grant","` +
					member + `_":"","error_description":"x"}`
				body = strings.Replace(body, `"error_description":"x"`, `"error_description":"the token `+known+` is bad\u0000\u00e9"`, 1)
				if member == "error" {
					body = strings.Replace(body, `"invalid_grant"`, `"`+known+`"`, 1)
				}
				client := newClient(t, answer(status, body, map[string]string{"intuit_tid": known}))
				_, refreshErr := refresh(t, client)
				_, exchangeErr := client.Exchange(t.Context(), code, verifier)
				for _, err := range []error{refreshErr, exchangeErr} {
					failure := tokenError(t, err)
					text := err.Error() + failure.Code + failure.Description
					if strings.Contains(text, known) {
						t.Errorf("status %d, %s: %s", status, member, text)
					}
				}
				if strings.Contains(tokenError(t, refreshErr).TraceID, sentRefresh) {
					t.Error("the trace id holds the refresh token")
				}
			}
		}
	}
}

func TestDescriptionsAreClean(t *testing.T) {
	for _, c := range []struct{ sent, want string }{
		{`Incorrect or invalid refresh token`, `Incorrect or invalid refresh token`},
		{`a\r\nb\tc\u0000d`, `a  b c d`},
		{`schlüssel \u202e`, `schl?ssel ?`},
		{`token 0123456789abcdefghij!`, `token [redacted]!`},
		{`token 0123456789abcdefghi!`, `token 0123456789abcdefghi!`},
		{`<b>x</b> \"y\"`, `<b>x</b> "y"`},
		{strings.Repeat("ab ", 100), strings.Repeat("ab ", 100)[:200]},
	} {
		_, err := refresh(t, newClient(t, answer(400, `{"error":"invalid_grant","error_description":"`+c.sent+`"}`, nil)))
		if got := tokenError(t, err).Description; got != c.want {
			t.Errorf("%s: %q, want %q", c.sent, got, c.want)
		}
	}
}
