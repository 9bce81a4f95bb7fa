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
	"net/http"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
)

// connect shows what a link is for, or starts the authorization if the human
// has agreed to that, on this page or in the app. A link of the page does it
// and no form, because the provider's own redirects would have to be among the
// page's form-action (CSP Level 3 §6.4.2). It only creates a state, which does
// no harm if a link scanner comes by.
func (h *ConnectHandler) connect(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	query := r.URL.Query()
	link, err := keeper.OpenLink(query.Get("link"))
	if err != nil {
		return h.linkProblem(link, err)
	}
	if link.Integration != h.integration.name || link.Purpose != grant.PurposeConnect {
		return &problem{Kind: kindLinkInvalid}
	}
	if query.Get("start") == "" {
		start := h.integration.publicURL("connect", url.Values{"link": {query.Get("link")}, "start": {"1"}})
		page, err := h.connectPage(r, keeper, link, start)
		if err != nil {
			return err
		}
		pages.Write(w, http.StatusOK, page)
		return nil
	}
	return h.start(w, r, keeper, grant.Start{Link: link, Popup: query.Get("popup") != ""})
}

// start sends the browser to the provider.
func (h *ConnectHandler) start(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper, s grant.Start) error {
	// The address that Caddy believes, with trusted_proxies or without.
	s.From, _ = caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	authorization, err := keeper.BeginAuthorization(r.Context(), s)
	var tooMany *grant.TooManyError
	switch {
	case errors.As(err, &tooMany):
		return &problem{
			Kind: kindTooSoon, RetryAfter: tooMany.RetryAfter,
			Detail: "Too many sign-ins were started and not ended. Try again later.",
		}
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
		Installed:   h.installed(r.Context(), keeper),
	})
	if err != nil {
		result = grant.Result{Integration: h.integration.name, Failure: grant.FailureStorage}
		var failed *grant.AuthorizationError
		if errors.As(err, &failed) {
			h.recordFailure(keeper, failed)
			result.Failure, result.Detail = failed.Failure, failed.Detail
			result.Causes, result.CodeAge = failed.Causes, int64(failed.CodeAge/time.Second)
			result.TraceID, result.ReturnURL, result.Popup = failed.TraceID, failed.ReturnURL, failed.Popup
			if result.Again = failed.Again; failed.Again != nil {
				result.Caller = failed.Again.Caller
			}
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
