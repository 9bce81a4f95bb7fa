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
)

// Whatever stands around a token: not a piece of it comes through that could
// be used, and scrubbing a second time changes nothing.
func FuzzScrub(f *testing.F) {
	tokens := []string{
		"eyJlbmMiOiJBMTI4Q0JDLUhTMjU2IiwiYWxnIjoiZGlyIn0..hTi-9kQ0Jc1PqYw2.zZ8xVbN4mL7kJ3hG5fD1sA.QwErTyUiOp",
		"AB11732459871aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
		"RT1-42-H0-1741187291abcdefghijklm",
	}
	for _, seed := range [][2]string{
		{"", ""}, {"{\"token\":\"", "\"}"}, {"message=AuthenticationFailed; errorCode=003200; statusCode=401 Token expired: ", "\r\n"},
		{"Bearer ", " and more"}, {"eyJ", "eyJ"}, {"AB0", ""}, {"RT1-", "RT1-"}, {"Token expired: ", " "}, {"\x00", "\xff"}, {"<t>", "</t>"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, token := range tokens {
			body := []byte(before + token + after)
			clean := Provider{}.Scrub(bytes.Clone(body))
			// The first byte may belong to what stands before it; the rest must
			// not come through.
			if strings.Contains(string(clean), token) {
				t.Fatalf("%q: the token came through: %q", body, clean)
			}
			if again := (Provider{}).Scrub(bytes.Clone(clean)); !bytes.Equal(again, clean) {
				t.Fatalf("%q: scrubbed again it is %q", clean, again)
			}
		}
	})
}
