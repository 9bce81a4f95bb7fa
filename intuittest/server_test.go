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

package intuittest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestEncoding(t *testing.T) {
	for _, tc := range []struct {
		b              Behaviour
		accept         string
		gzip, measured bool
	}{
		{Behaviour{}, "gzip", true, false},
		{Behaviour{}, "br, gzip;q=0.5", true, false},
		{Behaviour{}, "gzip;q=0", false, false},
		{Behaviour{}, "identity", false, false},
		{Behaviour{NoGzip: true}, "gzip", false, false},
		{Behaviour{FixedLength: true}, "gzip", true, true},
	} {
		h := start(t, tc.b)
		req := h.apiRequest("GET", "/v3/company/"+realmA+"/companyinfo/"+realmA, h.Connect(realmA).AccessToken, "")
		req.Header.Set("Accept-Encoding", tc.accept)
		res, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if (res.Header.Get("Content-Encoding") == "gzip") != tc.gzip || (res.ContentLength >= 0) != tc.measured || slices.Contains(res.TransferEncoding, "chunked") == tc.measured {
			t.Errorf("%+v: %v %v", tc, res.Header, res.TransferEncoding)
		}
	}
}

func TestHeaderLinesAsTheyCame(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).AccessToken
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	body := strings.Repeat("x\r\n\r\n", 3000)
	head := []string{"hOST: h", "x-B: 2", "X-a: 1", "x-B:  3", "Authorization: Bearer " + token, fmt.Sprintf("content-LENGTH: %d", len(body)), "cONNECTION: close"}
	first := "POST /v3/company/" + realmA + "/query?q=%2f//..%20 HTTP/1.1\r\n" + strings.Join(head[:6], "\r\n") + "\r\n\r\n" + body
	second := "GET /v3/company/" + realmA + "/companyinfo/" + realmA + " HTTP/1.1\r\nHost: h\r\nsecond: yes\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, first); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for got := ""; !strings.HasSuffix(got, "0\r\n\r\n"); {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got += string(buf[:n])
	}
	if _, err := io.WriteString(conn, second); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	log := h.APIRequests()
	if len(log) != 2 || !log[0].RawLines || !slices.Equal(log[0].Lines, head[:6]) || log[0].Target != "/v3/company/"+realmA+"/query?q=%2f//..%20" {
		t.Errorf("%+v", log)
	}
	if !log[1].RawLines || !slices.Equal(log[1].Lines, []string{"Host: h", "second: yes", "Connection: close"}) {
		t.Errorf("%q", log[1].Lines)
	}
}

func TestTLSAndHTTP2(t *testing.T) {
	h := startWith(t, Config{TLS: true})
	g := h.Connect(realmA)
	h.client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	h.wantInfo(g.AccessToken, 200)
	log := h.APIRequests()[0]
	if log.Proto != "HTTP/2.0" || log.RawLines || !slices.Contains(log.Lines, "Authorization: Bearer "+g.AccessToken) {
		t.Errorf("%+v", log)
	}
	h.FailToken(Fault{Kind: FaultResetAfter})
	if _, err := h.do(h.tokenRequest(refreshForm(g.RefreshToken))); err == nil {
		t.Error("answered")
	}
	h.FailAPI(Fault{Kind: FaultTokenRefusedEarly})
	h.wantInfo(g.AccessToken, 401)
	if h.Certificate() == nil || !strings.HasPrefix(h.URL(), "https://") {
		t.Error(h.URL())
	}
}

func TestHandlerInAnotherServer(t *testing.T) {
	s := New(WithCompany(realmA, "Company A"), WithClient(Client{ID: "c", Secret: "s"}), WithBehaviour(Behaviour{NoGzip: true}), WithClock(time.Now))
	outer := httptest.NewServer(s.Handler())
	defer outer.Close()
	defer s.Close()
	g := s.Connect(realmA)
	req, _ := http.NewRequest("GET", outer.URL+"/v3/company/"+realmA+"/companyinfo/"+realmA, nil)
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	res, err := outer.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 || g.ClientID != "c" {
		t.Errorf("%d %+v", res.StatusCode, g)
	}
	res, err = outer.Client().Get(outer.URL + "/.well-known/openid_configuration")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); !strings.Contains(string(body), `"`+outer.URL+`/oauth2/v1/tokens/bearer"`) {
		t.Errorf("%s", body)
	}
	if _, err := s.ConnectAs("nobody", realmA); err == nil {
		t.Error("there is no such client")
	}
	if err := New(WithConfig(Config{Addr: "256.0.0.1:0"})).Start(); err == nil {
		t.Error("started")
	}
}
