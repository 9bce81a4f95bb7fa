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
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/pages"
)

// problem is an answer of the proxy's own (RFC 9457), in the shapes that
// QuickBooks SDKs read.
type problem struct {
	// Status is the kind's own if it is 0.
	Status int
	Kind   problemKind
	// Detail is for people, and the kind's own if it is empty. It never repeats
	// a request target, a token or a body of the API's. ReauthURL is added to it.
	Detail string

	Integration, Connection string
	Cause, ProviderError    string
	ReauthURL, TraceID      string
	Since                   time.Time
	// Incident is the provider's own, IncidentURL where to read of it.
	Incident, IncidentURL string
	// BackURL is where the app is, for a page.
	BackURL string

	// RetryAfter is rounded up to whole seconds; 0 is none.
	RetryAfter time.Duration
	// Allow is for status 405, which must have it (RFC 9110 §15.5.6).
	Allow string
}

// Error leaves out the connection, the detail and the link: it ends in logs.
func (p *problem) Error() string {
	text := fmt.Sprintf("%d %s", p.status(), problemKinds[p.Kind].code)
	if p.Cause != "" {
		text += ": " + p.Cause
	}
	return text
}

func (p *problem) status() int {
	if p.Status != 0 {
		return p.Status
	}
	return problemKinds[p.Kind].status
}

// lead is the detail without the link.
func (p *problem) lead() string {
	if p.Detail != "" {
		return p.Detail
	}
	return problemKinds[p.Kind].detail
}

// message holds the link too: most SDKs show one text only, and not all show
// the same.
func (p *problem) message() string {
	text := p.lead()
	if p.ReauthURL != "" && !strings.Contains(text, p.ReauthURL) {
		text += " Open " + p.ReauthURL
	}
	return text
}

// provenance is the second text that some SDKs show. XML has no other place
// for what it says.
func (p *problem) provenance() string {
	var text strings.Builder
	text.WriteString("Answered by freshbearer, not by the API: " + problemKinds[p.Kind].code)
	for _, f := range p.fields() {
		if f.Value != "" {
			text.WriteString("; " + f.Name + "=" + f.Value)
		}
	}
	return text.String()
}

func (p *problem) fields() []pages.Field {
	return []pages.Field{
		{Name: "integration", Value: p.Integration},
		{Name: "connection", Value: p.Connection},
		{Name: "cause", Value: p.Cause},
		{Name: "provider_error", Value: p.ProviderError},
		{Name: "since", Value: problemTime(p.Since)},
		{Name: "intuit_tid", Value: p.TraceID},
		{Name: "incident", Value: p.Incident},
		{Name: "incident_url", Value: p.IncidentURL},
	}
}

// problemTime writes the offset as a number even for UTC: SDKs in Go parse no Z.
func problemTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000-07:00")
}

// staleHeaders describe an answer that this one takes the place of.
var staleHeaders = []string{
	"Accept-Ranges", "Age", "Allow", "Content-Digest", "Content-Disposition", "Content-Encoding",
	"Content-Language", "Content-Location", "Content-Md5", "Content-Range", "Digest", "Etag", "Expires",
	"Last-Modified", "Location", "Repr-Digest", "Retry-After", "Trailer", "Transfer-Encoding", "Www-Authenticate",
}

func (p *problem) write(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if p.Kind == kindConnectionForbidden {
		// Whoever may not use a connection must not learn whether it exists, so
		// nothing of it may reach this answer, and two of them are equal to the
		// byte: not even the time is in it.
		p, now = &problem{Kind: p.Kind}, time.Time{}
	}
	status, kind := p.status(), &problemKinds[p.Kind]

	h := w.Header()
	for _, name := range staleHeaders {
		h.Del(name)
	}
	// A cache must not store a 428 (RFC 6585 §3); none of the others should be.
	h.Set("Cache-Control", "no-store")
	h.Set("Proxy-Status", "freshbearer; error="+kind.via+`; details="`+kind.code+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Accept")
	switch status {
	case http.StatusUnauthorized:
		// Also if a setting made it the status of another kind (RFC 9110 §15.5.2).
		h.Set("WWW-Authenticate", `Bearer realm="freshbearer"`)
	case http.StatusMethodNotAllowed:
		h.Set("Allow", p.Allow)
	}
	setRetryAfter(h, p.RetryAfter)

	if r.Method == http.MethodHead {
		w = headWriter{w}
	}
	contentType := negotiateProblem(r.Header)
	var body []byte
	switch contentType {
	case mediaHTML:
		pages.Write(w, status, p.page())
		return
	case mediaXML:
		body = p.xml(now)
	default:
		body = p.json(now)
	}
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// setRetryAfter rounds up: who comes a moment too early comes in vain.
func setRetryAfter(h http.Header, wait time.Duration) {
	if wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
}

// upstream tells whether the API failed, and not the caller or the grant.
func (p *problem) upstream() bool {
	switch p.Kind {
	case kindUpstreamUnreachable, kindUpstreamFailed, kindUpstreamTimeout, kindInternal:
		return true
	}
	return false
}

// response is the problem as an answer to an outgoing request.
func (p *problem) response(req *http.Request) *http.Response {
	a := answerWriter{header: make(http.Header)}
	p.write(&a, req)
	return &http.Response{
		StatusCode: a.status, Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header, Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: req,
	}
}

// answerWriter keeps an answer in memory.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answerWriter) Header() http.Header         { return a.header }
func (a *answerWriter) WriteHeader(status int)      { a.status = status }
func (a *answerWriter) Write(b []byte) (int, error) { return a.body.Write(b) }

// headWriter keeps the headers that the body would have had (RFC 9110 §9.3.2).
type headWriter struct{ http.ResponseWriter }

func (headWriter) Write(b []byte) (int, error) { return len(b), nil }

type problemFaultError struct {
	XMLName xml.Name `json:"-" xml:"Error"`
	Message string
	Detail  string
	// Code is a number in a string: python-quickbooks converts it.
	Code    string `json:"code" xml:"code,attr"`
	Element string `json:"element" xml:"element,attr"`
}

type problemFault struct {
	Error []problemFaultError
	Type  string `json:"type" xml:"type,attr"`
}

func (p *problem) fault() problemFault {
	return problemFault{
		Error: []problemFaultError{{
			Message: p.message(),
			Detail:  p.provenance(),
			Code:    strconv.Itoa(p.status()),
		}},
		Type: problemKinds[p.Kind].fault,
	}
}

func (p *problem) json(now time.Time) []byte {
	kind := &problemKinds[p.Kind]
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	// \u0026 in a URL is the same to a parser, but people copy it from a log.
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(struct {
		Type          string `json:"type"`
		Title         string `json:"title"`
		Status        int    `json:"status"`
		Detail        string `json:"detail"`
		Integration   string `json:"integration,omitempty"`
		Connection    string `json:"connection,omitempty"`
		Cause         string `json:"cause,omitempty"`
		ProviderError string `json:"provider_error,omitempty"`
		ReauthURL     string `json:"reauth_url,omitempty"`
		Since         string `json:"since,omitempty"`
		TraceID       string `json:"intuit_tid,omitempty"`
		Incident      string `json:"incident,omitempty"`
		IncidentURL   string `json:"incident_url,omitempty"`
		Fault         problemFault
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Time          string `json:"time,omitempty"`
	}{
		Type:          problemDoc + strings.ReplaceAll(kind.code, "_", "-"),
		Title:         kind.title,
		Status:        p.status(),
		Detail:        p.message(),
		Integration:   p.Integration,
		Connection:    p.Connection,
		Cause:         p.Cause,
		ProviderError: p.ProviderError,
		ReauthURL:     p.ReauthURL,
		Since:         problemTime(p.Since),
		TraceID:       p.TraceID,
		Incident:      p.Incident,
		IncidentURL:   p.IncidentURL,
		Fault:         p.fault(),
		Error:         kind.code,
		Description:   p.message(),
		Time:          problemTime(now),
	})
	if err != nil {
		// Structs of strings and numbers always marshal.
		panic(fmt.Sprintf("encoding a problem: %v", err))
	}
	return body.Bytes()
}

func (p *problem) xml(now time.Time) []byte {
	body, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"http://schema.intuit.com/finance/v3 IntuitResponse"`
		Time    string   `xml:"time,attr,omitempty"`
		Fault   problemFault
	}{Time: problemTime(now), Fault: p.fault()})
	if err != nil {
		panic(fmt.Sprintf("encoding a problem: %v", err))
	}
	return append([]byte(xml.Header), body...)
}

func (p *problem) page() pages.Page {
	kind := &problemKinds[p.Kind]
	repair, back := pages.Action{Label: "Connect again", URL: p.ReauthURL}, pages.Action{Label: "Back to the app", URL: p.BackURL}
	if repair.URL == "" {
		repair, back = back, pages.Action{}
	}
	return pages.Page{
		Kind:  pages.Failure,
		Title: kind.title,
		Lead:  p.lead(),
		Technical: append([]pages.Field{
			{Name: "status", Value: strconv.Itoa(p.status())},
			{Name: "error", Value: kind.code},
		}, p.fields()...),
		Action: repair,
		Other:  back,
	}
}
