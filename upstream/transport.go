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

// Package upstream sends requests to an API over HTTP/1.1. The goroutine that
// asks also writes the request and reads the answer, where the transport of
// net/http hands both to goroutines of the connection: for a proxy these
// hand-offs are the largest part of the cost that it can do without. Answers
// are parsed by net/http.
package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Transport is an http.RoundTripper that keeps connections alive. It speaks
// HTTP/1.1 only, goes through no proxy, and follows, decodes and adds nothing.
// It is safe for concurrent use; its fields must not be changed after the first
// request.
type Transport struct {
	// DialContext opens a connection. Its errors are returned as they are.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is the configuration for https. The server's name and the protocol are
	// set here.
	TLS *tls.Config
	// HandshakeTimeout bounds a TLS handshake.
	HandshakeTimeout time.Duration
	// ResponseTimeout is how long an answer may take to begin after the request
	// was written, and the API to take each piece of it. The error is a net.Error whose Timeout is true.
	ResponseTimeout time.Duration
	// IdleTimeout is how long a connection is kept that nobody uses.
	IdleTimeout time.Duration
	// MaxIdle is how many such connections are kept for each origin.
	MaxIdle int

	pool pool
}

// RoundTrip implements http.RoundTripper. The request must not be used by
// others before the answer's body is closed.
//
// A GET or HEAD without a body, or a request of which nothing was written, is
// sent again if its connection turns out to have been closed by the API before
// a byte of the answer had come: the connection had been idle, and the API has
// most probably not seen the request (RFC 9112 §9.3.1). Nothing else is.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	to, err := originOf(req)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		closeBody(req)
		return nil, err
	}
	c := t.pool.take(to)
	for {
		reused := c != nil
		if c == nil {
			if c, err = t.dial(ctx, to); err != nil {
				closeBody(req)
				return nil, err
			}
		}
		resp, err := c.roundTrip(req)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !reused || !c.mayRepeat(req, err) {
			return nil, err
		}
		if req.GetBody != nil {
			rewound := *req
			if rewound.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
			req = &rewound
		}
		// Other idle connections may have been closed as well: a new one.
		c = nil
	}
}

// CloseIdleConnections closes the connections that nobody uses now.
func (t *Transport) CloseIdleConnections() { t.pool.closeAll() }

// origin is where a connection leads.
type origin struct{ scheme, host string }

func originOf(req *http.Request) (origin, error) {
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return origin{}, fmt.Errorf("the scheme %q is neither http nor https", req.URL.Scheme)
	}
	return origin{req.URL.Scheme, req.URL.Host}, nil
}

// dialled returns the name and the port to dial.
func (o origin) dialled() (host, port string) {
	u := url.URL{Host: o.host}
	host, port = u.Hostname(), u.Port()
	if port == "" {
		port = o.scheme // a service's name is as good as its number
	}
	return host, port
}

// dial opens a connection.
func (t *Transport) dial(ctx context.Context, to origin) (*conn, error) {
	host, port := to.dialled()
	raw, err := t.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	if to.scheme == "http" {
		return newConn(t, to, raw, raw), nil
	}
	config := t.TLS.Clone()
	config.ServerName, config.NextProtos = host, []string{"http/1.1"}
	secured := tls.Client(raw, config)
	ctx, cancel := context.WithTimeout(ctx, t.HandshakeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("securing a connection: %w", err)
	}
	return newConn(t, to, secured, raw), nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
