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
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
)

// ConnectHandler is the browser's side of an integration: it starts an
// authorization from a signed link, receives the provider's callback, tells the
// human what came of it, and gives a grant up. It is also the apps' own API: it
// makes the links, and tells a caller of its connections.
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

type servePage = func(*ConnectHandler, http.ResponseWriter, *http.Request, *grant.Keeper) error

// browserPages are what browsers are shown, each for GET alone but for the one
// with a form.
var browserPages = map[string]struct{ get, post servePage }{
	"callback":     {get: (*ConnectHandler).callback},
	"connect":      {get: (*ConnectHandler).connect},
	"disconnect":   {get: (*ConnectHandler).confirmDisconnect, post: (*ConnectHandler).disconnect},
	"disconnected": {get: (*ConnectHandler).disconnected},
	"done":         {get: (*ConnectHandler).done},
	"launch":       {get: (*ConnectHandler).launch},
	"reconnect":    {get: (*ConnectHandler).reconnect},
}

// serveAPI serves an endpoint of the apps' own API to a caller; the text is the
// connection in its path. The exchange is for the answer to an error.
type serveAPI = func(*ConnectHandler, http.ResponseWriter, *http.Request, *Caller, string) (*exchange, error)

// apiEndpoints are the apps' own API, by path and method: what
// docs/openapi/apps.yaml describes.
var apiEndpoints = map[string]map[string]serveAPI{
	scriptPath:    {http.MethodGet: (*ConnectHandler).script, http.MethodHead: (*ConnectHandler).script},
	"connections": {http.MethodGet: (*ConnectHandler).listConnections},
	"connections/{connection}": {
		http.MethodGet:    aboutConnection((*ConnectHandler).showConnection),
		http.MethodDelete: aboutConnection((*ConnectHandler).disconnectConnection),
	},
	"connections/{connection}/refresh": {http.MethodPost: aboutConnection((*ConnectHandler).refreshConnection)},
	"links":                            {http.MethodPost: (*ConnectHandler).links},
}

// apiPath returns what apiEndpoints calls a path, and the connection in it.
func apiPath(path string) (pattern, connection string) {
	rest, ok := strings.CutPrefix(path, "connections/")
	if !ok {
		return path, ""
	}
	connection, action, more := strings.Cut(rest, "/")
	pattern = "connections/{connection}"
	if more {
		pattern += "/" + action
	}
	return pattern, connection
}

// api serves the apps' own API. Strangers learn of it only that they need a key;
// the script is for everybody.
func (h *ConnectHandler) api(w http.ResponseWriter, r *http.Request, pattern, connection string) (*exchange, error) {
	var caller *Caller
	if pattern != scriptPath {
		var err error
		if caller, err = h.caller(r); err != nil {
			return nil, err
		}
		defer caller.leave()
	}
	methods := apiEndpoints[pattern]
	if methods == nil {
		return nil, &problem{Kind: kindNotFound}
	}
	serve := methods[r.Method]
	if serve == nil {
		return nil, methodNotAllowed(strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
	}
	return serve(h, w, r, caller, connection)
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *ConnectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	// As it was sent: what hides behind an escape is nothing of ours.
	name, ok := strings.CutPrefix(r.URL.EscapedPath(), h.BasePath+"/")
	if !ok {
		name = ""
	}
	name = strings.TrimSuffix(name, "/")
	var x *exchange
	var err error
	pattern, connection := apiPath(name)
	_, isAPI := apiEndpoints[pattern]
	page, isPage := browserPages[name]
	switch {
	case isAPI, connection != "":
		x, err = h.api(w, r, pattern, connection)
	case isPage:
		unlogged(r)
		err = h.browser(w, r, page.get, page.post)
	default:
		// It may be a callback in another spelling.
		unlogged(r)
		err = &problem{Kind: kindNotFound}
	}
	if err == nil {
		return nil
	}
	if gone := clientGone(r, err); gone != nil {
		return gone
	}
	p := problemFor(x, err)
	if p.status() >= http.StatusInternalServerError {
		h.logger.Error("answering for the browser's side", zap.String("path", pattern), zap.Int("status", p.status()), zap.Error(err))
	}
	p.write(w, r)
	return nil
}

// unlogged keeps a request out of the access log, which would show the code,
// a link, or the company's name in its query, or the state in the Location of
// its answer. The keeper logs what came of it.
func unlogged(r *http.Request) { caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true) }

// browser lets only requests to the registered host through: on any other host
// name, cookies and links would be those of somebody else's site.
func (h *ConnectHandler) browser(w http.ResponseWriter, r *http.Request, get, post servePage) error {
	serve := get
	switch {
	case r.Method == http.MethodPost && post != nil:
		serve = post
	case r.Method != http.MethodGet && post != nil:
		return methodNotAllowed("GET, POST")
	case r.Method != http.MethodGet:
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
	return serve(h, w, r, keeper)
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

// Interface guards
var (
	_ caddy.Provisioner           = (*ConnectHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ConnectHandler)(nil)
)
