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
	"bytes"
	"net/http"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mustNotGoUp are the names that end here, in lower case, however a server
// behind this one may spell a hyphen. Written anew, not taken from the code.
var mustNotGoUp = regexp.MustCompile(`^(authorization|proxy-authorization|proxy-authenticate|proxy-connection|freshbearer-connection|cookie|expect|` +
	`connection|keep-alive|te|trailer|transfer-encoding|upgrade|http2-settings|forwarded|x-forwarded-.*|x-real-ip|x-http-method|` +
	`x-http-method-override|x-method-override|x-original-url|x-rewrite-url|x-original-host|x-host)$`)

var plainName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z -]+$")

// headerOf reads lines as a server does, but for names with spaces, which it
// lets through.
func headerOf(text string) http.Header {
	h := make(http.Header)
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if ok && plainName.MatchString(name) {
			h.Add(name, textproto.TrimString(value))
		}
	}
	return h
}

// Whatever fields a caller sends: none goes up that must end here, or that its
// Connection field lists, in any spelling; each that need not goes up as it
// came; and the caller's own header stays as it was.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{
		"Authorization: Bearer a\nAuthorization: Bearer b", "authorization: x\nAUTHORIZATION: y", "Author_ization: x\nAuthorization_: y",
		"Proxy_Authorization: x\nproxy.authorization: y\nproxy authorization: z", "Connection: authorization, x-a\nX-A: 1\nX-B: 2",
		"Connection: X-A\nConnection: x-b,,\t x-c\nx-a: 1\nX-B: 2\nx-C: 3", "X_Forwarded_For: 1\nx.forwarded.host: 2\nX-Forwarded-: 3",
		"Cookie: a\ncookie: b\nCOOKIE : c", "Freshbearer_Connection: 1\nFreshbearer-Connection: 2", "Idempotency-Key: 1\nX-Idempotency-Key: 2",
		"Accept-Encoding: br, gzip;q=0\nUser-Agent: x", "Request-Id: 7\nX-Kept: yes\nX-Under_score: 1", "X-Http_Method-Override: DELETE\nX_HTTP_METHOD: y",
		"Connection: @@, \x00, authorization;q=1\nUpgrade: h2c\nHTTP2-Settings: x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		in := headerOf(text)
		before := in.Clone()
		out := upstreamHeader(in)
		var listed []string
		for _, line := range in["Connection"] {
			for name := range strings.SplitSeq(line, ",") {
				listed = append(listed, strings.ToLower(textproto.TrimString(name)))
			}
		}
		ends := func(name string) bool {
			lower := strings.ToLower(name)
			return mustNotGoUp.MatchString(strings.NewReplacer("_", "-", ".", "-", " ", "-").Replace(lower)) || slices.Contains(listed, lower)
		}
		up := make(map[string][]string)
		for name, values := range out {
			if name == "User-Agent" && values == nil {
				continue
			}
			if ends(name) {
				t.Errorf("%q: %q goes up", text, name)
			}
			up[strings.ToLower(name)] = values
		}
		for name, values := range in {
			if lower := strings.ToLower(name); !ends(name) && lower != "accept-encoding" && !slices.Equal(up[lower], values) && len(in.Values(name)) == len(values) {
				t.Errorf("%q: %q goes up as %q", text, name, up[lower])
			}
		}
		if len(before) != len(in) {
			t.Errorf("%q: the caller's header was changed", text)
		}
		for name, values := range before {
			if !slices.Equal(in[name], values) {
				t.Errorf("%q: the caller's %q was changed", text, name)
			}
		}
	})
}

// What comes down speaks for no other host and ends at no other hop.
func FuzzHeaderDown(f *testing.F) {
	for _, seed := range []string{
		"Set-Cookie: a=b\nset-cookie: c=d\nContent-Type: application/json", "Connection: x-a\nX-A: 1", "Alt-Svc: h3\nStrict-Transport-Security: x\nServer: y",
		"Transfer-Encoding: chunked\nTrailer: x\nUpgrade: y\nProxy-Authenticate: z", "Intuit_Tid: 1-2-3\nLocation: /x",
	} {
		f.Add(seed)
	}
	down := regexp.MustCompile(`^(set-cookie2?|alt-svc|strict-transport-security|public-key-pins|server|connection|keep-alive|proxy-authenticate|proxy-authorization|proxy-connection|te|trailer|transfer-encoding|upgrade)$`)
	f.Fuzz(func(t *testing.T, text string) {
		in, out := headerOf(text), make(http.Header)
		copyDown(out, in)
		for name := range out {
			if down.MatchString(strings.ToLower(name)) && http.CanonicalHeaderKey(name) == name {
				t.Errorf("%q: %q comes down", text, name)
			}
		}
		var all bytes.Buffer
		if err := out.Write(&all); err != nil {
			t.Error(err)
		}
	})
}
