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
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/provider"
)

func TestExpiry(t *testing.T) {
	for value, want := range map[string]time.Duration{
		`3600`:                       time.Hour,
		`"1800"`:                     30 * time.Minute,
		`900.5`:                      900*time.Second + 500*time.Millisecond,
		`1.8e3`:                      30 * time.Minute,
		`0`:                          time.Hour,
		`-1`:                         time.Hour,
		`-1e400`:                     time.Hour,
		`null`:                       time.Hour,
		`""`:                         time.Hour,
		`"NaN"`:                      time.Hour,
		`"Infinity"`:                 time.Hour,
		`"0x10"`:                     time.Hour,
		`"1_000"`:                    time.Hour,
		`"soon"`:                     time.Hour,
		`[3600]`:                     time.Hour,
		`{"in":3600}`:                time.Hour,
		`true`:                       time.Hour,
		`86400`:                      24 * time.Hour,
		`86401`:                      24 * time.Hour,
		`1e308`:                      24 * time.Hour,
		`1e400`:                      24 * time.Hour,
		`99999999999999999999999999`: 24 * time.Hour,
		`1e-300`:                     time.Second,
	} {
		tokens, err := refresh(t, newClient(t, answer(http.StatusOK, `{"access_token":"a","expires_in":`+value+`}`, nil)))
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		if got := tokens.ExpiresAt.Sub(tokens.RequestedAt); got != want {
			t.Errorf("expires_in %s: %v, want %v", value, got, want)
		}
	}
	tokens, err := refresh(t, newClient(t, answer(http.StatusOK, `{"access_token":"a"}`, nil)))
	if err != nil || !tokens.ExpiresAt.Equal(start.Add(time.Hour)) {
		t.Errorf("without expires_in: %v, %v", tokens, err)
	}
}

func TestTokensMustFitAHeader(t *testing.T) {
	quote := func(text string) string { return `"` + text + `"` }
	for _, c := range []struct {
		name, access, refresh string
		good                  bool
	}{
		{"JWE", quote(newAccess), quote(newRefresh), true},
		{"base64", quote("YWJj+/=="), quote("x"), true},
		{"longest", quote(strings.Repeat("a", 8<<10)), quote(strings.Repeat("r", 4<<10)), true},
		{"access token too long", quote(strings.Repeat("a", 8<<10+1)), quote("r"), false},
		{"refresh token too long", quote("a"), quote(strings.Repeat("r", 4<<10+1)), false},
		{"line break", quote(`a\r\nX-Evil: 1`), quote("r"), false},
		{"line feed", quote(`a\nb`), quote("r"), false},
		{"space", quote("a b"), quote("r"), false},
		{"tab", quote(`a\tb`), quote("r"), false},
		{"NUL", quote(`a\u0000`), quote("r"), false},
		{"DEL", quote(`a\u007f`), quote("r"), false},
		{"letter of another script", quote("t\u043eken"), quote("r"), false},
		{"lone surrogate", quote(`a\ud800`), quote("r"), false},
		{"refresh token with a line break", quote("a"), quote(`r\r\nb`), false},
		{"access token is empty", quote(""), quote("r"), false},
		{"access token is null", "null", quote("r"), false},
		{"access token is a number", "17", quote("r"), false},
		{"access token is an object", `{"a":"b"}`, quote("r"), false},
		{"refresh token is a number", quote("a"), "17", false},
		{"refresh token is a list", quote("a"), `["r"]`, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"access_token":%s,"refresh_token":%s}`, c.access, c.refresh)
			_, err := refresh(t, newClient(t, answer(http.StatusOK, body, nil)))
			if c.good {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			if failure := tokenError(t, err); failure.Outcome != provider.OutcomeUnknown {
				t.Errorf("outcome %s", failure.Outcome)
			}
		})
	}
}

// TestHostileJSONIsCheap fails by minutes if an answer costs more than its
// length.
func TestHostileJSONIsCheap(t *testing.T) {
	const room = 60 << 10
	begin := time.Now()
	for _, body := range []string{
		`{"a":` + strings.Repeat("[", room),
		`{"a":` + strings.Repeat("[", room/2) + strings.Repeat("]", room/2) + `}`,
		`{` + strings.Repeat(`"a":1,`, room/6) + `"b":1}`,
		`{"error":"` + strings.Repeat("a", room) + `"}`,
		`{"error":"x","error_description":"` + strings.Repeat("a ", room/2) + `"}`,
		`{"error":"x","access_token":"aaaaaaaa","error_description":"` + strings.Repeat("a", room) + `"}`,
		`{"error":"x","error_description":"` + strings.Repeat("\\u00e9", room/6) + `"}`,
		`{"access_token":"a","expires_in":` + strings.Repeat("9", room) + `}`,
	} {
		for _, status := range []int{200, 400} {
			_, _ = refresh(t, newClient(t, answer(status, body, nil)))
		}
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
