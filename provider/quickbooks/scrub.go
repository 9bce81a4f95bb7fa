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

import "bytes"

// The shortest runs that are taken for a token of each form.
const (
	minLegacyToken = 12 // after AB0, AB1
	minRefresh     = 8  // after RT1-
	minCompact     = 20 // after eyJ
	minIdentifier  = 8  // after "Token expired:"
)

var scrubbed = []byte("[redacted]")

// Scrub implements provider.Provider. The gateway's detail can name the token
// ("Token expired: AB0…"); the search is for the forms that Intuit's tokens
// have, anywhere, so that it is the same in JSON, XML and text. Everything
// else is kept byte for byte.
func (Provider) Scrub(body []byte) []byte {
	var clean []byte
	kept := 0 // body[:kept] is in clean
	for i := 0; i < len(body); {
		n := tokenAt(body, i)
		if n == 0 {
			i++
			continue
		}
		clean = append(append(clean, body[kept:i]...), scrubbed...)
		i += n
		kept = i
	}
	if kept == 0 {
		return body
	}
	return append(clean, body[kept:]...)
}

// tokenAt returns the length of the token that starts at body[i], or 0.
func tokenAt(body []byte, i int) int {
	rest := body[i:]
	switch {
	case rest[0] == 'A' && (bytes.HasPrefix(rest, []byte("AB0")) || bytes.HasPrefix(rest, []byte("AB1"))):
		if run(rest[3:], alphanumeric) >= minLegacyToken {
			return run(rest, tokenByte)
		}
	case rest[0] == 'R' && bytes.HasPrefix(rest, []byte("RT1-")):
		if run(rest[4:], tokenByte) >= minRefresh {
			return run(rest, tokenByte)
		}
	case rest[0] == 'e' && bytes.HasPrefix(rest, []byte("eyJ")):
		if run(rest[3:], tokenByte) >= minCompact {
			return run(rest, tokenByte)
		}
	}
	// Only the first byte of a run is looked at, or 64 KiB would cost seconds.
	if i == 0 || body[i-1] != ' ' && body[i-1] != ':' || !tokenByte(rest[0]) || !afterExpired(body[:i]) {
		return 0
	}
	n := run(rest, tokenByte)
	if n < minIdentifier || !bytes.ContainsAny(rest[:n], "0123456789") {
		return 0
	}
	return n
}

// afterExpired tells whether before ends with "Token expired:" and spaces.
func afterExpired(before []byte) bool {
	const label = "token expired:"
	before = bytes.TrimRight(before, " ")
	return len(before) >= len(label) && bytes.EqualFold(before[len(before)-len(label):], []byte(label))
}

func run(text []byte, belongs func(byte) bool) int {
	n := 0
	for n < len(text) && belongs(text[n]) {
		n++
	}
	return n
}

// tokenByte is RFC 6750's b64token, less what only pads or separates.
func tokenByte(c byte) bool { return unreserved(c) || c == '+' }
