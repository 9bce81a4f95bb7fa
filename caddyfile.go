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
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/dustin/go-humanize"
)

// parseApp parses the freshbearer global option. Syntax:
//
//	freshbearer {
//		store <engine> {
//			...
//		}
//		encryption_key <placeholder> [<placeholder>...]
//
//		integration <provider> [<name>] {
//			...
//		}
//		caller <name> {
//			...
//		}
//	}
//
// - **store** is where grants are kept. Default: `badger`.
//
// - **encryption_key** names the key that seals the records: 32 bytes in base64
// or hexadecimal, as a placeholder such as `{file./etc/freshbearer/key}`. More
// than one allow for a change: the first seals, all of them open. Default: a
// key is generated in Caddy's configuration directory.
//
// - **integration** is a client registration at a provider. The name defaults
// to the provider's. At least one is needed.
//
// - **caller** is an app that may use the proxy. At least one is needed.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // the option's name
	if existing != nil {
		return nil, d.Err("the freshbearer option is already given; there is one for all integrations")
	}
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	app := &App{
		Integrations: make(map[string]*Integration),
		Callers:      make(map[string]*Caller),
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var err error
		switch d.Val() {
		case "store":
			err = app.unmarshalStore(d)
		case "encryption_key":
			if app.EncryptionKeys != nil {
				return nil, d.Err("encryption_key is already set; give several keys on one line")
			}
			if app.EncryptionKeys = d.RemainingArgs(); len(app.EncryptionKeys) == 0 {
				return nil, d.ArgErr()
			}
		case "integration":
			err = app.unmarshalIntegration(d)
		case "caller":
			err = app.unmarshalCaller(d)
		default:
			return nil, d.Errf("unrecognized freshbearer option '%s'; there are: store, encryption_key, integration, caller", d.Val())
		}
		if err != nil {
			return nil, err
		}
	}
	return httpcaddyfile.App{Name: "freshbearer", Value: caddyconfig.JSON(app, nil)}, nil
}

func (a *App) unmarshalStore(d *caddyfile.Dispenser) error {
	if a.StoreRaw != nil {
		return d.Err("store is already set")
	}
	if !d.NextArg() {
		return d.ArgErr()
	}
	engine := d.Val()
	if _, err := caddy.GetModule("freshbearer.stores." + engine); err != nil {
		return d.Errf("no token store '%s' in this build; 'caddy list-modules' shows which there are", engine)
	}
	module, err := caddyfile.UnmarshalModule(d, "freshbearer.stores."+engine)
	if err != nil {
		return err
	}
	a.StoreRaw = caddyconfig.JSONModuleObject(module, "engine", engine, nil)
	return nil
}

// requiredOptions have no default; shown is what one looks like.
var requiredOptions = map[string]string{
	"client_id":     "client_id {env.QUICKBOOKS_CLIENT_ID}",
	"client_secret": "client_secret {env.QUICKBOOKS_CLIENT_SECRET}",
	"redirect_url":  "redirect_url https://qb.example.com/oauth/callback",
	"scopes":        "scopes com.intuit.quickbooks.accounting",
}

// unmarshalIntegration parses an integration. Syntax:
//
//	integration <provider> [<name>] {
//		environment          <environment>
//		client_id            <id>
//		client_secret        <placeholder>
//		redirect_url         <url>
//		scopes               <scope>...
//		refresh_before       <duration>
//		replay_buffer        <size>
//		reauth_status        <status>
//		app                  <name> [<url>]
//		return_urls          <origin>...
//		link_lifetime        <duration>
//		reauth_link_lifetime <duration>
//		status_page          <url>|off
//		pacing               off|{ ... }
//		notify               <url> {
//			...
//		}
//		authorize_url        <url>
//		token_url            <url>
//		revoke_url           <url>
//		api_url              <url>
//	}
//
// client_id, client_secret, redirect_url and scopes are required.
func (a *App) unmarshalIntegration(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.ArgErr()
	}
	in, name := &Integration{Provider: args[0]}, args[len(args)-1]
	if _, ok := a.Integrations[name]; ok {
		return d.Errf("integration '%s' is already given; name a second one: integration %s <name>", name, args[0])
	}
	texts := map[string]*string{
		"environment": &in.Environment, "client_id": &in.ClientID, "client_secret": &in.ClientSecret,
		"redirect_url": &in.RedirectURL, "authorize_url": &in.AuthorizeURL, "token_url": &in.TokenURL,
		"revoke_url": &in.RevokeURL, "api_url": &in.APIURL, "status_page": &in.StatusPage,
	}
	lists := map[string]*[]string{"scopes": &in.Scopes, "return_urls": &in.ReturnURLs}
	durations := map[string]*caddy.Duration{
		"refresh_before": &in.RefreshBefore, "link_lifetime": &in.LinkLifetime,
		"reauth_link_lifetime": &in.ReauthLinkLifetime,
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("%s is already set", option)
		}
		seen[option] = true
		var value string
		if list, ok := lists[option]; ok {
			if *list = d.RemainingArgs(); len(*list) == 0 {
				return d.ArgErr()
			}
			continue
		}
		switch option {
		case "notify":
			var err error
			if in.Notify, err = unmarshalNotify(d); err != nil {
				return err
			}
			continue
		case "pacing":
			var err error
			if in.Pacing, err = unmarshalPacing(d); err != nil {
				return err
			}
			continue
		case "app":
			args := d.RemainingArgs()
			if len(args) < 1 || len(args) > 2 || slices.Contains(args, "") {
				return d.ArgErr()
			}
			in.AppName = args[0]
			if len(args) == 2 {
				in.AppURL = args[1]
			}
			continue
		}
		text, isText := texts[option]
		duration, isDuration := durations[option]
		if !isText && !isDuration && option != "replay_buffer" && option != "reauth_status" {
			known := slices.Concat(slices.Collect(maps.Keys(texts)), slices.Collect(maps.Keys(lists)), slices.Collect(maps.Keys(durations)),
				[]string{"app", "notify", "pacing", "reauth_status", "replay_buffer"})
			slices.Sort(known)
			return d.Errf("unrecognized integration option '%s'; there are: %s", option, strings.Join(known, ", "))
		}
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		switch {
		case isText:
			*text = value
		case isDuration:
			parsed, err := caddy.ParseDuration(value)
			if err != nil || parsed <= 0 {
				return d.Errf("%s: '%s' is not a positive duration", option, value)
			}
			*duration = caddy.Duration(parsed)
		case option == "replay_buffer":
			size, err := humanize.ParseBytes(value)
			if err != nil || size == 0 || size > maxReplayBuffer {
				return d.Errf("replay_buffer: '%s' is not a size between 1B and 64MiB", value)
			}
			in.ReplayBuffer = int64(size)
		case option == "reauth_status":
			status, err := strconv.Atoi(value)
			if err != nil || status < 400 || status > 499 {
				return d.Errf("reauth_status: '%s' is not a status from 400 to 499", value)
			}
			in.ReauthStatus = status
		}
	}
	for _, required := range slices.Sorted(maps.Keys(requiredOptions)) {
		if !seen[required] {
			return d.Errf("integration '%s': %s is missing, such as: %s", name, required, requiredOptions[required])
		}
	}
	a.Integrations[name] = in
	return nil
}

const defaultBasePath = "/oauth"

// parseDirective parses the freshbearer directive. Syntax:
//
//	freshbearer [<matcher>] <integration> {
//		base_path     <path>
//		reverse_proxy [<upstream>...] {
//			...
//		}
//	}
//
// - **base_path** is where the browser's side and the apps' own API live. It is
// the path of the integration's redirect_url without `/callback`. Default:
// `/oauth`.
//
// - **reverse_proxy** makes Caddy's own reverse proxy forward the requests,
// with any of its subdirectives. Its upstreams default to the integration's
// API. Without it, the requests are forwarded to that API directly, which is
// faster.
//
// The directive is short for:
//
//	route {
//		handle <base_path>/* {
//			# http.handlers.freshbearer_connect
//		}
//		handle {
//			# http.handlers.freshbearer
//		}
//	}
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	matchers, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, h.WrapErr(err)
	}
	h.Next() // again: the matcher's look-ahead starts over
	var integration, basePath string
	if !h.AllArgs(&integration) {
		return nil, h.Err("name the one integration that this site is for, such as: freshbearer quickbooks")
	}
	handler := &Handler{Integration: integration}
	for nesting := h.Nesting(); h.NextBlock(nesting); {
		switch h.Val() {
		case "base_path":
			if basePath != "" {
				return nil, h.Err("base_path is already set")
			}
			if !h.AllArgs(&basePath) {
				return nil, h.ArgErr()
			}
			if len(basePath) < 2 || basePath[0] != '/' || path.Clean(basePath) != basePath || strings.ContainsAny(basePath, "*?#%{}\\") {
				return nil, h.Errf("base_path '%s' must be a plain path such as %s: with a slash before it, none after it, "+
					"and without wildcards, placeholders and escapes", basePath, defaultBasePath)
			}
		case "reverse_proxy":
			if handler.ReverseProxyRaw != nil {
				return nil, h.Err("reverse_proxy is already set")
			}
			proxy := new(reverseproxy.Handler)
			segment := h.NewFromNextSegment()
			// Caddy's parser would take a matcher for an upstream.
			if segment.Next(); segment.NextArg() && strings.ContainsAny(segment.Val()[:min(1, len(segment.Val()))], "@/*") {
				return nil, segment.Errf("reverse_proxy takes no matcher in here; put '%s' on the freshbearer directive", segment.Val())
			}
			segment.Reset()
			if err := proxy.UnmarshalCaddyfile(segment); err != nil {
				return nil, err
			}
			if err := proxy.FinalizeUnmarshalCaddyfile(h.WithDispenser(segment)); err != nil {
				return nil, err
			}
			handler.ReverseProxyRaw = caddyconfig.JSONModuleObject(proxy, "handler", "reverse_proxy", nil)
		default:
			return nil, h.Errf("unrecognized subdirective '%s'; there are: base_path, reverse_proxy", h.Val())
		}
	}
	if basePath == "" {
		basePath = defaultBasePath
	}
	connect := &ConnectHandler{Integration: integration, BasePath: basePath}
	subroute := caddyhttp.Subroute{Routes: caddyhttp.RouteList{
		{
			MatcherSetsRaw: []caddy.ModuleMap{{"path": h.JSON(caddyhttp.MatchPath{basePath + "/*"})}},
			HandlersRaw:    []json.RawMessage{caddyconfig.JSONModuleObject(connect, "handler", "freshbearer_connect", nil)},
			Terminal:       true,
		},
		{
			HandlersRaw: []json.RawMessage{caddyconfig.JSONModuleObject(handler, "handler", "freshbearer", nil)},
		},
	}}
	return h.NewRoute(matchers, &subroute), nil
}
