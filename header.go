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
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// connectionHeader names the connection of a request to an API that does not
// carry it in its path.
const connectionHeader = "Freshbearer-Connection"

// hopByHop are the fields that end at every hop (RFC 9110 §7.6.1), with those
// that older clients still send.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// neverUp are fields that end here: credentials and cookies of the caller, and
// what could make the API see another request than the one that was checked.
var neverUp = []string{
	"Authorization", connectionHeader, "Cookie", "Expect",
	"Forwarded", "X-Real-Ip", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
	"X-Original-Url", "X-Rewrite-Url", "X-Original-Host", "X-Host",
}

// neverDown are fields of the API's answer that would speak for this host.
var neverDown = []string{"Set-Cookie", "Set-Cookie2", "Alt-Svc", "Strict-Transport-Security", "Public-Key-Pins", "Server"}

var (
	upStripped   = newFieldSet(hopByHop, neverUp)
	downStripped = newFieldSet(hopByHop, neverDown)
)

// fieldSet is a set of canonical field names.
type fieldSet struct {
	names map[string]struct{}
	// likely tells, for a name's length and first letter, whether there can be
	// one. For most fields of most requests there cannot.
	likely [256]bool
}

func newFieldSet(lists ...[]string) *fieldSet {
	s := &fieldSet{names: make(map[string]struct{})}
	for _, name := range slices.Concat(lists...) {
		s.names[name] = struct{}{}
		s.likely[trait(name)] = true
	}
	return s
}

func trait(name string) byte { return byte(len(name))<<5 ^ name[0] }

func (s *fieldSet) has(name string) bool {
	if name == "" || !s.likely[trait(name)] {
		return false
	}
	_, ok := s.names[name]
	return ok
}

const forwardedPrefix = "X-Forwarded-"

// upstreamHeader returns a copy of a caller's header without what must not go
// up. The values are shared: nothing on the way changes them.
func upstreamHeader(in http.Header) http.Header {
	named := connectionNamed(in)
	// All at once, which costs far less than one field after the other.
	out := maps.Clone(in)
	if out == nil {
		out = make(http.Header)
	}
	agent := false
	for name, values := range in {
		if !goesUp(name, named) {
			delete(out, name)
			continue
		}
		switch name {
		case "Accept-Encoding":
			out[name] = acceptEncoding(values)
		case "User-Agent":
			agent = true
		case "Idempotency-Key", "X-Idempotency-Key":
			// At these names net/http would send a request again by itself, also a
			// POST that the API may have carried out. It looks for the canonical
			// name only.
			delete(out, name)
			out[strings.ToLower(name)] = values
		}
	}
	if !agent {
		out["User-Agent"] = nil // or net/http would add its own
	}
	return out
}

// goesUp tells whether a field goes up, unless the Connection field names it.
func goesUp(name string, named []string) bool {
	if upStripped.has(name) || strings.HasPrefix(name, forwardedPrefix) {
		return false
	}
	if named != nil && slices.Contains(named, name) {
		return false
	}
	// Servers differ in what they take for a hyphen: `authorization_x` does no
	// harm, but `authorization` must come from here alone.
	return !odd(name) || !disguised(name)
}

// connectionNamed returns the canonical names of the fields that the
// Connection field lists.
func connectionNamed(h http.Header) []string {
	var named []string
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				named = append(named, http.CanonicalHeaderKey(name))
			}
		}
	}
	return named
}

// odd tells whether a field name holds what may be taken for a hyphen.
func odd(name string) bool {
	for i := range len(name) {
		if c := name[i]; c == '_' || c == '.' || c == ' ' {
			return true
		}
	}
	return false
}

// disguised tells whether a field name is one of those that never go up in
// another spelling.
func disguised(name string) bool {
	canonical := http.CanonicalHeaderKey(strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(name))
	return upStripped.has(canonical) || strings.HasPrefix(canonical, forwardedPrefix)
}

var (
	gzipOnly     = []string{"gzip"}
	identityOnly = []string{"identity"}
)

// acceptEncoding reduces what the caller accepts to what can be decoded here:
// a refusal has to be read before it may be passed on.
func acceptEncoding(values []string) []string {
	if len(values) == 1 && (values[0] == "gzip" || strings.HasPrefix(values[0], "gzip,")) {
		return gzipOnly // as nearly all clients say it
	}
	for _, line := range values {
		for item := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(item, ";")
			if strings.EqualFold(textproto.TrimString(coding), "gzip") && !zeroWeight(weight) {
				return gzipOnly
			}
		}
	}
	return identityOnly
}

func zeroWeight(weight string) bool {
	name, value, _ := strings.Cut(textproto.TrimString(weight), "=")
	return strings.EqualFold(textproto.TrimString(name), "q") && strings.Trim(textproto.TrimString(value), "0.") == ""
}

// copyDown adds the fields of the API's answer to the one for the caller.
func copyDown(dst, src http.Header) {
	named := connectionNamed(src)
	for name, values := range src {
		if downStripped.has(name) || slices.Contains(named, name) {
			continue
		}
		dst[name] = values
	}
}
