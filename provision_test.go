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
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// The secrets of the configurations under test. None of them may be seen
// anywhere.
var sentinels = map[string]string{
	"FRESHBEARER_TEST_SECRET":  "sentinel-client-secret",
	"FRESHBEARER_TEST_KEY":     "sentinel-caller-key-one",
	"FRESHBEARER_TEST_KEY2":    "sentinel-caller-key-two",
	"FRESHBEARER_TEST_SHORT":   "sentinel-short",
	"FRESHBEARER_TEST_SEAL":    base64.StdEncoding.EncodeToString([]byte("sentinel-seal-0123456789-abcdefg")),
	"FRESHBEARER_TEST_SEAL16":  base64.StdEncoding.EncodeToString([]byte("sentinel-seal-16")),
	"FRESHBEARER_TEST_SEALBAD": "sentinel: not base64!",
	"FRESHBEARER_TEST_HOOK":    "whsec_" + base64.StdEncoding.EncodeToString([]byte("sentinel-hook-0123456789")),
	"FRESHBEARER_TEST_HOOK2":   "whsec_" + base64.StdEncoding.EncodeToString([]byte("sentinel-hook-abcdefghij")),
	"FRESHBEARER_TEST_HOOK16":  "whsec_" + base64.StdEncoding.EncodeToString([]byte("sentinel-hook-16")),
	"FRESHBEARER_TEST_HOOKBAD": "whsec_sentinel!",
}

const scopesLine = "scopes com.intuit.quickbooks.accounting"

// notifyLines is an integration's scopes and where its notices go.
func notifyLines(url, secrets string) string {
	return scopesLine + "\n\t\t\tnotify " + url + " {\n\t\t\t\tsecret " + secrets + "\n\t\t\t}"
}

const provisionCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	log {
		output discard
	}
	freshbearer {
		store badger {
			path {env.FRESHBEARER_TEST_DIR}/store
		}
		encryption_key {env.FRESHBEARER_TEST_SEAL}
		integration quickbooks {
			client_id client
			client_secret {env.FRESHBEARER_TEST_SECRET}
			redirect_url https://qb.example.com/oauth/callback
			scopes com.intuit.quickbooks.accounting
		}
		caller billing-app {
			key {env.FRESHBEARER_TEST_KEY}
			connections *
		}
	}
}

http://qb.example.com {
	freshbearer quickbooks
}
`

// provisionEnv sets what the placeholders of provisionCaddyfile read, and
// keeps Caddy out of the home directory. It returns the store's directory.
func provisionEnv(t testing.TB) (store string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", filepath.Join(dir, "data"))
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(dir, "config"))
	t.Setenv("FRESHBEARER_TEST_DIR", dir)
	t.Setenv("FRESHBEARER_TEST_EMPTY", "")
	for name, value := range sentinels {
		t.Setenv(name, value)
	}
	return filepath.Join(dir, "store")
}

// withChange returns provisionCaddyfile with one piece replaced.
func withChange(t testing.TB, old, new string) string {
	t.Helper()
	if strings.Count(provisionCaddyfile, old) != 1 {
		t.Fatalf("%q must occur once in the Caddyfile", old)
	}
	return strings.Replace(provisionCaddyfile, old, new, 1)
}

// loadConfig adapts a Caddyfile; with apps, only these of its apps are kept.
func loadConfig(t testing.TB, input string, apps ...string) *caddy.Config {
	t.Helper()
	adapted, failure, _ := adapt(t, input)
	if failure != "" {
		t.Fatal(failure)
	}
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON([]byte(adapted), &config); err != nil {
		t.Fatal(err)
	}
	if len(apps) > 0 {
		maps.DeleteFunc(config.AppsRaw, func(name string, _ json.RawMessage) bool {
			return !slices.Contains(apps, name)
		})
	}
	return &config
}

// checkFailure compares an error, and makes sure that it gives nothing away.
func checkFailure(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("there was no error")
	}
	if got := err.Error(); got != want {
		t.Errorf("got the error\n%s\nwant\n%s", got, want)
	}
	checkHides(t, "the error", err.Error())
}

// checkHides fails if a text holds a secret, in any of the usual forms.
func checkHides(t *testing.T, what, text string) {
	t.Helper()
	for name, value := range sentinels {
		decoded, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "whsec_"))
		for _, form := range []string{value, string(decoded), base64.StdEncoding.EncodeToString([]byte(value))} {
			if form != "" && strings.Contains(text, form) {
				t.Errorf("%s shows the value of %s:\n%s", what, name, text)
			}
		}
	}
	if strings.Contains(text, "sentinel") {
		t.Errorf("%s shows a part of a secret:\n%s", what, text)
	}
}

func TestProvisionAcceptsGoodConfigurations(t *testing.T) {
	for name, change := range map[string][2]string{
		"as it is":             {"http://qb.example.com", "http://qb.example.com"},
		"no encryption key":    {"encryption_key {env.FRESHBEARER_TEST_SEAL}\n", "\n"},
		"no store":             {"store badger {\n\t\t\tpath {env.FRESHBEARER_TEST_DIR}/store\n\t\t}\n", "\n"},
		"loopback":             {"https://qb.example.com/oauth/callback", "http://127.0.0.1:8080/oauth/callback"},
		"loopback 6":           {"https://qb.example.com/oauth/callback", "http://[::1]:8080/oauth/callback"},
		"secret in a file":     {"{env.FRESHBEARER_TEST_SECRET}", "{file.{env.FRESHBEARER_TEST_DIR}/secret}"},
		"notices":              {scopesLine, notifyLines("https://10.0.0.1/hooks", "{env.FRESHBEARER_TEST_HOOK} {env.FRESHBEARER_TEST_HOOK2}")},
		"notices on loopback":  {scopesLine, notifyLines("http://localhost:3000/hooks", "{env.FRESHBEARER_TEST_HOOK}")},
		"two callers":          {"connections *\n\t\t}", "connections *\n\t\t}\n\t\tcaller b {\n\t\t\tkey {env.FRESHBEARER_TEST_KEY2}\n\t\t}"},
		"reverse_proxy":        {"\tfreshbearer quickbooks\n", "\tfreshbearer quickbooks {\n\t\treverse_proxy\n\t}\n"},
		"reverse_proxy 2":      {"\tfreshbearer quickbooks\n", "\tfreshbearer quickbooks {\n\t\treverse_proxy https://a.example.com https://b.example.com\n\t}\n"},
		"reverse_proxy http":   {"\tfreshbearer quickbooks\n", "\tfreshbearer quickbooks {\n\t\treverse_proxy 127.0.0.1:8080\n\t}\n"},
		"transport http":       {"\tfreshbearer quickbooks\n", "\tfreshbearer quickbooks {\n\t\treverse_proxy https://a.example.com {\n\t\t\ttransport http {\n\t\t\t\tdial_timeout 1s\n\t\t\t}\n\t\t}\n\t}\n"},
		"transport of its own": {"\tfreshbearer quickbooks\n", "\tfreshbearer quickbooks {\n\t\treverse_proxy {\n\t\t\theader_up X-App books\n\t\t}\n\t}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			store := provisionEnv(t)
			secretFile := filepath.Join(filepath.Dir(store), "secret")
			if err := os.WriteFile(secretFile, []byte("sentinel-from-a-file\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			// Placeholders do not nest, so the path is written out.
			input := strings.ReplaceAll(withChange(t, change[0], change[1]), "{file.{env.FRESHBEARER_TEST_DIR}/secret}", "{file."+secretFile+"}")
			if err := caddy.Validate(loadConfig(t, input)); err != nil {
				t.Error(err)
			}
			left, err := os.ReadDir(filepath.Dir(store))
			if err != nil {
				t.Fatal(err)
			}
			if len(left) != 1 || left[0].Name() != "secret" {
				t.Errorf("validating has written something: %v", left)
			}
		})
	}
}

// The app's errors, as they are after Caddy's own words about which app failed.
func TestProvisionErrors(t *testing.T) {
	const (
		secretLine  = "client_secret {env.FRESHBEARER_TEST_SECRET}"
		keyLine     = "key {env.FRESHBEARER_TEST_KEY}"
		sealLine    = "encryption_key {env.FRESHBEARER_TEST_SEAL}"
		redirectURL = "https://qb.example.com/oauth/callback"
		hookURL     = "https://app.example.com/hooks"
		hook        = "{env.FRESHBEARER_TEST_HOOK}"
		makeSecret  = "; make one with: echo whsec_$(openssl rand -base64 32)"

		placeholder = " must be one placeholder, such as {env.NAME} or {file./path}: " +
			"a literal (or {$NAME}, which is replaced too early) could be read in the configuration"
		unreadable = ": set the variable, or check the file's path and mode for the user that runs Caddy"
		makeKey    = "; make one with: openssl rand -base64 32"
		ofCaller   = "caller billing-app: "
		ofQB       = "integration quickbooks: "
		loopback   = " must be https; plain http is for loopback only"
		callback   = "redirect_url must end in /callback below a path of its own, and have no query, such as https://qb.example.com/oauth/callback"
	)
	for name, c := range map[string]struct{ old, new, want string }{
		"literal client secret":    {secretLine, "client_secret sentinel-literal", ofQB + "client_secret" + placeholder},
		"client secret by {$ENV}":  {secretLine, "client_secret {$FRESHBEARER_TEST_SECRET}", ofQB + "client_secret" + placeholder},
		"half a placeholder":       {secretLine, "client_secret x{env.FRESHBEARER_TEST_SECRET}", ofQB + "client_secret" + placeholder},
		"two placeholders":         {secretLine, "client_secret {env.FRESHBEARER_TEST_SECRET}{env.FRESHBEARER_TEST_KEY}", ofQB + "client_secret" + placeholder},
		"empty client secret":      {secretLine, `client_secret ""`, ofQB + "client_secret is missing"},
		"empty variable":           {secretLine, "client_secret {env.FRESHBEARER_TEST_EMPTY}", ofQB + "client_secret: {env.FRESHBEARER_TEST_EMPTY} is empty, unreadable or unknown" + unreadable},
		"unset variable":           {secretLine, "client_secret {env.FRESHBEARER_TEST_IS_NEVER_SET}", ofQB + "client_secret: {env.FRESHBEARER_TEST_IS_NEVER_SET} is empty, unreadable or unknown" + unreadable},
		"unknown placeholder":      {secretLine, "client_secret {vault.quickbooks}", ofQB + "client_secret: {vault.quickbooks} is empty, unreadable or unknown" + unreadable},
		"missing secret file":      {secretLine, "client_secret {file./nonexistent/secret}", ofQB + "client_secret: {file./nonexistent/secret} is empty, unreadable or unknown" + unreadable},
		"literal caller key":       {keyLine, "key sentinel-literal-caller-key", ofCaller + "key" + placeholder},
		"caller key by {$ENV}":     {keyLine, "key {$FRESHBEARER_TEST_KEY}", ofCaller + "key" + placeholder},
		"short caller key":         {keyLine, "key {env.FRESHBEARER_TEST_SHORT}", ofCaller + "key {env.FRESHBEARER_TEST_SHORT} is shorter than 20 characters: make one with `openssl rand -base64 32`"},
		"the same key twice":       {keyLine, keyLine + " {env.FRESHBEARER_TEST_KEY}", ofCaller + "key {env.FRESHBEARER_TEST_KEY} is also a key of caller billing-app"},
		"a key of two callers":     {"connections *\n\t\t}", "connections *\n\t\t}\n\t\tcaller another {\n\t\t\t" + keyLine + "\n\t\t}", ofCaller + "key {env.FRESHBEARER_TEST_KEY} is also a key of caller another"},
		"a user of two callers":    {"connections *\n\t\t}", "user joe\n\t\t}\n\t\tcaller another {\n\t\t\tuser joe\n\t\t}", ofCaller + "user joe is also the user of caller another"},
		"user from a constant":     {"connections *\n", "user joe joe\n", ofCaller + `user joe: "joe" must be one placeholder of the request, such as {http.auth.user.id}`},
		"user from the machine":    {"connections *\n", "user joe {env.USER}\n", ofCaller + `user joe: "{env.USER}" must be one placeholder of the request, such as {http.auth.user.id}`},
		"unknown connection":       {"connections *\n", "connections 1 QB-2\n", `caller billing-app: "QB-2" is not the ID of a connection of any configured provider; connections * is all`},
		"empty connection":         {"connections *\n", `connections ""` + "\n", `caller billing-app: "" is not the ID of a connection of any configured provider; connections * is all`},
		"literal encryption key":   {sealLine, "encryption_key c2VudGluZWwtc2VhbC0wMTIzNDU2Nzg5LWFiY2RlZmc=", "encryption_key" + placeholder},
		"missing key file":         {sealLine, "encryption_key {file./nonexistent/key}", "encryption_key: {file./nonexistent/key} is empty, unreadable or unknown" + unreadable},
		"encryption key too short": {sealLine, "encryption_key {env.FRESHBEARER_TEST_SEAL16}", "encryption_key: the first encryption key has 16 bytes, not 32" + makeKey},
		"encryption key garbled":   {sealLine, "encryption_key {env.FRESHBEARER_TEST_SEALBAD}", "encryption_key: the first encryption key is neither base64 nor 64 hexadecimal digits" + makeKey},
		"second encryption key":    {sealLine, sealLine + " {env.FRESHBEARER_TEST_SEAL16}", "encryption_key: the second encryption key has 16 bytes, not 32" + makeKey},
		"encryption key twice":     {sealLine, sealLine + " {env.FRESHBEARER_TEST_SEAL}", "encryption_key: the second encryption key is the same as the first; to replace a key, make a new one with: openssl rand -base64 32"},
		"empty client id":          {"client_id client", `client_id ""`, ofQB + `client_id is missing`},
		"unset client id":          {"client_id client", "client_id {env.FRESHBEARER_TEST_IS_NEVER_SET}", ofQB + `client_id: {env.FRESHBEARER_TEST_IS_NEVER_SET} is empty, unreadable or unknown: set the variable, or write the ID itself, which is no secret`},
		"unknown environment":      {scopesLine, scopesLine + "\nenvironment staging", ofQB + `environment "staging" is not one of production, sandbox`},
		"unknown provider":         {"integration quickbooks", "integration xero", `integration xero: no provider "xero" in this build; 'caddy list-modules' shows which there are`},
		"redirect to plain http":   {redirectURL, "http://qb.example.com/oauth/callback", ofQB + `redirect_url "http://qb.example.com/oauth/callback"` + loopback},
		"redirect to another page": {redirectURL, "https://qb.example.com/oauth/return", ofQB + callback},
		"redirect to the root":     {redirectURL, "https://qb.example.com/callback", ofQB + callback},
		"redirect with a query":    {redirectURL, redirectURL + "?x=1", ofQB + callback},
		"redirect with a fragment": {redirectURL, redirectURL + "#x", ofQB + `redirect_url "https://qb.example.com/oauth/callback#x" must be an absolute URL without user or fragment`},
		"redirect with a user":     {redirectURL, "https://joe@qb.example.com/oauth/callback", ofQB + `redirect_url "https://joe@qb.example.com/oauth/callback" must be an absolute URL without user or fragment`},
		"redirect without a host":  {redirectURL, "/oauth/callback", ofQB + `redirect_url "/oauth/callback" must be an absolute URL without user or fragment`},
		"redirect that is no URL":  {redirectURL, `"https://qb example.com/oauth/callback"`, ofQB + `redirect_url "https://qb example.com/oauth/callback" is not a URL`},
		"redirect by nothing":      {redirectURL, "{env.FRESHBEARER_TEST_EMPTY}", ofQB + "redirect_url: {env.FRESHBEARER_TEST_EMPTY} is empty or unknown; set the variable, or write the address out"},
		"api_url with a path":      {scopesLine, scopesLine + "\napi_url https://api.example.com/v3", ofQB + "api_url must be a scheme and a host only, such as https://quickbooks.api.intuit.com"},
		"api_url with a query":     {scopesLine, scopesLine + "\napi_url https://api.example.com?x=1", ofQB + "api_url must be a scheme and a host only, such as https://quickbooks.api.intuit.com"},
		"api_url in plain http":    {scopesLine, scopesLine + "\napi_url http://api.example.com", ofQB + `api_url "http://api.example.com"` + loopback},
		"token_url in plain http":  {scopesLine, scopesLine + "\ntoken_url http://10.0.0.1/tokens", ofQB + `token_url "http://10.0.0.1/tokens"` + loopback},
		"two bad addresses":        {scopesLine, scopesLine + "\nrevoke_url http://r.example.com\nauthorize_url http://a.example.com\ntoken_url http://t.example.com", ofQB + `authorize_url "http://a.example.com"` + loopback},
		"return_urls with a path":  {scopesLine, scopesLine + "\nreturn_urls https://app.example.com/done", ofQB + "return_urls https://app.example.com/done: name the origin (scheme, host, port) only"},
		"return_urls plain http":   {scopesLine, scopesLine + "\nreturn_urls http://app.example.com", ofQB + `return_urls "http://app.example.com"` + loopback},
		"notices in plain http":    {scopesLine, notifyLines("http://app.example.com/hooks", hook), ofQB + `notify: url "http://app.example.com/hooks"` + loopback},
		"notices with a user":      {scopesLine, notifyLines("https://joe@app.example.com/", hook), ofQB + `notify: url "https://joe@app.example.com/" must be an absolute URL without user or fragment`},
		"notices to nowhere":       {scopesLine, notifyLines("{env.FRESHBEARER_TEST_EMPTY}", hook), ofQB + "notify: url: {env.FRESHBEARER_TEST_EMPTY} is empty or unknown; set the variable, or write the address out"},
		"literal webhook secret":   {scopesLine, notifyLines(hookURL, "whsec_c2VudGluZWwtaG9vay0wMTIzNDU2Nzg5"), ofQB + "notify: secret" + placeholder},
		"webhook secret unset":     {scopesLine, notifyLines(hookURL, "{env.FRESHBEARER_TEST_IS_NEVER_SET}"), ofQB + "notify: secret: {env.FRESHBEARER_TEST_IS_NEVER_SET} is empty, unreadable or unknown" + unreadable},
		"webhook secret too short": {scopesLine, notifyLines(hookURL, hook+" {env.FRESHBEARER_TEST_HOOK16}"), ofQB + "notify: secret {env.FRESHBEARER_TEST_HOOK16}: it has 16 bytes, not 24 to 64" + makeSecret},
		"webhook secret garbled":   {scopesLine, notifyLines(hookURL, "{env.FRESHBEARER_TEST_HOOKBAD}"), ofQB + "notify: secret {env.FRESHBEARER_TEST_HOOKBAD}: it is not base64 after whsec_" + makeSecret},
		"webhook secret unmarked":  {scopesLine, notifyLines(hookURL, "{env.FRESHBEARER_TEST_SEAL}"), ofQB + "notify: secret {env.FRESHBEARER_TEST_SEAL}: it does not begin with whsec_" + makeSecret},
		"store path is unset":      {"{env.FRESHBEARER_TEST_DIR}/store", "{env.FRESHBEARER_TEST_IS_NEVER_SET}/store", "loading the token store module: loading module 'badger': provision freshbearer.stores.badger: path of the badger store: evaluated placeholder {env.FRESHBEARER_TEST_IS_NEVER_SET} is empty"},
		"store path is a file":     {"{env.FRESHBEARER_TEST_DIR}/store", "/dev/null", "loading the token store module: loading module 'badger': provision freshbearer.stores.badger: path of the badger store: /dev/null is not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			provisionEnv(t)
			err := caddy.Validate(loadConfig(t, withChange(t, c.old, c.new), "freshbearer"))
			checkFailure(t, err, "loading freshbearer app module: provision freshbearer: "+c.want)
		})
	}
}

// A first configuration lacks several things, and is told of all at once.
func TestProvisionTellsOfAllThatIsMissing(t *testing.T) {
	provisionEnv(t)
	input := provisionCaddyfile
	for _, setting := range []string{"client_id client", "client_secret {env.FRESHBEARER_TEST_SECRET}", "key {env.FRESHBEARER_TEST_KEY}", "encryption_key {env.FRESHBEARER_TEST_SEAL}"} {
		name, _, _ := strings.Cut(setting, " ")
		if !strings.Contains(input, setting) {
			t.Fatalf("there is no %s to change", setting)
		}
		input = strings.Replace(input, setting, name+" {env.FRESHBEARER_TEST_NO_"+strings.ToUpper(name)+"}", 1)
	}
	err := caddy.Validate(loadConfig(t, input))
	if err == nil {
		t.Fatal("there was no error")
	}
	for _, want := range []string{
		"integration quickbooks: client_id: {env.FRESHBEARER_TEST_NO_CLIENT_ID} is empty", "client_secret: {env.FRESHBEARER_TEST_NO_CLIENT_SECRET} is empty",
		"caller billing-app: key: {env.FRESHBEARER_TEST_NO_KEY} is empty", "encryption_key: {env.FRESHBEARER_TEST_NO_ENCRYPTION_KEY} is empty",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is not one line: %v", err)
	}
}

// What a Caddyfile cannot say, a JSON configuration can.
func TestProvisionErrorsOfJSON(t *testing.T) {
	const (
		integrations = `"integrations":{"quickbooks":{"client_id":"c","client_secret":"{env.FRESHBEARER_TEST_SECRET}","redirect_url":"https://qb.example.com/oauth/callback","scopes":["s"]}}`
		callers      = `"callers":{"app":{"keys":["{env.FRESHBEARER_TEST_KEY}"]}}`
	)
	in := func(more string) string {
		return strings.Replace(integrations, `"scopes":["s"]`, more, 1) + "," + callers
	}
	for name, c := range map[string]struct{ app, want string }{
		"nothing":             {``, "no integration is configured: add `integration quickbooks { … }` to the freshbearer option"},
		"no caller":           {integrations, "no caller is configured, so nobody could use the proxy: add `caller <name> { key {env.NAME} ; connections * }`"},
		"null integration":    {`"integrations":{"quickbooks":null},` + callers, "integration quickbooks is empty"},
		"null caller":         {integrations + `,"callers":{"app":null}`, "caller app is empty"},
		"a window alone":      {integrations + `,"callers":{"app":{"keys":["{env.FRESHBEARER_TEST_KEY}"],"rate_limit_window":1}}`, "caller app: rate_limit needs a positive number of requests and a positive window, such as 500 1m"},
		"a rate without end":  {integrations + `,"callers":{"app":{"keys":["{env.FRESHBEARER_TEST_KEY}"],"rate_limit":1}}`, "caller app: rate_limit needs a positive number of requests and a positive window, such as 500 1m"},
		"negative at once":    {integrations + `,"callers":{"app":{"keys":["{env.FRESHBEARER_TEST_KEY}"],"max_concurrent":-1}}`, "caller app: max_concurrent must be positive"},
		"a path with dots":    {integrations + `,"callers":{"app":{"keys":["{env.FRESHBEARER_TEST_KEY}"],"paths":["/a/../b"]}}`, `caller app: paths: "/a/../b" must be a path below the company, such as /invoice: plain, with a slash before it and none after it`},
		"three keys":          {integrations + `,"callers":{"app":{"keys":["{env.A}","{env.B}","{env.C}"]}}`, "caller app: has 3 keys; two are enough to rotate"},
		"no scopes":           {in(`"scopes":[]`), "integration quickbooks: scopes are missing, or one is empty; for accounting it is com.intuit.quickbooks.accounting"},
		"negative lifetime":   {in(`"scopes":["s"],"link_lifetime":-1`), "integration quickbooks: refresh_before, link_lifetime and reauth_link_lifetime must not be negative"},
		"negative buffer":     {in(`"scopes":["s"],"replay_buffer":-1`), "integration quickbooks: replay_buffer must be between 1 byte and 67108864 bytes; every request in flight may hold that much"},
		"a buffer too large":  {in(`"scopes":["s"],"replay_buffer":67108865`), "integration quickbooks: replay_buffer must be between 1 byte and 67108864 bytes; every request in flight may hold that much"},
		"a status of success": {in(`"scopes":["s"],"reauth_status":200`), "integration quickbooks: reauth_status 200 is not a 4xx status"},
		"no redirect_url":     {strings.Replace(integrations, `"redirect_url":"https://qb.example.com/oauth/callback",`, "", 1) + "," + callers, "integration quickbooks: redirect_url is missing"},
		"no provider":         {strings.Replace(integrations, `"quickbooks"`, `"books"`, 1) + "," + callers, `integration books: no provider "books" in this build; 'caddy list-modules' shows which there are`},
		"notices without url": {in(`"scopes":["s"],"notify":{"secrets":["{env.FRESHBEARER_TEST_HOOK}"]}`), "integration quickbooks: notify: url is missing"},
		"notices unsigned":    {in(`"scopes":["s"],"notify":{"url":"https://app.example.com"}`), "integration quickbooks: notify: it needs one secret, or two while it is being changed"},
		"an unknown event": {in(`"scopes":["s"],"notify":{"url":"https://app.example.com","secrets":["{env.FRESHBEARER_TEST_HOOK}"],"events":["grant_gone"]}`),
			`integration quickbooks: notify: event "grant_gone" is not one of [grant_connected grant_refreshed grant_suspect grant_needs_reauth grant_recovered grant_expiring grant_disconnected]`},
		"unknown store engine": {`"store":{"engine":"redis"},` + integrations + "," + callers, "loading the token store module: loading module 'redis': unknown module: freshbearer.stores.redis"},
	} {
		t.Run(name, func(t *testing.T) {
			provisionEnv(t)
			config := &caddy.Config{AppsRaw: caddy.ModuleMap{"freshbearer": json.RawMessage("{" + c.app + "}")}}
			checkFailure(t, caddy.Validate(config), "loading freshbearer app module: provision freshbearer: "+c.want)
		})
	}
}
