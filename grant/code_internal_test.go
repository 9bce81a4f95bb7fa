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

package grant

import (
	"slices"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/provider/quickbooks"
)

// Texts of servers at large. What is known of Intuit's is the first one.
func TestCodeCausesByDescription(t *testing.T) {
	for _, c := range []struct {
		description string
		want        []CodeCause
	}{
		{"Incorrect Token type or clientID", []CodeCause{CodeOtherClient}},
		{"The code was issued to another client.", []CodeCause{CodeOtherClient}},
		{"Invalid redirect_uri", []CodeCause{CodeRedirectURL}},
		{"Redirect URI mismatch", []CodeCause{CodeRedirectURL}},
		{"Authorization code expired", []CodeCause{CodeExpired}},
		{"Code has already been redeemed.", []CodeCause{CodeUsed}},
		{"the code was reused", []CodeCause{CodeUsed}},
		// What leaves something open is not taken for an answer.
		{"Specified code was invalid or expired", []CodeCause{CodeExpired, CodeUsed, CodeRedirectURL, CodeOtherClient}},
		{"Token has been expired or revoked.", []CodeCause{CodeExpired, CodeUsed, CodeRedirectURL, CodeOtherClient}},
		{"code expired, redirect_uri mismatch", []CodeCause{CodeExpired, CodeRedirectURL, CodeUsed, CodeOtherClient}},
		// RFC 6749 §5.2, which some servers send as it is.
		{"The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization " +
			"request, or was issued to another client.", []CodeCause{CodeExpired, CodeRedirectURL, CodeOtherClient, CodeUsed}},
		{"Invalid authorization code", []CodeCause{CodeUsed, CodeExpired, CodeRedirectURL, CodeOtherClient}},
		{"", []CodeCause{CodeUsed, CodeExpired, CodeRedirectURL, CodeOtherClient}},
	} {
		if got := codeCauses(quickbooks.Provider{}, c.description, 2*time.Minute, false); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.description, got, c.want)
		}
	}
}
