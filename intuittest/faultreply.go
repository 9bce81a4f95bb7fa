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
	"fmt"
	"net/http"
	"strings"
	"time"
)

// faultReply is the answer of a fault that keeps a request from being
// processed.
func (s *Server) faultReply(r *http.Request, ep Endpoint, f *Fault) reply {
	html := func(status int) reply {
		text := http.StatusText(status)
		return reply{status: status, ctype: "text/html", body: []byte("<html><head><title>" + text + "</title></head><body><h1>" + text + "</h1></body></html>")}
	}
	switch f.Kind {
	case FaultStatus:
		ctype := f.ContentType
		if ctype == "" {
			ctype = "text/html"
		}
		rep := reply{status: f.Status, ctype: ctype, body: []byte(f.Body)}
		if f.RetryAfter > 0 {
			rep.header = http.Header{"Retry-After": {seconds(f.RetryAfter)}}
		}
		return rep
	case FaultUnavailable:
		return html(http.StatusServiceUnavailable)
	case FaultGatewayTimeout:
		return html(http.StatusGatewayTimeout)
	case FaultServerError:
		if ep == EndpointAPI {
			return s.serverError()
		}
		return reply{status: http.StatusInternalServerError}
	case FaultThrottled:
		if ep == EndpointAPI {
			return s.throttled(r)
		}
		return reply{status: http.StatusTooManyRequests}
	case FaultRetryAfter:
		rep := reply{status: http.StatusTooManyRequests}
		if ep == EndpointAPI {
			rep = s.throttled(r)
		}
		rep.header = http.Header{"Retry-After": {seconds(or(f.RetryAfter, time.Minute))}}
		return rep
	case FaultGarbage:
		rep := html(http.StatusOK)
		rep.ctype = "text/html;charset=UTF-8"
		return rep
	case FaultTruncated:
		return reply{status: http.StatusOK, ctype: jsonType, body: []byte(`{"token_type":"bearer","expires_in":3600,"access_token":"eyJhbGciOiJkaXIifQ..` + strings.Repeat("A", 200) + `"}`)}
	case FaultHuge:
		size := f.Size
		if size <= 0 {
			size = 8 << 20
		}
		return reply{status: http.StatusOK, ctype: jsonType, body: []byte(`{"padding":"` + strings.Repeat("A", size) + `"}`)}
	case FaultRedirect:
		location := f.Location
		if location == "" {
			location = "https://other-origin.invalid" + r.URL.Path
		}
		return reply{status: http.StatusTemporaryRedirect, header: http.Header{"Location": {location}}}
	case FaultInvalidRequest:
		return s.oauthError(http.StatusBadRequest, "invalid_request", "The request is missing a required parameter")
	case FaultInvalidGrant:
		return s.oauthError(http.StatusBadRequest, "invalid_grant", descBadRefresh)
	case FaultInvalidClient:
		return invalidClient()
	case FaultNoAccessToken:
		return reply{status: http.StatusOK, ctype: jsonType, body: []byte(`{"token_type":"bearer","expires_in":3600,"x_refresh_token_expires_in":8726400}`)}
	case FaultTokenRefused, FaultTokenRefusedEarly:
		return s.tokenRefused(r, "Token expired", "AB0"+seconds(time.Duration(s.Now().Unix())*time.Second)+"intuittestfault")
	case FaultRealmMismatch:
		return serviceFault(s.Now(), 100)
	case FaultAccessLost:
		return serviceFault(s.Now(), 120)
	case FaultWrongCluster:
		return serviceFault(s.Now(), 130)
	case FaultForbidden:
		return s.forbidden(r, "")
	default: // FaultReset and FaultHang have no answer
		return reply{}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%d", int64(d/time.Second)) }
