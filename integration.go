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
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pace"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Integration is one client registration (an "app" in a provider's portal).
type Integration struct {
	// The provider: the name of a module in the namespace
	// `freshbearer.providers`. Default: the integration's name.
	Provider string `json:"provider,omitempty"`

	// The provider's environment that the client is registered in. Default:
	// the provider's first, for QuickBooks `production`.
	Environment string `json:"environment,omitempty"`

	// The client ID. Placeholders are expanded. Required.
	ClientID string `json:"client_id,omitempty"`

	// The client secret, as a placeholder. Required.
	ClientSecret string `json:"client_secret,omitempty"`

	// The address of the callback as browsers reach it, exactly as it is
	// registered at the provider; it ends in `/callback`. Required.
	RedirectURL string `json:"redirect_url,omitempty"`

	// The scopes to ask for. Required.
	Scopes []string `json:"scopes,omitempty"`

	// How long before its end an access token is refreshed. A sixth of the
	// token's life is the most. Default: 10m.
	RefreshBefore caddy.Duration `json:"refresh_before,omitempty"`

	// How many bytes of a request's body are held so that the request can be
	// sent again. A longer body is streamed, and sent once. Default: 1 MiB.
	ReplayBuffer int64 `json:"replay_buffer,omitempty"`

	// The status that says that a human must authorize again. Default: 428.
	ReauthStatus int `json:"reauth_status,omitempty"`

	// The origins that a link's return URL may have, beside that of app_url.
	ReturnURLs []string `json:"return_urls,omitempty"`

	// The app's name for people, as it is registered at the provider. Default:
	// the caller's name, or the host of the redirect URL.
	AppName string `json:"app_name,omitempty"`

	// Where people find the app. The pages lead there if nobody has said where
	// else to.
	AppURL string `json:"app_url,omitempty"`

	// How long a connect link can be opened. Default: 15m.
	LinkLifetime caddy.Duration `json:"link_lifetime,omitempty"`

	// How long the reauth_url of an answer can be opened. Default: 168h.
	ReauthLinkLifetime caddy.Duration `json:"reauth_link_lifetime,omitempty"`

	// Where an app is told what happens to the grants. Default: nowhere.
	Notify *Notify `json:"notify,omitempty"`

	// How many requests of one company go to the API. Default: as many as the
	// provider allows.
	Pacing *Pacing `json:"pacing,omitempty"`

	// The consent page, for tests: https, or http on loopback. Default: the
	// provider's own.
	AuthorizeURL string `json:"authorize_url,omitempty"`

	// The token endpoint, for tests: https, or http on loopback. Default: the
	// provider's own.
	TokenURL string `json:"token_url,omitempty"`

	// The revocation endpoint, for tests: https, or http on loopback. Default:
	// the provider's own.
	RevokeURL string `json:"revoke_url,omitempty"`

	// The origin of all the provider's APIs, for tests and regional hosts:
	// https, or http on loopback. Default: the provider's own, which must have
	// an address on the internet. A host that is named in one of these settings
	// may be in a private network, too.
	APIURL string `json:"api_url,omitempty"`

	// The base URL of the provider's Statuspage, which is read when a refresh
	// token is refused, or "off". Default: the provider's own, but none with
	// another token_url, of which the provider's page knows nothing.
	StatusPage string `json:"status_page,omitempty"`

	name     string
	provider provider.Provider
	client   *provider.Client
	redirect *url.URL
	returns  map[string]struct{}
	limits   pace.Limits
	// own are the origins that the provider takes tokens at, hosts those beside
	// them that the configuration sends tokens to.
	own   map[string]bool
	hosts []string
	// requests and pacer are set when the app has its keeper.
	requests *requestMeter
	pacer    *pace.Pacer
}

const (
	defaultRefreshBefore      = 10 * time.Minute
	defaultReplayBuffer       = 1 << 20
	maxReplayBuffer           = 64 << 20
	defaultReauthStatus       = 428
	defaultLinkLifetime       = 15 * time.Minute
	defaultReauthLinkLifetime = 7 * 24 * time.Hour
	callbackSuffix            = "/callback"
)

func (in *Integration) provision(ctx caddy.Context, repl *caddy.Replacer, name string) error {
	in.name = name
	if in.Provider == "" {
		in.Provider = name
	}
	module, err := ctx.LoadModuleByID("freshbearer.providers."+in.Provider, nil)
	if err != nil {
		if _, unknown := caddy.GetModule("freshbearer.providers." + in.Provider); unknown != nil {
			return fmt.Errorf("no provider %q in this build; 'caddy list-modules' shows which there are", in.Provider)
		}
		return fmt.Errorf("loading the provider module: %w", err)
	}
	var ok bool
	if in.provider, ok = module.(provider.Provider); !ok {
		return fmt.Errorf("module %T is not a provider", module)
	}
	if err := in.defaults(); err != nil {
		return err
	}
	if err := in.paces(); err != nil {
		return err
	}
	clientID, noID := in.expandClientID(repl)
	clientSecret, noSecret := in.expandClientSecret(repl)
	if err := together(noID, noSecret); err != nil {
		return err
	}
	endpoints, err := in.endpoints(repl)
	if err != nil {
		return err
	}
	if err := in.checkURLs(repl); err != nil {
		return err
	}
	if in.Notify != nil {
		if err := in.Notify.provision(repl); err != nil {
			return fmt.Errorf("notify: %w", err)
		}
	}
	in.client = &provider.Client{
		Provider:     in.provider,
		Endpoints:    endpoints,
		ClientID:     clientID,
		ClientSecret: clientSecret,
		RedirectURL:  in.redirect.String(),
		Scopes:       in.Scopes,
	}
	return nil
}

func (in *Integration) expandClientID(repl *caddy.Replacer) (string, error) {
	if in.ClientID == "" {
		return "", errors.New("client_id is missing")
	}
	id, err := repl.ReplaceOrErr(in.ClientID, true, true)
	if err != nil || id == "" {
		return "", fmt.Errorf("client_id: %s is empty, unreadable or unknown: set the variable, or write the ID itself, which is no secret", in.ClientID)
	}
	return id, nil
}

func (in *Integration) expandClientSecret(repl *caddy.Replacer) (secret.String, error) {
	if in.ClientSecret == "" {
		return secret.String{}, errors.New("client_secret is missing")
	}
	return expandSecret(repl, "client_secret", in.ClientSecret)
}

func (in *Integration) defaults() error {
	environments := in.provider.Environments()
	if in.Environment == "" {
		in.Environment = environments[0]
	}
	if !slices.Contains(environments, in.Environment) {
		return fmt.Errorf("environment %q is not one of %s", in.Environment, strings.Join(environments, ", "))
	}
	if len(in.Scopes) == 0 || slices.Contains(in.Scopes, "") {
		return fmt.Errorf("scopes are missing, or one is empty; for accounting it is com.intuit.quickbooks.accounting")
	}
	if in.RefreshBefore == 0 {
		in.RefreshBefore = caddy.Duration(defaultRefreshBefore)
	}
	if in.ReplayBuffer == 0 {
		in.ReplayBuffer = defaultReplayBuffer
	}
	if in.ReplayBuffer < 0 || in.ReplayBuffer > maxReplayBuffer {
		return fmt.Errorf("replay_buffer must be between 1 byte and %d bytes; every request in flight may hold that much", maxReplayBuffer)
	}
	if in.ReauthStatus == 0 {
		in.ReauthStatus = defaultReauthStatus
	}
	if in.ReauthStatus < 400 || in.ReauthStatus > 499 {
		return fmt.Errorf("reauth_status %d is not a 4xx status", in.ReauthStatus)
	}
	if in.LinkLifetime == 0 {
		in.LinkLifetime = caddy.Duration(defaultLinkLifetime)
	}
	if in.ReauthLinkLifetime == 0 {
		in.ReauthLinkLifetime = caddy.Duration(defaultReauthLinkLifetime)
	}
	if in.RefreshBefore < 0 || in.LinkLifetime < 0 || in.ReauthLinkLifetime < 0 {
		return fmt.Errorf("refresh_before, link_lifetime and reauth_link_lifetime must not be negative")
	}
	return nil
}

// endpoints returns the provider's addresses with the configured ones over
// them.
func (in *Integration) endpoints(repl *caddy.Replacer) (provider.Endpoints, error) {
	e := in.provider.Endpoints(in.Environment)
	in.own = make(map[string]bool)
	for origin := range tokenOrigins(e) {
		in.own[origin] = true
	}
	for _, override := range []struct {
		setting, from string
		to            *string
	}{
		{"authorize_url", in.AuthorizeURL, &e.AuthorizeURL},
		{"token_url", in.TokenURL, &e.TokenURL},
		{"revoke_url", in.RevokeURL, &e.RevokeURL},
	} {
		if override.from == "" {
			continue
		}
		u, err := safeURL(repl, override.setting, override.from)
		if err != nil {
			return e, err
		}
		*override.to = u.String()
		e.Named = append(e.Named, u.Hostname())
	}
	if in.AuthorizeURL != "" || in.TokenURL != "" {
		// What another server calls itself is not known.
		e.Issuer = ""
	}
	if in.TokenURL != "" {
		// The provider's document knows nothing of another server.
		e.DiscoveryURL = atOrigin(e.TokenURL, e.DiscoveryURL)
	}
	switch {
	case in.StatusPage == "off", in.StatusPage == "" && in.TokenURL != "":
		e.StatusPage = ""
	case in.StatusPage != "":
		u, err := safeURL(repl, "status_page", in.StatusPage)
		if err != nil {
			return e, err
		}
		if u.RawQuery != "" {
			return e, fmt.Errorf("status_page must have no query, such as https://status.developer.intuit.com")
		}
		e.StatusPage = u.String()
		e.Named = append(e.Named, u.Hostname())
	}
	if in.APIURL != "" {
		u, err := safeURL(repl, "api_url", in.APIURL)
		if err != nil {
			return e, err
		}
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return e, fmt.Errorf("api_url must be a scheme and a host only, such as %s", e.APIs[""])
		}
		apis := make(map[string]string, len(e.APIs))
		for name := range e.APIs {
			apis[name] = u.Scheme + "://" + u.Host
		}
		e.APIs = apis
		e.Named = append(e.Named, u.Hostname())
	}
	slices.Sort(e.Named)
	e.Named = slices.Compact(e.Named)
	for origin := range tokenOrigins(e) {
		in.sendsTo(origin)
	}
	return e, nil
}

func (in *Integration) checkURLs(repl *caddy.Replacer) error {
	if in.RedirectURL == "" {
		return fmt.Errorf("redirect_url is missing")
	}
	var err error
	if in.redirect, err = safeURL(repl, "redirect_url", in.RedirectURL); err != nil {
		return err
	}
	// A callback at the root would give the browser's side the API's paths.
	if in.redirect.RawQuery != "" || in.redirect.Path == callbackSuffix || !strings.HasSuffix(in.redirect.Path, callbackSuffix) {
		return fmt.Errorf("redirect_url must end in %s below a path of its own, and have no query, such as https://qb.example.com/oauth/callback", callbackSuffix)
	}
	in.returns = make(map[string]struct{}, len(in.ReturnURLs)+1)
	if in.AppURL != "" {
		u, err := safeURL(repl, "app", in.AppURL)
		if err != nil {
			return err
		}
		in.AppURL = u.String()
		in.returns[originOf(u)] = struct{}{}
	}
	for _, origin := range in.ReturnURLs {
		u, err := safeURL(repl, "return_urls", origin)
		if err != nil {
			return err
		}
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			return fmt.Errorf("return_urls %s: name the origin (scheme, host, port) only", origin)
		}
		in.returns[originOf(u)] = struct{}{}
	}
	return nil
}

// forKeeper describes the integration to the keeper; events go to em.
func (in *Integration) forKeeper(k *grant.Keeper, em *emitter) *grant.Integration {
	var notices map[grant.EventType]bool
	if in.Notify != nil {
		notices = in.Notify.events
	}
	return &grant.Integration{
		Notices:       notices,
		Observe:       func(e grant.Event) bool { return em.emit(k, in, e) },
		Name:          in.name,
		Provider:      in.Provider,
		Environment:   in.Environment,
		Client:        in.client,
		RefreshBefore: time.Duration(in.RefreshBefore),
		Hosts:         in.hosts,
	}
}

func (in *Integration) key(connection string) tokenstore.Key {
	return tokenstore.Key{Integration: in.name, Connection: connection}
}
