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
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A connection that the API has closed while nobody used it is not used, for no
// method.
func TestClosedWhileIdle(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		closed := make(chan struct{})
		w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
			_ = read(r)
			say(c, okay)
			if n == 1 {
				_ = c.Close()
				close(closed)
				return
			}
			gone(r)
		})
		tr := newTransport(t)
		for range 2 {
			if status, _, err := fetch(tr, request(t, method, w.url, nil)); status != 200 {
				t.Errorf("%s: %v", method, err)
			}
			<-closed
		}
		if n := w.opened.Load(); n != 2 {
			t.Errorf("%s: %d connections", method, n)
		}
	}
}

// An answer that nobody has asked for is not taken for the next request's.
func TestUnaskedAnswer(t *testing.T) {
	said := make(chan struct{})
	w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
		_ = read(r)
		say(c, okay)
		if n == 1 {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			close(said)
		}
		gone(r)
	})
	tr := newTransport(t)
	for range 2 {
		if _, body, err := fetch(tr, get(t, w.url)); body != "ok" {
			t.Errorf("%q %v", body, err)
		}
		<-said
	}
	if n := w.opened.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// An API may close an idle connection in the moment in which a request is sent.
// What cannot do harm twice is then sent again, once; nothing else is.
func TestClosedWhileSending(t *testing.T) {
	for _, c := range []struct {
		method, body string
		repeated     bool
		// begun tells that some of an answer has come.
		begun string
	}{
		{method: http.MethodGet, repeated: true},
		{method: http.MethodHead, repeated: true},
		{method: http.MethodGet, begun: "HTTP/1.1 200"},
		{method: http.MethodGet, body: "a body"},
		{method: http.MethodPost},
		{method: http.MethodPost, body: "a body"},
		{method: http.MethodPut, body: "a body"},
		{method: http.MethodDelete},
	} {
		var seen atomic.Int32
		w := listen(t, func(n int, conn net.Conn, r *bufio.Reader) {
			_ = read(r)
			if n > 1 {
				seen.Add(1) // before the answer, after which it is counted
			}
			say(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			if n == 1 {
				if read(r) != nil {
					seen.Add(1)
				}
				say(conn, c.begun)
				return // closes the connection
			}
			gone(r)
		})
		tr := newTransport(t)
		if _, _, err := fetch(tr, get(t, w.url)); err != nil {
			t.Fatal(err)
		}
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		_, _, err := fetch(tr, request(t, c.method, w.url, body))
		want := int32(1)
		if c.repeated {
			want = 2
		}
		if n := seen.Load(); n != want || (err == nil) != c.repeated {
			t.Errorf("%s %q %q: sent %d times, %v", c.method, c.body, c.begun, n, err)
		}
	}
}

// The first request of a connection is not sent again: that the API closes the
// connection is then its answer.
func TestNewConnectionClosed(t *testing.T) {
	w := listen(t, func(_ int, _ net.Conn, r *bufio.Reader) { _ = read(r) })
	if _, _, err := fetch(newTransport(t), get(t, w.url)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	if n := w.opened.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A caller that leaves ends what is under way, wherever it is; the connection
// is closed and not used again.
func TestCancel(t *testing.T) {
	for name, say1 := range map[string]string{
		"before the answer": "", "in the header": "HTTP/1.1 200 OK\r\nA: ", "in the body": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok",
		"in the chunks": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			reached, left := make(chan struct{}), make(chan struct{})
			w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
				_ = read(r)
				if n > 1 {
					say(c, okay)
					gone(r)
					return
				}
				say(c, say1)
				close(reached)
				gone(r)
				close(left)
			})
			tr := newTransport(t)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-reached
				cancel()
			}()
			if _, _, err := fetch(tr, get(t, w.url).WithContext(ctx)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			<-left
			if status, _, err := fetch(tr, get(t, w.url)); status != 200 {
				t.Errorf("the next request: %v", err)
			}
		})
	}
}

// A caller that has left already costs the API nothing.
func TestCancelledBefore(t *testing.T) {
	w := listen(t, func(_ int, _ net.Conn, r *bufio.Reader) { gone(r) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	body := &closing{Reader: strings.NewReader("x")}
	if _, _, err := fetch(newTransport(t), request(t, http.MethodPost, w.url, body).WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := w.opened.Load(); n != 0 || !body.closed.Load() {
		t.Errorf("%d connections; body closed: %t", n, body.closed.Load())
	}
}

type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error {
	c.closed.Store(true)
	return nil
}

func TestResponseTimeout(t *testing.T) {
	w := listen(t, func(_ int, _ net.Conn, r *bufio.Reader) { gone(r) })
	for name, body := range map[string]io.Reader{"none": nil, "in memory": strings.NewReader("x"), "a stream": io.MultiReader(strings.NewReader("x"))} {
		tr := newTransport(t)
		tr.ResponseTimeout = time.Millisecond
		_, _, err := fetch(tr, request(t, http.MethodPost, w.url, body))
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An API that keeps silent is not asked again: it may be at work on the request.
func TestTimeoutIsNotRepeated(t *testing.T) {
	w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
		if n == 1 {
			_ = read(r)
			say(c, okay)
		}
		gone(r)
	})
	tr := newTransport(t)
	if _, _, err := fetch(tr, get(t, w.url)); err != nil {
		t.Fatal(err)
	}
	tr.ResponseTimeout = time.Millisecond
	if _, _, err := fetch(tr, get(t, w.url)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if n := w.opened.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// An API that reads no more is given up, as one that does not answer is.
func TestSlowReader(t *testing.T) {
	for name, body := range map[string]func() io.Reader{
		"in memory": func() io.Reader { return strings.NewReader(strings.Repeat("x", 64<<20)) },
		"a stream":  func() io.Reader { return io.LimitReader(endless{}, 64<<20) },
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			w := listen(t, func(int, net.Conn, *bufio.Reader) { <-done })
			tr := newTransport(t)
			tr.ResponseTimeout = 50 * time.Millisecond
			_, _, err := fetch(tr, request(t, http.MethodPost, w.url, body()))
			var timeout net.Error
			if !errors.As(err, &timeout) || !timeout.Timeout() {
				t.Error(err)
			}
			close(done)
			w.end()
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// The time for an answer begins when the request has been written, and ends when
// the answer begins.
func TestSlowBodies(t *testing.T) {
	const most = 50 * time.Millisecond
	w := listen(t, func(_ int, c net.Conn, r *bufio.Reader) {
		_ = read(r)
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
		time.Sleep(2 * most) // longer than the answer may take to begin
		say(c, "ok")
		gone(r)
	})
	tr := newTransport(t)
	tr.ResponseTimeout = most
	up, pour := io.Pipe()
	go func() {
		time.Sleep(2 * most)
		_, _ = pour.Write([]byte("slow"))
		_ = pour.Close()
	}()
	if status, body, err := fetch(tr, request(t, http.MethodPost, w.url, up)); status != 200 || body != "ok" {
		t.Errorf("%d %q %v", status, body, err)
	}
}

// An API that answers before it has read the body, and reads no more, is heard.
func TestEarlyAnswer(t *testing.T) {
	const answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"
	large := strings.Repeat("x", 8<<20)
	for name, body := range map[string]func() io.Reader{
		"in memory": func() io.Reader { return strings.NewReader(large) },
		"a stream":  func() io.Reader { return io.MultiReader(strings.NewReader(large)) },
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
				if n > 1 {
					_ = read(r)
					say(c, okay)
					gone(r)
					return
				}
				_, _ = http.ReadRequest(r)
				say(c, answer)
				<-done
			})
			tr := newTransport(t)
			status, text, err := fetch(tr, request(t, http.MethodPost, w.url, body()))
			if status != 413 || text != "no" {
				t.Errorf("%d %q %v", status, text, err)
			}
			// Half of the body is in the connection: it must not be used again.
			if status, text, err := fetch(tr, get(t, w.url)); status != 200 || text != "ok" {
				t.Errorf("the next request: %d %q %v", status, text, err)
			}
			close(done)
		})
	}
}

// A body that cannot be read, or is not as long as was said, is no request.
func TestBrokenBody(t *testing.T) {
	broken := errors.New("the caller hung up")
	for name, c := range map[string]struct {
		body   io.Reader
		length int64
		want   error
	}{
		"chunks":    {io.MultiReader(strings.NewReader("some"), errorReader{broken}), -1, broken},
		"length":    {io.MultiReader(strings.NewReader("some"), errorReader{broken}), 100, broken},
		"too short": {io.MultiReader(strings.NewReader("some")), 100, io.ErrUnexpectedEOF},
		"in memory": {strings.NewReader("some"), 100, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			w := listen(t, func(_ int, _ net.Conn, r *bufio.Reader) {
				if req := read(r); req != nil {
					t.Error("the API has got a whole request")
				}
			})
			req := request(t, http.MethodPost, w.url, c.body)
			req.ContentLength = c.length
			if _, _, err := fetch(newTransport(t), req); !errors.Is(err, c.want) {
				t.Error(err)
			}
			w.end()
		})
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// A body that nobody reads to its end costs the connection, and not the time
// that it would take.
func TestUnreadBody(t *testing.T) {
	w := listen(t, func(n int, c net.Conn, r *bufio.Reader) {
		_ = read(r)
		if n == 1 {
			say(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nok")
		} else {
			say(c, okay)
		}
		gone(r)
	})
	tr := newTransport(t)
	resp, err := tr.RoundTrip(get(t, w.url))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if status, _, err := fetch(tr, get(t, w.url)); status != 200 {
		t.Error(err)
	}
	if n := w.opened.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// Nothing goes to a server that does not prove its name.
func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.TLS.NegotiatedProtocol == "h2" {
			t.Errorf("it speaks %q", r.TLS.NegotiatedProtocol)
		}
		if r.URL.Path != "/trusted" {
			t.Errorf("a request got through: %s", r.URL.Path)
		}
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = discardLog
	server.StartTLS()
	t.Cleanup(server.Close)
	trusted := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		host, path string
		roots      *x509.CertPool
		good       bool
	}{
		{"127.0.0.1", "/trusted", trusted, true},
		{"127.0.0.1", "/unknown-issuer", x509.NewCertPool(), false},
		{"localhost", "/another-name", trusted, false}, // httptest's certificate is for example.com and 127.0.0.1
	} {
		tr := newTransport(t)
		tr.TLS = &tls.Config{RootCAs: c.roots}
		status, _, err := fetch(tr, request(t, http.MethodGet, "https://"+net.JoinHostPort(c.host, port)+c.path, nil))
		if (err == nil) != c.good {
			t.Errorf("%s%s: %d %v", c.host, c.path, status, err)
		}
	}
}

// A server that never ends its handshake is given up.
func TestHandshakeTimeout(t *testing.T) {
	w := listen(t, func(_ int, _ net.Conn, r *bufio.Reader) { gone(r) })
	tr := newTransport(t)
	tr.HandshakeTimeout = time.Millisecond
	if _, _, err := fetch(tr, get(t, strings.Replace(w.url, "http:", "https:", 1))); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	w.end()
}

// Connections that nobody uses are closed, the oldest first, and not too many
// are kept.
func TestIdle(t *testing.T) {
	const requests = 8
	var ended sync.WaitGroup
	ended.Add(requests)
	together := make(chan struct{})
	var arrived atomic.Int32
	w := listen(t, func(_ int, c net.Conn, r *bufio.Reader) {
		_ = read(r)
		if arrived.Add(1) == requests {
			close(together)
		}
		<-together
		say(c, okay)
		gone(r)
		ended.Done()
	})
	tr := newTransport(t)
	tr.MaxIdle, tr.IdleTimeout = 3, time.Millisecond
	var callers sync.WaitGroup
	for range requests {
		callers.Go(func() {
			if status, _, err := fetch(tr, get(t, w.url)); status != 200 {
				t.Error(err)
			}
			tr.pool.mu.Lock()
			defer tr.pool.mu.Unlock()
			for _, list := range tr.pool.idle {
				if len(list) > 3 {
					t.Errorf("%d are kept", len(list))
				}
			}
		})
	}
	callers.Wait()
	ended.Wait() // for ever, if one were left open
	tr.pool.mu.Lock()
	defer tr.pool.mu.Unlock()
	if len(tr.pool.idle) > 0 {
		t.Errorf("the pool holds %v", tr.pool.idle)
	}
}

// Under load, with callers that leave at any moment, everybody gets the answer
// to its own request or none.
func TestManyAtOnce(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		if n%7 == 0 {
			w.Header().Set("Connection", "close")
		}
		if n%5 == 0 {
			_ = http.NewResponseController(w).Flush() // chunks
		}
		_, _ = fmt.Fprintf(w, "%s|%s", r.URL.Query().Get("n"), body)
	}))
	t.Cleanup(server.Close)
	tr := newTransport(t)
	var served, left atomic.Int32
	var callers sync.WaitGroup
	for caller := range 32 {
		callers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(caller)))
			for i := range 100 {
				n := strconv.Itoa(caller*1000 + i)
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(4) == 0 {
					time.AfterFunc(time.Duration(random.IntN(2000))*time.Microsecond, cancel)
				}
				var body io.Reader
				text := strings.Repeat(n, random.IntN(200))
				method := http.MethodPost
				switch random.IntN(3) {
				case 0:
					method, text = http.MethodGet, ""
				case 1:
					body = strings.NewReader(text)
				case 2:
					body = io.MultiReader(strings.NewReader(text))
				}
				_, got, err := fetch(tr, request(t, method, server.URL+"/?n="+n, body).WithContext(ctx))
				gone := ctx.Err() != nil
				cancel()
				switch {
				case err == nil && got == n+"|"+text:
					served.Add(1)
				case err != nil && gone:
					left.Add(1)
				default:
					t.Errorf("request %s: %q %v", n, got, err)
				}
			}
		})
	}
	callers.Wait()
	if served.Load() == 0 || left.Load() == 0 {
		t.Errorf("%d were served, %d left", served.Load(), left.Load())
	}
}
