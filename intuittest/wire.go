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
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// net/http hands a handler the header as a map: the order of the lines and
// the case of their names are gone. A proxy's test may need both, so plain
// connections keep the bytes of the head of the request being served.

type wireKey struct{}

const maxHead = 256 << 10

type wireListener struct{ net.Listener }

func (l wireListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: c, want: true}, nil
}

type wireConn struct {
	net.Conn
	mu   sync.Mutex
	want bool // the bytes that come now may belong to a head
	head []byte
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	if c.want && len(c.head)+n <= maxHead {
		c.head = append(c.head, p[:n]...)
	}
	c.mu.Unlock()
	return n, err
}

// NetConn is the connection underneath, for setting TCP options.
func (c *wireConn) NetConn() net.Conn { return c.Conn }

// take returns the header lines of the request now being served; nil if they
// are not whole. What comes after the head is body and is not kept until next
// is called.
func (c *wireConn) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	head, _, whole := bytes.Cut(c.head, []byte("\r\n\r\n"))
	c.want, c.head = false, nil
	if !whole {
		return nil
	}
	lines := strings.Split(string(head), "\r\n")
	return lines[1:]
}

func (c *wireConn) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.want, c.head = true, nil
}

// headerLines returns the header lines of a request: as they came if the
// connection kept them, else rebuilt from the parsed header, sorted by name.
// Next must be called when the request is done.
func headerLines(r *http.Request) (lines []string, raw bool, next func()) {
	if c, ok := r.Context().Value(wireKey{}).(*wireConn); ok {
		if lines := c.take(); lines != nil {
			return lines, true, c.next
		}
		next = c.next
	} else {
		next = func() {}
	}
	lines = []string{"Host: " + r.Host}
	for name, values := range r.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	return lines, false, next
}

// reset ends the connection with a TCP reset where that can be done, so that
// the client sees a broken connection and no orderly end; with HTTP/2 it
// resets the stream.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	for under := conn; ; {
		switch c := under.(type) {
		case *net.TCPConn:
			_ = c.SetLinger(0)
			// Closing the outermost first would let TLS say goodbye.
			_ = c.Close()
			return
		case interface{ NetConn() net.Conn }:
			under = c.NetConn()
		default:
			return
		}
	}
}

// gone tells whether the client has given up.
func gone(ctx context.Context) bool { return ctx.Err() != nil }

// quietLog drops what net/http says about the connections that faults break.
func quietLog() *log.Logger { return log.New(io.Discard, "", 0) }
