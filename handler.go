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
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/provider"
)

// Handler is a reverse proxy to a provider's API. It lets callers in by their
// proxy key, finds the connection in the request's target, and forwards the
// request with a fresh access token. It answers every request, and calls no
// handler after it.
type Handler struct {
	// The integration, by its name in the freshbearer app. Required.
	Integration string `json:"integration,omitempty"`

	// Caddy's own reverse proxy, if it shall forward the requests. Its
	// upstreams default to the integration's API, and its transport carries the
	// token: `freshbearer`, with the settings of the `http` transport.
	ReverseProxyRaw json.RawMessage `json:"reverse_proxy,omitempty" caddy:"namespace=http.handlers inline_key=handler"`

	app          *App
	integration  *Integration
	logger       *zap.Logger
	forwarder    *forwarder
	reverseProxy caddyhttp.MiddlewareHandler
	// origins are where the reverse proxy may send tokens.
	origins map[origin]struct{}
	// accessLogs tells whether the server has an access log.
	accessLogs bool
}

// CaddyModule returns the Caddy module information.
func (Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.freshbearer",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	var err error
	if h.app, err = theApp(ctx); err != nil {
		return err
	}
	if h.integration, err = h.app.integration(h.Integration); err != nil {
		return err
	}
	h.app.servedBy(ctx, h.Integration)
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		h.accessLogs = server.Logs != nil
	}
	if h.ReverseProxyRaw != nil {
		return h.provisionReverseProxy(ctx)
	}
	h.forwarder, err = newForwarder(h.integration.client.Endpoints.APIs, h.integration.client.Endpoints.Named)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	// A request whose answer breaks off leaves by a panic.
	ended := outcomeCut
	defer func() { h.integration.requests.ended[ended].Add(1) }()
	var (
		x      *exchange
		target provider.Target
	)
	caller, err := h.enter(r)
	if err == nil {
		defer caller.leave()
		x, target, err = h.admit(r, caller)
	}
	if err == nil {
		if h.accessLogs {
			x.accessLog(r.Context())
		}
		err = h.forward(w, r, x, target)
	}
	if err == nil {
		if ended = x.ended; ended == outcomeCut && r.Context().Err() != nil {
			ended = outcomeCallerGone // Caddy's reverse proxy says nothing then
		}
		return nil
	}
	if gone := clientGone(r, err); gone != nil {
		ended = outcomeCallerGone
		return gone
	}
	p := problemFor(x, err)
	ended = p.outcome()
	h.log(r, x, p, err)
	p.write(w, r)
	return nil
}

// log tells of the API's failures. Those of grants the keeper tells, once; and
// what callers do wrong is for DEBUG, or they could flood the log.
func (h *Handler) log(r *http.Request, x *exchange, p *problem, err error) {
	level := zap.DebugLevel
	if p.upstream() {
		level = zap.WarnLevel
	}
	entry := h.logger.Check(level, "answering for the API")
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.String("integration", h.integration.name), zap.String("method", r.Method),
		zap.Int("status", p.status()), zap.Error(err),
	}
	if x != nil {
		fields = append(fields, zap.String("caller", x.caller.name), zap.String("connection_hash", x.keeper.Pseudonym(x.key)))
	}
	entry.Write(fields...)
}

// enter finds the caller, and counts the request against its limits. The order
// matters, here and in admit: nobody learns anything, and nothing is looked up,
// before the caller is known. Whoever it returns without an error must leave.
func (h *Handler) enter(r *http.Request) (*Caller, error) {
	if p := methodProblem(r); p != nil {
		return nil, p
	}
	caller := h.app.callers.authenticate(r)
	if caller == nil {
		return nil, unauthorized()
	}
	return caller, caller.enter(time.Now)
}

// admit decides whether the caller's request may go on, and for which
// connection.
func (h *Handler) admit(r *http.Request, caller *Caller) (*exchange, provider.Target, error) {
	if early(r) {
		return nil, provider.Target{}, &problem{Kind: kindTooEarly}
	}
	target, err := h.integration.provider.ParseTarget(r.RequestURI)
	if err != nil {
		return nil, target, err
	}
	if tokenInQuery(r.RequestURI) {
		return nil, target, badRequest("A token in the query is refused: the API would have two to choose from.")
	}
	if err := caller.inScope(r.Method, target); err != nil {
		h.app.outOfScope(caller, h.integration)
		return nil, target, err
	}
	connection, err := h.connection(r, target)
	if err != nil {
		return nil, target, err
	}
	keeper, err := h.app.keeper()
	if err != nil {
		return nil, target, &grant.UnavailableError{Reason: grant.ReasonStorage, RetryAfter: time.Second, Err: err}
	}
	x := &exchange{
		keeper:      keeper,
		integration: h.integration,
		caller:      caller,
		key:         h.integration.key(connection),
	}
	if err := x.entitled(r.Context()); err != nil {
		return nil, target, err
	}
	return x, target, nil
}

// connection reads which connection the request is for: from the path, or
// from the header if the API does not carry it in the path.
func (h *Handler) connection(r *http.Request, target provider.Target) (string, error) {
	named := r.Header[connectionHeader]
	switch {
	case len(named) > 1:
		return "", badRequest("The " + connectionHeader + " field must not occur twice.")
	case len(named) == 0 && target.Connection == "":
		return "", badRequest("This API does not carry the connection in its path: name it in the " + connectionHeader + " field.")
	case len(named) == 0:
		return target.Connection, nil
	case !h.integration.provider.ValidConnection(named[0]):
		return "", badRequest("The " + connectionHeader + " field does not hold a connection ID.")
	case target.Connection != "" && target.Connection != named[0]:
		return "", badRequest("The path and the " + connectionHeader + " field name different connections.")
	}
	return named[0], nil
}

// errForbidden says that the caller may not use the connection, whether there
// is one or not.
var errForbidden = errors.New("this caller may not use this connection")

// entitled tells whether the caller may use the connection.
func (x *exchange) entitled(ctx context.Context) error {
	if x.caller.listed(x.key.Connection) {
		return nil
	}
	snap, err := x.keeper.Peek(ctx, x.key)
	if err != nil {
		var unavailable *grant.UnavailableError
		if errors.As(err, &unavailable) {
			return err
		}
		return x.forbidden()
	}
	if !x.caller.mayUse(x.key.Connection, snap.Owner) {
		x.keeper.LookInVain(ctx, x.key)
		return x.forbidden()
	}
	return nil
}

func (h *Handler) forward(w http.ResponseWriter, r *http.Request, x *exchange, target provider.Target) error {
	defer x.leave()
	if r.Body != nil {
		x.body.from = r.Body
		defer x.body.end()
	}
	if h.reverseProxy == nil {
		x.origins = h.forwarder.allowed
		return h.forwarder.forward(w, r, x, target.API)
	}
	if target.API != "" {
		return &provider.TargetError{Reason: "this API is not behind the configured reverse_proxy"}
	}
	x.origins = h.origins
	r = r.WithContext(context.WithValue(r.Context(), exchangeCtxKey{}, x))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &x.body
	}
	// The transport drops them anyway. Before that, Caddy's reverse proxy would
	// log them at DEBUG, with log_credentials.
	r.Header = r.Header.Clone()
	r.Header.Del("Authorization")
	r.Header.Del("Cookie")
	return h.reverseProxy.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return errors.New("the reverse proxy did not answer")
	}))
}

// early tells whether a request could be a recording that somebody plays back:
// one that changes something, in TLS early data (RFC 8470 §3).
func early(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete && r.Method != http.MethodGet && r.Method != http.MethodHead
}

// tokenInQuery tells whether a query brings a token (RFC 6750 §2.3).
func tokenInQuery(target string) bool {
	const name = "access_token"
	_, query, _ := strings.Cut(target, "?")
	if !strings.Contains(query, name) && strings.IndexByte(query, '%') < 0 {
		return false // neither in clear nor encoded
	}
	for query != "" {
		var parameter string
		parameter, query, _ = strings.Cut(query, "&")
		key, _, _ := strings.Cut(parameter, "=")
		if len(key) < len(name) {
			continue
		}
		if plain, err := url.QueryUnescape(key); err == nil && plain == name {
			return true
		}
	}
	return false
}

// methodProblem refuses what would take the connection out of our hands
// (CONNECT, Upgrade) or hand the token back (TRACE).
func methodProblem(r *http.Request) *problem {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		return methodNotAllowed("GET, HEAD, POST, PUT, PATCH, DELETE")
	}
	if len(r.Header["Upgrade"]) > 0 {
		return notImplemented("This proxy does not switch protocols.")
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
