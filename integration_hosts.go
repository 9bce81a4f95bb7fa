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
	"iter"
	"net"
	"net/url"
	"slices"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// tokenOrigins are the origins that tokens are sent to.
func tokenOrigins(e provider.Endpoints) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !yield(normalOrigin(e.TokenURL)) || !yield(normalOrigin(e.RevokeURL)) {
			return
		}
		for _, api := range e.APIs {
			if !yield(normalOrigin(api)) {
				return
			}
		}
	}
}

// normalOrigin returns the origin of a URL, without the port that its scheme
// implies; "" if it is none.
func normalOrigin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	if port := u.Port(); port != "" && port != map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		return u.Scheme + "://" + net.JoinHostPort(u.Hostname(), port)
	}
	return u.Scheme + "://" + u.Hostname()
}

// sendsTo notes an origin that the configuration sends tokens to. All must be
// noted before the app is started.
func (in *Integration) sendsTo(origin string) {
	if origin == "" || in.own[origin] || slices.Contains(in.hosts, origin) {
		return
	}
	in.hosts = append(in.hosts, origin)
	slices.Sort(in.hosts)
}

// unbound returns a host that the configuration sends tokens to, and that those
// of a record are not bound to; "" if there is none.
func (in *Integration) unbound(r *tokenstore.Record) string {
	for _, host := range in.hosts {
		if !slices.Contains(r.Hosts, host) {
			return host
		}
	}
	return ""
}
