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
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newTransport(t *testing.T) *Transport {
	tr := &Transport{
		DialContext: new(net.Dialer).DialContext, TLS: new(tls.Config),
		HandshakeTimeout: 10 * time.Second, ResponseTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxIdle: 16,
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// wire is an API of which every byte is said: each connection, numbered from 1,
// is given to a script, and closed after it.
type wire struct {
	url    string
	opened atomic.Int32
	// end waits until all that was said is over.
	end func()
}

func listen(t *testing.T, script func(n int, c net.Conn, r *bufio.Reader)) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{url: "http://" + l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(w.opened.Add(1))
			running.Go(func() {
				defer c.Close()
				script(n, c, bufio.NewReader(c))
			})
		}
	})
	w.end = func() {
		_ = l.Close()
		running.Wait()
	}
	t.Cleanup(w.end)
	return w
}

// read reads a request, whole; it returns nil at the end of the connection.
func read(r *bufio.Reader) *http.Request {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	return req
}

// say writes text.
func say(c net.Conn, text string) { _, _ = io.WriteString(c, text) }

// gone waits until the other side has closed the connection.
func gone(r io.Reader) { _, _ = io.Copy(io.Discard, r) }

// discardLog is for servers whose errors are expected.
var discardLog = log.New(io.Discard, "", 0)

const okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func get(t *testing.T, url string) *http.Request {
	return request(t, http.MethodGet, url+"/x?y=1", nil)
}

func request(t *testing.T, method, url string, body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// fetch returns an answer's status and body.
func fetch(tr *Transport, req *http.Request) (int, string, error) {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}
