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
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
)

// StatusHandler serves the operator's pages: the state of every connection, and
// the buttons to connect, refresh and disconnect. It serves nobody but users
// whom Caddy's own authentication has proven, so that a forgotten basic_auth
// opens nothing. Whoever gets in may do all of it.
//
// It answers every request that reaches it. The page is at any path that ends
// in a slash, and the others are beside it.
type StatusHandler struct {
	// The placeholder that holds the proven user's name, one of the request's:
	// `{http.…}`. Default: `{http.auth.user.id}`, which `basic_auth` sets. Name
	// a header only if nobody but your own forward_auth can set it.
	UserFrom string `json:"user_from,omitempty"`

	app    *App
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (StatusHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.freshbearer_status",
		New: func() caddy.Module { return new(StatusHandler) },
	}
}

// Provision sets up the handler.
func (h *StatusHandler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	if h.UserFrom == "" {
		h.UserFrom = defaultUserFrom
	}
	// Anything else is the same for every request, and could let in whoever
	// asks.
	if !ofRequest(h.UserFrom) {
		return fmt.Errorf("user_from %q must be one placeholder of the request, such as %s", h.UserFrom, defaultUserFrom)
	}
	var err error
	h.app, err = theApp(ctx)
	return err
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *StatusHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return errors.New("the request has no replacer")
	}
	user := provenAs(r, repl, h.UserFrom)
	if user == "" {
		recordRefused(h.app.running.Load(), audit.ByStranger, "", "", "status_page")
		refuse(w, r, http.StatusForbidden, "Not for everybody",
			"This page shows and ends the connections of this proxy, so it is only for users whom Caddy has authenticated, and this request has none.",
			"The person who runs the proxy puts it behind authentication in the Caddyfile, for example: basic_auth <path> { <user> <hash> }, "+
				"or forward_auth, or client certificates. user_from names the placeholder that holds the user; here it is "+h.UserFrom+".",
			"Without all that, caddy freshbearer status shows the same pages to whoever may use Caddy's admin API.")
		return nil
	}
	if away := strayed(r); away != "" {
		redirect(w, http.StatusPermanentRedirect, away)
		return nil
	}
	keeper, err := h.app.keeper()
	if err != nil {
		h.logger.Error("opening the token store for the status page", zap.Error(err))
		refuse(w, r, http.StatusServiceUnavailable, "Not now", "The token store cannot be opened. Caddy's log says why.")
		return nil
	}
	d := &desk{keeper: keeper, app: h.app, user: user, logger: h.logger}
	d.serve(w, r, r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	return nil
}

// strayed returns where a browser must go if its address lacks the slash that
// relative links need; the path was stripped of what was there. It is empty if
// nothing is wrong.
func strayed(r *http.Request) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.URL == nil || strings.Trim(r.URL.Path, "/") != "" || strings.HasSuffix(original.URL.Path, "/") {
		return ""
	}
	// With the dot, a colon in it is no scheme.
	to := "./" + path.Base(original.URL.EscapedPath()) + "/"
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	return to
}

// Interface guards
var (
	_ caddy.Provisioner           = (*StatusHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*StatusHandler)(nil)
)
