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
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// App keeps the grants of the configured integrations alive, in one token
// store, for the `freshbearer` handlers of the HTTP app.
type App struct {
	// Where grants are kept. Default: the `badger` engine in its default
	// directory.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=freshbearer.stores inline_key=engine"`

	// The keys that seal the records, as placeholders: 32 bytes each, in base64
	// or hexadecimal. The first one seals, all of them open. To replace a key,
	// put a new one before it, and remove it when the log says that it may be
	// removed. Default: one is generated in Caddy's configuration directory.
	EncryptionKeys []string `json:"encryption_keys,omitempty"`

	// The client registrations at providers, by name. At least one is needed.
	Integrations map[string]*Integration `json:"integrations,omitempty"`

	// The apps that may send requests, by name. At least one is needed.
	Callers map[string]*Caller `json:"callers,omitempty"`

	logger  *zap.Logger
	keys    *tokenstore.Keyring
	callers *callers
	emitter *emitter
	// sites are where the handlers are, filled while they are provisioned.
	sites    []site
	sharedAs string
	shared   *sharedKeeper

	startMu    sync.Mutex
	cleaned    bool
	running    atomic.Pointer[grant.Keeper]
	attachment *grant.Attachment
	// stopSettling is set by Start.
	stopSettling context.CancelFunc
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "freshbearer",
		New: func() caddy.Module { return new(App) },
	}
}

// Provision checks all that can be checked without opening the store, which a
// running process may hold: `caddy validate` must work beside it.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	repl := caddy.NewReplacer()

	if len(a.Integrations) == 0 {
		return errors.New("no integration is configured: add `integration quickbooks { … }` to the freshbearer option")
	}
	var providers []provider.Provider
	var wrong []error
	// In the order of their names: of two mistakes, always the same is told.
	for _, name := range slices.Sorted(maps.Keys(a.Integrations)) {
		in := a.Integrations[name]
		if in == nil {
			return fmt.Errorf("integration %s is empty", name)
		}
		if err := in.provision(ctx, repl, name); err != nil {
			wrong = append(wrong, fmt.Errorf("integration %s: %w", name, err))
		}
		providers = append(providers, in.provider)
	}
	var noCallers, noKeys error
	a.callers, noCallers = provisionCallers(repl, a.Callers)
	a.keys, noKeys = expandKeys(repl, a.EncryptionKeys)
	if err := together(append(wrong, noCallers, noKeys)...); err != nil {
		return err
	}
	a.callers.refused = a.strangerRefused
	for _, name := range slices.Sorted(maps.Keys(a.Callers)) {
		if err := a.Callers[name].checkConnections(providers); err != nil {
			return err
		}
	}
	var err error
	if a.emitter, err = newEmitter(ctx); err != nil {
		return err
	}
	if err := ctx.GetMetricsRegistry().Register(metrics{a}); err != nil {
		return fmt.Errorf("registering the metrics: %w", err)
	}
	opener, err := a.loadStore(ctx)
	if err != nil {
		return err
	}
	// The last step: from here on there is a reference to give back.
	return a.acquire(opener)
}

func (a *App) loadStore(ctx caddy.Context) (tokenstore.Opener, error) {
	if a.StoreRaw == nil {
		a.StoreRaw = json.RawMessage(`{"engine":"badger"}`)
	}
	module, err := ctx.LoadModule(a, "StoreRaw")
	if err != nil {
		return nil, fmt.Errorf("loading the token store module: %w", err)
	}
	opener, ok := module.(tokenstore.Opener)
	if !ok {
		return nil, fmt.Errorf("module %T is not a token store", module)
	}
	return opener, nil
}

// Start opens the store and takes the grants up. Requests that come earlier do
// the same; whoever is first does it.
func (a *App) Start() error {
	k, err := a.keeper()
	if err != nil {
		return err
	}
	a.tellKeyless()
	a.startMu.Lock()
	defer a.startMu.Unlock()
	if !a.cleaned {
		var ctx context.Context
		ctx, a.stopSettling = context.WithCancel(context.Background())
		go a.settle(ctx, k, a.shared.ringOf(a))
	}
	return nil
}

// Stop does nothing: requests of this configuration may still be under way,
// and the next configuration goes on with the same keeper.
func (a *App) Stop() error { return nil }

// Cleanup gives the keeper back. It also runs after a failed Provision, and
// must then leave alone what the running configuration uses.
func (a *App) Cleanup() error {
	a.startMu.Lock()
	defer a.startMu.Unlock()
	a.cleaned = true
	if a.stopSettling != nil {
		a.stopSettling()
	}
	if a.attachment != nil {
		a.attachment.Detach()
		a.attachment = nil
		a.shared.dropTargets(a)
		close(a.emitter.gone)
	}
	if a.shared != nil {
		a.shared.dropKeys(a)
		a.shared.logs.drop(a.logger)
	}
	return a.release()
}

// keeper returns the running keeper, started if need be.
func (a *App) keeper() (*grant.Keeper, error) {
	if k := a.running.Load(); k != nil {
		return k, nil
	}
	a.startMu.Lock()
	defer a.startMu.Unlock()
	if k := a.running.Load(); k != nil {
		return k, nil
	}
	if a.cleaned {
		return nil, tokenstore.ErrClosed
	}
	a.shared.logs.use(a.logger)
	k, err := a.shared.open(a)
	if err != nil {
		return nil, err
	}
	if a.attachment == nil {
		integrations := make(map[string]*grant.Integration, len(a.Integrations))
		for name, in := range a.Integrations {
			integrations[name] = in.forKeeper(k, a.emitter)
		}
		a.attachment = k.Attach(integrations)
		a.shared.useTargets(a)
	}
	// Flights need the integrations, so what a crash left is resolved now.
	if err := a.shared.recover(context.Background()); err != nil {
		return nil, err
	}
	a.running.Store(k)
	return k, nil
}

// integration returns a configured integration by name.
func (a *App) integration(name string) (*Integration, error) {
	if in, ok := a.Integrations[name]; ok {
		return in, nil
	}
	return nil, fmt.Errorf("integration %q is not configured; there is %q", name, slices.Sorted(maps.Keys(a.Integrations)))
}

// site is a server of the HTTP app that a handler of an integration is in.
type site struct {
	server      *caddyhttp.Server
	integration string
}

// servedBy notes where a handler of an integration is being provisioned.
func (a *App) servedBy(ctx caddy.Context, integration string) {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		a.sites = append(a.sites, site{server, integration})
	}
}

// theApp returns the configured app.
func theApp(ctx caddy.Context) (*App, error) {
	app, err := ctx.AppIfConfigured("freshbearer")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, errors.New("there is no freshbearer global option at the top of the Caddyfile (in JSON: apps.freshbearer), with an integration and a caller")
	}
	if err != nil {
		return nil, err // the app's own words
	}
	return app.(*App), nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
