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

// Package freshbearer is a Caddy module: a reverse proxy between an app and a
// provider's API (QuickBooks) that keeps the app's OAuth 2.0 grants alive.
//
// An app points its base URL at the proxy, and its SDK's access token is a
// proxy key. Each request leaves with a fresh access token; a 401 about the
// token is refreshed and the request sent again, unseen; a grant that is
// really dead becomes one clear answer (428) with the cause and the URL where
// a human repairs it.
//
// The package is the Caddy side: the app, the handlers, the answers. The life
// of a grant is in package grant, what is a provider's own in package provider
// and those below it, and what is stored, and how, in package tokenstore.
package freshbearer

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/freshbearer/freshbearer/provider/quickbooks"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(Handler{})
	caddy.RegisterModule(ConnectHandler{})
	caddy.RegisterModule(StatusHandler{})
	caddy.RegisterModule(Transport{})
	caddy.RegisterModule(adminAPI{})
	caddy.RegisterModule(quickbooks.Provider{})
	caddy.RegisterModule(badger.Config{})

	httpcaddyfile.RegisterGlobalOption("freshbearer", parseApp)
	httpcaddyfile.RegisterDirective("freshbearer", parseDirective)
	httpcaddyfile.RegisterDirectiveOrder("freshbearer", httpcaddyfile.Before, "reverse_proxy")
	// Before the former, which answers everything.
	httpcaddyfile.RegisterHandlerDirective("freshbearer_status", parseStatus)
	httpcaddyfile.RegisterDirectiveOrder("freshbearer_status", httpcaddyfile.After, "metrics")

	caddycmd.RegisterCommand(command())
}
