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
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"

	"github.com/freshbearer/freshbearer/pages"
)

// problemKind is a sort of answer. The zero value is an internal error.
type problemKind uint8

const (
	kindInternal problemKind = iota
	kindCallerUnknown
	kindConnectionForbidden
	kindBadTarget
	kindBadRequest
	kindMethodNotAllowed
	kindNotImplemented
	kindBodyTooLarge
	kindReauthorization
	kindTokenUnavailable
	kindClientRefused
	kindStorage
	kindUpstreamUnreachable
	kindUpstreamFailed
	kindUpstreamTimeout
	kindUpstreamRedirect
	kindMisdirected
	kindLinkInvalid
	kindLinkExpired
	kindNotFound
)

// The Fault types that Intuit uses. The .NET SDK chooses its exception by them.
const (
	faultAuthentication = "AuthenticationFault"
	faultAuthorization  = "AuthorizationFault"
	faultValidation     = "ValidationFault"
	faultService        = "ServiceFault"
)

// problemDoc documents every kind, as RFC 9457 §4 demands of a type.
const problemDoc = "https://github.com/freshbearer/freshbearer/blob/main/docs/problems.md#"

// problemKinds says what is the same for all problems of a kind. code is the
// OAuth-style error, the details of Proxy-Status and, with hyphens, the anchor
// of the documentation; title has the same words. via is an error type of
// RFC 9209 §2.3. detail is for problems that bring none of their own.
var problemKinds = [...]struct {
	status                          int
	code, title, fault, via, detail string
}{
	kindInternal: {
		500, "internal_error", "Internal error", faultService, "proxy_internal_error",
		"The proxy failed. Its log says why.",
	},
	kindCallerUnknown: {
		401, "invalid_proxy_key", "Invalid proxy key", faultAuthentication, "http_request_denied",
		"This request needs a proxy key of this proxy: Authorization: Bearer <proxy key>. A QuickBooks access token is not one.",
	},
	kindConnectionForbidden: {
		403, "connection_forbidden", "Connection forbidden", faultAuthorization, "http_request_denied",
		"This proxy key may not use this connection.",
	},
	kindBadTarget: {
		400, "bad_target", "Bad target", faultValidation, "http_request_error",
		"The request target does not have the form of an API request of this integration.",
	},
	kindBadRequest: {
		400, "bad_request", "Bad request", faultValidation, "http_request_error",
		"The request is not well-formed.",
	},
	kindMethodNotAllowed: {
		405, "method_not_allowed", "Method not allowed", faultValidation, "http_request_error",
		"This method is not allowed here. The Allow header names those that are.",
	},
	kindNotImplemented: {
		501, "not_implemented", "Not implemented", faultService, "http_request_denied",
		"The proxy carries plain requests only: no CONNECT and no protocol upgrade.",
	},
	kindBodyTooLarge: {
		413, "body_too_large", "Body too large", faultValidation, "http_request_error",
		"The request body is larger than the proxy accepts.",
	},
	kindReauthorization: {
		428, "reauthorization_required", "Reauthorization required", faultAuthentication, "proxy_internal_response",
		"This connection must be authorized again, by a person.",
	},
	kindTokenUnavailable: {
		503, "token_unavailable", "Token unavailable", faultService, "proxy_internal_response",
		"No token can be had from the provider at the moment. The connection is not lost; try again later.",
	},
	kindClientRefused: {
		503, "client_refused", "Client refused", faultService, "proxy_configuration_error",
		"The provider refuses the client id or secret of this proxy. Its operator must correct them; the connection is not lost.",
	},
	kindStorage: {
		503, "storage_unavailable", "Storage unavailable", faultService, "proxy_internal_error",
		"The proxy cannot read or write its token store. Its log says why.",
	},
	kindUpstreamUnreachable: {
		502, "upstream_unreachable", "Upstream unreachable", faultService, "destination_unavailable",
		"The API cannot be reached. The request was not sent.",
	},
	kindUpstreamFailed: {
		502, "upstream_failed", "Upstream failed", faultService, "connection_terminated",
		"The API gave no usable answer. It may have carried out the request.",
	},
	kindUpstreamTimeout: {
		504, "upstream_timeout", "Upstream timeout", faultService, "http_response_timeout",
		"The API did not answer in time. It may have carried out the request.",
	},
	kindUpstreamRedirect: {
		502, "upstream_redirect", "Upstream redirect", faultService, "http_protocol_error",
		"The API answered with a redirect to another host, which the proxy does not pass on.",
	},
	kindMisdirected: {
		421, "misdirected_request", "Misdirected request", faultValidation, "http_request_denied",
		"This proxy does not serve this host name.",
	},
	kindLinkInvalid: {
		400, "link_invalid", "Link invalid", faultValidation, "http_request_error",
		"This link was not made by this proxy, or was changed on its way. Ask the app that gave it to you for a new one.",
	},
	kindLinkExpired: {
		410, "link_expired", "Link expired", faultValidation, "http_request_error",
		"This link has expired. Ask the app that gave it to you for a new one.",
	},
	kindNotFound: {
		404, "not_found", "Not found", faultValidation, "http_request_error",
		"There is nothing here.",
	},
}

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
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((p.RetryAfter+time.Second-1)/time.Second), 10))
	}

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
	return pages.Page{
		Kind:  pages.Failure,
		Title: kind.title,
		Lead:  p.lead(),
		Technical: append([]pages.Field{
			{Name: "status", Value: strconv.Itoa(p.status())},
			{Name: "error", Value: kind.code},
		}, p.fields()...),
		Action: pages.Action{Label: "Connect again", URL: p.ReauthURL},
	}
}

const (
	mediaProblem = "application/problem+json"
	mediaJSON    = "application/json"
	// The PHP SDK compares the whole string, and reads no other spelling.
	mediaXML  = "application/xml;charset=UTF-8"
	mediaHTML = "text/html"
)

// maxAccept bounds the work that a stranger can cause. Browsers send 200 bytes.
const maxAccept = 4 << 10

// negotiateProblem chooses the content type of a problem. goautoneg only parses: its
// Negotiate takes the first clause that fits anything, in an order that is not
// defined for clauses of the same quality, and reads q=0 as consent.
func negotiateProblem(h http.Header) string {
	field := strings.Join(h.Values("Accept"), ",")
	if len(field) > maxAccept {
		return mediaProblem
	}
	accept := goautoneg.ParseAccept(strings.ReplaceAll(strings.ToLower(field), "\t", " "))

	plain, plainNamed := acceptQuality(accept, "application", "json")
	own, ownNamed := acceptQuality(accept, "application", "problem+json")
	html, _ := acceptQuality(accept, "text", "html")
	xhtml, _ := acceptQuality(accept, "application", "xhtml+xml")
	appXML, _ := acceptQuality(accept, "application", "xml")
	textXML, _ := acceptQuality(accept, "text", "xml")

	jsonQ, htmlQ, xmlQ := max(plain, own), max(html, xhtml), max(appXML, textXML)
	switch {
	case htmlQ > jsonQ && htmlQ >= xmlQ:
		return mediaHTML
	case xmlQ > jsonQ:
		return mediaXML
	case plain > 0 && (own == 0 || plainNamed && !ownNamed):
		// An SDK that names application/json may read no other: the Java SDK
		// takes */json only, and turns anything else into an error without
		// the Fault. The members of RFC 9457 are in the body all the same.
		return mediaJSON
	default:
		return mediaProblem
	}
}

// acceptQuality is the weight of a media type, which the most specific range that
// covers it decides (RFC 9110 §12.5.1). named tells whether that was the type
// itself.
func acceptQuality(accept []goautoneg.Accept, typ, subtype string) (q float64, named bool) {
	best := 0
	for _, a := range accept {
		var specific int
		switch {
		case a.Type == typ && a.SubType == subtype:
			specific = 3
		case a.Type == typ && a.SubType == "*":
			specific = 2
		case a.Type == "*" && a.SubType == "*":
			specific = 1
		default:
			continue
		}
		if specific > best {
			best, q = specific, 0
		}
		// A q that is no number is no consent.
		if specific == best && a.Q > q {
			q = min(a.Q, 1)
		}
	}
	return q, best == 3
}
