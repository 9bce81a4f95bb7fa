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
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/connectjs"
	"github.com/freshbearer/freshbearer/intuittest"
)

var (
	action  = regexp.MustCompile(`<a class="action[^"]*" href="([^"]*)"`)
	anyLink = regexp.MustCompile(`<a [^>]*href="([^"]*)"`)
	hidden  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)
)

// actionOf returns where the button of a page leads.
func actionOf(page answer) string {
	found := action.FindSubmatch(page.Body)
	if found == nil {
		return ""
	}
	return unescaped(found[1])
}

func unescaped(attribute []byte) string { return html.UnescapeString(string(attribute)) }

// shows expects a page with all the headers of one, and with words.
func shows(t *testing.T, page answer, status int, words ...string) {
	t.Helper()
	if page.Status != status {
		t.Errorf("status %d, want %d", page.Status, status)
	}
	h := page.Header
	csp := h.Get("Content-Security-Policy")
	if h.Get("Cache-Control") != "no-store" || h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" ||
		h.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("the page's headers: %v", h)
	}
	for _, w := range words {
		if !strings.Contains(html.UnescapeString(string(page.Body)), w) {
			t.Errorf("the page lacks %q:\n%s", w, page.Body)
		}
	}
}

func TestConnectPage(t *testing.T) {
	s := start(t, func(s *system) { s.Sites[0].Options = []string{`app "Acme Billing" https://billing.example.com`} })
	c := walker(t)
	page := mustDo(t, c, http.MethodGet, s.link(`{"return_url":"https://billing.example.com/back"}`), nil)
	shows(t, page, http.StatusOK, "Connect to QuickBooks", "Acme Billing asks", "Accounting:", "What happens next", "Not now")
	if page.Header.Get("Set-Cookie") != "" || bytes.Contains(page.Body, []byte("<script")) {
		t.Errorf("a page that only asks has begun something: %v", page.Header)
	}
	if a, consent := step(t, c, actionOf(page)); a.Status != http.StatusFound || !strings.HasPrefix(consent.String(), s.Intuit.AuthorizeURL()) {
		t.Errorf("the button leads to %d %s", a.Status, consent)
	}
}

// Only a popup's last page runs a script, and it tells the link's origin alone.
func TestPopup(t *testing.T) {
	s := start(t, func(s *system) { s.Sites[0].Options = []string{"return_urls https://app.example.com"} })
	for _, link := range []string{s.link(`{"return_url":"https://app.example.com/back"}`) + "&popup=1", s.link(`{}`) + "&popup=1", s.link(`{"return_url":"https://app.example.com/back"}`)} {
		c := walker(t)
		page := s.finish(c, s.begin(c, link, realmOne))
		shows(t, page, http.StatusOK, "Sandbox Company US 1 is connected.")
		want := strings.HasSuffix(link, "popup=1") && link != "" && bytes.Contains(page.Body, []byte("Back to the app"))
		if got := bytes.Contains(page.Body, []byte(`data-origin="https://app.example.com"`)); got != want {
			t.Errorf("%s: told %v, want %v", link, got, want)
		}
	}
	// What failed is told, too, and no window is sent to begin anew by itself.
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Consent = intuittest.ConsentDeny })
	c := walker(t)
	page := s.finish(c, s.begin(c, s.link(`{"return_url":"https://app.example.com/back"}`)+"&popup=1", realmOne))
	shows(t, page, http.StatusOK, `data-error="access_denied"`, `data-url="https://app.example.com/back?freshbearer_error=access_denied"`, "Try again")
}

// A link for one company is good for no other; the refusal changes nothing.
func TestReconnectKeepsTheCompany(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	c := walker(t)
	link := s.link(`{"connection":"` + realmOne + `"}`)
	shows(t, mustDo(t, c, http.MethodGet, link, nil), http.StatusOK, "Reconnect to QuickBooks", "Sandbox Company US 1", realmOne)
	page := s.finish(c, s.begin(c, link, realmTwo))
	shows(t, page, http.StatusConflict, "Another company was chosen", "Who can repair it", "Try again")
	if actionOf(page) == "" || !strings.Contains(actionOf(page), "/oauth/connect?link=") {
		t.Errorf("the button leads to %q", actionOf(page))
	}
	for _, g := range s.Intuit.Grants(realmTwo) {
		if g.AccessValid || g.RefreshValid {
			t.Error("the grant that nobody asked for lives on")
		}
	}
	if !s.works(realmOne) || s.works(realmTwo) {
		t.Error("the wrong company works, or the right one does not")
	}
}

// Whoever comes from the provider without a link learns nothing about who is
// connected, and connects no company that was not.
func TestReconnectFromTheProvider(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	landing := func(realm string) string { return s.Proxy + "/oauth/reconnect?realmId=" + realm }
	known, unknown := mustDo(t, client(t), http.MethodGet, landing(realmOne), nil), mustDo(t, client(t), http.MethodGet, landing(realmTwo), nil)
	shows(t, known, http.StatusOK, "Reconnect to QuickBooks", realmOne)
	if string(known.Body) != strings.ReplaceAll(string(unknown.Body), realmTwo, realmOne) {
		t.Error("the page tells whether a company is known")
	}
	shows(t, mustDo(t, client(t), http.MethodGet, landing(`"><b>`), nil), http.StatusBadRequest, "does not say which company")
	c := walker(t)
	shows(t, s.finish(c, s.begin(c, landing(realmTwo), realmTwo)), http.StatusNotFound, "This company is not connected here.")
	if s.works(realmTwo) {
		t.Error("a stranger has connected a company")
	}
	s.Intuit.RevokeAccess(realmOne)
	c = walker(t)
	shows(t, s.finish(c, s.begin(c, landing(realmOne), realmOne)), http.StatusOK, "Sandbox Company US 1 is connected.")
	if !s.works(realmOne) {
		t.Error("the company was not reconnected")
	}
	for path, words := range map[string]string{"launch": "Open the app", "disconnected?realmId=" + realmOne: "That was a mistake"} {
		shows(t, mustDo(t, c, http.MethodGet, s.Proxy+"/oauth/"+path, nil), http.StatusOK, words)
	}
	if !s.works(realmOne) {
		t.Error("a landing page has changed something")
	}
}

// disconnectForm opens a disconnect link, and returns the form's fields.
func (s *system) disconnectForm(c *http.Client, realm string) (address string, form url.Values) {
	s.t.Helper()
	address = s.link(`{"connection":"` + realm + `","purpose":"disconnect"}`)
	page := mustDo(s.t, c, http.MethodGet, address, nil)
	shows(s.t, page, http.StatusOK, "Disconnect from QuickBooks", "keys to the company", "Sandbox Company US 1")
	form = url.Values{}
	for _, field := range hidden.FindAllSubmatch(page.Body, -1) {
		form.Set(string(field[1]), html.UnescapeString(string(field[2])))
	}
	return address, form
}

const formType = "Content-Type: application/x-www-form-urlencoded"

func TestDisconnect(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	c := walker(t)
	address, form := s.disconnectForm(c, realmOne)
	_, others := s.disconnectForm(walker(t), realmOne)
	if len(form) != 2 {
		t.Fatalf("the form: %v", form)
	}
	post := func(c *http.Client, form url.Values, lines ...string) answer {
		return mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/disconnect", []byte(form.Encode()), append(lines, formType)...)
	}
	for what, a := range map[string]answer{
		"cross-site":        post(c, form, "Sec-Fetch-Site: cross-site"),
		"same-site":         post(c, form, "Sec-Fetch-Site: same-site"),
		"another origin":    post(c, form, "Origin: https://evil.example.com"),
		"no cookie":         post(client(t), form),
		"another's token":   post(c, url.Values{"link": form["link"], "token": others["token"]}),
		"no token":          post(c, url.Values{"link": form["link"]}),
		"a GET":             mustDo(t, c, http.MethodGet, address+"&token="+url.QueryEscape(form.Get("token")), nil),
		"a link to connect": mustDo(t, c, http.MethodGet, strings.Replace(s.link(`{}`), "/connect?", "/disconnect?", 1), nil),
		"start":             mustDo(t, c, http.MethodGet, strings.Replace(address, "/disconnect?", "/connect?", 1)+"&start=1", nil),
	} {
		if a.Status == http.StatusSeeOther || !s.works(realmOne) {
			t.Fatalf("%s has disconnected: %d", what, a.Status)
		}
	}
	if n := s.Intuit.Counters().Revocations; n != 0 {
		t.Errorf("%d revocations", n)
	}
	a := post(c, form, "Sec-Fetch-Site: same-origin")
	if a.Status != http.StatusSeeOther {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	shows(t, mustDo(t, c, http.MethodGet, a.Header.Get("Location"), nil), http.StatusOK, "Disconnected from QuickBooks", "has confirmed")
	if p := s.get(client(t), realmOne).problem(t); p.Cause != "disconnected" || s.Intuit.Counters().Revocations != 1 {
		t.Errorf("%+v, %d revocations", p, s.Intuit.Counters().Revocations)
	}
	s.repair(s.get(client(t), realmOne).problem(t).ReauthURL, realmOne)
}

// As long as the provider may honour a grant, nobody is told that it is over.
func TestDisconnectUnconfirmed(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	down := intuittest.Fault{Kind: intuittest.FaultUnavailable}
	if err := s.Intuit.QueueFault(intuittest.EndpointRevoke, down, down); err != nil {
		t.Fatal(err)
	}
	c := walker(t)
	_, form := s.disconnectForm(c, realmOne)
	a := mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/disconnect", []byte(form.Encode()), formType)
	page := mustDo(t, c, http.MethodGet, a.Header.Get("Location"), nil)
	shows(t, page, http.StatusOK, "Not confirmed yet", "revoke_pending")
	if bytes.Contains(page.Body, []byte("is disconnected")) {
		t.Errorf("the page calls it disconnected:\n%s", page.Body)
	}
	var told struct{ State string }
	if a := mustDo(t, client(t), http.MethodGet, s.Proxy+"/oauth/connections/"+realmOne, nil, s.bearer()); json.Unmarshal(a.Body, &told) != nil || told.State != "revoke_pending" {
		t.Errorf("the app is told %d %s", a.Status, a.Body)
	}
}

func TestConnections(t *testing.T) {
	s := start(t, func(s *system) { s.addCaller("other", "") })
	other := "Authorization: Bearer " + s.Callers[1].Key
	s.connect(realmOne)
	connectAt(t, s.Sites[0], s.Key, realmTwo)
	at := func(path string) string { return s.Proxy + "/oauth/connections" + path }
	c := client(t)
	var list struct {
		Connections []map[string]any
		Total       int
		Next        string
	}
	a := mustDo(t, c, http.MethodGet, at("?limit=1"), nil, s.bearer())
	if err := json.Unmarshal(a.Body, &list); err != nil || list.Total != 2 || len(list.Connections) != 1 || list.Next == "" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := mustDo(t, c, http.MethodGet, list.Next, nil, s.bearer()); !bytes.Contains(a.Body, []byte(`"state":"connected"`)) || bytes.Contains(a.Body, []byte(`"next"`)) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if a := mustDo(t, c, http.MethodGet, at(""), nil, other); !bytes.Contains(a.Body, []byte(`"total":0`)) {
		t.Errorf("somebody else's: %d %s", a.Status, a.Body)
	}
	for path, want := range map[string]int{
		"/" + realmOne: 200, "/" + realmNone: 404, "/": 200, "/x": 404, "/%39" + realmOne[1:]: 404, "/" + realmOne + "/": 200,
		"/" + realmOne + "/x": 404, "/" + realmOne + "/refresh": 405, "?limit=0": 400, "?offset=-1": 400, "?state=x": 400, "?state=suspect": 200,
	} {
		if a := mustDo(t, c, http.MethodGet, at(path), nil, s.bearer()); a.Status != want {
			t.Errorf("GET %s: %d, want %d: %s", path, a.Status, want, a.Body)
		}
		if a := mustDo(t, c, http.MethodGet, at(path), nil); a.Status != http.StatusUnauthorized {
			t.Errorf("GET %s without a key: %d", path, a.Status)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		known, unknown := mustDo(t, c, method, at("/"+realmOne), nil, other), mustDo(t, c, method, at("/"+realmNone), nil, other)
		if known.Status != http.StatusForbidden || unknown.Status != http.StatusForbidden {
			t.Errorf("%s by somebody else: %d, %d", method, known.Status, unknown.Status)
		}
	}
	before := s.Intuit.Counters().Refreshes
	for _, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
		if a := mustDo(t, c, http.MethodPost, at("/"+realmOne+"/refresh"), nil, s.bearer()); a.Status != want {
			t.Errorf("refresh: %d, want %d: %s", a.Status, want, a.Body)
		}
	}
	if n := s.Intuit.Counters().Refreshes - before; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if a := mustDo(t, c, http.MethodDelete, at("/"+realmOne), nil, s.bearer()); a.Status != http.StatusOK || !bytes.Contains(a.Body, []byte(`"state":"disconnected"`)) {
		t.Errorf("DELETE: %d %s", a.Status, a.Body)
	}
	if s.works(realmOne) || !s.works(realmTwo) || s.Intuit.Counters().Revocations != 1 {
		t.Error("the wrong grant was given up, or none, or it lives on at the provider")
	}
}

// What people are shown, and sent to, is at the registered address, whatever a
// client says of itself.
func TestPagesKnowTheirAddress(t *testing.T) {
	s := start(t)
	poison := []string{"X-Forwarded-Host: evil.example.com", "X-Forwarded-Proto: https", "Forwarded: host=evil.example.com", "X-Original-Host: evil.example.com"}
	link := mustDo(t, client(t), http.MethodPost, s.Proxy+"/oauth/links", []byte(`{}`), append(poison, s.bearer())...)
	if bytes.Contains(link.Body, []byte("evil")) {
		t.Errorf("the link: %s", link.Body)
	}
	for _, path := range []string{"reconnect?realmId=" + realmOne, "launch", "disconnected?realmId=" + realmOne} {
		if page := mustDo(t, client(t), http.MethodGet, s.Proxy+"/oauth/"+path, nil, poison...); bytes.Contains(page.Body, []byte("evil")) {
			t.Errorf("%s:\n%s", path, page.Body)
		}
	}
	c := walker(t)
	if _, consent := step(t, c, s.link(`{}`)+"&start=1"); !strings.HasPrefix(consent.Query().Get("redirect_uri"), s.Proxy) {
		t.Errorf("the callback will be %s", consent.Query().Get("redirect_uri"))
	}
}

func TestConnectScript(t *testing.T) {
	s := start(t)
	a := mustDo(t, client(t), http.MethodGet, s.Proxy+"/oauth/connect.js", nil)
	tag := a.Header.Get("Etag")
	if a.Status != http.StatusOK || !bytes.Equal(a.Body, connectjs.Source) || a.Header.Get("Content-Type") != "text/javascript; charset=utf-8" ||
		a.Header.Get("Access-Control-Allow-Origin") != "*" || tag == "" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	if a := mustDo(t, client(t), http.MethodGet, s.Proxy+"/oauth/connect.js", nil, "If-None-Match: "+tag); a.Status != http.StatusNotModified {
		t.Errorf("the same again: %d", a.Status)
	}
}
