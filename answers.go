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
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pace"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func unauthorized() *problem            { return &problem{Kind: kindCallerUnknown} }
func badRequest(detail string) *problem { return &problem{Kind: kindBadRequest, Detail: detail} }
func notImplemented(detail string) *problem {
	return &problem{Kind: kindNotImplemented, Detail: detail}
}
func methodNotAllowed(allow string) *problem {
	return &problem{Kind: kindMethodNotAllowed, Allow: allow}
}

// problemFor is the one place where errors become answers. x is nil before the
// request was admitted. It returns nil for no error.
func problemFor(x *exchange, err error) *problem {
	if err == nil {
		return nil
	}
	var (
		p           *problem
		target      *provider.TargetError
		reauthorize *grant.ReauthorizationError
		unavailable *grant.UnavailableError
		body        *bodyError
		tooLarge    *http.MaxBytesError
		dial        *net.OpError
		proxyDial   reverseproxy.DialError
		handler     caddyhttp.HandlerError
		limit       *pace.LimitError
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, errForbidden):
		return &problem{Kind: kindConnectionForbidden}
	case errors.As(err, &target):
		return &problem{Kind: kindBadTarget, Detail: "The request target does not fit: " + target.Reason + "."}
	case errors.As(err, &reauthorize):
		return x.reauthorize(reauthorize)
	case errors.As(err, &unavailable):
		return x.unavailable(unavailable)
	case errors.As(err, &limit):
		return x.rateLimited(limit)
	case errors.As(err, &tooLarge):
		return &problem{Kind: kindBodyTooLarge}
	case errors.As(err, &body):
		return badRequest("The request body could not be read to its end.")
	case errors.Is(err, errRedirect):
		return &problem{Kind: kindUpstreamRedirect}
	case errors.As(err, &proxyDial), errors.As(err, &dial) && dial.Op == "dial":
		// Before the timeouts: what was never sent was never carried out.
		return &problem{Kind: kindUpstreamUnreachable}
	case timedOut(err):
		return &problem{Kind: kindUpstreamTimeout}
	case errors.As(err, &handler) && handler.StatusCode == http.StatusServiceUnavailable:
		// What Caddy's reverse proxy says when all upstreams are taken for down.
		return &problem{Kind: kindUpstreamUnreachable, Status: http.StatusServiceUnavailable, RetryAfter: time.Second}
	case errors.As(err, &handler) && handler.StatusCode != http.StatusBadGateway && handler.StatusCode != 0:
		return &problem{Kind: kindInternal, Status: handler.StatusCode}
	}
	return &problem{Kind: kindUpstreamFailed}
}

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// causes say in a developer's words what happened to a grant.
var causes = map[tokenstore.Cause]string{
	tokenstore.CauseRefreshTokenExpired:  "its refresh token was not used in time and has expired",
	tokenstore.CauseAuthorizationExpired: "its authorization has reached its final end",
	tokenstore.CauseRevokedOrReplaced:    "its refresh token was revoked or replaced",
	tokenstore.CauseRefreshResponseLost:  "the provider's answer to a refresh was lost, and the token it replaced is no longer accepted",
	tokenstore.CauseWrongClient:          "it was authorized for another client ID",
	tokenstore.CauseDisconnected:         "it was disconnected",
	tokenstore.CauseNeverConnected:       "nobody has connected it yet",
}

// reauthorize makes the answer that says what died, why, and where to repair it.
func (x *exchange) reauthorize(e *grant.ReauthorizationError) *problem {
	in := x.integration
	verb := "reconnected"
	if e.Cause == tokenstore.CauseNeverConnected {
		verb = "connected"
	}
	return &problem{
		Kind:   kindReauthorization,
		Status: in.ReauthStatus,
		Detail: fmt.Sprintf("%s company %s must be %s: %s.", in.provider.Title(), e.Connection, verb, causes[e.Cause]),

		Integration: in.name, Connection: e.Connection,
		Cause: string(e.Cause), ProviderError: e.ProviderError,
		ReauthURL: in.reauthURL(x.keeper, x.caller.name, e.Connection), TraceID: e.TraceID,
		Since: e.Since,
	}
}

// unavailable makes the answer that says that waiting, or the operator, will
// help. x may be nil.
func (x *exchange) unavailable(e *grant.UnavailableError) *problem {
	p := &problem{Kind: kindTokenUnavailable, RetryAfter: e.RetryAfter}
	switch e.Reason {
	case grant.ReasonClientRefused:
		p.Kind = kindClientRefused
	case grant.ReasonStorage:
		p.Kind = kindStorage
	case grant.ReasonSuspect:
		p.Kind = kindGrantSuspect
		if e.Incident != nil {
			p.Incident, p.IncidentURL = e.Incident.Name, e.Incident.URL
			p.Detail = fmt.Sprintf("The provider refuses this connection's grant while it has an incident (%s; see %s). "+
				"Nobody has to reconnect; try again later.", e.Incident.Name, e.Incident.URL)
		}
	case grant.ReasonHosts:
		p.Kind = kindHosts
	case grant.ReasonHold:
		p.Kind = kindHold
	case grant.ReasonTooSoon:
		p.Kind = kindTooSoon
		p.Detail = "This connection was refreshed on request less than a minute ago. Its token needs no other refresh; try again later if it does."
	}
	if x != nil {
		p.Integration, p.Connection = x.integration.name, x.key.Connection
	}
	return p
}
