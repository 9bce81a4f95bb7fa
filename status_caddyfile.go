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
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// parseStatus parses the freshbearer_status directive. Syntax:
//
//	freshbearer_status [<matcher>] {
//		user_from <placeholder>
//	}
//
// It serves the operator's pages to users whom Caddy's own authentication has
// proven, and to nobody else. The matcher is a path that ends in a slash and a
// star, such as `/status/*`.
//
// - **user_from** is the placeholder of the request that holds the proven
// user's name. Default: `{http.auth.user.id}`, which `basic_auth` sets.
func parseStatus(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	status := new(StatusHandler)
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		switch h.Val() {
		case "user_from":
			if status.UserFrom != "" {
				return nil, h.Err("user_from is already set")
			}
			if !h.AllArgs(&status.UserFrom) {
				return nil, h.ArgErr()
			}
			if !ofRequest(status.UserFrom) {
				return nil, h.Errf("user_from '%s' must be one placeholder of the request, such as %s", status.UserFrom, defaultUserFrom)
			}
		default:
			return nil, h.Errf("unrecognized subdirective '%s'; there is: user_from", h.Val())
		}
	}
	return status, nil
}
