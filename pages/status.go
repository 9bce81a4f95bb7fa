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

// Package pages renders the pages that the proxy shows in a browser. They run
package pages

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Frame is what all pages of the operator have around what they say.
type Frame struct {
	Version string
	// Now is the time of the page; all else is told as seen from it.
	Now time.Time
	// User is whom the page was made for; empty for the admin endpoint.
	User string
	// Store is named in every link and form; empty if there is only one.
	Store string
	// Token proves that a form came from this page.
	Token string
	// Page is the page that forms lead back to, empty for the list.
	Page string
	// Back is the query of the list that a human came from, and goes back to.
	Back string
	// Outcome tells what came of the last form. The zero value is none.
	Outcome Notice
}

// Tone decides how a notice looks. It adds no meaning that the words lack.
type Tone string

// The tones.
const (
	ToneGood    Tone = "good"
	ToneWarning Tone = "warning"
	ToneBad     Tone = "bad"
)

// Notice is something that the operator should read.
type Notice struct {
	Tone        Tone
	Title, Text string
	// URL is where to read on: http or https, or it is left out.
	URL, Label string
}

// StatusView is the page of all connections.
type StatusView struct {
	Frame
	// Alarms are what needs the operator, the worst first.
	Alarms       []Notice
	Integrations []Integration
	Filter       Filter
	// Connections are one page of Total, from the Offset of the filter on.
	Connections []Connection
	Total       int
	Troubles    []Trouble
}

// Filter is what the list is narrowed down to, and where it begins.
type Filter struct {
	Text, Integration, State string
	Offset, Limit            int
}

// Integration is a client registration and how its provider does.
type Integration struct {
	Name, Provider, Environment string
	// Counts are the connections in each state.
	Counts map[string]int
	Health Notice
	// StatusPage is the provider's own, http or https, or it is left out.
	StatusPage string
	Activity   Activity
	// Owners are the callers that a new connection can belong to. CanConnect
	// is false for an integration that is not configured any more.
	Owners     []string
	CanConnect bool
}

// Activity counts refreshes over time, the oldest first.
type Activity struct {
	Step    time.Duration
	Until   time.Time
	Buckets []Bucket
}

// Bucket counts the refreshes of one step. Failed ones had no answer that tells
// anything; Refused ones had one.
type Bucket struct{ Refreshed, Failed, Refused int }

// Connection is one grant. It never holds a token.
type Connection struct {
	Integration, ID, Account, Owner string
	// State is the word that the API uses; Cause tells people why.
	State, Cause                    string
	Since, ConnectedAt, RefreshedAt time.Time
	Access, Refresh, Authorization  Span
	// What can be done about it now.
	CanRefresh, CanRecheck, CanReconnect, CanDisconnect bool
}

// Span is how long something lives on. The zero value is unknown.
type Span struct {
	Until time.Time
	// Life is how long it lives in all. Less than Soon left is a warning.
	Life, Soon time.Duration
}

// Trouble is an error of late.
type Trouble struct {
	Time                             time.Time
	Integration, Connection, Account string
	What, ProviderError, TraceID     string
	// Count is how often in a row it happened, if more than once.
	Count int
}

// ConnectionView is the page of one connection.
type ConnectionView struct {
	Frame
	Connection Connection
	// Notices are what is wrong with it, Next what happens by itself.
	Notices []Notice
	Next    string
	Facts   []Field
	// History is the newest first.
	History []Happening
}

// Happening is an entry of a connection's history.
type Happening struct {
	Time                                      time.Time
	What, ProviderError, Description, TraceID string
	Generation                                uint64
	// Count is how often in a row it happened, if more than once.
	Count int
}

// DisconnectView asks whether a connection is really to be given up.
type DisconnectView struct {
	Frame
	Connection Connection
	Provider   string
}

// LinkView shows a connect link, to open or to send to somebody.
type LinkView struct {
	Frame
	// Provider is the provider's name for people.
	Integration, Provider, Environment string
	// Connection is what the link is bound to; the zero value for any company.
	Connection Connection
	Owner      string
	URL        string
	ExpiresAt  time.Time
}

var (
	//go:embed status.html
	statusSource string
	//go:embed status.css
	statusStyle string

	statusPages = template.Must(template.New("status").Funcs(statusWords).Parse(statusSource))

	statusPolicy = contentSecurityPolicy(statusStyle)
)

// WriteStatus answers with the page of all connections.
func WriteStatus(w http.ResponseWriter, v StatusView) { writeStatusPage(w, "list", v) }

// WriteConnection answers with the page of one connection.
func WriteConnection(w http.ResponseWriter, v ConnectionView) {
	writeStatusPage(w, "connection", v)
}

// WriteDisconnect answers with the question before a disconnection.
func WriteDisconnect(w http.ResponseWriter, v DisconnectView) {
	writeStatusPage(w, "disconnect", v)
}

// WriteLink answers with a connect link.
func WriteLink(w http.ResponseWriter, v LinkView) {
	if !isWeb(v.URL) {
		v.URL = ""
	}
	writeStatusPage(w, "link", v)
}

func writeStatusPage(w http.ResponseWriter, name string, view any) {
	var body bytes.Buffer
	err := statusPages.ExecuteTemplate(&body, name, view)

	h := w.Header()
	h.Set("Content-Security-Policy", statusPolicy)
	// With no-referrer a browser would send its forms with `Origin: null`,
	// which Caddy's admin API refuses.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if err != nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body.Bytes())
}

// Link returns a relative address, so that the pages work under any prefix:
// the page and the names and values of its query.
func (f Frame) Link(page string, query ...string) string {
	values := url.Values{}
	if f.Store != "" {
		values.Set("store", f.Store)
	}
	for i := 0; i+1 < len(query); i += 2 {
		if query[i+1] != "" {
			values.Set(query[i], query[i+1])
		}
	}
	return relative(page, values)
}

// List returns the address of the list that a human came from.
func (f Frame) List() string {
	values, _ := url.ParseQuery(f.Back)
	if f.Store != "" {
		values.Set("store", f.Store)
	}
	return relative("", values)
}

func relative(page string, query url.Values) string {
	if page == "" {
		page = "./"
	}
	if len(query) > 0 {
		page += "?" + query.Encode()
	}
	return page
}

// Query returns the filter as the query of an address.
func (f Filter) Query() string {
	values := url.Values{}
	for name, value := range map[string]string{"text": f.Text, "integration": f.Integration, "state": f.State} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if f.Offset > 0 {
		values.Set("offset", strconv.Itoa(f.Offset))
	}
	return values.Encode()
}

// Narrowed returns the address of the list of one integration and state. It
// begins at its first page, and keeps no text.
func (v StatusView) Narrowed(integration, state string) string {
	return v.Link("", "integration", integration, "state", state)
}

// At returns the address of the same list from another offset on.
func (v StatusView) At(offset int) string {
	f := v.Filter
	f.Offset = max(offset, 0)
	frame := v.Frame
	frame.Back = f.Query()
	return frame.List()
}

// First and Last number the connections on the page, from 1.
func (v StatusView) First() int { return min(v.Filter.Offset+1, v.Total) }

// Last is the number of the last connection on the page.
func (v StatusView) Last() int { return v.Filter.Offset + len(v.Connections) }

// Filtered tells whether the list is not of all connections.
func (v StatusView) Filtered() bool {
	return v.Filter.Text != "" || v.Filter.Integration != "" || v.Filter.State != ""
}

// Name is the account's name for people, or its ID.
func (c Connection) Name() string {
	if c.Account != "" {
		return c.Account
	}
	return c.ID
}
