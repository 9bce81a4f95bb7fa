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
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/provider"
)

// Caller is an app that may send API requests. It proves itself with a proxy
// key (`Authorization: Bearer <key>`, which is what an SDK sends as its access
// token), or as a user whom Caddy has already authenticated.
type Caller struct {
	// The caller's keys, as placeholders. Two allow for rotation: both are
	// accepted. A key has at least 20 characters. A caller can do without: `caddy
	// freshbearer keys create` makes keys at run time.
	Keys []string `json:"keys,omitempty"`

	// The connections that the caller may use: IDs, or `*` for all. It may
	// always use those that its own connect links created.
	Connections []string `json:"connections,omitempty"`

	// The name of a user that Caddy's own authentication has proven.
	User string `json:"user,omitempty"`

	// The placeholder that holds the proven user's name, one of the request's:
	// `{http.…}`. Default: `{http.auth.user.id}`, which `basic_auth` sets. Name
	// a header only if nobody but your own forward_auth can set it.
	UserFrom string `json:"user_from,omitempty"`

	// Whether the caller may only read: GET and HEAD, and queries, which may be
	// sent by POST. It makes no links, and neither refreshes nor disconnects.
	ReadOnly bool `json:"read_only,omitempty"`

	// What the caller may use of the API: the beginnings of the path after the
	// company, by whole segments, in the API's own upper and lower case, such as
	// `/invoice` and `/query`. `/batch` can hold operations on anything. Of an API
	// without the company in its path, it is the whole path. Default: everything.
	Paths []string `json:"paths,omitempty"`

	// How many requests the caller may send in a window; as many may come at
	// once. Others are answered 429 with Retry-After. Loading a configuration
	// begins anew. Default: no limit.
	RateLimit int `json:"rate_limit,omitempty"`

	// The window of the rate limit.
	RateLimitWindow caddy.Duration `json:"rate_limit_window,omitempty"`

	// How many requests of the caller may be under way at once. Others are
	// answered 429 with Retry-After. Default: no limit.
	MaxConcurrent int `json:"max_concurrent,omitempty"`

	name        string
	all         bool
	connections map[string]struct{}
	limits      *limits
}

const (
	defaultUserFrom = "{http.auth.user.id}"

	// minKeyLength keeps guessable keys out; 20 characters of base64 are 120
	// bits.
	minKeyLength = 20
	maxKeys      = 2
)

// callers finds the caller of a request.
type callers struct {
	// byKey maps the SHA-256 of a key.
	byKey  map[[sha256.Size]byte]*Caller
	byUser []*Caller
	named  map[string]*Caller
	// issued are the keys that were made at run time, and open opens the store
	// that they are in. Without a store, they are nil.
	issued *issuedKeys
	open   func() error
	// refused, if not nil, is told of every request whose caller is unknown.
	refused func()
}

func provisionCallers(repl *caddy.Replacer, configured map[string]*Caller) (*callers, error) {
	if len(configured) == 0 {
		return nil, fmt.Errorf("no caller is configured, so nobody could use the proxy: " +
			"add `caller <name> { key {env.NAME} ; connections * }`")
	}
	cs := &callers{byKey: make(map[[sha256.Size]byte]*Caller), named: configured}
	var wrong []error
	// In order, so that the same configuration always gives the same error.
	for _, name := range slices.Sorted(maps.Keys(configured)) {
		c := configured[name]
		if c == nil {
			return nil, fmt.Errorf("caller %s is empty", name)
		}
		if err := c.provision(repl, name, cs); err != nil {
			wrong = append(wrong, fmt.Errorf("caller %s: %w", name, err))
		}
	}
	if err := together(wrong...); err != nil {
		return nil, err
	}
	return cs, nil
}

func (c *Caller) provision(repl *caddy.Replacer, name string, cs *callers) error {
	if name == "" {
		return fmt.Errorf("has no name")
	}
	c.name = name
	if len(c.Keys) > maxKeys {
		return fmt.Errorf("has %d keys; two are enough to rotate", len(c.Keys))
	}
	for _, placeholder := range c.Keys {
		key, err := expandSecret(repl, "key", placeholder)
		if err != nil {
			return err
		}
		if len(key.Reveal()) < minKeyLength {
			return fmt.Errorf("key %s is shorter than %d characters: make one with `openssl rand -base64 32`", placeholder, minKeyLength)
		}
		h := sha256.Sum256([]byte(key.Reveal()))
		if other, ok := cs.byKey[h]; ok {
			return fmt.Errorf("key %s is also a key of caller %s", placeholder, other.name)
		}
		cs.byKey[h] = c
	}
	if c.User != "" {
		if c.UserFrom == "" {
			c.UserFrom = defaultUserFrom
		}
		if err := c.checkUser(cs.byUser); err != nil {
			return err
		}
		cs.byUser = append(cs.byUser, c)
	}
	if err := c.provisionScope(); err != nil {
		return err
	}
	c.connections = make(map[string]struct{})
	for _, id := range c.Connections {
		if id == "*" {
			c.all = true
			continue
		}
		c.connections[id] = struct{}{}
	}
	return nil
}

// checkUser makes sure that a user is read from the request: anything else is
// the same for every request, and could let in whoever asks.
func (c *Caller) checkUser(others []*Caller) error {
	if !ofRequest(c.UserFrom) {
		return fmt.Errorf("user %s: %q must be one placeholder of the request, such as %s", c.User, c.UserFrom, defaultUserFrom)
	}
	for _, other := range others {
		if c.User == other.User && c.UserFrom == other.UserFrom {
			return fmt.Errorf("user %s is also the user of caller %s", c.User, other.name)
		}
	}
	return nil
}

// ofRequest tells whether a text is one placeholder of the request.
func ofRequest(placeholder string) bool {
	inner, ok := strings.CutPrefix(placeholder, "{http.")
	inner, closed := strings.CutSuffix(inner, "}")
	return ok && closed && !strings.ContainsAny(inner, "{}")
}

// checkConnections finds connection IDs that no configured provider could
// have: typing errors that would otherwise show as 403 some day.
func (c *Caller) checkConnections(providers []provider.Provider) error {
	for id := range c.connections {
		if !slices.ContainsFunc(providers, func(p provider.Provider) bool { return p.ValidConnection(id) }) {
			return fmt.Errorf("caller %s: %q is not the ID of a connection of any configured provider; connections * is all", c.name, id)
		}
	}
	return nil
}

// authenticate returns the caller of a request, or nil. It looks at nothing
// but the request: no store, no provider.
func (cs *callers) authenticate(r *http.Request) *Caller {
	c := cs.find(r)
	if c == nil && cs.refused != nil {
		cs.refused()
	}
	return c
}

func (cs *callers) find(r *http.Request) *Caller {
	if key, ok := bearer(r.Header); ok {
		// Whoever times the look-up learns about hashes, which nobody can
		// steer, and not about keys.
		hash := sha256.Sum256([]byte(key))
		if c := cs.byKey[hash]; c != nil {
			return c
		}
		return cs.issuedTo(hash)
	}
	return cs.provenUser(r)
}

// bearer returns the one bearer key of a request.
func bearer(h http.Header) (string, bool) {
	values := h["Authorization"]
	if len(values) != 1 {
		return "", false
	}
	const scheme = "bearer "
	v := values[0]
	if len(v) <= len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	return strings.TrimSpace(v[len(scheme):]), true
}

// provenUser returns the caller whose user Caddy has authenticated.
func (cs *callers) provenUser(r *http.Request) *Caller {
	if len(cs.byUser) == 0 {
		return nil
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil
	}
	// A browser adds passwords and client certificates to the requests of any
	// site; a key it does not know of.
	if http.NewCrossOriginProtection().Check(r) != nil {
		return nil
	}
	for _, c := range cs.byUser {
		if user := provenAs(r, repl, c.UserFrom); user != "" && user == c.User {
			return c
		}
	}
	return nil
}

// provenAs returns the user that a placeholder holds, empty if there is none.
func provenAs(r *http.Request, repl *caddy.Replacer, placeholder string) string {
	// A client certificate that nobody has verified proves nothing.
	if strings.HasPrefix(placeholder, "{http.request.tls.client.") && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
		return ""
	}
	return repl.ReplaceAll(placeholder, "")
}

// mayUse tells whether the caller may use a connection by configuration; owner
// is who connected it.
func (c *Caller) mayUse(connection, owner string) bool {
	return c.listed(connection) || owner != "" && owner == c.name
}

func (c *Caller) listed(connection string) bool {
	if c.all {
		return true
	}
	_, ok := c.connections[connection]
	return ok
}
