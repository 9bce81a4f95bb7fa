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

package caddytest_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func withH2C(s *system) { s.Globals = append(s.Globals, "servers {", "\tprotocols h1 h2c", "}") }

// frames sends one HTTP/2 request, or HTTP/3 of a system with it, as frames, which nothing on this side of the
// wire looks at, and returns the answer's status; 0 is none.
func (s *system) frames(fields [][2]string, body string) int {
	s.t.Helper()
	if s.quic != "" {
		return s.quicFrames(fields, body)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Proxy, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			s.t.Fatal(err)
		}
	}
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&out, conn)
	framer.AllowIllegalWrites = true
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		_ = framer.WriteData(1, true, []byte(body))
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		return 0
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			status, err := strconv.Atoi(f.PseudoValue("status"))
			if err != nil {
				s.t.Fatal(err)
			}
			if status >= http.StatusOK {
				return status
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return 0
		}
	}
}

// pseudo are the fields of a request that is as it should be.
func (s *system) pseudo(method, path string) [][2]string {
	scheme, authority, _ := strings.Cut(s.Proxy, "://")
	if s.quic != "" {
		scheme, authority = "https", s.quic
	}
	return [][2]string{
		{":method", method}, {":scheme", scheme}, {":authority", authority}, {":path", path},
		{"authorization", strings.TrimPrefix(s.bearer(), "Authorization: ")},
	}
}

// The targets over HTTP/2 and HTTP/3, where no parser of lines stands in
// between.
func TestTargetsOverH2(t *testing.T) { targetsInFrames(t, start(t, withH2C)) }
func TestTargetsOverH3(t *testing.T) { targetsInFrames(t, start(t, withH3)) }

func targetsInFrames(t *testing.T, s *system) {
	s.connect(realmOne)
	s.connect(realmTwo)
	s.Intuit.ResetCounters()
	for _, target := range append(badTargets, s.Proxy+companyInfo(realmOne), companyPath+"/companyinfo/1?a\tb", companyPath+"/companyinfo/1?a b", "",
		companyPath+"/companyinfo/1 HTTP/1.1\r\nx: y", companyPath+"/companyinfo/1\x00") {
		status := s.frames(s.pseudo(http.MethodGet, target), "")
		if status != 0 && status != http.StatusBadRequest && !(status == http.StatusNotFound && strings.HasPrefix(target, "/oauth/")) {
			t.Errorf("%q was answered %d", target, status)
		}
	}
	if n := s.Intuit.Counters().APIRequests; n != 0 {
		t.Fatalf("%d requests went up: %+v", n, s.Intuit.APIRequests())
	}
	for _, target := range goodTargets {
		s.Intuit.ResetCounters()
		if status := s.frames(s.pseudo(http.MethodGet, target), ""); status == 0 {
			t.Errorf("%s was not answered", target)
		}
		requests := s.Intuit.APIRequests()
		if len(requests) != 1 || requests[0].Target != target || requests[0].TokenRealm != realmOne {
			t.Errorf("%s went up as %+v", target, requests)
		}
	}
}

// What HTTP/2 and HTTP/3 forbid, and what HTTP/1.1 would read as something else,
// does not go up.
func TestFrames(t *testing.T)       { oddFrames(t, start(t, withH2C)) }
func TestFramesOverH3(t *testing.T) { oddFrames(t, start(t, withH3)) }

func oddFrames(t *testing.T, s *system) {
	s.connect(realmOne)
	s.connect(realmTwo)
	grant, _ := s.Intuit.Tokens(realmOne)
	target := "/v3/company/" + realmOne + "/customer"
	content := string(customer("frames", 50))
	with := func(fields ...[2]string) [][2]string {
		return append(append(s.pseudo(http.MethodPost, target), [2]string{"content-type", "application/json"}), fields...)
	}
	first := func(fields ...[2]string) [][2]string { return append(fields, s.pseudo(http.MethodPost, target)...) }
	for what, fields := range map[string][][2]string{
		"connection":                  with([2]string{"connection", "authorization"}),
		"keep-alive":                  with([2]string{"keep-alive", "1"}),
		"proxy-connection":            with([2]string{"proxy-connection", "close"}),
		"transfer-encoding":           with([2]string{"transfer-encoding", "chunked"}),
		"upgrade":                     with([2]string{"upgrade", "websocket"}),
		"te":                          with([2]string{"te", "gzip"}),
		"a name in upper case":        with([2]string{"Authorization", "Bearer stolen"}),
		"a name with a space":         with([2]string{"authorization ", "Bearer stolen"}),
		"a name with a colon":         with([2]string{"x: y", "z"}),
		"a name with a line":          with([2]string{"x\r\nauthorization", "Bearer stolen"}),
		"a value with a line":         with([2]string{"x", "y\r\nAuthorization: Bearer stolen"}),
		"a value with LF":             with([2]string{"x", "y\nAuthorization: Bearer stolen"}),
		"a value with NUL":            with([2]string{"x", "y\x00"}),
		"an empty name":               with([2]string{"", "y"}),
		"a second path":               first([2]string{":path", companyInfo(realmTwo)}),
		"a second method":             first([2]string{":method", "DELETE"}),
		"a second authority":          first([2]string{":authority", "evil.example.com"}),
		"a host that is another":      with([2]string{"host", "evil.example.com"}),
		"a second scheme":             first([2]string{":scheme", "https"}),
		"a pseudo field at the end":   with([2]string{":path", companyInfo(realmTwo)}),
		"an unknown pseudo field":     first([2]string{":x", "y"}),
		"a pseudo field of an answer": first([2]string{":status", "200"}),
		"a length that is too short":  with([2]string{"content-length", "3"}),
		"a length that is too long":   with([2]string{"content-length", "999"}),
		"two lengths":                 with([2]string{"content-length", "3"}, [2]string{"content-length", fmt.Sprint(len(content))}),
		"a second bearer":             with([2]string{"authorization", "Bearer stolen"}),
		"no path":                     s.pseudo(http.MethodPost, target)[:3],
		"CONNECT":                     s.pseudo(http.MethodConnect, target),
		"CONNECT to a host":           {{":method", "CONNECT"}, s.pseudo("", "")[2], s.pseudo("", "")[4]},
		"extended CONNECT": append([][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", target},
			s.pseudo("", "")[2]}, s.pseudo("", "")[4]),
		"TRACE": s.pseudo("TRACE", target),
	} {
		s.Intuit.ResetCounters()
		status := s.frames(fields, content)
		if r := s.Intuit.APIRequests(); len(r) != 0 || status >= 200 && status < 400 {
			t.Errorf("%s was answered %d and went up as %+v", what, status, r)
		}
	}
	for what, fields := range map[string][][2]string{
		"as it should be":        with(),
		"te: trailers":           with([2]string{"te", "trailers"}),
		"cookies in pieces":      with([2]string{"cookie", "a=1"}, [2]string{"cookie", "b=2"}),
		"authorization spelt":    with([2]string{"authorization_", "Bearer smuggled"}, [2]string{"author_ization", "Bearer smuggled"}),
		"proxy-authorization":    with([2]string{"proxy-authorization", "Basic smuggled"}, [2]string{"proxy_authorization", "smuggled"}),
		"a method override":      with([2]string{"x-http-method-override", "DELETE"}),
		"forwarded":              with([2]string{"x-forwarded-host", "evil.example.com"}, [2]string{"forwarded", "host=evil.example.com"}),
		"a length that is right": with([2]string{"content-length", fmt.Sprint(len(content))}),
	} {
		s.Intuit.ResetCounters()
		status := s.frames(append(fields, [2]string{"x-kept", "yes"}, [2]string{"request-id", "7"}), content)
		r := s.Intuit.APIRequests()
		if status != http.StatusOK || len(r) != 1 || r[0].Target != target || !r[0].BodyComplete || r[0].BodyLength != int64(len(content)) {
			t.Errorf("%s was answered %d and went up as %+v", what, status, r)
			continue
		}
		s.checkLines([]string{what}, r[0].Lines, "Authorization: Bearer "+grant.AccessToken)
	}
}
