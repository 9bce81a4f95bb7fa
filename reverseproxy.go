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
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// provisionReverseProxy loads Caddy's reverse proxy with our transport in it.
// The configuration is changed here, and not while the Caddyfile is parsed,
// because there the transport is overwritten when an upstream is written with
// https://, and because JSON configurations need the same protection.
func (h *Handler) provisionReverseProxy(ctx caddy.Context) error {
	api, err := url.Parse(h.integration.client.Endpoints.APIs[""])
	if err != nil {
		return err
	}
	if h.ReverseProxyRaw, h.origins, err = takeOver(h.ReverseProxyRaw, api); err != nil {
		return fmt.Errorf("reverse_proxy: %w", err)
	}
	for to := range h.origins {
		h.integration.sendsTo(normalOrigin(to.scheme + "://" + to.host))
	}
	module, err := ctx.LoadModule(h, "ReverseProxyRaw")
	if err != nil {
		return fmt.Errorf("reverse_proxy: %w", err)
	}
	h.reverseProxy = module.(caddyhttp.MiddlewareHandler)
	return nil
}

// takeOver puts our transport into a reverse proxy's configuration, and
// returns it with the origins that it may send to. api is the upstream if the
// configuration names none.
func takeOver(raw json.RawMessage, api *url.URL) (json.RawMessage, map[origin]struct{}, error) {
	var config, transport map[string]json.RawMessage
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, nil, err
	}
	if string(config["handler"]) != `"reverse_proxy"` {
		return nil, nil, errors.New("only the handler reverse_proxy can forward in the place of the default forwarder")
	}
	if config["dynamic_upstreams"] != nil {
		return nil, nil, errors.New("dynamic upstreams are refused: where tokens go must be known in advance")
	}
	if t := config["transport"]; t != nil {
		if err := json.Unmarshal(t, &transport); err != nil {
			return nil, nil, err
		}
	}
	if transport == nil {
		transport = make(map[string]json.RawMessage)
	}
	switch protocol := string(transport["protocol"]); protocol {
	case "", `"http"`, `"freshbearer"`:
		transport["protocol"] = json.RawMessage(`"freshbearer"`)
	default:
		return nil, nil, fmt.Errorf("the transport %s cannot carry tokens; leave it out, or use the settings of `transport http`", protocol)
	}
	if transport["network_proxy"] == nil && transport["forward_proxy_url"] == nil {
		// Or Caddy takes the environment's, which would see every request.
		transport["network_proxy"] = json.RawMessage(`{"from":"none"}`)
	}
	var upstreams []struct {
		Dial string `json:"dial"`
	}
	if u := config["upstreams"]; u != nil {
		if err := json.Unmarshal(u, &upstreams); err != nil {
			return nil, nil, err
		}
	}
	if len(upstreams) == 0 {
		dial := api.Host
		if api.Port() == "" {
			dial = net.JoinHostPort(api.Hostname(), map[string]string{"https": "443", "http": "80"}[api.Scheme])
		}
		config["upstreams"] = json.RawMessage(fmt.Sprintf(`[{"dial":%q}]`, dial))
		upstreams = append(upstreams, struct {
			Dial string `json:"dial"`
		}{dial})
		if api.Scheme == "https" && transport["tls"] == nil {
			transport["tls"] = json.RawMessage(`{}`)
		}
	}
	scheme := "http"
	var verification struct {
		Off bool `json:"insecure_skip_verify"`
	}
	if t := transport["tls"]; t != nil {
		scheme = "https"
		if err := json.Unmarshal(t, &verification); err != nil {
			return nil, nil, fmt.Errorf("transport tls: %w", err)
		}
	}
	origins := make(map[origin]struct{}, len(upstreams))
	for _, u := range upstreams {
		host, _, err := net.SplitHostPort(u.Dial)
		if err != nil || strings.ContainsAny(host, "{/") {
			return nil, nil, fmt.Errorf("upstream %q must be one host and port, without placeholders: where tokens go must be known in advance", u.Dial)
		}
		if scheme == "http" && !loopback(host) {
			return nil, nil, fmt.Errorf("upstream %q must be https://: a token would be sent in the clear", u.Dial)
		}
		if verification.Off && !loopback(host) {
			return nil, nil, fmt.Errorf("upstream %q: tls_insecure_skip_verify would send tokens to whoever answers; trust its certificate with tls_trust_pool", u.Dial)
		}
		origins[origin{scheme, u.Dial}] = struct{}{}
	}
	var err error
	if config["transport"], err = json.Marshal(transport); err != nil {
		return nil, nil, err
	}
	raw, err = json.Marshal(config)
	return raw, origins, err
}
