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
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unmarshalCaller parses a caller. Syntax:
//
//	caller <name> {
//		key            <placeholder> [<placeholder>]
//		connections    *|<id>...
//		user           <name> [<placeholder>]
//		read_only
//		paths          <path>...
//		rate_limit     <requests> <window>
//		max_concurrent <requests>
//	}
//
// A caller is recognized by a key, which it sends as its bearer token, or as a
// user that Caddy's own authentication has proven: `{http.auth.user.id}`, or
// the placeholder that is given. `caddy freshbearer keys create` makes further
// keys at run time; a caller that has no other way in needs no key here. Without
// connections it may use those that its own connect links created.
func (a *App) unmarshalCaller(d *caddyfile.Dispenser) error {
	var name string
	if !d.AllArgs(&name) {
		return d.ArgErr()
	}
	if _, ok := a.Callers[name]; ok {
		return d.Errf("caller '%s' is already given", name)
	}
	c := new(Caller)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch option := d.Val(); option {
		case "key":
			if c.Keys != nil {
				return d.Err("key is already set; give both keys on one line")
			}
			if c.Keys = d.RemainingArgs(); len(c.Keys) == 0 || len(c.Keys) > maxKeys {
				return d.ArgErr()
			}
		case "connections":
			if c.Connections != nil {
				return d.Err("connections is already set; give all on one line")
			}
			if c.Connections = d.RemainingArgs(); len(c.Connections) == 0 {
				return d.ArgErr()
			}
		case "user":
			err = c.unmarshalUser(d)
		case "read_only", "paths", "rate_limit", "max_concurrent":
			err = c.unmarshalScope(d, option)
		default:
			return d.Errf("unrecognized caller option '%s'; there are: key, connections, user, read_only, paths, rate_limit, max_concurrent", option)
		}
		if err != nil {
			return err
		}
	}
	a.Callers[name] = c
	return nil
}

func (c *Caller) unmarshalUser(d *caddyfile.Dispenser) error {
	if c.User != "" {
		return d.Err("user is already set")
	}
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.ArgErr()
	}
	if slices.Contains(args, "") {
		return d.Err("user is empty; a caller without one is recognized by its key alone")
	}
	c.User = args[0]
	if len(args) == 2 {
		c.UserFrom = args[1]
	}
	return nil
}

// unmarshalScope parses what narrows a caller.
func (c *Caller) unmarshalScope(d *caddyfile.Dispenser, option string) error {
	args := d.RemainingArgs()
	switch option {
	case "read_only":
		if len(args) != 0 {
			return d.ArgErr()
		}
		if c.ReadOnly {
			return d.Err("read_only is already set")
		}
		c.ReadOnly = true
	case "paths":
		if c.Paths != nil {
			return d.Err("paths is already set; give all on one line")
		}
		if len(args) == 0 {
			return d.ArgErr()
		}
		for _, p := range args {
			if !plainPath(p) {
				return d.Errf("paths: '%s' %s", p, wantPath)
			}
		}
		c.Paths = args
	case "rate_limit":
		if c.RateLimit != 0 {
			return d.Err("rate_limit is already set")
		}
		if len(args) != 2 {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 {
			return d.Errf("rate_limit: '%s' is not a positive number of requests", args[0])
		}
		window, err := caddy.ParseDuration(args[1])
		if err != nil || window <= 0 {
			return d.Errf("rate_limit: '%s' is not a positive duration", args[1])
		}
		c.RateLimit, c.RateLimitWindow = n, caddy.Duration(window)
	case "max_concurrent":
		if c.MaxConcurrent != 0 {
			return d.Err("max_concurrent is already set")
		}
		if len(args) != 1 {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(args[0])
		if err != nil || n <= 0 {
			return d.Errf("max_concurrent: '%s' is not a positive number of requests", args[0])
		}
		c.MaxConcurrent = n
	}
	return nil
}
