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
	"net/url"
	"strings"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
)

// The parameters that are added to a return URL. connect.js reads them.
const (
	returnedConnection   = "freshbearer_connection"
	returnedCompany      = "freshbearer_company"
	returnedError        = "freshbearer_error"
	returnedDisconnected = "freshbearer_disconnected"
)

// checkReturnURL lets only origins through that the operator named: a link of
// ours must not become a way to anywhere.
func (h *ConnectHandler) checkReturnURL(raw string) error {
	if raw == "" || allowedReturn(raw, h.integration.returns) {
		return nil
	}
	return badRequest("The return_url must be under one of the origins that the integration's return_urls setting names.")
}

// allowedReturn tells whether an address is under one of the origins. It must
// be written as we would write it: what two readers could read differently is
// under none.
func allowedReturn(raw string, origins map[string]struct{}) bool {
	if strings.ContainsFunc(raw, func(c rune) bool { return c <= ' ' || c == '\\' || c >= 0x7f }) {
		return false
	}
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Opaque != "" || u.Host == "" || u.String() != raw {
		return false
	}
	_, ok := origins[originOf(u)]
	return ok
}

// backWith leads to the app, and tells it there what came of it. The return
// URL's origin may have left the configuration since the link was made.
func (h *ConnectHandler) backWith(r grant.Result) pages.Action {
	back := h.back(r.ReturnURL, "Back to the app")
	if r.ReturnURL == "" || back.URL != r.ReturnURL {
		return back
	}
	// It was parsed when it was allowed.
	u, err := url.Parse(back.URL)
	if err != nil {
		return pages.Action{}
	}
	query := u.Query()
	for _, name := range []string{returnedConnection, returnedCompany, returnedError, returnedDisconnected} {
		query.Del(name)
	}
	switch {
	case r.Failure != "":
		query.Set(returnedError, string(r.Failure))
	case r.Purpose == grant.PurposeDisconnect:
		query.Set(returnedDisconnected, r.Connection)
	default:
		query.Set(returnedConnection, r.Connection)
		query.Set(returnedCompany, r.Account)
	}
	u.RawQuery = query.Encode()
	back.URL = u.String()
	return back
}

// message is for the page that opened the window, if there is one and it is one
// of the app's.
func (h *ConnectHandler) message(r grant.Result, text string) *pages.Message {
	if !r.Popup || r.ReturnURL == "" || h.checkReturnURL(r.ReturnURL) != nil {
		return nil
	}
	u, err := url.Parse(r.ReturnURL)
	if err != nil {
		return nil
	}
	return &pages.Message{
		Origin: originOf(u), URL: h.backWith(r).URL,
		Connection: r.Connection, Company: r.Account, Error: string(r.Failure), Text: text,
	}
}
