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

package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// Against a server of net/http, in the clear and with TLS: what is sent comes
// over, in both directions, on connections that are used again.
func TestRoundTrip(t *testing.T) {
	large := strings.Repeat("0123456789", 300_000)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Seen", fmt.Sprint(r.Proto, " ", r.Method, " ", r.RequestURI, " ", r.Host, " ", r.Header["X-Two"], " ", r.ContentLength, r.TransferEncoding, " ", len(body)))
		switch r.URL.Path {
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/chunks":
			w.Header().Set("Trailer", "Sum")
			for range 3 {
				_, _ = io.WriteString(w, "abc")
				_ = http.NewResponseController(w).Flush()
			}
			w.Header().Set("Sum", "9")
		case "/large":
			_, _ = io.WriteString(w, large)
		default:
			_, _ = w.Write(body)
		}
	})
	for _, secure := range []bool{false, true} {
		var opened atomic.Int32
		server := httptest.NewUnstartedServer(handler)
		server.EnableHTTP2 = true // it must not be spoken
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				opened.Add(1)
			}
		}
		tr := newTransport(t)
		if secure {
			server.StartTLS()
			tr.TLS.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		host := server.Listener.Addr().String()
		for _, c := range []struct {
			method, target string
			body           io.Reader
			length         int64
			seen, got      string
		}{
			{"GET", "/", nil, 0, "GET / HOST [1 2] 0 [] 0", ""},
			{"GET", "/a/b?c=d&e=%20", nil, 0, "GET /a/b?c=d&e=%20 HOST [1 2] 0 [] 0", ""},
			{"HEAD", "/large", nil, 0, "HEAD /large HOST [1 2] 0 [] 0", ""},
			{"POST", "/", nil, 0, "POST / HOST [1 2] 0 [] 0", ""},
			{"POST", "/", strings.NewReader("in memory"), 9, "POST / HOST [1 2] 9 [] 9", "in memory"},
			{"POST", "/", strings.NewReader(large), int64(len(large)), "POST / HOST [1 2] 3000000 [] 3000000", large},
			{"PUT", "/", io.MultiReader(strings.NewReader("in "), strings.NewReader("pieces")), -1, "PUT / HOST [1 2] -1 [chunked] 9", "in pieces"},
			{"POST", "/", io.MultiReader(strings.NewReader("a stream, and more")), 8, "POST / HOST [1 2] 8 [] 8", "a stream"},
			{"DELETE", "/none", nil, 0, "DELETE /none HOST [1 2] 0 [] 0", ""},
			{"GET", "/chunks", nil, 0, "GET /chunks HOST [1 2] 0 [] 0", "abcabcabc"},
			{"GET", "/large", nil, 0, "GET /large HOST [1 2] 0 [] 0", large},
		} {
			req := request(t, c.method, server.URL+c.target, c.body)
			req.ContentLength = c.length
			req.Header["X-Two"] = []string{"1", "2"}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s %s: %v", c.method, c.target, err)
			}
			body, err := io.ReadAll(resp.Body)
			if seen := "HTTP/1.1 " + strings.Replace(c.seen, "HOST", host, 1); err != nil || resp.Header.Get("Seen") != seen || string(body) != c.got {
				t.Errorf("%s %s: %v, seen %q, got %d bytes", c.method, c.target, err, resp.Header.Get("Seen"), len(body))
			}
			if err := resp.Body.Close(); err != nil {
				t.Error(err)
			}
			if c.target == "/chunks" && resp.Trailer.Get("Sum") != "9" {
				t.Errorf("the trailer is %v", resp.Trailer)
			}
		}
		// A body that is written beside may not be known to be sent when the answer
		// has been read: each of the three may cost its connection.
		if n := opened.Load(); n > 4 {
			t.Errorf("there were %d connections", n)
		}
	}
}

// Answers byte by byte: what they come to, and whether the connection is used
// again.
func TestAnswers(t *testing.T) {
	const failed = 0
	for name, c := range map[string]struct {
		answer string
		status int
		body   string
		reused bool
		// ends tells that the API closes the connection after the answer.
		ends bool
	}{
		"length":               {answer: okay, status: 200, body: "ok", reused: true},
		"nothing":              {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", status: 200, reused: true},
		"no content":           {answer: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, reused: true},
		"chunks":               {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 200, body: "ok", reused: true},
		"trailer":              {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n", status: 200, body: "ok", reused: true},
		"interim answers":      {answer: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okay, status: 200, body: "ok", reused: true},
		"too many interim":     {answer: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1) + okay},
		"close":                {answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		"HTTP/1.0":             {answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		"more than the answer": {answer: okay + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", status: 200, body: "ok"},
		"up to the end":        {answer: "HTTP/1.1 200 OK\r\n\r\nok", status: 200, body: "ok", ends: true},
		"too short":            {answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", ends: true},
		"too few chunks":       {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", ends: true},
		"a bad chunk":          {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\nok\r\n0\r\n\r\n"},
		"two lengths":          {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"},
		"an unknown encoding":  {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"},
		"another protocol":     {answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"},
		"no status":            {answer: "HTTP/1.1 099 Low\r\n\r\n"},
		"garbage":              {answer: "SSH-2.0-OpenSSH_9.6\r\n\r\n"},
		"half a header":        {answer: "HTTP/1.1 200 OK\r\nContent-Le", ends: true},
		"nothing at all":       {ends: true},
		"a long field":         {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: " + strings.Repeat("a", 2*maxHeader) + "\r\n\r\n"},
		"many fields":          {answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + strings.Repeat("A: b\r\n", maxHeader/5) + "\r\n"},
		"long interim answers": {answer: strings.Repeat("HTTP/1.1 100 Continue\r\nA: "+strings.Repeat("a", maxHeader/3)+"\r\n\r\n", 4) + okay},
	} {
		t.Run(name, func(t *testing.T) {
			w := listen(t, func(n int, conn net.Conn, r *bufio.Reader) {
				if n == 1 {
					if read(r) == nil {
						t.Error("there is no request")
					}
					say(conn, c.answer)
					if c.ends {
						return
					}
				}
				for read(r) != nil {
					say(conn, okay)
				}
			})
			tr := newTransport(t)
			status, body, err := fetch(tr, get(t, w.url))
			if wrong := err != nil; wrong != (c.status == failed) || !wrong && (status != c.status || body != c.body) {
				t.Errorf("%d %q %v", status, body, err)
			}
			if status, body, err = fetch(tr, get(t, w.url)); status != 200 || body != "ok" || err != nil {
				t.Errorf("the next request: %d %q %v", status, body, err)
			}
			if n := w.opened.Load(); (n == 1) != c.reused {
				t.Errorf("there are %d connections", n)
			}
		})
	}
}

// A body that broke off stays so, however often it is read.
func TestTruncatedBody(t *testing.T) {
	w := listen(t, func(_ int, c net.Conn, r *bufio.Reader) {
		_ = read(r)
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
	})
	resp, err := newTransport(t).RoundTrip(get(t, w.url))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := io.ReadAll(resp.Body); err == nil {
			t.Error("it looks whole")
		}
	}
	_ = resp.Body.Close()
	if n, err := resp.Body.Read(make([]byte, 1)); n > 0 || err == nil || err == io.EOF {
		t.Errorf("after Close: %d %v", n, err)
	}
}

// What is malformed does not go out, whoever has let it through before.
func TestMalformedRequests(t *testing.T) {
	seen := make(chan string, 100)
	w := listen(t, func(_ int, c net.Conn, r *bufio.Reader) {
		all, _ := io.ReadAll(r)
		seen <- string(all)
	})
	for name, change := range map[string]func(*http.Request){
		"method":           func(r *http.Request) { r.Method = "GET /evil HTTP/1.1\r\nX:" },
		"target, space":    func(r *http.Request) { r.URL.Opaque = "/a b" },
		"target, line":     func(r *http.Request) { r.URL.Opaque = "/a\r\nX:y" },
		"query":            func(r *http.Request) { r.URL.RawQuery = "a\r\nX:y" },
		"host":             func(r *http.Request) { r.Host = "a\r\nX:y" },
		"no host":          func(r *http.Request) { r.Host, r.URL.Host = "", strings.TrimPrefix(w.url, "http://") },
		"name":             func(r *http.Request) { r.Header["A:b\r\nX"] = []string{"y"} },
		"name, space":      func(r *http.Request) { r.Header["Content-Length "] = []string{"3"} },
		"name, empty":      func(r *http.Request) { r.Header[""] = []string{"3"} },
		"value, line feed": func(r *http.Request) { r.Header["A"] = []string{"b\nX:y"} },
		"value, return":    func(r *http.Request) { r.Header["A"] = []string{"b", "b\rX:y"} },
		"value, nul":       func(r *http.Request) { r.Header["A"] = []string{"b\x00"} },
		"scheme":           func(r *http.Request) { r.URL.Scheme = "ftp" },
	} {
		req := get(t, w.url)
		change(req)
		if status, _, err := fetch(newTransport(t), req); err == nil {
			t.Errorf("%s: %d", name, status)
		}
	}
	w.end() // a failed request closes its connection
	close(seen)
	for text := range seen {
		if text != "" {
			t.Errorf("sent: %q", text)
		}
	}
}

// Fields that frame the message come from the request itself.
func TestFraming(t *testing.T) {
	got := make(chan *http.Request, 1)
	w := listen(t, func(_ int, c net.Conn, r *bufio.Reader) {
		got <- read(r)
		say(c, okay)
		if req := read(r); req != nil {
			t.Errorf("a second request: %s", req.RequestURI)
		}
	})
	req := request(t, http.MethodPost, w.url+"/x", strings.NewReader("body"))
	for _, name := range []string{"Content-Length", "content-length", "Transfer-Encoding", "Host", "HOST", "Connection", "Trailer", "TE", "Expect", "Upgrade"} {
		req.Header[name] = []string{"100"}
	}
	req.Header["X"] = []string{"y"}
	if status, _, err := fetch(newTransport(t), req); status != 200 {
		t.Fatal(err)
	}
	seen := <-got
	if seen == nil {
		t.Fatal("no request")
	}
	body, _ := io.ReadAll(seen.Body)
	if string(body) != "body" || seen.ContentLength != 4 || len(seen.TransferEncoding) > 0 || seen.Host != strings.TrimPrefix(w.url, "http://") ||
		len(seen.Header) != 2 || seen.Header.Get("X") != "y" {
		t.Errorf("%q, %d %v, host %s, %v", body, seen.ContentLength, seen.TransferEncoding, seen.Host, seen.Header)
	}
}
