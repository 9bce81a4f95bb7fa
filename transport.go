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
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pace"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// exchange is one request on its way to the API.
type exchange struct {
	keeper      *grant.Keeper
	integration *Integration
	caller      *Caller
	key         tokenstore.Key
	// origins are the only places that the token may be sent to.
	origins map[origin]struct{}
	// to is the API that the forwarder sends the request to, nil behind Caddy's
	// reverse proxy, which says so itself.
	to *url.URL
	// first is the request of the forwarder's first try, url where it goes, and
	// authorization its field. They are here so as not to be allocated one by one.
	first         http.Request
	url           url.URL
	authorization [1]string
	body          callersBody
	// snapshot is the one whose token was sent last.
	snapshot *grant.Snapshot
	replayed bool
	// ended is how the request ended, as far as the answer came from a
	// transport.
	ended outcome
	slot  pace.Slot
}

// streamLeast is how long a token must live on for a body that is streamed and
// so cannot be sent again.
const streamLeast = time.Minute

// send sends a request with a token, and once more with a newer one if the API
// refuses the token. It never changes req: what is set on a handler's request
// can be stripped by hop-by-hop rules, logged, and printed by error pages.
func (x *exchange) send(req *http.Request, next http.RoundTripper) (*http.Response, error) {
	to := req.URL
	if x.to != nil {
		to = x.to
	}
	if _, ok := x.origins[origin{to.Scheme, to.Host}]; !ok {
		x.closeBody(req)
		return nil, fmt.Errorf("refusing to send a token to %s://%s: it is not the integration's API", to.Scheme, to.Host)
	}
	body, err := x.readBody(req)
	if err != nil {
		return nil, err
	}
	if err = x.take(req.Context(), body.replayable); err != nil {
		x.closeBody(req)
		return nil, err
	}
	if x.snapshot.Environment != x.integration.Environment {
		x.closeBody(req)
		return nil, &grant.UnavailableError{Reason: grant.ReasonClientRefused, Err: fmt.Errorf(
			"the connection was authorized in environment %q, and the integration is now in %q: its token is for another host",
			x.snapshot.Environment, x.integration.Environment)}
	}
	if err := x.snapshot.Bound(x.integration.hosts); err != nil {
		x.closeBody(req)
		return nil, err
	}
	header := upstreamHeader(req.Header)
	resp, err := next.RoundTrip(x.outgoing(req, header, &body))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
		if resp.StatusCode < http.StatusMultipleChoices {
			x.snapshot.Accepted()
		}
		x.sayWhen(resp)
		return resp, nil
	}
	refusal := x.readRefusal(resp)
	if !refusal.aboutToken {
		return refusal.answer(), nil
	}
	newer, err := x.keeper.Reject(req.Context(), x.snapshot)
	if errors.Is(err, grant.ErrNoNewerToken) {
		return refusal.answer(), nil
	}
	if err != nil {
		return nil, err
	}
	if !body.replayable {
		return refusal.answer(), nil
	}
	// The API answered 401: it did not act on the request (RFC 9110 §15.5.2),
	// so sending it again is safe, and it is the only replay there is.
	if _, err := x.pace(req.Context()); err != nil {
		return nil, err
	}
	x.snapshot, x.replayed = newer, true
	x.integration.requests.replays.Add(1)
	// A map of its own: the first try may still be writing from the other one.
	resp, err = next.RoundTrip(x.outgoing(req, upstreamHeader(req.Header), &body))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		again := x.readRefusal(resp)
		if again.aboutToken {
			x.keeper.RejectAgain(x.snapshot)
		}
		return again.answer(), nil
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		x.snapshot.Accepted()
	}
	x.sayWhen(resp)
	return resp, nil
}

// take takes a token for a request when it may go. Without a token it needs
// not wait, and one that has waited may have become too old.
func (x *exchange) take(ctx context.Context, replayable bool) (err error) {
	least := streamLeast
	if replayable {
		least = 0
	}
	if x.snapshot, err = x.keeper.TokenFor(ctx, x.key, least); err != nil {
		return err
	}
	waited, err := x.pace(ctx)
	if waited && err == nil {
		x.snapshot, err = x.keeper.TokenFor(ctx, x.key, least)
	}
	return err
}

// outgoing makes the request of a try.
func (x *exchange) outgoing(req *http.Request, header http.Header, body *requestBody) *http.Request {
	out, to, field := &x.first, &x.url, x.authorization[:]
	if x.replayed || x.to == nil {
		// The one before, also one of Caddy's reverse proxy, may still be being
		// written.
		out, to, field = new(http.Request), new(url.URL), make([]string, 1)
	}
	*out = *req
	if x.to != nil {
		x.address(out, to)
	}
	out.Header = header
	field[0] = x.snapshot.Authorization().Reveal()
	out.Header["Authorization"] = field
	body.attach(out)
	return out
}

// refusal is a 401 or 403, read and cleaned.
type refusal struct {
	resp       *http.Response
	body       []byte
	aboutToken bool
}

// maxRefusal bounds what is read of a refusal; Intuit's have a few hundred
// bytes.
const maxRefusal = 64 << 10

// readRefusal reads the body of a refusal, to see whether it is about the token
// and to take out of it what could be one.
func (x *exchange) readRefusal(resp *http.Response) *refusal {
	body, err := decodedBody(resp)
	if err != nil {
		// What cannot be read cannot be cleaned, and is not passed on.
		body = nil
	}
	rf := &refusal{resp: resp, aboutToken: x.integration.provider.TokenRefused(resp.StatusCode, resp.Header, body)}
	rf.body = x.scrub(body)
	for _, values := range resp.Header {
		for i := range values {
			values[i] = string(x.scrub([]byte(values[i])))
		}
	}
	return rf
}

// scrub takes out of a text what identifies a token: what the provider is
// known to write, and the token that was sent.
func (x *exchange) scrub(text []byte) []byte {
	token := strings.TrimPrefix(x.snapshot.Authorization().Reveal(), "Bearer ")
	return bytes.ReplaceAll(x.integration.provider.Scrub(text), []byte(token), []byte("[redacted]"))
}

// decodedBody reads and closes the body of a refusal.
func decodedBody(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	reader := io.Reader(resp.Body)
	switch encoding := resp.Header.Get("Content-Encoding"); strings.ToLower(encoding) {
	case "", "identity":
	case "gzip":
		z, err := gzip.NewReader(io.LimitReader(reader, maxRefusal))
		if err != nil {
			return nil, fmt.Errorf("reading a compressed refusal: %w", err)
		}
		reader = z
	default:
		return nil, fmt.Errorf("a refusal in an encoding that was not asked for")
	}
	body, err := io.ReadAll(io.LimitReader(reader, maxRefusal+1))
	if err != nil {
		return nil, fmt.Errorf("reading a refusal: %w", err)
	}
	if len(body) > maxRefusal {
		return nil, errors.New("a refusal that is too long")
	}
	return body, nil
}

// answer is the response to pass on.
func (rf *refusal) answer() *http.Response {
	rf.resp.Header.Del("Content-Encoding")
	rf.resp.Header.Set("Content-Length", strconv.Itoa(len(rf.body)))
	rf.resp.Body = io.NopCloser(bytes.NewReader(rf.body))
	rf.resp.ContentLength = int64(len(rf.body))
	rf.resp.TransferEncoding = nil
	rf.resp.Trailer = nil
	return rf.resp
}

// Transport carries requests of a `reverse_proxy` that stands inside a
// `freshbearer` handler: Caddy's own HTTP transport, with the token set on the
// way out. It has the same settings as Caddy's.
//
// Only a request that a handler has admitted gets a token, and only towards
// the integration's API. Others, such as health checks, go out without
// credentials.
type Transport struct {
	*reverseproxy.HTTPTransport
}

// CaddyModule returns the Caddy module information.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.freshbearer",
		New: func() caddy.Module { return &Transport{HTTPTransport: new(reverseproxy.HTTPTransport)} },
	}
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	// The reverse proxy leaves the scheme to the transport.
	req = req.WithContext(req.Context())
	u := *req.URL
	req.URL = &u
	t.SetScheme(req)
	x, ok := req.Context().Value(exchangeCtxKey{}).(*exchange)
	if !ok {
		req.Header = upstreamHeader(req.Header)
		return t.HTTPTransport.RoundTrip(req)
	}
	resp, err := x.send(req, t.HTTPTransport)
	if err == nil {
		for _, name := range neverDown {
			resp.Header.Del(name)
		}
		if err = keepHere(resp, req.URL); err != nil {
			_ = resp.Body.Close()
		}
	}
	if req.Context().Err() != nil {
		return resp, err // nobody is there; the upstream is not to blame
	}
	p := problemFor(x, err)
	if p == nil {
		x.answered(resp.StatusCode)
	}
	if p != nil && !p.upstream() {
		x.ended = p.outcome()
		// As an answer: an error would count against the upstream, and one
		// dead grant would take all the others' upstream away.
		return p.response(req), nil
	}
	return resp, err
}

type exchangeCtxKey struct{}

// Interface guards. The embedded transport's optional interfaces are listed
// too: without one of them the reverse proxy would silently act differently.
var (
	_ caddy.Provisioner                      = (*Transport)(nil)
	_ caddy.CleanerUpper                     = (*Transport)(nil)
	_ http.RoundTripper                      = (*Transport)(nil)
	_ reverseproxy.TLSTransport              = (*Transport)(nil)
	_ reverseproxy.H2CTransport              = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport = (*Transport)(nil)
)
