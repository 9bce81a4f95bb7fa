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
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/grant"
)

// safeURL reads an address that credentials or browsers are sent to: https, or
// plain http on loopback, where nobody listens in.
func safeURL(repl *caddy.Replacer, setting, raw string) (*url.URL, error) {
	text, err := repl.ReplaceOrErr(raw, true, true)
	if err != nil {
		return nil, fmt.Errorf("%s: %s is empty or unknown; set the variable, or write the address out", setting, raw)
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s %q is not a URL", setting, raw)
	}
	if u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("%s %q must be an absolute URL without user or fragment", setting, raw)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil, fmt.Errorf("%s %q must be https; plain http is for loopback only", setting, raw)
	}
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// atOrigin returns an address with the origin of another one.
func atOrigin(origin, address string) string {
	from, err := url.Parse(origin)
	u, err2 := url.Parse(address)
	if err != nil || err2 != nil || address == "" {
		return ""
	}
	u.Scheme, u.Host = from.Scheme, from.Host
	return u.String()
}

func originOf(u *url.URL) string { return u.Scheme + "://" + strings.ToLower(u.Host) }

// publicURL returns the address of a page beside the callback. It comes from
// the configuration alone: a Host field is whatever the client likes.
func (in *Integration) publicURL(page string, query url.Values) string {
	u := *in.redirect
	u.Path = strings.TrimSuffix(u.Path, callbackSuffix) + "/" + page
	u.RawQuery = query.Encode()
	return u.String()
}

// basePath is the path that the browser's side lives under.
func (in *Integration) basePath() string { return strings.TrimSuffix(in.redirect.Path, callbackSuffix) }

// linkURL returns the address of the page that a link is for.
func (in *Integration) linkURL(k *grant.Keeper, link grant.Link) string {
	page := "connect"
	if link.Purpose == grant.PurposeDisconnect {
		page = "disconnect"
	}
	return in.publicURL(page, url.Values{"link": {k.SignLink(link)}})
}

// reauthURL returns the address where a human repairs a connection.
func (in *Integration) reauthURL(k *grant.Keeper, caller, connection string) string {
	return in.linkURL(k, grant.Link{
		Integration: in.name,
		Caller:      caller,
		Connection:  connection,
		ExpiresAt:   time.Now().Add(time.Duration(in.ReauthLinkLifetime)).Unix(),
	})
}
