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

package reliability_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// site is an integration with a simulated Intuit of its own.
type site struct {
	Name   string
	Intuit *intuittest.Server
	Origin string
	// Link changes with every reload, so that there is something to reload.
	Link int
	// Hook is where notices go, empty for nowhere.
	Hook string
}

// system is a proxy, which may be running, and what surrounds it.
type system struct {
	t     *testing.T
	Dir   string
	Store string
	// MinFree is that of the store; empty: its default.
	MinFree string
	Admin   string
	Key     string
	// Keys are the files of the encryption keys.
	Keys  []string
	Sites []*site

	client *http.Client
	proc   *process
}

var caddyfile = template.Must(template.New("Caddyfile").Parse(`{
	admin {{.Admin}}
	persist_config off
	auto_https off
	skip_install_trust
	storage file_system {{.Dir}}/caddy
	freshbearer {
		store badger {
			path {{.Store}}
{{with .MinFree}}			min_free {{.}}
{{end}}		}
		encryption_key{{range .Keys}} {file.{{.}}}{{end}}
{{range .Sites}}		integration quickbooks {{.Name}} {
			client_id intuittest-client-id
			client_secret {env.FRESHBEARER_TEST_SECRET}
			redirect_url {{.Origin}}/oauth/callback
			scopes com.intuit.quickbooks.accounting
			pacing off
			authorize_url {{.Intuit.AuthorizeURL}}
			token_url {{.Intuit.TokenURL}}
			revoke_url {{.Intuit.RevokeURL}}
			api_url {{.Intuit.URL}}
			link_lifetime {{.Link}}m
{{if .Hook}}			notify {{.Hook}} {
				secret {env.FRESHBEARER_TEST_HOOK}
			}
{{end}}		}
{{end}}		caller app {
			key {env.FRESHBEARER_TEST_KEY}
			connections *
		}
	}
}
{{range .Sites}}{{.Origin}} {
	bind 127.0.0.1
	freshbearer {{.Name}}
}
{{end}}`))

// history is how much a simulated Intuit remembers: what some cycles of a gate
// need, and little enough for an hour of them.
const history = 30000

func newSystem(t *testing.T, behaviours ...intuittest.Behaviour) *system {
	t.Helper()
	dir := t.TempDir()
	s := &system{t: t, Dir: dir, Store: filepath.Join(dir, "store"), Admin: "off", Key: tokenstore.GenerateKey().Reveal()}
	s.Keys = []string{s.newKey("key")}
	for i, b := range behaviours {
		in := intuittest.NewServer(intuittest.Config{
			ClientID: intuittest.DefaultClientID, ClientSecret: intuittest.DefaultClientSecret, Behaviour: b, History: history,
		})
		t.Cleanup(in.Close)
		s.Sites = append(s.Sites, &site{Name: "quickbooks" + strconv.Itoa(i), Intuit: in, Origin: "http://" + freeAddress(t), Link: 10})
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: transport, Timeout: time.Minute}
	return s
}

// newKey makes an encryption key and returns its file.
func (s *system) newKey(name string) string {
	s.t.Helper()
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, []byte(tokenstore.GenerateKey().Reveal()+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

var (
	portsMu sync.Mutex
	ports   = make(map[int]bool)
)

// freeAddress finds a port that nobody listens on. It is none of those that
// systems give to outgoing connections: one of these could take it while the
// process that listens on it is being started again.
func freeAddress(t *testing.T) string {
	t.Helper()
	portsMu.Lock()
	defer portsMu.Unlock()
	for range 1000 {
		port := 10000 + rand.IntN(20000)
		if ports[port] {
			continue
		}
		ports[port] = true
		address := "127.0.0.1:" + strconv.Itoa(port)
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// config is the Caddyfile.
func (s *system) config() []byte {
	s.t.Helper()
	var text bytes.Buffer
	if err := caddyfile.Execute(&text, s); err != nil {
		s.t.Fatal(err)
	}
	return text.Bytes()
}

// spawn starts the process; up waits for it.
func (s *system) spawn() *process {
	s.t.Helper()
	path := filepath.Join(s.Dir, "Caddyfile-"+strconv.Itoa(len(s.Admin)))
	if err := os.WriteFile(path, s.config(), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if s.proc != nil {
		s.proc.forget()
	}
	s.proc = spawn(s.t, s.Dir, path, environment(s.Dir,
		"FRESHBEARER_TEST_SECRET="+intuittest.DefaultClientSecret, "FRESHBEARER_TEST_KEY="+s.Key,
		"FRESHBEARER_TEST_HOOK="+hookSecret))
	return s.proc
}

func (s *system) up() {
	s.t.Helper()
	for _, at := range s.Sites {
		if _, err := s.proc.up(at.Origin); err != nil {
			s.t.Fatal(err)
		}
	}
}

// answer is a response that was read to its end, with what the tests look at
// in one of the proxy's own.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
	Took   time.Duration

	Error     string `json:"error"`
	Cause     string `json:"cause"`
	ReauthURL string `json:"reauth_url"`
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s %s %.300s", a.Status, a.Error, a.Cause, a.Body)
}

func (s *system) do(c *http.Client, method, url string, body []byte) (answer, error) {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	req.Header.Set("Content-Type", "application/json")
	return send(c, req)
}

func send(c *http.Client, req *http.Request) (answer, error) {
	start := time.Now()
	resp, err := c.Do(req)
	if err != nil {
		return answer{Took: time.Since(start)}, err
	}
	defer resp.Body.Close()
	a := answer{Status: resp.StatusCode, Header: resp.Header}
	a.Body, err = io.ReadAll(resp.Body)
	a.Took = time.Since(start)
	if resp.Header.Get("Proxy-Status") != "" {
		_ = json.Unmarshal(a.Body, &a) // a page or XML has none of this
	}
	return a, err
}

func companyInfo(realm string) string { return "/v3/company/" + realm + "/companyinfo/" + realm }

// get asks for a company's own record.
func (s *system) get(at *site, realm string) (answer, error) {
	return s.do(s.client, http.MethodGet, at.Origin+companyInfo(realm), nil)
}

// connect connects a company as a human with a browser does, at the address
// that a link, or the answer 428, names.
func (s *system) connect(at *site, realm, address string) error {
	if address == "" {
		a, err := s.do(s.client, http.MethodPost, at.Origin+"/oauth/links", []byte(`{"connection":"`+realm+`"}`))
		if err != nil {
			return err
		}
		var made struct{ URL string }
		if err := json.Unmarshal(a.Body, &made); err != nil || made.URL == "" {
			return fmt.Errorf("asking for a link: %s", a)
		}
		address = made.URL
	}
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = realm })
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodGet, address+"&start=1", nil)
	if err != nil {
		return err
	}
	page, err := send(&http.Client{Transport: s.client.Transport, Jar: jar, Timeout: time.Minute}, req)
	if err != nil {
		return err
	}
	if page.Status != http.StatusOK || !bytes.Contains(page.Body, []byte("Connected to QuickBooks")) {
		return fmt.Errorf("connecting %s ended with %d %.500s", realm, page.Status, page.Body)
	}
	return nil
}

// connectAll connects so many companies and returns them.
func (s *system) connectAll(at *site, n int) []string {
	s.t.Helper()
	realms := make([]string, n)
	for i := range realms {
		realms[i] = strconv.Itoa(4620816365000000000 + i)
		at.Intuit.Connect(realms[i]) // makes the company known
		if err := s.connect(at, realms[i], ""); err != nil {
			s.t.Fatal(err)
		}
	}
	return realms
}

// serves checks that every connection works in the end.
func (s *system) serves(at *site, realms []string) {
	s.t.Helper()
	var wg sync.WaitGroup
	for _, realm := range realms {
		wg.Go(func() {
			if err := eventually(30*time.Second, func() error {
				a, err := s.get(at, realm)
				if err == nil && a.Status != http.StatusOK {
					err = errors.New(a.String())
				}
				return err
			}); err != nil {
				s.t.Errorf("%s is lost: %v", realm, err)
			}
		})
	}
	wg.Wait()
}

// neverTwoAtOnce checks what the provider has seen of single flight.
func neverTwoAtOnce(t *testing.T, in *intuittest.Server) {
	t.Helper()
	c := in.Counters()
	for realm, most := range c.MaxConcurrentRefreshes {
		if most > 1 {
			t.Errorf("%s was refreshed %d times at once", realm, most)
		}
	}
	if c.OverlappingRefreshes != 0 {
		t.Errorf("%d refreshes with one token at once", c.OverlappingRefreshes)
	}
}

// severed tells whether an error is of the connection, not of the request: the
// process was not there, or closed the connection before it answered.
func severed(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	for _, sign := range []string{"EOF", "connection reset", "broken pipe", "server closed idle connection", "connection refused"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}
