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
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	formatter "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/freshbearer/freshbearer/intuittest"
)

// visit is what a driver says of one of its flows; see browser/common.mjs.
type visit struct {
	Flow     string   `json:"flow"`
	Problems []string `json:"problems"`
	// Pages are the names of the pages that were examined.
	Pages []string `json:"pages"`
}

// drive runs browser/<driver> in Chromium against a running system, and
// returns what it visited.
func (s *system) drive(driver string, task map[string]any) []visit {
	s.t.Helper()
	began := time.Now()
	task["modules"] = installModules(s.t, "browser")
	task["chromium"] = tool(s.t, "chromium")
	task["key"], task["proxy"], task["intuit"] = s.Key, s.Proxy, s.Intuit.URL()
	if *screenshots {
		task["screenshots"] = screenshotDir
	}
	input, err := json.Marshal(task)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), tool(s.t, "node"), filepath.Join("browser", driver))
	cmd.Stdin = bytes.NewReader(input)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("running %s: %v\n%s", driver, err, problems.Bytes())
	}
	var visits []visit
	if err := json.Unmarshal(out.Bytes(), &visits); err != nil {
		s.t.Fatalf("%s printed no report: %v\n%s%s", driver, err, out.Bytes(), problems.Bytes())
	}
	pages := 0
	for _, v := range visits {
		pages += len(v.Pages)
		for _, p := range v.Pages {
			shrink(s.t, p)
		}
		for _, p := range v.Problems {
			s.t.Errorf("%s: %s: %s", driver, v.Flow, p)
		}
	}
	s.t.Logf("%s: %d flows, %d pages examined, %.1f s", driver, len(visits), pages, time.Since(began).Seconds())
	return visits
}

// visited expects flows to have been driven and pages to have been examined: a
// driver that leaves some out must not pass.
func visited(t *testing.T, visits []visit, flows int, pages ...string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, v := range visits {
		for _, p := range v.Pages {
			seen[p] = true
		}
	}
	for _, p := range pages {
		if !seen[p] {
			t.Errorf("the page %s was not examined", p)
		}
	}
	if len(visits) != flows || len(seen) != len(pages) {
		t.Errorf("%d flows and the pages %v; expected %d and %v", len(visits), seen, flows, pages)
	}
}

// asks lets the human choose at Intuit, by its page.
func (s *system) asks() {
	for _, site := range s.Sites {
		site.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Consent = intuittest.ConsentPage })
	}
}

// Every page of the browser's side, in every state that a human can bring
// about.
func TestBrowserFlows(t *testing.T) {
	app := `app "Acme Billing" https://billing.example.com`
	s := start(t, func(s *system) {
		s.addCaller("payroll", "")
		s.Sites[0].Options = []string{app}
		s.addSite("brief", intuittest.Behaviour{}).Options = []string{app, "link_lifetime 1s"}
	})
	s.asks()
	visits := s.drive("flows.mjs", map[string]any{
		"realmOne": realmOne, "realmTwo": realmTwo, "otherKey": s.Callers[1].Key, "brief": s.Sites[1].Origin,
	})
	visited(t, visits, 19,
		"connect", "connected", "already-used", "denied", "scope-refused", "code-refused", "code-refused-unclear",
		"unavailable", "other-company", "owned", "connect-one", "link-expired", "link-invalid", "reauthorization-required",
		"reconnect", "reconnect-landing", "reconnect-landing-empty", "disconnected-landing", "launch", "not-connected",
		"disconnect", "disconnected", "disconnect-unconfirmed", "form-refused", "not-found", "invalid-proxy-key", "state-unknown",
	)
	if n := s.Intuit.Counters(); n.CodeReuses != 0 {
		t.Errorf("%d codes were used twice", n.CodeReuses)
	}
}

// connect.js in an app's own page.
func TestBrowserPopup(t *testing.T) {
	app := "http://" + freeAddress(t)
	s := start(t, func(s *system) {
		s.Sites[0].Options = []string{"return_urls " + app}
		cut := s.addSite("cut", intuittest.Behaviour{})
		cut.Options = []string{"return_urls " + app}
		cut.Authorize = cutting(t, cut.Intuit)
	})
	s.asks()
	visits := s.drive("popup.mjs", map[string]any{"app": app, "cut": s.Sites[1].Origin, "cutIntuit": s.Sites[1].Intuit.URL(), "cutAuthorize": s.Sites[1].Authorize})
	visited(t, visits, 8)
}

// The example app, from its own files.
func TestBrowserExample(t *testing.T) {
	app := "http://" + freeAddress(t)
	s := start(t, func(s *system) { s.Sites[0].Options = []string{`app "Acme Billing" ` + app} })
	s.asks()
	visits := s.drive("example.mjs", map[string]any{
		"app": app, "server": filepath.Join("..", "examples", "connect", "server.mjs"), "realmOne": realmOne, "realmTwo": realmTwo,
	})
	visited(t, visits, 4, "example", "example-connected", "example-lost", "example-denied")
}

// statusRoutes are the operator's pages, for one user, and without
// authentication. The hash is of the password "operator".
var statusRoutes = []string{
	"basic_auth /status/* {\n\t\toperator $2a$04$gCrSAhMR6sRyqtmwoJqCFumRkQgIRsj4UvPsynhNP5jRJ18cxeg1a\n\t}",
	"freshbearer_status /status/*",
	"freshbearer_status /open/*",
}

// The operator's pages, with companies in every state.
func TestBrowserStatus(t *testing.T) {
	companies := []intuittest.Company{{RealmID: realmOne, Name: "Sandbox Company US 1"}}
	for i, name := range []string{
		"Craig's Design and Landscaping", "Harbor Lane Bakery", "Nordwind Segelschule GmbH", "Blue Ridge Dental", "Ōtautahi Joinery",
		"Patel & Daughters Wholesale", "Müller Elektrotechnik, Inhaber Jürgen Müller-Lüdenscheidt e.K.", "Two Pines Veterinary",
		"Rosa's Flowers", "Summit Roofing", "The Quiet Bookshop",
	} {
		companies = append(companies, intuittest.Company{RealmID: "91303578495367" + strconv.Itoa(30+i), Name: name})
	}
	s := start(t, func(s *system) {
		in := intuittest.NewServer(intuittest.Config{Companies: companies})
		t.Cleanup(in.Close)
		s.Sites[0].Intuit.Close()
		s.Sites[0].Intuit = in
		s.Sites[0].Options = []string{`app "Acme Billing"`}
		s.Sites[0].Routes = statusRoutes
		s.addCaller("payroll", "*")
		sandbox := s.addSite("sandbox", intuittest.Behaviour{IncidentOpen: true})
		sandbox.Options = []string{"environment sandbox", "status_page " + sandbox.Intuit.URL()}
	})
	for i, c := range companies[:len(companies)-1] {
		connectAt(t, s.Sites[0], s.Callers[i/9].Key, c.RealmID)
	}
	s.asks()
	visits := s.drive("status.mjs", map[string]any{"companies": companies, "payroll": s.Callers[1].Key})
	visited(t, visits, 6,
		"status", "status-filtered", "status-none", "status-connection", "status-connection-lost", "status-outcome",
		"status-disconnect", "status-link", "status-link-company", "status-forbidden", "status-not-found", "status-forged",
	)
}

// cutting is the way to Intuit's authorize page by a server that cuts the
// windows apart: HTML, Cross-Origin-Opener-Policy.
func cutting(t *testing.T, in *intuittest.Server) string {
	t.Helper()
	u, err := url.Parse(in.URL())
	if err != nil {
		t.Fatal(err)
	}
	relay := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Set("Cross-Origin-Opener-Policy", "same-origin")
			return nil
		},
	})
	t.Cleanup(relay.Close)
	return relay.URL + strings.TrimPrefix(in.AuthorizeURL(), in.URL())
}

// The types of the package fit an app that uses it as it is published.
func TestConnectTypes(t *testing.T) {
	modules, dir := installModules(t, "browser"), t.TempDir()
	installed := filepath.Join(dir, "node_modules", "@freshbearer", "connect")
	for from, to := range map[string]string{filepath.Join("..", "connectjs"): installed, filepath.Join("browser", "types"): dir} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "node"), filepath.Join(modules, "node_modules", "typescript", "bin", "tsc"),
		"--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", "", "app.ts")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

// The example's Caddyfile is one that Caddy runs.
func TestExampleCaddyfile(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "examples", "connect", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, nil)
	if err != nil || len(warnings) > 0 {
		t.Errorf("%v %v", warnings, err)
	}
	if formatted := formatter.Format(text); !bytes.Equal(formatted, text) {
		t.Errorf("it is not formatted:\n%s", formatted)
	}
}
