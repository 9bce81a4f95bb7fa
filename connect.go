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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
)

// ConnectHandler is the browser's side of an integration: it starts an
// authorization from a signed link, receives the provider's callback, and
// tells the human what came of it. It also makes the links, for callers.
type ConnectHandler struct {
	// The integration, by its name in the freshbearer app. Required.
	Integration string `json:"integration,omitempty"`

	// The path that everything lives under. Default: `/oauth`.
	BasePath string `json:"base_path,omitempty"`

	app         *App
	integration *Integration
	logger      *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (ConnectHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.freshbearer_connect",
		New: func() caddy.Module { return new(ConnectHandler) },
	}
}

// Provision sets up the handler.
func (h *ConnectHandler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if h.BasePath == "" {
		h.BasePath = defaultBasePath
	}
	var err error
	if h.app, err = theApp(ctx); err != nil {
		return err
	}
	if h.integration, err = h.app.integration(h.Integration); err != nil {
		return err
	}
	h.app.servedBy(ctx, h.Integration)
	if base := h.integration.basePath(); base != h.BasePath {
		return fmt.Errorf("base_path is %s, but the redirect_url of integration %s is under %s: they must agree, or the callback goes astray",
			h.BasePath, h.Integration, base)
	}
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *ConnectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	page, ok := strings.CutPrefix(r.URL.Path, h.BasePath+"/")
	if !ok {
		page = ""
	}
	var err error
	switch page {
	case "connect":
		unlogged(r)
		err = h.browser(w, r, h.connect)
	case "callback":
		unlogged(r)
		err = h.browser(w, r, h.callback)
	case "done":
		unlogged(r)
		err = h.browser(w, r, h.done)
	case "links":
		err = h.links(w, r)
	default:
		err = &problem{Kind: kindNotFound}
	}
	if err == nil {
		return nil
	}
	if gone := clientGone(r, err); gone != nil {
		return gone
	}
	p := problemFor(nil, err)
	if p.status() >= http.StatusInternalServerError {
		h.logger.Error("answering the browser", zap.String("page", page), zap.Int("status", p.status()), zap.Error(err))
	}
	p.write(w, r)
	return nil
}

// unlogged keeps a request out of the access log, which would show the code or
// the company's name in its query, or the state in the Location of its answer.
// The keeper logs what came of it.
func unlogged(r *http.Request) { caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true) }

// browser lets only GET requests to the registered host through: on any other
// host name, cookies and links would be those of somebody else's site.
func (h *ConnectHandler) browser(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request, *grant.Keeper) error) error {
	if r.Method != http.MethodGet {
		return methodNotAllowed(http.MethodGet)
	}
	if !sameHost(r.Host, h.integration.redirect) {
		// Behind the redirect URL's back, a code would be refused as well.
		return &problem{Kind: kindMisdirected, Detail: "This page is at " + originOf(h.integration.redirect) +
			", by the redirect_url of this proxy, and was asked for under another host name. If that name is the right one, " +
			"the person who runs the proxy must correct redirect_url; if a proxy in front changes it, that must pass the Host field on."}
	}
	keeper, err := h.keeper()
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	return serve(w, r, keeper)
}

// sameHost tells whether a Host field names the host of u; the scheme's own
// port may be left out of either.
func sameHost(host string, u *url.URL) bool {
	port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	return strings.EqualFold(strings.TrimSuffix(host, port), strings.TrimSuffix(u.Host, port))
}

func (h *ConnectHandler) keeper() (*grant.Keeper, error) {
	keeper, err := h.app.keeper()
	if err != nil {
		return nil, &grant.UnavailableError{Reason: grant.ReasonStorage, RetryAfter: time.Second, Err: err}
	}
	return keeper, nil
}

// connect starts an authorization. It only creates a state, which does no harm
// if a link scanner comes by.
func (h *ConnectHandler) connect(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	link, err := keeper.OpenLink(r.URL.Query().Get("link"))
	if err != nil {
		return linkProblem(err)
	}
	if link.Integration != h.integration.name {
		return &problem{Kind: kindLinkInvalid}
	}
	authorization, err := keeper.BeginAuthorization(r.Context(), grant.Start{Link: link})
	var tooMany *grant.TooManyError
	switch {
	case errors.As(err, &tooMany):
		return &problem{Kind: kindTooSoon, RetryAfter: tooMany.RetryAfter,
			Detail: "Too many sign-ins were started and not ended. Try again later."}
	case errors.Is(err, grant.ErrPurpose):
		return &problem{Kind: kindLinkInvalid}
	case err != nil:
		h.logger.Error("starting an authorization", zap.Error(err))
		return &problem{Kind: kindStorage, RetryAfter: time.Second}
	}
	http.SetCookie(w, h.cookie(authorization.CookieName, authorization.CookieValue, int(authorization.MaxAge/time.Second)))
	redirect(w, http.StatusFound, authorization.URL)
	return nil
}

// redirect has no body: the one that http.Redirect writes is HTML.
func redirect(w http.ResponseWriter, status int, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

// cookie is bound to this host alone (__Host-), except on plain http, which
// only loopback has, and where browsers refuse it.
func (h *ConnectHandler) cookie(name, value string, maxAge int) *http.Cookie {
	secure := h.integration.redirect.Scheme == "https"
	return &http.Cookie{
		Name: h.cookieName(name), Value: value, Path: "/", MaxAge: maxAge,
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

func (h *ConnectHandler) cookieName(name string) string {
	if h.integration.redirect.Scheme == "https" {
		return "__Host-" + name
	}
	return name
}

// callback redeems what the provider sent the browser back with. It answers
// with a redirect to a clean URL, whatever happens: a page would keep the code
// in the address bar, and Intuit forbids it.
func (h *ConnectHandler) callback(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	query := r.URL.Query()
	name := grant.StateCookie(query.Get("state"))
	// The cookie stays until its end: if the browser sends this callback again,
	// it proves that the answer is for the same eyes.
	cookie := ""
	if c, err := r.Cookie(h.cookieName(name)); err == nil {
		cookie = c.Value
	}
	result, err := keeper.FinishAuthorization(r.Context(), grant.Callback{
		Integration: h.integration.name,
		Query:       query,
		Cookie:      cookie,
		MayReplace:  h.mayReplace,
	})
	if err != nil {
		result = grant.Result{Integration: h.integration.name, Failure: grant.FailureStorage}
		var failed *grant.AuthorizationError
		if errors.As(err, &failed) {
			result.Failure, result.Detail = failed.Failure, failed.Detail
			result.Causes, result.CodeAge = failed.Causes, int64(failed.CodeAge/time.Second)
			result.TraceID, result.ReturnURL, result.Popup = failed.TraceID, failed.ReturnURL, failed.Popup
		}
	}
	clean := h.integration.publicURL("done", url.Values{"result": {keeper.SignResult(result)}})
	redirect(w, http.StatusSeeOther, clean)
	return nil
}

// mayReplace asks the configuration in force whether a caller may take over a
// connection. The operator, who is no caller, may.
func (h *ConnectHandler) mayReplace(caller, owner, connection string) bool {
	if caller == "" {
		return true
	}
	c, ok := h.app.Callers[caller]
	return ok && c.mayUse(connection, owner)
}

func (h *ConnectHandler) done(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	result, err := keeper.OpenResult(r.URL.Query().Get("result"))
	if err != nil || result.Integration != h.integration.name {
		return linkProblem(err)
	}
	page, status := h.donePage(result)
	pages.Write(w, status, page)
	return nil
}

// linkRequest is the body of POST links.
type linkRequest struct {
	// Connection binds the link to one connection; empty for any.
	Connection string `json:"connection"`
	ReturnURL  string `json:"return_url"`
}

const maxLinkRequest = 16 << 10

// links makes a connect link for a caller.
func (h *ConnectHandler) links(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		return methodNotAllowed(http.MethodPost)
	}
	caller := h.app.callers.authenticate(r)
	if caller == nil {
		return unauthorized()
	}
	request, err := readLinkRequest(r)
	if err != nil {
		return err
	}
	keeper, err := h.keeper()
	if err != nil {
		return err
	}
	if request.Connection != "" {
		if !h.integration.provider.ValidConnection(request.Connection) {
			return badRequest("The connection is not a connection ID of this provider.")
		}
		x := h.exchange(keeper, caller, request.Connection)
		if err := x.entitled(r.Context()); err != nil {
			return err
		}
	}
	if err := h.checkReturnURL(request.ReturnURL); err != nil {
		return err
	}
	expires := time.Now().Add(time.Duration(h.integration.LinkLifetime)).Truncate(time.Second)
	link := h.integration.connectURL(keeper, grant.Link{
		Integration: h.integration.name,
		Caller:      caller.name,
		Connection:  request.Connection,
		ReturnURL:   request.ReturnURL,
		ExpiresAt:   expires.Unix(),
	})
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	// A caller that is gone gets no second answer.
	_ = encoder.Encode(struct {
		URL       string    `json:"url"`
		ExpiresAt time.Time `json:"expires_at"`
	}{link, expires.UTC()})
	return nil
}

func (h *ConnectHandler) exchange(keeper *grant.Keeper, caller *Caller, connection string) *exchange {
	return &exchange{keeper: keeper, integration: h.integration, caller: caller, key: h.integration.key(connection)}
}

// readLinkRequest reads the body; an empty one asks for a link for any account.
func readLinkRequest(r *http.Request) (*linkRequest, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxLinkRequest))
	if err != nil {
		return nil, &bodyError{err}
	}
	request := new(linkRequest)
	if len(body) == 0 {
		return request, nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if decoder.Decode(request) != nil || decoder.More() {
		return nil, badRequest(`The body must be a JSON object with "connection" and "return_url", both optional.`)
	}
	return request, nil
}

// checkReturnURL lets only origins through that the operator named: a link of
// ours must not become a way to anywhere.
func (h *ConnectHandler) checkReturnURL(raw string) error {
	if raw == "" {
		return nil
	}
	u, err := url.Parse(raw)
	if err == nil && u.User == nil && u.Opaque == "" && u.Host != "" && u.String() == raw && !strings.ContainsAny(raw, "\\\t\r\n ") {
		if _, ok := h.integration.returns[originOf(u)]; ok {
			return nil
		}
	}
	return badRequest("The return_url must be under one of the origins that the integration's return_urls setting names.")
}

// Interface guards
var (
	_ caddy.Provisioner           = (*ConnectHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ConnectHandler)(nil)
)
