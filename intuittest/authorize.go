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

package intuittest

import (
	"crypto/rand"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type authCode struct {
	clientID, realm, scope, redirectURI string
	challenge, challengeMethod, nonce   string
	expiresAt                           time.Time
	grant                               *grant // set when it is used
}

// knownScopes are the scopes that may be asked for (Intuit, "Scopes").
var knownScopes = []string{
	ScopeAccounting, ScopePayment, ScopeOpenID, "profile", "email", "phone", "address", "intuit_name",
	"com.intuit.quickbooks.payroll", "com.intuit.quickbooks.payroll.timetracking",
	"com.intuit.quickbooks.payroll.benefits", "com.intuit.quickbooks.payroll.payslip.read",
	"project-management.project", "payroll.compensation.read", "time-tracking.time-entry",
	"app-foundations.custom-dimensions.read", "app-foundations.custom-field-definitions",
	"app-foundations.custom-field-definitions.read", "indirect-tax.tax-calculation.quickbooks",
}

func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	chosen := false
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost: // the decision on the page
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			s.problemPage(w, r, "", "The form cannot be read.")
			return
		}
		q, chosen = r.PostForm, true
	default:
		s.deliver(w, r, nil, reply{status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {"GET, POST"}}}, nil)
		return
	}

	s.mu.Lock()
	if !chosen {
		s.log.counters.Authorizations++
		s.event("authorize", "", q.Get("client_id"))
	}
	client := s.clients[q.Get("client_id")]
	problem := "The client_id query parameter value is unknown."
	if client != nil {
		problem = client.redirectProblem(q.Get("redirect_uri"))
	}
	b := s.behaviour
	s.mu.Unlock()

	// Nothing is ever sent to a redirect URI that is not registered, so the
	// user stays here with such a fault.
	if problem != "" {
		name := "undefined"
		if client != nil {
			name = client.ID
		}
		s.problemPage(w, r, name, problem)
		return
	}
	for _, name := range []string{"response_type", "scope", "state"} {
		if q.Get(name) == "" {
			s.problemPage(w, r, client.ID, "The "+name+" query parameter is missing.")
			return
		}
	}
	if q.Get("response_type") != "code" {
		s.problemPage(w, r, client.ID, "The response_type query parameter value is invalid.")
		return
	}
	back := func(params ...string) { s.redirectBack(w, r, q.Get("redirect_uri"), params) }
	state := q.Get("state")
	for scope := range strings.FieldsSeq(q.Get("scope")) {
		if !slices.Contains(knownScopes, scope) {
			back("error", "invalid_scope", "state", state)
			return
		}
	}
	method := q.Get("code_challenge_method")
	if q.Get("code_challenge") != "" && !slices.Contains([]string{"", "plain", "S256"}, method) {
		back("error", "invalid_request", "state", state)
		return
	}

	realm := b.ConsentRealm
	switch {
	case chosen && q.Get("decision") == "connect":
		realm = q.Get("realm")
	case chosen, b.Consent == ConsentDeny:
		back("error", "access_denied", "state", state)
		return
	case b.Consent == ConsentInvalidScope:
		back("error", "invalid_scope", "state", state)
		return
	case b.Consent == ConsentPage:
		s.consentPage(w, r, client.ID, q)
		return
	}
	code, realm, ok := s.approve(client.ID, realm, q)
	if !ok {
		s.problemPage(w, r, client.ID, "There is no such company.")
		return
	}
	params := []string{"code", code, "state", state}
	if usesCompany(q.Get("scope")) {
		params = append(params, "realmId", realm)
	}
	back(params...)
}

// approve makes a code for a company; for the first one if realm is empty.
func (s *Server) approve(clientID, realm string, q url.Values) (code, chosen string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if realm == "" {
		realm = s.realms[0]
	}
	if s.companies[realm] == nil {
		return "", "", false
	}
	expires := s.now().Add(s.behaviour.codeTTL())
	code = fmt.Sprintf("AB1%010d%s", expires.Unix(), rand.Text())
	s.codes[code] = &authCode{
		clientID: clientID, realm: realm, scope: q.Get("scope"), redirectURI: q.Get("redirect_uri"),
		challenge: q.Get("code_challenge"), challengeMethod: q.Get("code_challenge_method"), nonce: q.Get("nonce"),
		expiresAt: expires,
	}
	s.event("code", realm, "issued")
	return code, realm, true
}

// usesCompany tells whether a consent is about a company at all: with OpenID
// scopes alone the callback has no realmId.
func usesCompany(scopes string) bool {
	for scope := range strings.FieldsSeq(scopes) {
		if !slices.Contains([]string{ScopeOpenID, "profile", "email", "phone", "address", "intuit_name"}, scope) {
			return true
		}
	}
	return false
}

// redirectProblem returns what is wrong with a redirect URI; empty if it is
// good.
func (c *Client) redirectProblem(uri string) string {
	const invalid = "The redirect_uri query parameter value is invalid. Make sure it is listed in the Redirect URIs section on your app's keys tab and matches it exactly."
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return invalid
	}
	if len(c.RedirectURIs) > 0 && !slices.Contains(c.RedirectURIs, uri) {
		return invalid
	}
	if c.Production && (u.Scheme != "https" || net.ParseIP(u.Hostname()) != nil || u.Hostname() == "localhost") {
		return invalid
	}
	return ""
}

// redirectBack sends the browser to the redirect URI with the parameters in
// the order given.
func (s *Server) redirectBack(w http.ResponseWriter, r *http.Request, uri string, params []string) {
	var b strings.Builder
	b.WriteString(uri)
	sep := "?"
	if strings.Contains(uri, "?") {
		sep = "&"
	}
	for i := 0; i+1 < len(params); i += 2 {
		b.WriteString(sep + params[i] + "=" + url.QueryEscape(params[i+1]))
		sep = "&"
	}
	s.deliver(w, r, nil, reply{
		status: http.StatusFound,
		header: http.Header{"Location": {b.String()}, "Cache-Control": {"no-store"}},
	}, nil)
}

var pages = template.Must(template.New("").Parse(`
{{- define "top"}}<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Simulated Intuit</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;color:#21262a;background:#f4f5f8;margin:0}
main{max-width:30rem;margin:10vh auto;padding:2rem;background:#fff;border:1px solid #d4d7dc;border-radius:8px}
h1{font-size:1.4rem;margin:0 0 1rem}label{display:block;padding:.4rem 0}
button{font:inherit;padding:.5rem 1.2rem;margin:1rem .5rem 0 0;border:1px solid #0a6b1f;border-radius:4px;background:#fff;color:#0a6b1f}
button.go{background:#0a6b1f;color:#fff}small{color:#5b6269}
</style></head><body><main>{{end -}}

{{define "consent"}}{{template "top"}}<h1>Connect {{.Client}} to QuickBooks</h1>
<form method="post">{{range $name, $value := .Hidden}}
<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}
<p>Which company?</p>{{range $i, $c := .Companies}}
<label><input type="radio" name="realm" value="{{$c.RealmID}}"{{if eq $i 0}} checked{{end}}> {{$c.Name}} <small>{{$c.RealmID}}</small></label>{{end}}
<button class="go" name="decision" value="connect">Connect</button><button name="decision" value="deny">No thanks</button>
</form><p><small>A simulated Intuit. No real company is connected.</small></p></main></body></html>{{end}}

{{define "problem"}}{{template "top"}}<h1>Uh oh, there's a connection problem</h1>
<p>Sorry, but {{.Client}} didn't connect.</p><p>{{.Problem}}</p>
<p><small>A simulated Intuit.</small></p></main></body></html>{{end}}`))

func (s *Server) consentPage(w http.ResponseWriter, r *http.Request, clientID string, q url.Values) {
	hidden := map[string]string{}
	for _, name := range []string{
		"client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method", "nonce",
	} {
		if q.Get(name) != "" {
			hidden[name] = q.Get(name)
		}
	}
	s.page(w, r, http.StatusOK, "consent", map[string]any{"Client": clientID, "Hidden": hidden, "Companies": s.Companies()})
}

func (s *Server) problemPage(w http.ResponseWriter, r *http.Request, clientID, problem string) {
	if clientID == "" {
		clientID = "undefined"
	}
	s.page(w, r, http.StatusBadRequest, "problem", map[string]any{"Client": clientID, "Problem": problem})
}

func (s *Server) page(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var b strings.Builder
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.deliver(w, r, nil, reply{
		status: status, ctype: "text/html;charset=UTF-8", body: []byte(b.String()),
		header: http.Header{"Cache-Control": {"no-store"}},
	}, nil)
}
