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

package freshbearer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/upstream"
)

// origin is a scheme and a host with its port, if it is written.
type origin struct{ scheme, host string }

// forwarder sends requests to one fixed upstream. It does what a reverse proxy
// must and nothing more: there is nothing to balance, to rewrite or to look up.
type forwarder struct {
	transport http.RoundTripper
	// origins holds one URL (scheme and host) for each API of the integration.
	origins map[string]*url.URL
	// allowed is the same as a set, for the exchange to check.
	allowed map[origin]struct{}
}

// upstreamTimeout is how long the API may take to begin its answer. Intuit
// ends a request after 120 s.
const upstreamTimeout = 130 * time.Second

// maxIdlePerHost keeps the connections of a busy proxy alive. Closing and
// dialling again over TLS costs far more than an idle connection.
const maxIdlePerHost = 512

// upstreamTransports serve all configurations, one for each list of named
// hosts: a reload does not cost the connections to the API, and an old
// configuration leaves none behind.
var upstreamTransports sync.Map // string to *upstream.Transport

func upstreamTransport(named []string) *upstream.Transport {
	key := strings.Join(named, " ")
	v, ok := upstreamTransports.Load(key)
	if !ok {
		v, _ = upstreamTransports.LoadOrStore(key, newUpstreamTransport(named))
	}
	return v.(*upstream.Transport)
}

func newUpstreamTransport(named []string) *upstream.Transport {
	dialer := &provider.Dialer{Dialer: net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}, Named: named}
	return &upstream.Transport{
		DialContext:      dialer.DialContext,
		TLS:              &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(0)},
		HandshakeTimeout: 10 * time.Second,
		ResponseTimeout:  upstreamTimeout,
		IdleTimeout:      90 * time.Second,
		MaxIdle:          maxIdlePerHost,
	}
}

func newForwarder(apis map[string]string, named []string) (*forwarder, error) {
	f := &forwarder{
		transport: upstreamTransport(named),
		origins:   make(map[string]*url.URL, len(apis)),
		allowed:   make(map[origin]struct{}, len(apis)),
	}
	for name, address := range apis {
		u, err := url.Parse(address)
		if err != nil {
			return nil, err
		}
		f.origins[name] = &url.URL{Scheme: u.Scheme, Host: u.Host}
		f.allowed[origin{u.Scheme, u.Host}] = struct{}{}
	}
	return f, nil
}

// forward sends r to the API of target and its answer to w. Errors before the
// answer has begun are returned.
func (f *forwarder) forward(w http.ResponseWriter, r *http.Request, x *exchange, api string) error {
	to, ok := f.origins[api]
	if !ok {
		return &provider.TargetError{Reason: "this integration has no address for that API"}
	}
	x.to = to
	resp, err := x.send(r, f.transport)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := keepHere(resp, to); err != nil {
		return err
	}
	x.answered(resp.StatusCode)
	header := w.Header()
	copyDown(header, resp.Header)
	for name := range resp.Trailer {
		header.Add("Trailer", name)
	}
	w.WriteHeader(resp.StatusCode)
	if err := copyBody(w, resp); err != nil {
		// The answer has begun: only a broken connection tells the caller that
		// it is not whole.
		panic(http.ErrAbortHandler)
	}
	for name, values := range resp.Trailer {
		header[name] = values
	}
	return nil
}

// address leads a try to the API.
func (x *exchange) address(out *http.Request, to *url.URL) {
	// The raw target that was checked, and not r.URL, which is decoded: it goes
	// out byte for byte.
	*to = url.URL{Scheme: x.to.Scheme, Host: x.to.Host, Opaque: out.RequestURI}
	out.URL, out.Host, out.RequestURI = to, x.to.Host, ""
	out.Close = false // that is about the caller's connection
}

// errRedirect says that the API wants to send the caller somewhere else.
var errRedirect = errors.New("the API redirects to another host")

// keepHere makes a redirect within the API one within the proxy, and refuses
// any other: the caller would follow it with its proxy key.
func keepHere(resp *http.Response, origin *url.URL) error {
	location := resp.Header.Get("Location")
	if location == "" || resp.StatusCode < 300 || resp.StatusCode > 399 {
		return nil
	}
	u, err := url.Parse(location)
	if err != nil {
		return errRedirect
	}
	if u.Host == "" && u.Scheme == "" && u.Opaque == "" {
		return nil
	}
	if u.Scheme != origin.Scheme || !sameHost(u.Host, origin) || u.User != nil {
		return errRedirect
	}
	u.Scheme, u.Host = "", ""
	resp.Header.Set("Location", u.String())
	return nil
}

const copyBufferSize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBufferSize]byte) }}

// copyBody streams the body. One of unknown length is passed on as it comes,
// because it may be a stream that somebody is waiting for.
func copyBody(w http.ResponseWriter, resp *http.Response) error {
	buf := copyBuffers.Get().(*[copyBufferSize]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := resp.Body.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n > 0 && resp.ContentLength < 0 {
			if err := http.NewResponseController(w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return err
			}
		}
	}
}

// statusClientGone is what Caddy logs for a caller that hung up.
const statusClientGone = 499

// clientGone makes an error that is only the caller's leaving into what Caddy
// expects: nobody is there to read an answer.
func clientGone(r *http.Request, err error) error {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return caddyhttp.Error(statusClientGone, err)
	}
	return nil
}
