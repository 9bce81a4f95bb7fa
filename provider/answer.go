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

package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// defaultExpiry stands in for an expires_in that is missing or not a
	// positive number. RFC 6749 §5.1 leaves it to the documentation; 3600 s is
	// QuickBooks' value.
	defaultExpiry = time.Hour
	minExpiry     = time.Second
	maxExpiry     = 24 * time.Hour

	// Twice and eight times what Intuit documents as the longest.
	maxAccessToken  = 8 << 10
	maxRefreshToken = 4 << 10
)

var (
	errDuplicate    = errors.New("the answer names a token or error member twice")
	errAccessToken  = errors.New("the answer holds no well-formed access token")
	errRefreshToken = errors.New("the answer's refresh token is not well-formed")
	errTokenType    = errors.New("the answer's token type is not bearer")
)

// members are the members of a JSON object by their exact names.
type members map[string]json.RawMessage

// grant is what a successful answer grants. refresh is empty if it held none.
type grant struct {
	access, refresh string
	expiresIn       time.Duration
	members         members
}

// readMembers reads the one JSON object that an answer must be. encoding/json
// alone would match names in any case and take the last of two.
func readMembers(a *answer) (members, error) {
	if !isJSON(a.header) || !utf8.Valid(a.body) {
		return nil, errNotJSON
	}
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errNotJSON
	}
	found := make(members)
	for decoder.More() {
		token, err := decoder.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return nil, errNotJSON
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return nil, errNotJSON
		}
		if _, twice := found[name]; twice {
			switch name {
			case "access_token", "refresh_token", "error":
				return nil, errDuplicate
			}
		}
		found[name] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, errNotJSON
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotJSON
	}
	return found, nil
}

// isJSON accepts an answer without a type, and none with a coding: none was
// asked for.
func isJSON(header http.Header) bool {
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	field := header.Get("Content-Type")
	if field == "" {
		return true
	}
	kind, _, err := mime.ParseMediaType(field)
	if err != nil {
		return false
	}
	return kind == "application/json" ||
		strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// given tells whether there is such a member and it is not null.
func (m members) given(name string) bool {
	value, ok := m[name]
	return ok && string(value) != "null"
}

// text returns a member that is a string, else "".
func (m members) text(name string) string {
	var text string
	if json.Unmarshal(m[name], &text) != nil {
		return ""
	}
	return text
}

// extra returns a member as encoding/json decodes it, nil if it cannot.
func (m members) extra(name string) any {
	var value any
	if json.Unmarshal(m[name], &value) != nil {
		return nil
	}
	return value
}

// secrets returns the tokens in the answer, so that they can be kept out of
// an error's text.
func (m members) secrets() []string {
	var found []string
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		if text := m.text(name); text != "" {
			found = append(found, text)
		}
	}
	return found
}

func (m members) grant() (*grant, error) {
	g := &grant{access: m.text("access_token"), refresh: m.text("refresh_token"), members: m}
	if !wellFormed(g.access, maxAccessToken) {
		return nil, errAccessToken
	}
	// An empty refresh token is none at all, as x/oauth2 has it too.
	if m.given("refresh_token") && string(m["refresh_token"]) != `""` && !wellFormed(g.refresh, maxRefreshToken) {
		return nil, errRefreshToken
	}
	if m.given("token_type") && !strings.EqualFold(m.text("token_type"), "bearer") {
		return nil, errTokenType
	}
	g.expiresIn = expiry(m["expires_in"])
	return g, nil
}

// wellFormed tells whether token can stand in a header field: visible ASCII,
// a superset of RFC 6750's b64token. A line break in a token would otherwise
// be a header field of the provider's choice in our requests.
func wellFormed(token string, limit int) bool {
	if token == "" || len(token) > limit {
		return false
	}
	for i := range len(token) {
		if token[i] < 0x21 || token[i] > 0x7e {
			return false
		}
	}
	return true
}

// expiry reads expires_in: a number of seconds, or a string that is one, which
// some servers send. An odd value must never cost the tokens beside it.
func expiry(value json.RawMessage) time.Duration {
	number := strings.Trim(string(value), `"`)
	if number == "" || strings.Trim(number, "0123456789.eE+-") != "" {
		return defaultExpiry
	}
	seconds, err := strconv.ParseFloat(number, 64)
	// Out of range is ±Inf or 0, and the comparisons below know them.
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return defaultExpiry
	}
	switch {
	case math.IsNaN(seconds) || seconds <= 0:
		return defaultExpiry
	case seconds >= maxExpiry.Seconds():
		return maxExpiry
	}
	return max(time.Duration(seconds*float64(time.Second)), minExpiry)
}
