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
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestUpstreamHeader(t *testing.T) {
	in := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"br, gzip;q=0.5"},
		"Authorization": {"Bearer a", "Bearer b"}, "Proxy_Authorization": {"x"}, "X_Forwarded_For": {"1.2.3.4"},
		"Connection": {"close, X-Mine", "Authorization"}, "X-Mine": {"1"}, "X-Forwarded-Proto": {"https"},
		"Cookie": {"a=b"}, "Idempotency-Key": {"k"}, "X-Http-Method-Override": {"DELETE"}, "Request-Id": {"7"},
		"Freshbearer-Connection": {"1"}, "Freshbearer_connection": {"2"},
	}
	out := upstreamHeader(in)
	want := http.Header{
		"Accept": {"application/json"}, "Accept-Encoding": {"gzip"}, "User-Agent": nil, "Request-Id": {"7"},
		// Not the canonical name: at that net/http would repeat a POST.
		"idempotency-key": {"k"},
	}
	if len(out) != len(want) {
		t.Errorf("got %v", out)
	}
	for name, values := range want {
		got, ok := out[name]
		if !ok || len(got) != len(values) || len(values) > 0 && got[0] != values[0] {
			t.Errorf("%s: %v", name, got)
		}
	}
	if len(in) != 14 {
		t.Error("the caller's header was changed")
	}
}

func TestAcceptEncoding(t *testing.T) {
	for field, want := range map[string]string{
		"gzip": "gzip", "gzip, deflate, br": "gzip", "br;q=1.0, GZIP;q=0.8": "gzip", "gzip ; q=1": "gzip",
		"gzip;q=0": "identity", "gzip;q=0.000": "identity", "gzip; Q=0.0": "identity", "br": "identity", "*": "identity", "": "identity", "x-gzip": "identity",
	} {
		if got := acceptEncoding([]string{field}); got[0] != want {
			t.Errorf("%q: %s, want %s", field, got[0], want)
		}
	}
}

func TestTokenInQuery(t *testing.T) {
	for target, want := range map[string]bool{
		"/v3/company/1/query?query=select%20*%20from%20Customer&minorversion=75": false,
		"/v3/company/1/query?access_token=x":                                     true,
		"/v3/company/1/query?a=b&access_token":                                   true,
		"/v3/company/1/query?a=b&access%5Ftoken=x":                               true,
		"/v3/company/1/query?a=b&%61ccess_token=x":                               true,
		"/v3/company/1/query?a=access_token":                                     false,
		"/v3/company/1/access_token":                                             false,
		"/v3/company/1/query?%zzccess_token_=x":                                  false,
	} {
		if got := tokenInQuery(target); got != want {
			t.Errorf("%s: %t", target, got)
		}
	}
}

func TestEarlyData(t *testing.T) {
	for _, c := range []struct {
		method string
		state  *tls.ConnectionState
		want   bool
	}{
		{http.MethodPost, nil, false},
		{http.MethodPost, &tls.ConnectionState{HandshakeComplete: true}, false},
		{http.MethodPost, &tls.ConnectionState{}, true},
		{http.MethodDelete, &tls.ConnectionState{}, true},
		{http.MethodGet, &tls.ConnectionState{}, false},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.TLS = c.state
		if got := early(r); got != c.want {
			t.Errorf("%s, %+v: %t", c.method, c.state, got)
		}
	}
}
