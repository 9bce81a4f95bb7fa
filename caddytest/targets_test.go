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
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes to the proxy over a connection of their own, and reads one
// answer. Nothing on this side of the wire looks at what is sent.
func (s *system) raw(request string) (answer, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Proxy, "http://"))
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return answer{}, err
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return answer{}, err
	}
	reader := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			return answer{}, err
		}
		// 100 (Continue) is not the answer yet.
		if resp.StatusCode >= http.StatusOK {
			return read(resp)
		}
	}
}

// rawGet is a GET request as text.
func (s *system) rawGet(method, target string, lines ...string) string {
	lines = append([]string{
		method + " " + target + " HTTP/1.1", "Host: " + strings.TrimPrefix(s.Proxy, "http://"), s.bearer(), "Connection: close",
	}, lines...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// goodTargets go up byte for byte. No target of badTargets does: two parsers
// could read them differently.
var (
	goodTargets = []string{
		companyInfo(realmOne),
		companyPath + "/customer/1?minorversion=75&a=%41&b=%2F..%2f&c=;&d=+&e=/v3/company/" + realmTwo + "&f=%zz",
		companyPath + "/companyinfo/1?",
		companyPath + "/reports/ProfitAndLoss?start_date=2026-01-01",
		companyPath + "/companyinfo/~-_a.b",
	}
	badTargets = []string{
		"/v3/company/" + realmOne + "/../" + realmTwo + "/companyinfo/" + realmTwo,
		"/v3/company/" + realmOne + "/./companyinfo/1",
		companyPath + "/%2e%2e/" + realmTwo + "/companyinfo/" + realmTwo,
		companyPath + "%2Fcompanyinfo/1",
		companyPath + "/companyinfo%2f1",
		"/v3/company/%39130347957983546/companyinfo/1",
		"/v3/company//" + realmTwo + "/companyinfo/1",
		"//v3/company/" + realmOne + "/companyinfo/1",
		companyPath + "//companyinfo/1",
		companyPath + "\\companyinfo\\1",
		companyPath + "/companyinfo/1;x=1",
		"/v3/company/" + realmOne + ";" + realmTwo + "/companyinfo/1",
		companyPath + "/companyinfo/1%00",
		companyPath + "/companyinfo/1#/v3/company/" + realmTwo,
		"/v3/company/" + realmTwo + "#" + realmOne + "/companyinfo/1",
		"/v3/company/٩١٣٠٣٤٧٩٥٧٩٨٣٥٤٦/companyinfo/1",
		"/v3/company/%D9%A9/companyinfo/1",
		"/V3/company/" + realmOne + "/companyinfo/1",
		"/v3/Company/" + realmOne + "/companyinfo/1",
		"/v3/company/-1/companyinfo/1",
		"/v3/company/+" + realmOne + "/companyinfo/1",
		"/v3/company/0x10/companyinfo/1",
		"/v3/company/" + strings.Repeat("9", 21) + "/companyinfo/1",
		"/v3/company//companyinfo/1",
		companyPath,
		companyPath + "/",
		companyPath + "/companyinfo/",
		companyPath + "/.hidden",
		companyPath + "/company*info/1",
		companyPath + "/companyinfo/1?query=ü",
		"*",
		"/",
		"/v3/company",
		"/v2/company/" + realmOne + "/companyinfo/1",
		"/x/../v3/company/" + realmOne + "/companyinfo/1",
		"/oauth/../v3/company/" + realmOne + "/companyinfo/1",
		companyPath + "/companyinfo/1/..",
		companyPath + "/...",
		companyPath + "/companyinfo/1%2e",
		companyPath + "/companyinfo/1%252e%252e",
		companyPath + "/%2E%2E%2F" + realmTwo + "/companyinfo/1",
		companyPath + "/..%5c" + realmTwo + "/companyinfo/1",
		companyPath + "/..%c0%af" + realmTwo + "/companyinfo/1",
		companyPath + "/companyinfo/1%0d%0a",
		companyPath + "/companyinfo/1%23",
		companyPath + "/companyinfo/1%3f",
		companyPath + "/companyinfo/@1",
		companyPath + "/companyinfo/1:1",
		companyPath + "/companyinfo/(1)",
		companyPath + "/companyinfo/'1'",
		companyPath + "/companyinfo/1,2",
		companyPath + "/companyinfo/a+b",
		companyPath + "/companyinfo/a=b&c",
		companyPath + "/companyinfo/a!$b",
		"/v3/company/" + realmOne + "." + realmTwo + "/companyinfo/1",
		"/v3/company/1e3/companyinfo/1",
		"/v3//company/" + realmOne + "/companyinfo/1",
		"/v3/./company/" + realmOne + "/companyinfo/1",
		"/v3/company/%00" + realmOne + "/companyinfo/1",
		"/v3;x/company/" + realmOne + "/companyinfo/1",
		"/graphql/",
		"/graphql/../v3/company/" + realmOne + "/companyinfo/1",
		"/quickbooks/v4/../../v3/company/" + realmOne + "/companyinfo/1",
	}
)

// companyPath is the path of the company that is asked for.
const companyPath = "/v3/company/" + realmOne

func TestTargets(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.connect(realmTwo)
	s.Intuit.ResetCounters()
	for _, target := range append(badTargets, s.Proxy+companyInfo(realmOne), companyPath+"/companyinfo/1?a\tb") {
		a, err := s.raw(s.rawGet(http.MethodGet, target))
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		// What Go's parser refuses never reaches the proxy, and what begins
		// like the browser's side ends there.
		if a.Status != http.StatusBadRequest && !(a.Status == http.StatusNotFound && strings.HasPrefix(target, "/oauth/")) {
			t.Errorf("%s was answered %d %.200s", target, a.Status, a.Body)
		}
		if a.Header.Get("Proxy-Status") != "" && a.Status == http.StatusBadRequest {
			if p := a.problem(t); p.Error != "bad_target" {
				t.Errorf("%s was answered %s", target, p.Error)
			}
		}
	}
	if n := s.Intuit.Counters().APIRequests; n != 0 {
		t.Fatalf("%d requests went up: %+v", n, s.Intuit.APIRequests())
	}
	for _, target := range goodTargets {
		s.Intuit.ResetCounters()
		if _, err := s.raw(s.rawGet(http.MethodGet, target)); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		requests := s.Intuit.APIRequests()
		if len(requests) != 1 || requests[0].Target != target || requests[0].TokenRealm != realmOne {
			t.Errorf("%s went up as %+v", target, requests)
		}
	}
}

// The field that names a connection must agree with the path.
func TestConnectionField(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.connect(realmTwo)
	s.Intuit.ResetCounters()
	field := "Freshbearer-Connection: "
	for _, lines := range [][]string{
		{field + realmTwo},
		{field + realmOne, field + realmOne},
		{field + realmOne + "," + realmTwo},
		{field + "company"},
		{field},
	} {
		a, err := s.raw(s.rawGet(http.MethodGet, companyInfo(realmOne), lines...))
		if err != nil || a.Status != http.StatusBadRequest {
			t.Errorf("%q: %d %.200s %v", lines, a.Status, a.Body, err)
		}
	}
	if a, err := s.raw(s.rawGet(http.MethodGet, "/graphql")); err != nil || a.Status != http.StatusBadRequest {
		t.Errorf("GraphQL without a connection: %d %.200s %v", a.Status, a.Body, err)
	}
	if n := s.Intuit.Counters().APIRequests; n != 0 {
		t.Errorf("%d requests went up", n)
	}
	for _, target := range []string{companyInfo(realmOne), "/v1/openid_connect/userinfo"} {
		a, err := s.raw(s.rawGet(http.MethodGet, target, field+realmOne))
		if err != nil || a.Status != http.StatusOK {
			t.Errorf("%s with a connection: %d %.200s %v", target, a.Status, a.Body, err)
		}
	}
	for _, r := range s.Intuit.APIRequests() {
		if r.TokenRealm != realmOne || r.Header.Get("Freshbearer-Connection") != "" {
			t.Errorf("%s went up for %s with %q", r.Target, r.TokenRealm, r.Header)
		}
	}
}

// What would take the connection out of the proxy's hands, or hand the token
// back, is refused.
func TestMethods(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.Intuit.ResetCounters()
	address := strings.TrimPrefix(s.Proxy, "http://")
	for request, want := range map[string]int{
		s.rawGet("TRACE", companyInfo(realmOne)):    http.StatusMethodNotAllowed,
		s.rawGet("OPTIONS", companyInfo(realmOne)):  http.StatusMethodNotAllowed,
		s.rawGet("PROPFIND", companyInfo(realmOne)): http.StatusMethodNotAllowed,
		s.rawGet("get", companyInfo(realmOne)):      http.StatusMethodNotAllowed,
		s.rawGet("CONNECT", address):                http.StatusMethodNotAllowed,
		s.rawGet("CONNECT", companyInfo(realmOne)):  http.StatusMethodNotAllowed,
		fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
			companyInfo(realmOne), address, s.bearer()): http.StatusNotImplemented,
		fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"+
			"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
			companyInfo(realmOne), address, s.bearer()): http.StatusNotImplemented,
	} {
		what, _, _ := strings.Cut(request, "\r\n")
		a, err := s.raw(request)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if a.Status != want && !(strings.HasPrefix(what, "CONNECT") && a.Status == http.StatusBadRequest) {
			t.Errorf("%s was answered %d, not %d: %.200s", what, a.Status, want, a.Body)
		}
		if a.Status == http.StatusMethodNotAllowed && !strings.Contains(a.Header.Get("Allow"), "POST") {
			t.Errorf("%s: Allow is %q", what, a.Header.Get("Allow"))
		}
	}
	if n := s.Intuit.Counters().APIRequests; n != 0 {
		t.Errorf("%d requests went up", n)
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
		s.Intuit.ResetCounters()
		_ = mustDo(t, client(t), method, s.Proxy+companyInfo(realmOne), nil, s.bearer())
		if r := s.Intuit.APIRequests(); len(r) != 1 || r[0].Method != method {
			t.Errorf("%s went up as %+v", method, r)
		}
	}
}
