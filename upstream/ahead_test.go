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
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TLS reads ahead: what the API has sent without being asked, or that it ends
// the connection, may have left the socket together with the answer before. It
// is noticed for all that, and is not the next request's.
func TestReadAhead(t *testing.T) {
	identity := httptest.NewUnstartedServer(nil)
	identity.TLS = &tls.Config{DynamicRecordSizingDisabled: true}
	identity.StartTLS()
	t.Cleanup(identity.Close)
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	// It fills the buffer of the connection, and no more.
	const head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
	length := readSize - len(fmt.Sprintf(head, readSize))
	full := fmt.Sprintf(head, length) + strings.Repeat("x", length)
	for name, answer := range map[string]func(*tls.Conn){
		"in the next record": func(c *tls.Conn) { say(c, okay); say(c, evil) },
		"in the same record": func(c *tls.Conn) { say(c, full+evil) },
		"the end":            func(c *tls.Conn) { say(c, okay); _ = c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			w := listen(t, func(n int, raw net.Conn, _ *bufio.Reader) {
				together := &holding{Conn: raw}
				c := tls.Server(together, identity.TLS)
				r := bufio.NewReader(c)
				_ = read(r)
				if n == 1 {
					together.hold = true
					answer(c)
					together.release()
				} else {
					say(c, okay)
				}
				gone(r)
			})
			tr := newTransport(t)
			tr.TLS.RootCAs = identity.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			url := strings.Replace(w.url, "http:", "https:", 1)
			for range 2 {
				status, body, err := fetch(tr, request(t, http.MethodPost, url, nil))
				if status != 200 || body == "evil" || err != nil {
					t.Errorf("%d %.10q %v", status, body, err)
				}
			}
			if n := w.opened.Load(); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// Where sockets cannot be looked at, it is noticed too, and what is in order is
// used again.
func TestBlind(t *testing.T) {
	for name, ahead := range map[string]func(net.Conn){
		"an answer": func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") },
		"the end":   func(c net.Conn) { _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
				for read(r) != nil {
					say(c, okay)
					if n == 1 {
						ahead(c)
						close(done)
						gone(r)
						return
					}
				}
			})
			tr := newTransport(t)
			tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, address)
				return struct{ net.Conn }{c}, err
			}
			for range 3 {
				if status, body, err := fetch(tr, request(t, http.MethodPost, w.url, nil)); status != 200 || body != "ok" {
					t.Errorf("%d %q %v", status, body, err)
				}
				<-done
			}
			if n := w.opened.Load(); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// An API that looks for no body with a GET takes it for a request. What it
// answers to that, when it may, is nobody's.
func TestUnexpectedBody(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodDelete} {
		w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
			for i := 0; read(r) != nil; i++ {
				say(c, "HTTP/1.1 204 No Content\r\n\r\n")
				if i > 0 {
					t.Errorf("%s: a second request on connection %d", method, n)
				}
			}
		})
		tr := newTransport(t)
		for range 2 {
			if status, _, err := fetch(tr, request(t, method, w.url, strings.NewReader("GET /evil HTTP/1.1"))); status != 204 {
				t.Errorf("%s: %d %v", method, status, err)
			}
		}
	}
}

// An API that answers by the header alone, and closes the connection, is heard:
// before the caller has sent its body, and whatever of it was sent.
func TestAnswerAndClose(t *testing.T) {
	w := listen(t, func(_ int, c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			say(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
		}
	})
	tr := newTransport(t)
	for range 200 {
		text := strings.Repeat("x", inlineBody)
		if status, body, err := fetch(tr, request(t, http.MethodPost, w.url, strings.NewReader(text))); status != 413 || body != "no" {
			t.Fatalf("in memory: %d %q %v", status, body, err)
		}
	}
	slow, pour := io.Pipe()
	req := request(t, http.MethodPost, w.url, slow)
	req.ContentLength = 2 << 20
	if status, body, err := fetch(tr, req); status != 413 || body != "no" {
		t.Errorf("a slow caller: %d %q %v", status, body, err)
	}
	_ = pour.Close()
}

// holding keeps what is written, and sends it all at once.
type holding struct {
	net.Conn
	hold bool
	held []byte
}

func (h *holding) Write(p []byte) (int, error) {
	if !h.hold {
		return h.Conn.Write(p)
	}
	h.held = append(h.held, p...)
	return len(p), nil
}

func (h *holding) release() {
	h.hold = false
	_ = h.SetWriteDeadline(time.Time{}) // CloseWrite has set one
	_, _ = h.Conn.Write(h.held)
}
