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
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func init() {
	caddy.RegisterModule(panicking{})
	httpcaddyfile.RegisterHandlerDirective("freshbearer_panicking", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return panicking{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("freshbearer_panicking", httpcaddyfile.Before, "respond")
}

// panicking is somebody else's module around ours: its writer panics in the
// middle of an answer, with the token in the frames below.
type panicking struct{}

func (panicking) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.freshbearer_panicking", New: func() caddy.Module { return new(panicking) }}
}

func (panicking) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.Header.Get("X-Panic") != "" {
		w = panickingWriter{w}
	}
	return next.ServeHTTP(w, r)
}

type panickingWriter struct{ http.ResponseWriter }

func (panickingWriter) WriteHeader(int)           { panic("forced by a test") }
func (panickingWriter) Write([]byte) (int, error) { panic("forced by a test") }

// tap stands before the token endpoint and learns what is secret on the wire.
type tap struct {
	*httptest.Server
	mu    sync.Mutex
	heard map[string][]string
}

func newTap(t *testing.T, endpoint string) *tap {
	target, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{heard: make(map[string][]string)}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL, r.Out.Host = target, target.Host
			body, _ := io.ReadAll(r.In.Body)
			r.Out.Body = io.NopCloser(bytes.NewReader(body))
			form, _ := url.ParseQuery(string(body))
			for _, name := range []string{"code", "code_verifier", "refresh_token"} {
				p.hear(name, form.Get(name))
			}
			p.hear("client's basic auth", strings.TrimPrefix(r.In.Header.Get("Authorization"), "Basic "))
		},
		ModifyResponse: func(resp *http.Response) error {
			body, err := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(body))
			var tokens map[string]any
			if json.Unmarshal(body, &tokens) == nil {
				for _, name := range []string{"access_token", "refresh_token", "id_token"} {
					text, _ := tokens[name].(string)
					p.hear(name, text)
				}
			}
			return err
		},
	}
	p.Server = httptest.NewServer(proxy)
	t.Cleanup(p.Close)
	return p
}

func (p *tap) hear(name, value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if value != "" {
		p.heard[name] = append(p.heard[name], value)
	}
}

// canaryRun is a proxy whose every secret is known, and what has come out of it.
type canaryRun struct {
	*system
	// tokens must never come out at all. links are for the humans and apps that
	// they are made for, and must come out nowhere else.
	tokens, links *canaries
	outputs       map[string][]byte
}

// heard keeps an answer, under what it is an answer to.
func (r *canaryRun) heard(what string, a answer) answer {
	var all bytes.Buffer
	_ = a.Header.Write(&all) // to memory
	_ = a.Trailer.Write(&all)
	r.outputs[what] = append(append(r.outputs[what], all.Bytes()...), a.Body...)
	return a
}

// linksIn learns the signed links, form tokens and cookies of an answer.
func (r *canaryRun) linksIn(kind string, a answer) {
	all := html.UnescapeString(a.Header.Get("Location") + " " + string(a.Body))
	for _, name := range []string{"link", "result", "token", "proof"} {
		for _, m := range regexp.MustCompile(name+`(?:=|" value=")([\w.-]{20,})`).FindAllStringSubmatch(all, -1) {
			r.links.add(kind+" "+name, m[1])
		}
	}
	for _, line := range a.Header["Set-Cookie"] {
		if c, err := http.ParseSetCookie(line); err == nil {
			r.links.add(kind+" cookie", c.Value)
		}
	}
}

// Forty and more secrets, every fault of Intuit's, and everything that can be
// read of the proxy, with Caddy at its most talkative.
func TestCanary(t *testing.T) {
	r := &canaryRun{tokens: newCanaries(), links: newCanaries(), outputs: make(map[string][]byte)}
	var hook *receiver
	var taps *tap
	r.system = newSystem(t, func(s *system) {
		s.Admin = freeAddress(t)
		withWitness(s)
		s.Globals = append(s.Globals, "servers {", "log_credentials", "trace", "}", "metrics")
		hook = s.addReceiver()
		s.addKey("second")
		taps = newTap(t, s.Sites[0].Intuit.TokenURL())
		s.Sites[0].Token = taps.URL
		s.Sites[0].Routes = []string{"freshbearer_panicking"}
		second := tokenstore.GenerateKey().Reveal()
		t.Setenv("FRESHBEARER_TEST_KEY_SECOND", second)
		s.secrets = append(s.secrets, second)
		s.Callers[0].Placeholder += " {env.FRESHBEARER_TEST_KEY_SECOND}"
		s.addCaller("other", "")
		// A site for each fault: what one does to the patience with a provider
		// must not keep the next from happening.
		for _, ep := range []intuittest.Endpoint{intuittest.EndpointToken, intuittest.EndpointAPI, intuittest.EndpointRevoke} {
			for _, kind := range intuittest.FaultKinds(ep) {
				site := s.addSite(fmt.Sprintf("%s-%s", ep, strings.ReplaceAll(string(kind), "_", "-")), intuittest.Behaviour{})
				if len(s.Sites)%3 == 0 {
					site.Directive = []string{"reverse_proxy"}
				}
			}
		}
	})
	caddy.ConfigAutosavePath = filepath.Join(r.Dir, "autosave.json")
	r.persist(t)

	r.useIt(t)
	r.breakIt(t)
	r.askTheOperatorsSide(t)
	for _, e := range seen() {
		r.outputs["events"] = fmt.Appendf(r.outputs["events"], "%s %+v\n", e.Name(), e.Data)
	}
	for _, n := range hook.notices() {
		r.outputs["webhooks"] = append(append(r.outputs["webhooks"], n.body...), fmt.Sprint(n.header)...)
	}
	for name, values := range taps.heard {
		for _, v := range values {
			r.tokens.add(name, v)
		}
	}
	// What hangs ends with Intuit.
	for _, site := range r.Sites {
		r.learn(site.Intuit)
		site.Intuit.Close()
	}
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	r.readFiles(t)
	// The harness looks for them in the log, too, and knows no exception.
	defer func() { r.secrets = nil }()

	r.tokens.add("client secret", intuittest.DefaultClientSecret)
	r.tokens.add("client's basic auth", base64.StdEncoding.EncodeToString([]byte(intuittest.DefaultClientID+":"+intuittest.DefaultClientSecret)))
	for _, s := range r.secrets {
		r.tokens.add("configured", s)
		if key, err := base64.StdEncoding.DecodeString(s); err == nil {
			r.tokens.add("configured, decoded", string(key))
		}
	}
	t.Logf("%d tokens, keys and codes; %d links, form tokens and cookies", len(r.tokens.named), len(r.links.named))
	kinds := make(map[string]bool)
	for name := range r.tokens.named {
		kinds[strings.TrimRight(name, " 0123456789")] = true
	}
	for _, kind := range []string{"access_token", "refresh_token", "code", "code_verifier", "state", "configured", "client secret", "client's basic auth"} {
		if !kinds[kind] {
			t.Errorf("there is no %s to look for", kind)
		}
	}
	if len(r.tokens.named) < 40 || len(r.links.named) < 8 {
		t.Errorf("too few secrets: %q", slices.Concat(keysOf(r.tokens.named), keysOf(r.links.named)))
	}
	for where, output := range r.outputs {
		t.Logf("%s: %d bytes", where, len(output))
		r.tokens.absent(t, where, output)
		// Links are in the answers to those whom they are for, and in what their
		// app is told.
		if !strings.HasPrefix(where, "answers") && where != "events" && where != "webhooks" {
			r.links.absent(t, where, output)
		}
	}
}

func keysOf(m map[string]string) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// persist starts Caddy with a configuration that it saves.
func (r *canaryRun) persist(t *testing.T) {
	t.Helper()
	former := caddy.ConfigAutosavePath
	t.Cleanup(func() { caddy.ConfigAutosavePath = former })
	config, err := r.config()
	if err != nil {
		t.Fatal(err)
	}
	r.outputs["adapted configuration"] = config
	saved := bytes.Replace(config, []byte(`"persist":false`), []byte(`"persist":true`), 1)
	if bytes.Equal(saved, config) {
		t.Fatalf("the configuration would not be saved: %s", config)
	}
	if err := caddy.Load(saved, true); err != nil {
		t.Fatal(err)
	}
	r.loadedAt = time.Now()
}

func (r *canaryRun) learn(in *intuittest.Server) {
	for _, token := range tokensOf(in) {
		// The id of an access token is in Intuit's answers, and no secret.
		if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(token) {
			r.tokens.add("token", token)
		}
	}
}

// useIt does what humans and apps do.
func (r *canaryRun) useIt(t *testing.T) {
	t.Helper()
	c := client(t)
	for _, realm := range []string{realmOne, realmTwo, realmOne} {
		w := walker(t)
		made := r.heard("answers to callers", mustDo(t, c, http.MethodPost, r.Proxy+"/oauth/links", []byte(`{"connection":"`+realm+`"}`), r.bearer()))
		r.linksIn("connect", made)
		var link struct{ URL string }
		if err := json.Unmarshal(made.Body, &link); err != nil {
			t.Fatal(err)
		}
		r.heard("answers to browsers", mustDo(t, w, http.MethodGet, link.URL, nil))
		callback := r.begin(w, link.URL, realm)
		for _, name := range []string{"state", "code"} {
			r.tokens.add(name, callback.Query().Get(name))
		}
		for _, cookie := range w.Jar.Cookies(callback) {
			r.links.add("state cookie", cookie.Value)
		}
		// A guess first, then the real one, then a replay.
		forged := *callback
		forged.RawQuery = "state=guessed&code=guessed"
		r.heard("answers to browsers", mustDo(t, w, http.MethodGet, forged.String(), nil))
		done := r.heard("answers to browsers", mustDo(t, w, http.MethodGet, callback.String(), nil))
		r.linksIn("connected", done)
		r.heard("answers to browsers", mustDo(t, w, http.MethodGet, done.Header.Get("Location"), nil))
		r.heard("answers to browsers", mustDo(t, w, http.MethodGet, callback.String(), nil))
	}
	r.heard("answers to browsers", mustDo(t, c, http.MethodGet, r.Proxy+"/oauth/callback?error=access_denied&state=x", nil))
	for range 3 {
		r.heard("answers to callers", r.get(c, realmOne))
		r.Intuit.RevokeAccess(realmOne)
	}
	r.heard("answers to callers", mustDo(t, c, http.MethodPost, r.Proxy+"/oauth/connections/"+realmTwo+"/refresh", nil, r.bearer()))
	r.heard("answers to callers", mustDo(t, c, http.MethodGet, r.Proxy+"/oauth/connections", nil, r.bearer()))
	// Who may not, and what does not fit.
	for _, target := range []string{companyInfo(realmOne), "/oauth/connections/" + realmOne, "/v3/company/../" + realmOne, "/oauth/nothing"} {
		for _, line := range []string{"Authorization: Bearer " + r.Callers[1].Key, "Authorization: Bearer a-guess-of-somebody-who-is-nobody", "X-None: 1"} {
			r.heard("answers to strangers", mustDo(t, c, http.MethodGet, r.Proxy+target, nil, line))
		}
	}
	r.heard("answers to callers", mustDo(t, c, http.MethodGet, r.Proxy+companyInfo(realmOne), nil, r.bearer(), "Accept: text/html"))
	// A panic around the forwarder, once with a fresh token and once while one
	// is refused.
	for range 2 {
		if _, err := do(c, http.MethodGet, r.Proxy+companyInfo(realmOne), nil, r.bearer(), "X-Panic: 1"); err == nil {
			t.Error("nothing has panicked")
		}
		r.Intuit.RevokeAccess(realmOne)
	}
	r.disconnectByLink(t)
	r.Intuit.KillGrant(realmOne)
	dead := r.heard("answers to callers", r.get(c, realmOne))
	err := eventually(20*time.Second, func() error {
		if dead = r.heard("answers to callers", r.get(c, realmOne)); dead.Status != http.StatusPreconditionRequired {
			return fmt.Errorf("a dead grant is answered %d", dead.Status)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	r.linksIn("reauthorize", dead)
}

func (r *canaryRun) disconnectByLink(t *testing.T) {
	t.Helper()
	w := walker(t)
	made := mustDo(t, w, http.MethodPost, r.Proxy+"/oauth/links", []byte(`{"purpose":"disconnect","connection":"`+realmTwo+`"}`), r.bearer())
	r.linksIn("disconnect", r.heard("answers to callers", made))
	var link struct{ URL string }
	if err := json.Unmarshal(made.Body, &link); err != nil {
		t.Fatal(err)
	}
	page := r.heard("answers to browsers", mustDo(t, w, http.MethodGet, link.URL, nil))
	r.linksIn("disconnect", page)
	form := make(url.Values)
	for _, m := range regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(string(page.Body), -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	action, _, _ := strings.Cut(link.URL, "?")
	for _, body := range []string{"token=forged&link=" + url.QueryEscape(form.Get("link")), form.Encode()} {
		a := mustDo(t, w, http.MethodPost, action, []byte(body), "Content-Type: application/x-www-form-urlencoded", "Origin: "+r.Proxy)
		r.linksIn("disconnected", r.heard("answers to browsers", a))
		if want := body == form.Encode(); want != (a.Status == http.StatusSeeOther) {
			t.Errorf("the form was answered %d %s", a.Status, a.Body)
		}
	}
}

// breakIt lets every fault happen, each at a site of its own, at once.
func (r *canaryRun) breakIt(t *testing.T) {
	t.Helper()
	var group sync.WaitGroup
	answers := make([][]answer, len(r.Sites))
	for i, site := range r.Sites[1:] {
		connectAt(t, site, r.Key, realmOne)
		group.Go(func() {
			c := client(t)
			c.Timeout = 2 * time.Second // some never answer
			name, kind, _ := strings.Cut(site.Name, "-")
			fault := intuittest.Fault{
				Kind: intuittest.FaultKind(strings.ReplaceAll(kind, "-", "_")), Times: 3, Delay: 20 * time.Millisecond,
				Status: http.StatusTeapot, Body: "something else", Size: 1 << 20, RetryAfter: time.Minute,
			}
			if fault.Kind == intuittest.FaultDrip {
				fault.Delay = time.Millisecond
			}
			if err := site.Intuit.QueueFault(intuittest.Endpoint(name), fault); err != nil {
				t.Errorf("%s: %v", site.Name, err)
				return
			}
			method, target := http.MethodGet, companyInfo(realmOne)
			switch intuittest.Endpoint(name) {
			case intuittest.EndpointToken:
				site.Intuit.RevokeAccess(realmOne)
			case intuittest.EndpointRevoke:
				method, target = http.MethodDelete, "/oauth/connections/"+realmOne
			}
			for range 2 {
				a, err := do(c, method, site.Origin+target, nil, r.bearer())
				if err == nil {
					answers[i] = append(answers[i], a)
				}
				method, target = http.MethodGet, companyInfo(realmOne)
			}
			// The doctor meets the others once more, and would wait for these.
			if fault.Kind == intuittest.FaultHang || fault.Kind == intuittest.FaultHangAfter {
				site.Intuit.ClearFaults()
			}
		})
	}
	group.Wait()
	for _, list := range answers {
		for _, a := range list {
			r.heard("answers to callers", a)
		}
	}
}

// askTheOperatorsSide reads what Caddy's admin API tells.
func (r *canaryRun) askTheOperatorsSide(t *testing.T) {
	t.Helper()
	c := walker(t)
	ask := func(what, method, path string, body []byte, lines ...string) answer {
		t.Helper()
		a := mustDo(t, c, method, "http://"+r.Admin+path, body, append(lines, "Origin: http://"+r.Admin)...)
		if a.Status >= http.StatusInternalServerError {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
		return r.heard(what, a)
	}
	for _, path := range []string{
		"/config/", "/metrics", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline", "/debug/vars",
		"/freshbearer/audit?limit=1000", "/freshbearer/audit/verify", "/freshbearer/doctor",
	} {
		ask("admin "+path, http.MethodGet, path, nil)
	}
	ask("admin rekey", http.MethodPost, "/freshbearer/rekey", nil)
	ask("admin recheck", http.MethodPost, "/freshbearer/recheck?integration=quickbooks&connection="+realmTwo, nil)
	ask("admin backup", http.MethodGet, "/freshbearer/backup", nil)
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if a := ask("admin export", http.MethodPost, "/freshbearer/export?recipient="+stranger.Recipient().String(), nil); a.Status != http.StatusOK {
		t.Errorf("export: %d %s", a.Status, a.Body)
	}
	list := ask("answers of the status page", http.MethodGet, "/freshbearer/", nil)
	r.linksIn("status", list)
	one := ask("answers of the status page", http.MethodGet, "/freshbearer/connection?integration=quickbooks&connection="+realmTwo, nil)
	r.linksIn("status", one)
	m := regexp.MustCompile(`name="token" value="([^"]+)"`).FindSubmatch(one.Body)
	if m == nil {
		t.Fatalf("the status page has no form: %d %s", one.Status, one.Body)
	}
	for _, button := range []string{"recheck", "connect"} {
		form := url.Values{"token": {html.UnescapeString(string(m[1]))}, "do": {button}, "integration": {"quickbooks"}, "connection": {realmTwo}}
		a := ask("answers of the status page", http.MethodPost, "/freshbearer/do", []byte(form.Encode()), "Content-Type: application/x-www-form-urlencoded")
		if a.Status >= http.StatusBadRequest {
			t.Errorf("%s: %d %s", button, a.Status, a.Body)
		}
		r.linksIn("status", a)
	}
}

// readFiles reads everything that is left on the disk, but for the keys.
func (r *canaryRun) readFiles(t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(r.Dir, "caddy.log"))
	if err != nil {
		t.Fatal(err)
	}
	r.outputs["log"] = withoutCallersOwn(t, log)
	err = filepath.WalkDir(r.Dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(r.Dir, path)
		if err != nil || d.IsDir() || rel == "caddy.log" || rel == "key" || rel == "second" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		// Caddy's own storage is Caddy's.
		if private := info.Mode().Perm()&0o077 == 0; strings.HasPrefix(rel, "store") && !private && !closedDir(path) {
			t.Errorf("%s can be read by others: %s", rel, info.Mode())
		}
		data, err := os.ReadFile(path)
		if len(data) > 0 {
			r.outputs["file "+rel] = data
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, name := range []string{"file autosave.json", "file store/freshbearer.audit/000000000001.jsonl"} {
		if len(r.outputs[name]) == 0 {
			t.Errorf("there is no %s", name)
		}
	}
}

// closedDir tells whether nobody else can enter the directory of a file.
func closedDir(path string) bool {
	info, err := os.Stat(filepath.Dir(path))
	return err == nil && info.Mode().Perm()&0o077 == 0
}

// withoutCallersOwn takes out of Caddy's access log what log_credentials is
// for: the credentials that a client has sent. It is Caddy that writes them,
// and nothing else of the log is left out.
func withoutCallersOwn(t *testing.T, log []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	own := 0
	for line := range bytes.Lines(log) {
		var entry struct {
			Logger  string `json:"logger"`
			Request struct {
				Headers map[string][]string `json:"headers"`
			} `json:"request"`
		}
		if json.Unmarshal(line, &entry) == nil && (strings.HasPrefix(entry.Logger, "http.log.access") || strings.HasPrefix(entry.Logger, "http.log.error")) {
			for _, name := range []string{"Authorization", "Cookie"} {
				for _, value := range entry.Request.Headers[name] {
					quoted, err := json.Marshal(value)
					if err != nil {
						t.Fatal(err)
					}
					field := slices.Concat([]byte(`"`+name+`":[`), quoted)
					if !bytes.Contains(line, field) {
						t.Fatalf("%s is not where it was expected: %s", field, line)
					}
					line = bytes.Replace(line, field, []byte(`"`+name+`":["left out"`), 1)
					own++
				}
			}
		}
		out.Write(line)
	}
	if own == 0 {
		t.Error("log_credentials has no effect: this log proves less than it should")
	}
	for _, part := range []string{"http.log.trace", "http.handlers.reverse_proxy", "panic", "freshbearer.grant", "events"} {
		if !bytes.Contains(log, []byte(part)) {
			t.Errorf("the log has nothing of %s: it proves less than it should", part)
		}
	}
	return out.Bytes()
}

// Interface guards
var _ caddyhttp.MiddlewareHandler = panicking{}
