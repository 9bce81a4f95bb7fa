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
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// inner is a request that must never reach the API: whoever sends it has no
// key, and it can only get there inside another one.
const inner = "GET /v3/company/" + realmTwo + "/companyinfo/smuggled HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer stolen\r\n\r\n"

// smuggling are requests whose end two servers could see in different places.
// Each has the lines after those of every request, and what follows them.
var smuggling = map[string]struct{ lines, rest string }{
	"CL.TE":                       {"Content-Length: 6\r\nTransfer-Encoding: chunked", "0\r\n\r\nG" + inner},
	"TE.CL":                       {"Transfer-Encoding: chunked\r\nContent-Length: 4", "5c\r\n" + inner + "\r\n0\r\n\r\n"},
	"TE.TE identity":              {"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n" + inner},
	"TE.TE x":                     {"Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "0\r\n\r\n" + inner},
	"TE twice":                    {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n" + inner},
	"TE list":                     {"Transfer-Encoding: gzip, chunked", "0\r\n\r\n" + inner},
	"TE chunked first":            {"Transfer-Encoding: chunked, gzip", "0\r\n\r\n" + inner},
	"TE xchunked":                 {"Transfer-Encoding: xchunked", "0\r\n\r\n" + inner},
	"TE with a tab":               {"Transfer-Encoding:\tchunked\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"TE with a space before":      {"Transfer-Encoding : chunked\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"TE with a vertical tab":      {"Transfer-Encoding: \x0bchunked\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"TE quoted":                   {"Transfer-Encoding: \"chunked\"\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"TE empty":                    {"Transfer-Encoding:\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"TE underscore":               {"Transfer_Encoding: chunked\r\nContent-Length: 0", inner},
	"TE folded":                   {"Transfer-Encoding:\r\n chunked\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"TE after a folded line":      {"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 0", inner},
	"TE after a bare LF":          {"X: y\nTransfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"TE after a bare CR":          {"X: y\rTransfer-Encoding: chunked\r\nContent-Length: 0", inner},
	"TE after a NUL":              {"X: y\x00\r\nTransfer-Encoding: chunked\r\nContent-Length: 3", "0\r\n\r\n" + inner},
	"NUL in a name":               {"Transfer-Encoding\x00: chunked\r\nContent-Length: 0", inner},
	"CL twice, different":         {"Content-Length: 0\r\nContent-Length: 96", inner},
	"CL twice, equal":             {"Content-Length: 0\r\nContent-Length: 0", inner},
	"CL list":                     {"Content-Length: 0, 96", inner},
	"CL plus":                     {"Content-Length: +0", inner},
	"CL minus":                    {"Content-Length: -1", inner},
	"CL hexadecimal":              {"Content-Length: 0x0", inner},
	"CL with a space inside":      {"Content-Length: 0 0", inner},
	"CL beyond 64 bit":            {"Content-Length: 18446744073709551616", inner},
	"CL with a space before":      {"Content-Length : 0", inner},
	"CL after a bare LF":          {"Content-Length: 0\nX: y", inner},
	"CL empty":                    {"Content-Length:", inner},
	"chunk size with LF alone":    {"Transfer-Encoding: chunked", "0\n\n" + inner},
	"chunk extension":             {"Transfer-Encoding: chunked", "0;ext=\"\r\n\r\n" + inner},
	"chunk extension with LF":     {"Transfer-Encoding: chunked", "2;\nxx\r\n0\r\n\r\n" + inner},
	"chunk size signed":           {"Transfer-Encoding: chunked", "-1\r\n" + inner},
	"chunk size with 0x":          {"Transfer-Encoding: chunked", "0x0\r\n\r\n" + inner},
	"chunk size beyond 64 bit":    {"Transfer-Encoding: chunked", "10000000000000000\r\n" + inner},
	"chunk too long":              {"Transfer-Encoding: chunked", "1\r\nabc0\r\n\r\n" + inner},
	"chunk without its end":       {"Transfer-Encoding: chunked", "1\r\na0\r\n\r\n" + inner},
	"trailer with a length":       {"Transfer-Encoding: chunked", "0\r\nContent-Length: 96\r\n\r\n" + inner},
	"trailer with a bearer":       {"Transfer-Encoding: chunked\r\nTrailer: Authorization", "0\r\nAuthorization: Bearer stolen\r\n\r\n" + inner},
	"header ended by LF alone":    {"Content-Length: 0\n", inner},
	"upgrade to h2c":              {"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 0", inner},
	"upgrade to websocket":        {"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nContent-Length: 0", inner},
	"expect and no body":          {"Expect: 100-continue\r\nContent-Length: 96", ""},
	"a length of nothing sent":    {"Content-Length: 96", inner[:40]},
	"host twice":                  {"Host: evil.example.com\r\nContent-Length: 0", inner},
	"a line without a colon":      {"Content-Length\r\nContent-Length: 0", inner},
	"a line that starts with a :": {": x\r\nContent-Length: 0", inner},
	"a target in a header":        {"X: y\r\n" + strings.TrimSuffix(inner, "\r\n\r\n"), ""},
}

// What ends in two places ends here: the API sees one whole request, or none.
func TestSmuggling(t *testing.T) {
	if len(smuggling) < 40 {
		t.Fatalf("%d payloads", len(smuggling))
	}
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s := start(t, change)
			s.connect(realmOne)
			s.connect(realmTwo)
			grant, _ := s.Intuit.Tokens(realmOne)
			target := "/v3/company/" + realmOne + "/customer"
			passed := 0
			for what, payload := range smuggling {
				s.Intuit.ResetCounters()
				s.talk(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Type: application/json\r\n%s\r\n\r\n%s",
					target, strings.TrimPrefix(s.Proxy, "http://"), s.bearer(), payload.lines, payload.rest))
				requests := s.Intuit.APIRequests()
				if len(requests) > 1 {
					t.Errorf("%s: %d requests went up", what, len(requests))
				}
				for _, r := range requests {
					passed++
					if r.Target != target || r.Method != http.MethodPost || r.TokenRealm != realmOne || !r.RawLines || !r.BodyComplete {
						t.Errorf("%s: %s %s went up for %q, whole: %v", what, r.Method, r.Target, r.TokenRealm, r.BodyComplete)
					}
					framed := 0
					for _, line := range r.Lines {
						name, value, _ := strings.Cut(line, ":")
						switch strings.ToLower(strings.TrimSpace(name)) {
						case "content-length", "transfer-encoding":
							framed++
						case "authorization":
							if strings.TrimSpace(value) != "Bearer "+grant.AccessToken {
								t.Errorf("%s: another bearer went up", what)
							}
						}
					}
					if framed != 1 {
						t.Errorf("%s: a body of two lengths, or of none, went up: %q", what, r.Lines)
					}
				}
			}
			if passed == 0 || passed > len(smuggling)/2 {
				t.Errorf("%d of %d are read in one way only and went up", passed, len(smuggling))
			}
		})
	}
}

// talk sends bytes and reads until the proxy is done with them.
func (s *system) talk(request string) {
	s.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Proxy, "http://"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	// The proxy may have refused before all was sent.
	_, _ = io.WriteString(conn, request)
	// Who closes its side is taken for gone, so an answer has its time first. The
	// proxy may also wait for more, and then there is none.
	_ = conn.SetReadDeadline(time.Now().Add(time.Second / 2))
	_, _ = conn.Read(make([]byte, 1))
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	_ = conn.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, conn)
}

// What is left of a body that was not read is not the next request: neither if
// the proxy answers by itself, nor if the API does before it has read all.
func TestUnreadBody(t *testing.T) {
	const size = 3 << 20 // more than is held, and than a server reads to find the next request
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s := start(t, change)
			s.connect(realmOne)
			inner := fmt.Sprintf("GET /v3/company/%s/companyinfo/1 HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n", realmOne, strings.TrimPrefix(s.Proxy, "http://"), s.bearer())
			body := strings.Repeat(inner, size/len(inner))
			for what, realm := range map[string]string{"not connected": realmNone, "refused by the API": realmOne} {
				s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTokenRefusedEarly})
				conn, err := net.Dial("tcp", strings.TrimPrefix(s.Proxy, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				go func() {
					_, _ = fmt.Fprintf(conn, "POST /v3/company/%s/customer HTTP/1.1\r\nHost: %s\r\n%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
						realm, strings.TrimPrefix(s.Proxy, "http://"), s.bearer(), len(body), body)
				}()
				r, answers := bufio.NewReader(conn), 0
				for {
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						break
					}
					answers++
					if _, err := io.Copy(io.Discard, resp.Body); err != nil {
						break
					}
					// Another one would follow at once.
					_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				}
				_ = conn.Close()
				s.Intuit.ClearFaults()
				if answers != 1 {
					t.Errorf("%s: %d answers to one request", what, answers)
				}
			}
		})
	}
}

// connectionFields name what must not be taken away, and what must.
var connectionFields = []string{
	"authorization", "Authorization", "AUTHORIZATION", "close, authorization", "authorization, close", "keep-alive, authorization",
	"host", "Host, authorization", "content-length", "content-type", "content-length, host, authorization", "transfer-encoding",
	"x-listed", "X-LISTED, x-other", "user-agent", "accept-encoding", " authorization ", "\tauthorization\t,\t", ",,authorization,,",
	"cookie", "freshbearer-connection", "proxy-authorization, te, upgrade", "x-forwarded-for", "@@, authorization", "authorization;q=1",
}

// Whatever the Connection field lists, the request goes up whole and with its
// token, and what was listed stays here.
func TestConnectionLists(t *testing.T) {
	content := string(customer("listed", 50))
	sum := sha256.Sum256([]byte(content))
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s := start(t, change)
			s.connect(realmOne)
			grant, _ := s.Intuit.Tokens(realmOne)
			for _, list := range connectionFields {
				s.Intuit.ResetCounters()
				a, err := s.raw(strings.Join([]string{
					"POST /v3/company/" + realmOne + "/customer HTTP/1.1", "Host: " + strings.TrimPrefix(s.Proxy, "http://"), s.bearer(),
					"Connection: " + list, "Connection: x-listed", "X-Listed: smuggled", "X-Kept: yes", "Request-Id: 7",
					"Content-Type: application/json", fmt.Sprint("Content-Length: ", len(content)), "", content,
				}, "\r\n"))
				requests := s.Intuit.APIRequests()
				if err != nil || len(requests) != 1 {
					t.Errorf("%q: %d %s %v, %d requests went up", list, a.Status, a.Body, err, len(requests))
					continue
				}
				r := requests[0]
				if r.TokenRealm != realmOne || !r.BodyComplete || r.BodySHA256 != hex.EncodeToString(sum[:]) || r.Host == "" {
					t.Errorf("%q: went up for %q to %q with a body of %d bytes", list, r.TokenRealm, r.Host, r.BodyLength)
				}
				s.checkLines([]string{list}, r.Lines, "Authorization: Bearer "+grant.AccessToken)
			}
		})
	}
}
