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

package caddytest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"go.uber.org/goleak"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/freshbearer/freshbearer"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// The companies of the simulated Intuit.
const (
	realmOne = intuittest.DefaultRealm
	realmTwo = "9130357849536736"
	// realmNone exists at Intuit, and no test connects it.
	realmNone = "4620816365000000000"
)

// site is one integration, on an address of its own.
type site struct {
	Name   string
	Intuit *intuittest.Server
	// Origin is the proxy's own: scheme, host and port. Address is the site's in
	// the Caddyfile, if it is not that.
	Origin, Address string
	// API and Token are where they are, if not at Intuit's URL, and Authorize is
	// where the browser is sent to.
	API, Token, Authorize string
	// Secret is the placeholder of the client secret.
	Secret string
	// Unpaced lets requests go to Intuit that it would refuse: for tests of what
	// comes at once.
	Unpaced bool
	// Options are further lines of the integration, Directive of the
	// directive, Routes of the site.
	Options, Directive, Routes []string
}

// caller is an app that may use the proxy.
type caller struct {
	Name, Key, Placeholder string
	Connections            string
	// Options are further lines.
	Options []string
}

// system is a running Caddy and what surrounds it.
type system struct {
	t   *testing.T
	Dir string
	// Store is the engine: badger, or counted, which is badger with its calls
	// counted.
	Store   string
	Keys    []string
	Sites   []*site
	Callers []*caller
	// Admin is the address of Caddy's admin API, Globals are further lines of
	// the global options.
	Admin   string
	Globals []string
	// Apps is false for a configuration without the freshbearer app.
	Apps bool

	// Intuit and Proxy are those of the first site, Key is the first caller's.
	Intuit *intuittest.Server
	Proxy  string
	Key    string

	secrets []string
	// More are further site blocks.
	More string
	// quic is the first site's address for HTTP/3, if it has one.
	quic string
	// loadedAt is when the last load ended.
	loadedAt time.Time
}

var caddyfile = template.Must(template.New("Caddyfile").Parse(`{
	admin {{.Admin}}
	persist_config off
	auto_https off
	skip_install_trust
	storage file_system {{.Dir}}/caddy
	log {
		level DEBUG
		output file {{.Dir}}/caddy.log {
			roll_disabled
		}
	}
{{range .Globals}}	{{.}}
{{end}}{{if .Apps}}	freshbearer {
		store {{.Store}} {
			path {{.Dir}}/store
		}
		encryption_key{{range .Keys}} {{.}}{{end}}
{{range .Sites}}		integration quickbooks {{.Name}} {
			client_id intuittest-client-id
			client_secret {{.Secret}}
			redirect_url {{.Origin}}/oauth/callback
			scopes com.intuit.quickbooks.accounting
			authorize_url {{or .Authorize .Intuit.AuthorizeURL}}
			token_url {{or .Token .Intuit.TokenURL}}
			revoke_url {{.Intuit.RevokeURL}}
			api_url {{or .API .Intuit.URL}}
{{if .Unpaced}}			pacing off
{{end}}{{range .Options}}			{{.}}
{{end}}		}
{{end}}{{range .Callers}}		caller {{.Name}} {
			key {{.Placeholder}}
{{if .Connections}}			connections {{.Connections}}
{{end}}{{range .Options}}			{{.}}
{{end}}		}
{{end}}	}
{{end}}}
{{$apps := .Apps}}{{range .Sites}}{{or .Address .Origin}} {
	bind 127.0.0.1
	log
{{range .Routes}}	{{.}}
{{end}}{{if $apps}}	freshbearer {{.Name}} {
{{range .Directive}}		{{.}}
{{end}}	}
{{else}}	respond 404
{{end}}}
{{end}}{{.More}}`))

// newSystem prepares a system with one site and one caller, who may use all
// connections. It is started with load.
func newSystem(t *testing.T, change ...func(*system)) *system {
	t.Helper()
	// The first to be registered is the last to be called: by then all is
	// closed, and no goroutine may be left.
	t.Cleanup(func() { noLeak(t) })
	s := &system{t: t, Dir: t.TempDir(), Store: "badger", Admin: "off", Apps: true}
	s.addKey("key")
	s.addCaller("app", "*")
	s.addSite("quickbooks", intuittest.Behaviour{})
	for _, c := range change {
		c(s)
	}
	s.Intuit, s.Proxy, s.Key = s.Sites[0].Intuit, s.Sites[0].Origin, s.Callers[0].Key
	t.Cleanup(s.stop)
	return s
}

// start is newSystem and load.
func start(t *testing.T, change ...func(*system)) *system {
	t.Helper()
	s := newSystem(t, change...)
	if err := s.load(); err != nil {
		t.Fatalf("starting Caddy: %v", err)
	}
	return s
}

func (s *system) addKey(name string) {
	s.t.Helper()
	path := filepath.Join(s.Dir, name)
	key := tokenstore.GenerateKey().Reveal()
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.secrets = append(s.secrets, key)
	s.Keys = append(s.Keys, "{file."+path+"}")
}

func (s *system) addCaller(name, connections string) *caller {
	c := &caller{Name: name, Key: tokenstore.GenerateKey().Reveal(), Connections: connections}
	variable := "FRESHBEARER_TEST_KEY_" + strings.ToUpper(name)
	s.t.Setenv(variable, c.Key)
	c.Placeholder = "{env." + variable + "}"
	s.Callers = append(s.Callers, c)
	s.secrets = append(s.secrets, c.Key)
	return c
}

func (s *system) addSite(name string, behaviour intuittest.Behaviour) *site {
	s.t.Helper()
	in := intuittest.NewServer(intuittest.Config{
		ClientID: intuittest.DefaultClientID, ClientSecret: intuittest.DefaultClientSecret,
		Clients: []intuittest.Client{{ID: otherClientID, Secret: "other-secret"}},
		Companies: []intuittest.Company{
			{RealmID: realmOne, Name: "Sandbox Company US 1"},
			{RealmID: realmTwo, Name: "Craig's Design and Landscaping"},
			{RealmID: realmNone, Name: "Nobody's"},
		},
		Behaviour: behaviour,
		History:   200000,
	})
	s.t.Cleanup(in.Close)
	s.t.Setenv("FRESHBEARER_TEST_SECRET", intuittest.DefaultClientSecret)
	site := &site{Name: name, Intuit: in, Origin: "http://" + freeAddress(s.t), Secret: "{env.FRESHBEARER_TEST_SECRET}"}
	s.Sites = append(s.Sites, site)
	return site
}

// usedPorts are those that freeAddress has returned.
var usedPorts = make(map[int]bool)

// freeAddress finds a port that nobody listens on. It is none of those that
// systems give to outgoing connections, one of which could take it before Caddy
// does.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 1000 {
		port := 10000 + rand.IntN(20000)
		if usedPorts[port] {
			continue
		}
		usedPorts[port] = true
		address := fmt.Sprint("127.0.0.1:", port)
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// config adapts the Caddyfile.
func (s *system) config() ([]byte, error) {
	var text bytes.Buffer
	if err := caddyfile.Execute(&text, s); err != nil {
		return nil, err
	}
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(text.Bytes(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w in\n%s", err, text.String())
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			return nil, fmt.Errorf("adapting warns: %s", w)
		}
	}
	return config, nil
}

// load starts Caddy, or reloads it.
func (s *system) load() error {
	config, err := s.config()
	if err != nil {
		return err
	}
	defer func() { s.loadedAt = time.Now() }()
	return caddy.Load(config, true)
}

// stop stops Caddy and reads its log.
func (s *system) stop() {
	if s.Admin != "off" {
		// caddy.Stop leaves the admin endpoint to the end of the process.
		if err := caddy.Load([]byte(`{"admin":{"disabled":true,"config":{"persist":false}}}`), true); err != nil {
			s.t.Errorf("closing the admin endpoint: %v", err)
		}
	}
	if err := caddy.Stop(); err != nil {
		s.t.Errorf("stopping Caddy: %v", err)
	}
	s.logHoldsNoSecret()
}

// logHoldsNoSecret looks for everything secret in Caddy's log, access log
// included, which was written at its most talkative.
func (s *system) logHoldsNoSecret() {
	log, err := os.ReadFile(filepath.Join(s.Dir, "caddy.log"))
	if err != nil {
		s.t.Errorf("reading Caddy's log: %v", err)
	}
	secrets := append([]string{intuittest.DefaultClientSecret}, s.secrets...)
	for _, site := range s.Sites {
		secrets = append(secrets, tokensOf(site.Intuit)...)
	}
	for _, secret := range secrets {
		if i := bytes.Index(log, []byte(secret)); i >= 0 {
			s.t.Errorf("a secret is in Caddy's log: …%s…", log[max(0, i-200):min(len(log), i+60)])
		}
	}
	if !s.t.Failed() {
		return
	}
	var telling [][]byte
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte(`"level":"warn"`)) || bytes.Contains(line, []byte(`"level":"error"`)) {
			telling = append(telling, line)
		}
	}
	s.t.Logf("warnings and errors in Caddy's log, the last 20 of %d:\n%s",
		len(telling), bytes.Join(telling[max(0, len(telling)-20):], nil))
}

// tokensOf returns every token of the simulated Intuit that it remembers: what
// it was sent, and what is current.
func tokensOf(in *intuittest.Server) []string {
	seen := map[string]bool{}
	for _, r := range in.APIRequests() {
		for _, line := range r.Header["Authorization"] {
			if token, ok := strings.CutPrefix(line, "Bearer "); ok {
				seen[token] = true
			}
		}
		seen[r.TokenID] = true
	}
	for _, r := range in.TokenRequests() {
		seen[r.RefreshToken] = true
	}
	for _, c := range in.Companies() {
		for _, g := range in.Grants(c.RealmID) {
			seen[g.AccessToken], seen[g.RefreshToken] = true, true
		}
	}
	var all []string
	for token := range seen {
		if len(token) >= 8 {
			all = append(all, token)
		}
	}
	return all
}

// noLeak waits for the goroutines of a stopped system to end.
func noLeak(t *testing.T) {
	t.Helper()
	if err := eventually(10*time.Second, func() error { return goleak.Find(lingering...) }); err != nil {
		t.Errorf("goroutines are left after caddy.Stop: %v", err)
	}
}

// lingering are the goroutines that outlive a Caddy by design.
var lingering = []goleak.Option{
	// certmagic's lock on Caddy's own storage, taken once a process to clean
	// that up, was given back; its keeper wakes up every 5 s to find out.
	goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"),
}

// eventually tries until there is no error, and returns the last one.
func eventually(limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
