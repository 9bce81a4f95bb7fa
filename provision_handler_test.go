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
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

// provisioned loads a configuration up to Provision, and gives the app and a
// context that modules can be loaded in. The store is not opened.
func provisioned(t testing.TB, input string) (caddy.Context, *App) {
	t.Helper()
	ctx, err := caddy.ProvisionContext(loadConfig(t, input, "freshbearer"))
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("freshbearer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.(*App).Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return ctx, app.(*App)
}

func TestHandlerProvisionErrors(t *testing.T) {
	const (
		proxyTo  = `{"integration":"quickbooks","reverse_proxy":{"handler":"reverse_proxy",%s}}`
		inAHurry = "upstream %q must be https://: a token would be sent in the clear"
		inAdv    = "upstream %q must be one host and port, without placeholders: where tokens go must be known in advance"
		tls      = `"transport":{"protocol":"http","tls":{}},`
	)
	for name, c := range map[string]struct{ id, config, want string }{
		"unknown integration":          {"freshbearer", `{"integration":"books"}`, `integration "books" is not configured; there is ["quickbooks"]`},
		"no integration":               {"freshbearer", `{}`, `integration "" is not configured; there is ["quickbooks"]`},
		"unknown integration, browser": {"freshbearer_connect", `{"integration":"books"}`, `integration "books" is not configured; there is ["quickbooks"]`},
		"another base_path": {"freshbearer_connect", `{"integration":"quickbooks","base_path":"/connect"}`,
			"base_path is /connect, but the redirect_url of integration quickbooks is under /oauth: they must agree, or the callback goes astray"},
		"a plain http upstream":      {"freshbearer", fmt.Sprintf(proxyTo, `"upstreams":[{"dial":"api.example.com:80"}]`), "reverse_proxy: " + fmt.Sprintf(inAHurry, "api.example.com:80")},
		"one of two in plain http":   {"freshbearer", fmt.Sprintf(proxyTo, `"upstreams":[{"dial":"127.0.0.1:80"},{"dial":"10.0.0.1:80"}]`), "reverse_proxy: " + fmt.Sprintf(inAHurry, "10.0.0.1:80")},
		"an upstream by placeholder": {"freshbearer", fmt.Sprintf(proxyTo, tls+`"upstreams":[{"dial":"{env.API}:443"}]`), "reverse_proxy: " + fmt.Sprintf(inAdv, "{env.API}:443")},
		"an upstream from a header":  {"freshbearer", fmt.Sprintf(proxyTo, tls+`"upstreams":[{"dial":"{http.request.header.X-Api}"}]`), "reverse_proxy: " + fmt.Sprintf(inAdv, "{http.request.header.X-Api}")},
		"a socket":                   {"freshbearer", fmt.Sprintf(proxyTo, `"upstreams":[{"dial":"unix//run/api.sock"}]`), "reverse_proxy: " + fmt.Sprintf(inAdv, "unix//run/api.sock")},
		"another network":            {"freshbearer", fmt.Sprintf(proxyTo, tls+`"upstreams":[{"dial":"tcp4/api.example.com:443"}]`), "reverse_proxy: " + fmt.Sprintf(inAdv, "tcp4/api.example.com:443")},
		"an empty upstream":          {"freshbearer", fmt.Sprintf(proxyTo, tls+`"upstreams":[{"dial":""}]`), "reverse_proxy: " + fmt.Sprintf(inAdv, "")},
		"a foreign transport": {"freshbearer", fmt.Sprintf(proxyTo, `"transport":{"protocol":"fastcgi"}`),
			"reverse_proxy: the transport \"fastcgi\" cannot carry tokens; leave it out, or use the settings of `transport http`"},
		"dynamic upstreams": {"freshbearer", fmt.Sprintf(proxyTo, `"dynamic_upstreams":{"source":"srv","name":"api.example.com"}`),
			"reverse_proxy: dynamic upstreams are refused: where tokens go must be known in advance"},
		"another handler": {"freshbearer", `{"integration":"quickbooks","reverse_proxy":{"handler":"static_response"}}`,
			"reverse_proxy: only the handler reverse_proxy can forward in the place of the default forwarder"},
		"an unknown setting": {"freshbearer", fmt.Sprintf(proxyTo, `"upstream":[]`),
			`reverse_proxy: loading module 'reverse_proxy': decoding module config: http.handlers.reverse_proxy: json: unknown field "upstream"`},
	} {
		t.Run(name, func(t *testing.T) {
			provisionEnv(t)
			ctx, _ := provisioned(t, provisionCaddyfile)
			_, err := ctx.LoadModuleByID("http.handlers."+c.id, json.RawMessage(c.config))
			checkFailure(t, err, "provision http.handlers."+c.id+": "+c.want)
		})
	}
}

// The whole way from a Caddyfile: the error comes at the end of Caddy's own
// words about the route.
func TestDirectiveProvisionErrors(t *testing.T) {
	option := provisionCaddyfile[strings.Index(provisionCaddyfile, "\tfreshbearer {"):strings.Index(provisionCaddyfile, "}\n\nhttp:")]
	for name, c := range map[string]struct{ old, new, want string }{
		"unknown integration": {"freshbearer quickbooks\n", "freshbearer books\n", `: integration "books" is not configured; there is ["quickbooks"]`},
		"without the option":  {option, "", ": there is no freshbearer global option at the top of the Caddyfile (in JSON: apps.freshbearer), with an integration and a caller"},
		"an empty option":     {option, "\tfreshbearer\n", "no integration is configured: add `integration quickbooks { … }` to the freshbearer option"},
		"another base_path":   {"https://qb.example.com/oauth/callback", "https://qb.example.com/intuit/callback", ": base_path is /oauth, but the redirect_url of integration quickbooks is under /intuit: they must agree, or the callback goes astray"},
		"fastcgi": {"freshbearer quickbooks\n", "freshbearer quickbooks {\n\t\treverse_proxy 127.0.0.1:9000 {\n\t\t\ttransport fastcgi\n\t\t}\n\t}\n",
			"; leave it out, or use the settings of `transport http`"},
		"plain http": {"freshbearer quickbooks\n", "freshbearer quickbooks {\n\t\treverse_proxy http://a.example.com\n\t}\n", `: upstream "a.example.com:80" must be https://: a token would be sent in the clear`},
		"unverified": {"freshbearer quickbooks\n", "freshbearer quickbooks {\n\t\treverse_proxy https://a.example.com {\n\t\t\ttransport http {\n\t\t\t\ttls_insecure_skip_verify\n\t\t\t}\n\t\t}\n\t}\n", `: upstream "a.example.com:443": tls_insecure_skip_verify would send tokens to whoever answers; trust its certificate with tls_trust_pool`},
		"dynamic":    {"freshbearer quickbooks\n", "freshbearer quickbooks {\n\t\treverse_proxy {\n\t\t\tdynamic a example.com 443\n\t\t}\n\t}\n", ": dynamic upstreams are refused: where tokens go must be known in advance"},
	} {
		t.Run(name, func(t *testing.T) {
			provisionEnv(t)
			err := caddy.Validate(loadConfig(t, withChange(t, c.old, c.new)))
			if err == nil || !strings.HasSuffix(err.Error(), c.want) {
				t.Fatalf("got the error\n%v\nwant it to end in\n%s", err, c.want)
			}
			checkHides(t, "the error", err.Error())
		})
	}
}

// Caddy loads its apps in any order. If the HTTP app comes first, it is a
// handler of ours that meets the app's error, and must not put it down to a
// missing option.
func TestAppErrorThroughHandler(t *testing.T) {
	provisionEnv(t)
	input := withChange(t, "{env.FRESHBEARER_TEST_SECRET}", "{env.FRESHBEARER_TEST_EMPTY}")
	const want = "client_secret: {env.FRESHBEARER_TEST_EMPTY} is empty, unreadable or unknown: " +
		"set the variable, or check the file's path and mode for the user that runs Caddy"
	for range 20 {
		err := caddy.Validate(loadConfig(t, input))
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Fatalf("got the error\n%v\nwant it to end in\n%s", err, want)
		}
		if strings.Contains(err.Error(), "global option is needed") {
			t.Fatalf("the option is there, but the error says that it is not:\n%v", err)
		}
	}
}

func TestValidateBesideARunningInstance(t *testing.T) {
	dir := provisionEnv(t)
	store := &badger.Config{Path: dir}
	held, err := store.Open(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	}()
	// If the store could be opened twice, the test would show nothing.
	if second, err := store.Open(zap.NewNop()); err == nil {
		_ = second.Close()
		t.Fatal("the store can be opened twice")
	}
	if err := caddy.Validate(loadConfig(t, provisionCaddyfile)); err != nil {
		t.Error(err)
	}
}

func TestFailedProvisionLeavesTheKeeper(t *testing.T) {
	dir := provisionEnv(t)
	references := func() int {
		n, _ := keepers.References(dir)
		return n
	}
	_, app := provisioned(t, provisionCaddyfile)
	if app.sharedAs != dir {
		t.Fatalf("the keeper is shared as %s, not %s", app.sharedAs, dir)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	running, err := app.keeper()
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []struct{ what, old, new string }{
		{"before the store is known", "{env.FRESHBEARER_TEST_SECRET}", "{env.FRESHBEARER_TEST_EMPTY}"},
		{"while the keys are read", "{env.FRESHBEARER_TEST_SEAL}", "{env.FRESHBEARER_TEST_SEAL16}"},
		{"while the store is loaded", "{env.FRESHBEARER_TEST_DIR}/store", "{env.FRESHBEARER_TEST_EMPTY}/store"},
		{"after the app, in a handler", "freshbearer quickbooks\n", "freshbearer books\n"},
		{"after the app, in a matcher", "\tfreshbearer quickbooks\n", "\t@bad expression `1 +`\n\tfreshbearer @bad quickbooks\n"},
	} {
		input := withChange(t, change.old, change.new)
		// More than once, because Caddy loads its apps in any order.
		for range 5 {
			if err := caddy.Validate(loadConfig(t, input)); err == nil {
				t.Fatalf("%s: there was no error", change.what)
			}
			if n := references(); n != 1 {
				t.Fatalf("%s: after the failure there are %d references, not 1", change.what, n)
			}
		}
	}
	if err := caddy.Validate(loadConfig(t, provisionCaddyfile)); err != nil {
		t.Fatal(err)
	}
	if n := references(); n != 1 {
		t.Errorf("after a validation there are %d references, not 1", n)
	}
	if again, err := app.keeper(); again != running || err != nil {
		t.Errorf("the running configuration lost its keeper: %v", err)
	}
	if err := app.shared.recover(context.Background()); err != nil {
		t.Errorf("the keeper of the running configuration is of no use: %v", err)
	}

	_, next := provisioned(t, provisionCaddyfile)
	if n := references(); n != 2 {
		t.Errorf("with two configurations there are %d references, not 2", n)
	}
	// Caddy cleans up once; if anything does so twice, the reference of another
	// configuration must not go with it.
	for range 2 {
		if err := next.Cleanup(); err != nil {
			t.Error(err)
		}
		if n := references(); n != 1 {
			t.Errorf("after the second configuration there are %d references, not 1", n)
		}
	}
	if err := app.Cleanup(); err != nil {
		t.Error(err)
	}
	if n := references(); n != 0 {
		t.Errorf("after the last configuration there are %d references", n)
	}
	// The store is closed: it can be opened.
	reopened, err := (&badger.Config{Path: dir}).Open(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := reopened.Close(); err != nil {
		t.Error(err)
	}
}

func TestSecretsStayHidden(t *testing.T) {
	provisionEnv(t)
	input := withChange(t, "connections *\n\t\t}", "connections *\n\t\t}\n\t\tcaller b {\n\t\t\tkey {env.FRESHBEARER_TEST_KEY2}\n\t\t}")
	config, _, _ := adapt(t, input)
	checkHides(t, "the adapted configuration", config)

	ctx, app := provisioned(t, input)
	load := func(id, config string) any {
		t.Helper()
		module, err := ctx.LoadModuleByID(id, json.RawMessage(config))
		if err != nil {
			t.Fatal(err)
		}
		return module
	}
	// Otherwise the test would look for what is not there.
	if got := app.Integrations["quickbooks"].client.ClientSecret.Reveal(); got != sentinels["FRESHBEARER_TEST_SECRET"] {
		t.Fatalf("the client secret was not expanded: %q", got)
	}
	for what, value := range map[string]any{
		"the app":               app,
		"the app's struct":      reflect.ValueOf(app).Elem(),
		"an integration":        app.Integrations["quickbooks"],
		"its struct":            reflect.ValueOf(app.Integrations["quickbooks"]).Elem(),
		"its client":            *app.Integrations["quickbooks"].client,
		"a caller":              app.Callers["billing-app"],
		"another caller":        *app.Callers["b"],
		"the callers":           *app.callers,
		"the keys":              app.keys,
		"the handler":           load("http.handlers.freshbearer", `{"integration":"quickbooks"}`),
		"the handler, proxying": load("http.handlers.freshbearer", `{"integration":"quickbooks","reverse_proxy":{"handler":"reverse_proxy"}}`),
		"the browser's side":    load("http.handlers.freshbearer_connect", `{"integration":"quickbooks"}`),
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			checkHides(t, what+" as "+verb, fmt.Sprintf(verb, value))
		}
		if encoded, err := json.Marshal(value); err != nil {
			t.Errorf("%s as JSON: %v", what, err)
		} else {
			checkHides(t, what+" as JSON", string(encoded))
		}
		if found := plainTexts(value); len(found) == 0 {
			t.Errorf("%s: nothing was looked at", what)
		} else {
			checkHides(t, "some field of "+what, strings.Join(found, "\n"))
		}
	}
}

// plainTexts returns every text that a value of ours holds anywhere, exported
// or not, outside of the type that is made for secrets.
func plainTexts(value any) (found []string) {
	seen := make(map[uintptr]bool)
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.String:
			found = append(found, v.String())
		case reflect.Pointer:
			if v.IsNil() || seen[v.Pointer()] {
				return
			}
			seen[v.Pointer()] = true
			walk(v.Elem())
		case reflect.Interface:
			walk(v.Elem())
		case reflect.Slice, reflect.Array:
			if v.Type().Elem().Kind() == reflect.Uint8 {
				text := make([]byte, v.Len())
				for i := range text {
					text[i] = byte(v.Index(i).Uint())
				}
				found = append(found, string(text))
				return
			}
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.Map:
			for _, k := range v.MapKeys() {
				walk(k)
				walk(v.MapIndex(k))
			}
		case reflect.Struct:
			ours := strings.HasPrefix(v.Type().PkgPath(), "github.com/freshbearer/") || v.Type() == reflect.TypeFor[url.URL]()
			if !ours || v.Type() == reflect.TypeFor[secret.String]() {
				return
			}
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		}
	}
	if v, ok := value.(reflect.Value); ok {
		walk(v)
	} else {
		walk(reflect.ValueOf(value))
	}
	return found
}
