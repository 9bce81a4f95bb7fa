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
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// firstUser follows docs/quickstart.md.
type firstUser struct {
	t    *testing.T
	dir  string
	env  []string
	text *strings.Replacer
}

// What the quick start says, in its order, leads from nothing to a call. Only
// Intuit's addresses and the port are others.
func TestQuickStart(t *testing.T) {
	const clientID, clientSecret = "ABxCL1ENT1D", "the secret of the portal"
	in := intuittest.NewServer(intuittest.Config{ClientID: clientID, ClientSecret: clientSecret})
	t.Cleanup(in.Close)
	address := freeAddress(t)
	local := strings.Replace(address, "127.0.0.1", "localhost", 1)
	dir, home := t.TempDir(), t.TempDir()
	u := &firstUser{t: t, dir: dir, text: strings.NewReplacer("localhost:8080", local), env: append(os.Environ(),
		"HOME="+home, "XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "CADDY_ADMIN="+freeAddress(t),
		"CLIENT_SECRET="+clientSecret, "COMPANY="+intuittest.DefaultRealm,
	)}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "caddy"), "../cmd/caddy")
	build.Env = append(os.Environ(), "HOME="+userHome)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building Caddy: %v\n%s", err, out)
	}

	_, blocks := readGuide(t, "../docs/quickstart.md")
	done := make(map[string]bool)
	for _, b := range blocks {
		switch code := u.text.Replace(b.code); {
		case b.language == "caddyfile":
			code = strings.Replace(code, "scopes ", "authorize_url "+in.AuthorizeURL()+"\n\t\t\ttoken_url "+in.TokenURL()+
				"\n\t\t\trevoke_url "+in.RevokeURL()+"\n\t\t\tapi_url "+in.URL()+"\n\t\t\tscopes ", 1)
			if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			done["write"] = true
		case b.language != "sh":
		case strings.Contains(code, "freshbearer demo"), strings.Contains(code, "go build"):
			// The demo has a test of its own, and the build was done above.
		case strings.HasPrefix(code, "./caddy run"):
			u.start(code, address)
			done["run"] = true
		case strings.Contains(code, "/oauth/links"):
			u.connect(u.sh(code))
			done["connect"] = true
		case strings.Contains(code, "/oauth/connections"):
			if out := u.sh(code); !strings.Contains(out, `"connection":"`+intuittest.DefaultRealm+`"`) {
				t.Errorf("the list of connections is %s", out)
			}
			done["list"] = true
		case strings.Contains(code, "companyinfo"):
			if out := u.sh(code); !strings.Contains(out, `"CompanyName":"Sandbox Company`) {
				t.Errorf("the call answers %s", out)
			}
			done["call"] = true
		case strings.Contains(code, "doctor"):
			out := u.sh(code)
			if strings.Contains(out, "fault ") || !strings.Contains(out, " 0 faults") {
				t.Errorf("%s prints\n%s", code, out)
			}
			done[strings.TrimSpace(code)] = true
		default:
			u.sh(code)
			done["secrets"] = true
		}
	}
	for _, step := range []string{"secrets", "write", "./caddy freshbearer doctor --config Caddyfile", "run", "./caddy freshbearer doctor", "connect", "list", "call"} {
		if !done[step] {
			t.Errorf("the quick start has no step %s", step)
		}
	}
}

func (u *firstUser) command(code string) *exec.Cmd {
	cmd := exec.CommandContext(u.t.Context(), "sh", "-eu", "-c", code)
	cmd.Dir, cmd.Env, cmd.WaitDelay = u.dir, u.env, time.Second
	return cmd
}

func (u *firstUser) sh(code string) string {
	u.t.Helper()
	cmd := u.command(code)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		u.t.Fatalf("%s: %v\n%s%s", code, err, out.Bytes(), problems.Bytes())
	}
	return out.String()
}

// start runs Caddy until the test ends.
func (u *firstUser) start(code, address string) {
	u.t.Helper()
	cmd := u.command("exec " + code)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if u.t.Failed() {
			u.t.Logf("Caddy's log:\n%s", log.Bytes())
		}
	})
	c := client(u.t)
	if err := eventually(30*time.Second, func() error {
		_, err := do(c, http.MethodGet, "http://"+address+"/", nil)
		return err
	}); err != nil {
		u.t.Fatalf("Caddy does not start: %v", err)
	}
}

// connect opens a link as a browser does.
func (u *firstUser) connect(answer string) {
	u.t.Helper()
	var made struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal([]byte(answer), &made); err != nil {
		u.t.Fatalf("asking for a link: %v: %s", err, answer)
	}
	if a := mustDo(u.t, browser(u.t), http.MethodGet, made.URL+"&start=1", nil); !bytes.Contains(a.Body, []byte("Connected to QuickBooks – my-app")) {
		u.t.Errorf("connecting ends with %d, and should name the caller:\n%s", a.Status, a.Body)
	}
}

// The calls that the README shows are made as they stand there.
func TestDocumentedCalls(t *testing.T) {
	s := start(t)
	_, blocks := readGuide(t, "../README.md")
	calls := 0
	for _, b := range blocks {
		if b.language != "sh" || !strings.HasPrefix(b.code, "curl ") {
			continue
		}
		calls++
		code := strings.ReplaceAll(b.code, "https://qb.example.com", s.Proxy)
		cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", strings.Replace(code, "curl ", "curl --fail ", 1))
		cmd.Env = append(os.Environ(), "BILLING_APP_KEY="+s.Key)
		if out, err := cmd.Output(); err != nil || !regexp.MustCompile(`^{"url":"http.*","expires_at":".*"}\s*$`).Match(out) {
			t.Errorf("%s: %v: %s", b.code, err, out)
		}
	}
	if calls == 0 {
		t.Error("the README has no call")
	}
}

// The scripts that the documents show, and that TestGuides does not run, are
// scripts.
func TestDocumentedScripts(t *testing.T) {
	scripts := 0
	for _, path := range []string{"../README.md", "../connectjs/README.md"} {
		_, blocks := readGuide(t, path)
		for _, b := range blocks {
			if b.language != "js" {
				continue
			}
			scripts++
			cmd := inDir(t, programDir(t, map[string]string{"script.mjs": b.code}), tool(t, "node"), "--check", "script.mjs")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", path, err, out)
			}
		}
	}
	if scripts < 4 {
		t.Errorf("only %d scripts", scripts)
	}
}

// nangoAPI is what the documentation of Nango says of its API, with pages or
// without.
func nangoAPI(t *testing.T, paged bool) *httptest.Server {
	list := [][]string{{"one", "quickbooks"}, {"other", "xero"}, {"two/2", "quickbooks"}, {"dead", "quickbooks"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /connections", func(w http.ResponseWriter, r *http.Request) {
		shown := list
		if page, _ := strconv.Atoi(r.URL.Query().Get("page")); paged {
			shown = list[min(2*page, len(list)):min(2*page+2, len(list))]
		}
		connections := []map[string]string{}
		for _, c := range shown {
			connections = append(connections, map[string]string{"connection_id": c[0], "provider_config_key": c[1]})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"connections": connections})
	})
	mux.HandleFunc("GET /connections/{id}", func(w http.ResponseWriter, r *http.Request) {
		query, id := r.URL.Query(), r.PathValue("id")
		if query.Get("provider_config_key") != "quickbooks" || query.Get("refresh_token") != "true" || id == "dead" {
			http.Error(w, `{"error":{"code":"refresh_exhausted"}}`, http.StatusFailedDependency)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"connection_config": map[string]string{"realmId": "realm of " + id},
			"credentials":       map[string]string{"type": "OAUTH2", "refresh_token": "R-" + id, "access_token": "A-" + id, "expires_at": "2026-11-24T15:00:00.000Z"},
		})
	})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the key" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// The script that gets grants out of Nango writes lines that can be imported,
// and names what it could not get.
func TestNangoScript(t *testing.T) {
	_, blocks := readGuide(t, "../docs/migrating.md")
	i := slices.IndexFunc(blocks, func(b guideBlock) bool { return b.language == "js" })
	if i < 0 {
		t.Fatal("there is no script")
	}
	for _, paged := range []bool{true, false} {
		cmd := inDir(t, programDir(t, map[string]string{"nango.mjs": blocks[i].code}), tool(t, "node"), "nango.mjs")
		cmd.Env = append(os.Environ(), "NANGO_URL="+nangoAPI(t, paged).URL, "NANGO_KEY=the key", "NANGO_INTEGRATION=quickbooks")
		var problems bytes.Buffer
		cmd.Stderr = &problems
		out, err := cmd.Output()
		const want = `{"connection":"realm of one","refresh_token":"R-one","access_token":"A-one","expires_at":"2026-11-24T15:00:00.000Z"}
{"connection":"realm of two/2","refresh_token":"R-two/2","access_token":"A-two/2","expires_at":"2026-11-24T15:00:00.000Z"}
`
		if string(out) != want || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(problems.String(), "/connections/dead: 424") {
			t.Errorf("paged %v: %v\n%s%s", paged, err, out, problems.Bytes())
		}
	}
}
