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
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// demo is the subcommand's run.
type demo struct {
	port int
	out  io.Writer

	// What the templates show.
	Dir, Key, Proxy, Realm, Link string
	ClientID, Secret             string
	Intuit                       *intuittest.Server
}

// demoCaddyfile is as long as a real one, but for the addresses of the
// simulated Intuit.
const demoCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	storage file_system {{.Dir}}/caddy
	storage_clean_interval off
	log {
		level ERROR
	}
	freshbearer {
		store badger {
			path {{.Dir}}/store
		}
		encryption_key {file.{{.Dir}}/key}
		integration quickbooks {
			client_id {{.ClientID}}
			app "The demo"
			client_secret {env.FRESHBEARER_DEMO_SECRET}
			redirect_url {{.Proxy}}/oauth/callback
			scopes com.intuit.quickbooks.accounting
			link_lifetime 24h
			return_urls http://127.0.0.1:3000
			authorize_url {{.Intuit.AuthorizeURL}}
			token_url {{.Intuit.TokenURL}}
			revoke_url {{.Intuit.RevokeURL}}
			api_url {{.Intuit.URL}}
			status_page {{.Intuit.URL}}
		}
		caller demo {
			key {env.FRESHBEARER_DEMO_KEY}
			connections *
		}
	}
}
{{.Proxy}} {
	bind 127.0.0.1
	freshbearer quickbooks
}
`

const demoText = `
freshbearer demo: the proxy and a simulated Intuit, both on loopback only.
Company {{.Realm}} is connected. Paste these into another terminal:

1. Company data through the proxy. The bearer is a proxy key, not a token:

   curl -si -H 'Accept: application/json' -H 'Authorization: Bearer {{.Key}}' {{.Proxy}}/v3/company/{{.Realm}}/companyinfo/{{.Realm}}

2. Intuit refuses the access token from now on. Line 1 still answers 200:

   curl -s -X POST '{{.Intuit.URL}}/control/revoke-access?realm={{.Realm}}'

3. The user disconnects in QuickBooks. Line 1 now answers 428, and says why
   (after two seconds, the first time: one refusal is not believed):

   curl -s -X POST '{{.Intuit.URL}}/control/kill-grant?realm={{.Realm}}'

4. Repair it: open this in a browser, choose the company, and try line 1 again:

   {{.Link}}

5. Connect from an app's own page (examples/connect, with Node.js, at
   http://127.0.0.1:3000):

   FRESHBEARER_URL={{.Proxy}} FRESHBEARER_KEY={{.Key}} node examples/connect/server.mjs

6. A Caddyfile of your own (docs/quickstart.md) with this Intuit: the client
   secret is {{.Secret}}, and the integration has

   client_id {{.ClientID}}
   authorize_url {{.Intuit.AuthorizeURL}}
   token_url {{.Intuit.TokenURL}}
   revoke_url {{.Intuit.RevokeURL}}
   api_url {{.Intuit.URL}}

Ctrl-C ends the demo. It keeps nothing.
`

func (d *demo) run(ctx context.Context) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if d.Dir, err = os.MkdirTemp("", "freshbearer-demo-"); err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.Dir)) }()

	d.Realm, d.ClientID, d.Secret = intuittest.DefaultRealm, intuittest.DefaultClientID, intuittest.DefaultClientSecret
	d.Intuit = intuittest.New(intuittest.WithConfig(intuittest.Config{
		ClientID: d.ClientID, ClientSecret: d.Secret,
		Companies: []intuittest.Company{
			{RealmID: d.Realm, Name: "Sandbox Company US 1"},
			{RealmID: "9130357849536736", Name: "Craig's Design and Landscaping"},
		},
	}))
	if err := d.Intuit.Start(); err != nil {
		return fmt.Errorf("starting the simulated Intuit: %w", err)
	}
	defer d.Intuit.Close()
	if err := d.startProxy(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, caddy.Stop()) }()
	if err := d.connect(ctx); err != nil {
		return fmt.Errorf("connecting the demo company: %w", err)
	}
	// From here on a human shall see what there is to choose.
	d.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Consent = intuittest.ConsentPage })
	if d.Link, err = d.link(ctx); err != nil {
		return fmt.Errorf("making a connect link: %w", err)
	}
	if err := template.Must(template.New("demo").Parse(demoText)).Execute(d.out, d); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (d *demo) startProxy() error {
	address, err := freeAddress(d.port)
	if err != nil {
		return err
	}
	d.Proxy = "http://" + address
	d.Key = tokenstore.GenerateKey().Reveal()
	if err := writeKey(filepath.Join(d.Dir, "key"), tokenstore.GenerateKey()); err != nil {
		return fmt.Errorf("writing the demo's encryption key: %w", err)
	}
	for name, value := range map[string]string{
		"FRESHBEARER_DEMO_SECRET": d.Secret,
		"FRESHBEARER_DEMO_KEY":    d.Key,
	} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	var caddyfile bytes.Buffer
	if err := template.Must(template.New("Caddyfile").Parse(demoCaddyfile)).Execute(&caddyfile, d); err != nil {
		return err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(caddyfile.Bytes(), nil)
	if err != nil {
		return fmt.Errorf("adapting the demo's Caddyfile: %w", err)
	}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("starting the proxy: %w", err)
	}
	return nil
}

// freeAddress finds out whether a port is free, or which one is.
func freeAddress(port int) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", fmt.Errorf("the demo's port is not free; choose another with --port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// connect does what a browser does.
func (d *demo) connect(ctx context.Context) error {
	link, err := d.link(ctx)
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link+"&start=1", nil)
	if err != nil {
		return err
	}
	resp, err := browser.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the last page answered %s", resp.Status)
	}
	return nil
}

// link does what an app does.
func (d *demo) link(ctx context.Context) (string, error) {
	body, err := json.Marshal(map[string]string{"connection": d.Realm})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Proxy+"/oauth/links", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+d.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var made struct {
		URL string `json:"url"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.URL == "" {
		return "", errors.Join(fmt.Errorf("the proxy answered %s", resp.Status), err)
	}
	return made.URL, nil
}
