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

// Package pages renders the pages that the proxy shows in a browser. They load
// nothing, from this host or any other, and work without scripts: the one that
// there is tells a window that opened another one what came of it.
package pages

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
)

// Kind decides how a page looks. It adds no meaning that the words lack.
type Kind uint8

// The kinds.
const (
	Info Kind = iota
	Success
	Failure
)

func (k Kind) String() string {
	switch k {
	case Success:
		return "success"
	case Failure:
		return "failure"
	default:
		return "info"
	}
}

// Page is what a page says. Every text in it is plain text, and may be hostile.
type Page struct {
	Kind Kind
	// App is the app that the page speaks for.
	App   string
	Title string
	// Lead is the one sentence to read.
	Lead string
	// Detail are paragraphs under it.
	Detail []string
	// Facts are what the page is about.
	Facts []Field
	// Steps are what happens next, in order.
	Steps []string
	// Cases are what may be the matter, in the order to look at them.
	Cases []Case
	// Form is the one thing that this page can change.
	Form *Form
	// Action is the one thing to do next, Other what may be done instead. The
	// zero value is none.
	Action, Other Action
	// Small is said under the actions.
	Small string
	// Technical is folded away; it is what support will ask for.
	Technical []Field
	// Message is for the window that opened this one, and closes this one.
	Message *Message
}

// Case is a thing that may be the matter, and who can do what about it.
type Case struct{ What, Who, Do string }

// Field is a name and its value. One without a value is left out.
type Field struct{ Name, Value string }

// Action is a link that looks like a button.
type Action struct {
	Label string
	// URL must be absolute, with http or https. Any other leaves the whole
	// action out: a button that does nothing would be worse than none.
	URL string
	// Brand makes it the button that leads to the provider.
	Brand bool
}

// Form is a button that posts fields to the address of the page itself.
type Form struct {
	Label  string
	Hidden []Field
}

// Message is what a page of a popup tells its opener. The members are those of
// the message.
type Message struct {
	// Origin is the only origin that is told, URL the page there that is gone
	// to if there is no opener any more.
	Origin, URL string

	Connection, Company string
	Error, Text         string
}

var (
	//go:embed page.html
	source string
	//go:embed style.css
	style string
	//go:embed tell.js
	script string

	page = template.Must(template.New("page").Parse(source))

	policy     = contentSecurityPolicy(style)
	tellPolicy = contentSecurityPolicy(style) + "; script-src '" + digest(script) + "'"
)

// contentSecurityPolicy allows the embedded style by its hash, so that no page
// needs 'unsafe-inline' or a second request.
func contentSecurityPolicy(style string) string {
	return "default-src 'none'; style-src '" + digest(style) + "'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
}

// digest is a source expression without its quotes (CSP Level 3 §2.3.1).
func digest(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Write answers with the page and all the headers it needs.
func Write(w http.ResponseWriter, status int, p Page) {
	for _, action := range []*Action{&p.Action, &p.Other} {
		if !isWeb(action.URL) {
			*action = Action{}
		}
	}
	csp := policy
	if m := p.Message; m != nil {
		csp = tellPolicy
		if !isWeb(m.Origin) || !isWeb(m.URL) {
			p.Message, csp = nil, policy
		}
	}
	render(w, status, page, csp, struct {
		Page
		Style  template.CSS
		Script template.JS
	}{p, template.CSS(style), template.JS(script)})
}

// render executes a template and sets the headers of every page.
func render(w http.ResponseWriter, status int, t *template.Template, policy string, data any) {
	var body bytes.Buffer
	err := t.Execute(&body, data)

	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	// For browsers that do not know frame-ancestors.
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
	h.Set("Cache-Control", "no-store")
	if err != nil {
		http.Error(w, http.StatusText(status), status)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}

// isWeb is stricter than html/template, which lets mailto: and relative
// references pass.
func isWeb(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}
