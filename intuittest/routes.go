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

package intuittest

import (
	"context"
	"net/http"
	"strings"
)

type linesKey struct{}

type wireLines struct {
	lines []string
	raw   bool
}

func linesOf(r *http.Request) []string {
	l, _ := r.Context().Value(linesKey{}).(wireLines)
	return l.lines
}

// routes is the whole server.
func (s *Server) routes() http.Handler {
	fixed := map[string]http.HandlerFunc{
		"/connect/oauth2":                           s.serveAuthorize,
		"/app/connect/oauth2":                       s.serveAuthorize,
		"/oauth2/v1/tokens/bearer":                  s.serveToken,
		"/v2/oauth2/tokens/revoke":                  s.serveRevoke,
		"/op/v1/jwks":                               s.serveKeys,
		"/v1/openid_connect/userinfo":               s.serveAPI,
		"/graphql":                                  s.serveAPI,
		"/.well-known/openid_configuration":         s.serveDiscovery,
		"/.well-known/openid_sandbox_configuration": s.serveDiscovery,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines, raw, next := headerLines(r)
		defer next()
		r = r.WithContext(context.WithValue(r.Context(), linesKey{}, wireLines{lines, raw}))
		path := r.URL.Path
		if h := fixed[strings.TrimSuffix(path, "/")]; h != nil {
			h(w, r)
			return
		}
		switch {
		case strings.HasPrefix(path, "/v3/company/"), strings.HasPrefix(path, "/quickbooks/v4/payments/"):
			s.serveAPI(w, r)
		case strings.HasPrefix(path, "/api/v2/"):
			s.serveStatusPage(w, r)
		case !s.cfg.NoControl && (path == "/control" || strings.HasPrefix(path, "/control/")):
			s.serveControl(w, r)
		default:
			s.deliver(w, r, nil, reply{status: http.StatusNotFound, ctype: "text/plain", body: []byte("there is nothing here\n")}, nil)
		}
	})
}
