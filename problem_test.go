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
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func answer(p *problem, method string, accept ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/v3/company/9130/query", nil)
	if len(accept) > 0 {
		r.Header["Accept"] = accept
	}
	w := httptest.NewRecorder()
	p.write(w, r)
	return w
}

func reauthorization() *problem {
	return &problem{
		Kind:          kindReauthorization,
		Detail:        "QuickBooks company 9130 must be reconnected.",
		Integration:   "quickbooks",
		Connection:    "9130",
		Cause:         "revoked_or_replaced",
		ProviderError: "invalid_grant",
		ReauthURL:     "https://qb.example.com/oauth/connect?link=a.b&x=1",
		TraceID:       "1-abc",
		Since:         time.Date(2026, 11, 23, 6, 11, 31, 0, time.FixedZone("", -8*3600)),
	}
}

// intuitXML is how XML readers of QuickBooks see an answer.
type intuitXML struct {
	XMLName xml.Name `xml:"http://schema.intuit.com/finance/v3 IntuitResponse"`
	Time    string   `xml:"time,attr"`
	Fault   struct {
		Type  string `xml:"type,attr"`
		Error []struct {
			Code    string  `xml:"code,attr"`
			Element *string `xml:"element,attr"`
			Message string  `xml:"http://schema.intuit.com/finance/v3 Message"`
			Detail  string  `xml:"http://schema.intuit.com/finance/v3 Detail"`
		} `xml:"http://schema.intuit.com/finance/v3 Error"`
	} `xml:"http://schema.intuit.com/finance/v3 Fault"`
}

func TestProblemForms(t *testing.T) {
	const (
		firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
		chrome  = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	)
	accepts := []struct {
		accept []string
		want   string
	}{
		{nil, mediaProblem},
		{[]string{""}, mediaProblem},
		{[]string{"*/*"}, mediaProblem},
		{[]string{"application/*"}, mediaProblem},
		{[]string{"application/json"}, mediaJSON},
		{[]string{"Application/JSON ; charset=utf-8"}, mediaJSON},
		{[]string{"application/json, text/plain, */*"}, mediaJSON},
		{[]string{"application/json, application/problem+json"}, mediaProblem},
		{[]string{"application/json", "application/problem+json;q=0.5"}, mediaProblem},
		{[]string{"application/json, application/problem+json;q=0"}, mediaJSON},
		{[]string{"*/*, application/problem+json;q=0"}, mediaJSON},
		{[]string{"application/json;q=0, */*"}, mediaProblem},
		{[]string{"application/problem+json"}, mediaProblem},
		{[]string{"application/xml"}, mediaXML},
		{[]string{"text/xml"}, mediaXML},
		{[]string{"application/xml, */*;q=0.1"}, mediaXML},
		{[]string{"application/xml", "application/json;q=0.5"}, mediaXML},
		{[]string{"application/xml, application/json"}, mediaJSON},
		{[]string{"application/xml;q=0.5,\tapplication/json;q=0.6"}, mediaJSON},
		{[]string{"*/*;q=1, application/xml;q=0.2"}, mediaProblem},
		{[]string{"application/xml;q=0"}, mediaProblem},
		{[]string{"application/xml;q=NaN, application/json;q=0.1"}, mediaJSON},
		{[]string{"text/html"}, "text/html; charset=utf-8"},
		{[]string{"text/html, application/json"}, mediaJSON},
		{[]string{firefox}, "text/html; charset=utf-8"},
		{[]string{chrome}, "text/html; charset=utf-8"},
		{[]string{"application/xml,application/xhtml+xml,text/html;q=0.9,*/*;q=0.5"}, "text/html; charset=utf-8"},
		{[]string{"image/png"}, mediaProblem},
		{[]string{";;,/,=,q=1,*;q="}, mediaProblem},
		{[]string{"application/xml," + strings.Repeat("a/b,", maxAccept)}, mediaProblem},
	}
	for kind := range problemKinds {
		p := &problem{Kind: problemKind(kind)}
		for _, test := range accepts {
			w := answer(p, http.MethodGet, test.accept...)
			if got := w.Header().Get("Content-Type"); got != test.want {
				t.Errorf("%v, Accept %.80q: %s, want %s", p, test.accept, got, test.want)
				continue
			}
			checkHeaders(t, p, w)
			checkBody(t, p, w)
		}
	}
}

func checkHeaders(t *testing.T, p *problem, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	if w.Code != problemKinds[p.Kind].status {
		t.Errorf("%v: status %d", p, w.Code)
	}
	for name, want := range map[string]string{
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Vary":                   "Accept",
		"Content-Length":         strconv.Itoa(w.Body.Len()),
		"Proxy-Status":           "freshbearer; error=" + problemKinds[p.Kind].via + `; details="` + problemKinds[p.Kind].code + `"`,
	} {
		if got := h.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%v: %s %q, want %q", p, name, got, want)
		}
	}
	// RFC 8941 §3.1.2 and §3.3.3; the codes have no quotes or backslashes.
	if got := h.Get("Proxy-Status"); !regexp.MustCompile(`^freshbearer; error=[a-z_]+; details="[a-z_]+"$`).MatchString(got) {
		t.Errorf("%v: Proxy-Status %s", p, got)
	}
	if got, want := h.Get("WWW-Authenticate") != "", w.Code == http.StatusUnauthorized; got != want {
		t.Errorf("%v: WWW-Authenticate %q", p, h.Get("WWW-Authenticate"))
	}
	if _, got := h["Allow"]; got != (w.Code == http.StatusMethodNotAllowed) {
		t.Errorf("%v: Allow %q", p, h["Allow"])
	}
	if h.Get("Retry-After") != "" {
		t.Errorf("%v: Retry-After %s", p, h.Get("Retry-After"))
	}
}

func checkBody(t *testing.T, p *problem, w *httptest.ResponseRecorder) {
	t.Helper()
	kind := problemKinds[p.Kind]
	code := strconv.Itoa(kind.status)
	switch contentType := w.Header().Get("Content-Type"); contentType {
	case mediaXML:
		var x intuitXML
		if err := xml.Unmarshal(w.Body.Bytes(), &x); err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		if x.Fault.Type != kind.fault || len(x.Fault.Error) != 1 {
			t.Fatalf("%v: %s", p, w.Body)
		}
		e := x.Fault.Error[0]
		if e.Code != code || e.Message != kind.detail || e.Element == nil || e.Detail == "" {
			t.Errorf("%v: %s", p, w.Body)
		}
	case mediaProblem, mediaJSON:
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%v: %v", p, err)
		}
		at, timed := body["time"].(string)
		if timed == (p.Kind == kindConnectionForbidden) {
			t.Errorf("%v: time %q", p, at)
		}
		if timed && !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00$`).MatchString(at) {
			t.Errorf("%v: time %q", p, at)
		}
		delete(body, "time")
		want := map[string]any{
			"type":   problemDoc + strings.ReplaceAll(kind.code, "_", "-"),
			"title":  kind.title,
			"status": float64(kind.status),
			"detail": kind.detail,
			"Fault": map[string]any{
				"Error": []any{map[string]any{
					"Message": kind.detail,
					"Detail":  "Answered by freshbearer, not by the API: " + kind.code,
					"code":    code,
					"element": "",
				}},
				"type": kind.fault,
			},
			"error":             kind.code,
			"error_description": kind.detail,
		}
		if !reflect.DeepEqual(body, want) {
			t.Errorf("%v: %s", p, w.Body)
		}
	default:
		if body := w.Body.String(); !strings.Contains(body, kind.title+"</h1>") || !strings.Contains(body, kind.code) {
			t.Errorf("%v: %s", p, body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") {
			t.Errorf("%v: policy %q", p, csp)
		}
	}
}

// Each part reads the body as that SDK's code does.
func TestReauthorizationInSDKs(t *testing.T) {
	p := reauthorization()
	w := answer(p, http.MethodGet, "application/json")
	body := w.Body.Bytes()

	t.Run("python-quickbooks", func(t *testing.T) {
		var v struct {
			Fault struct{ Error []map[string]string }
		}
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		e := v.Fault.Error[0]
		if code, err := strconv.Atoi(e["code"]); err != nil || code != 428 {
			t.Errorf("code %q", e["code"])
		}
		if !strings.HasSuffix(e["Message"], " Open "+p.ReauthURL) {
			t.Errorf("Message %q", e["Message"])
		}
	})
	t.Run("quickbooks-go", func(t *testing.T) {
		var v struct {
			Fault struct {
				Error []struct {
					Message, Detail string
					Code            string `json:"code"`
					Element         string `json:"element"`
				}
				Type string `json:"type"`
			}
			Time string `json:"time"`
		}
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		if _, err := time.Parse("2006-01-02T15:04:05-07:00", v.Time); err != nil {
			t.Error(err)
		}
		if !strings.Contains(v.Fault.Error[0].Message, p.ReauthURL) || v.Fault.Type != "AuthenticationFault" {
			t.Errorf("%+v", v)
		}
	})
	t.Run("intuit-oauth", func(t *testing.T) {
		var v map[string]any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		if v["error"] != "reauthorization_required" || !strings.Contains(v["error_description"].(string), p.ReauthURL) {
			t.Errorf("%s", body)
		}
	})
	t.Run("Java", func(t *testing.T) {
		if got := w.Header().Get("Content-Type"); !strings.HasSuffix(got, "/json") {
			t.Errorf("Content-Type %s", got)
		}
	})
	t.Run("PHP and Ruby", func(t *testing.T) {
		w := answer(p, http.MethodGet, "application/xml")
		if got := w.Header().Get("Content-Type"); got != "application/xml;charset=UTF-8" {
			t.Errorf("Content-Type %s", got)
		}
		var x intuitXML
		if err := xml.Unmarshal(w.Body.Bytes(), &x); err != nil {
			t.Fatal(err)
		}
		e := x.Fault.Error[0]
		if e.Code != "428" || !strings.Contains(e.Message, p.ReauthURL) || !strings.Contains(e.Detail, "cause=revoked_or_replaced") {
			t.Errorf("%+v", e)
		}
		if _, err := time.Parse("2006-01-02T15:04:05-07:00", x.Time); err != nil {
			t.Error(err)
		}
	})
	t.Run("browser", func(t *testing.T) {
		page := answer(p, http.MethodGet, "text/html").Body.String()
		for _, want := range []string{
			`href="https://qb.example.com/oauth/connect?link=a.b&amp;x=1"`, "revoked_or_replaced", "invalid_grant", "1-abc",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("the page lacks %s:\n%s", want, page)
			}
		}
	})
	t.Run("members", func(t *testing.T) {
		var v map[string]any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"integration": "quickbooks", "connection": "9130", "cause": "revoked_or_replaced",
			"provider_error": "invalid_grant", "reauth_url": p.ReauthURL, "intuit_tid": "1-abc",
			"since": "2026-11-23T14:11:31.000+00:00",
		} {
			if v[name] != want {
				t.Errorf("%s: %v, want %v", name, v[name], want)
			}
		}
		if !strings.Contains(string(body), p.ReauthURL) {
			t.Errorf("the URL is not as people can copy it: %s", body)
		}
	})
}

func TestReauthorizationStatus(t *testing.T) {
	p := reauthorization()
	p.Status = http.StatusUnauthorized
	w := answer(p, http.MethodGet)
	var v struct {
		Type   string
		Status int
		Fault  struct{ Error []struct{ Code string } }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if w.Code != 401 || v.Status != 401 || v.Fault.Error[0].Code != "401" || !strings.HasSuffix(v.Type, "#reauthorization-required") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w.Header().Get("WWW-Authenticate") != `Bearer realm="freshbearer"` {
		t.Errorf("WWW-Authenticate %q", w.Header().Get("WWW-Authenticate"))
	}
}

func TestDetailNamesTheLinkOnce(t *testing.T) {
	p := reauthorization()
	p.Detail = "Open " + p.ReauthURL + " to reconnect."
	if got := p.message(); got != p.Detail {
		t.Errorf("message %q", got)
	}
}

// What a caller could tell two connections apart by is the header and the body.
func TestForbiddenIsTheSameForAll(t *testing.T) {
	for _, accept := range []string{"", "application/json", "application/xml", "text/html"} {
		bare := answer(&problem{Kind: kindConnectionForbidden}, http.MethodGet, accept)
		p := reauthorization()
		p.Kind, p.Status, p.RetryAfter, p.Allow = kindConnectionForbidden, 404, time.Minute, "GET"
		time.Sleep(2 * time.Millisecond)
		full := answer(p, http.MethodGet, accept)
		if bare.Code != full.Code || !reflect.DeepEqual(bare.Header(), full.Header()) || bare.Body.String() != full.Body.String() {
			t.Errorf("Accept %q:\n%d %v %s\n%d %v %s", accept,
				bare.Code, bare.Header(), bare.Body, full.Code, full.Header(), full.Body)
		}
	}
}

func TestProblemHead(t *testing.T) {
	for _, accept := range []string{"", "application/json", "application/xml", "text/html"} {
		get := answer(&problem{Kind: kindConnectionForbidden}, http.MethodGet, accept)
		head := answer(&problem{Kind: kindConnectionForbidden}, http.MethodHead, accept)
		if head.Body.Len() != 0 || head.Code != get.Code || !reflect.DeepEqual(head.Header(), get.Header()) {
			t.Errorf("Accept %q: %d %v %q", accept, head.Code, head.Header(), head.Body)
		}
	}
}

func TestRetryAfterAndAllow(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0:                       "",
		-time.Second:            "",
		time.Nanosecond:         "1",
		time.Second:             "1",
		1001 * time.Millisecond: "2",
		time.Minute:             "60",
	} {
		w := answer(&problem{Kind: kindTokenUnavailable, RetryAfter: wait}, http.MethodGet)
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%v: Retry-After %q, want %q", wait, got, want)
		}
	}
	w := answer(&problem{Kind: kindMethodNotAllowed, Allow: "GET, POST"}, http.MethodTrace)
	if got := w.Header().Get("Allow"); got != "GET, POST" {
		t.Errorf("Allow %q", got)
	}
}

func TestStaleHeadersAreCleared(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range staleHeaders {
		if http.CanonicalHeaderKey(name) != name {
			t.Errorf("%s is not canonical", name)
		}
		w.Header().Set(name, "stale")
	}
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("Content-Length", "1")
	w.Header().Set("Content-Type", "image/png")
	(&problem{Kind: kindUpstreamFailed}).write(w, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, name := range staleHeaders {
		if got := w.Header().Get(name); got != "" {
			t.Errorf("%s: %q", name, got)
		}
	}
	checkHeaders(t, &problem{Kind: kindUpstreamFailed}, w)
}

func TestHostileProblem(t *testing.T) {
	for _, hostile := range []string{
		`</Message></Error><Error code="0">`,
		`<script>alert(1)</script>`,
		`" onmouseover="alert(1)`,
		"]]>&amp;<!--",
		"\x00\x1b[31m\xff\r\nSet-Cookie: a=b",
	} {
		p := reauthorization()
		p.Detail, p.Integration, p.Connection, p.Cause = hostile, hostile, hostile, hostile
		p.ProviderError, p.TraceID, p.ReauthURL = hostile, hostile, "javascript:"+hostile

		var x intuitXML
		w := answer(p, http.MethodGet, "application/xml")
		if err := xml.Unmarshal(w.Body.Bytes(), &x); err != nil || len(x.Fault.Error) != 1 || x.Fault.Error[0].Code != "428" {
			t.Errorf("%q: %v: %s", hostile, err, w.Body)
		}

		var v map[string]any
		w = answer(p, http.MethodGet)
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || v["error"] != "reauthorization_required" {
			t.Errorf("%q: %v: %s", hostile, err, w.Body)
		}

		w = answer(p, http.MethodGet, "text/html")
		page := w.Body.String()
		for _, tag := range []string{"<script", "<Error", "<a", "<!--", `" onmouseover`} {
			if strings.Contains(page, tag) {
				t.Errorf("%q: the page holds %s:\n%s", hostile, tag, page)
			}
		}
		if w.Header().Get("Set-Cookie") != "" || strings.ContainsAny(w.Header().Get("Proxy-Status"), "\r\n") {
			t.Errorf("%q: %v", hostile, w.Header())
		}
	}
}

func TestErrorIsFitForLogs(t *testing.T) {
	p := reauthorization()
	if got, want := p.Error(), "428 reauthorization_required: revoked_or_replaced"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := new(problem).Error(), "500 internal_error"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The documentation is part of a problem's type (RFC 9457 §4), so its samples
// must be what the program writes.
func TestProblemsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := make(map[string]string)
	for _, section := range strings.Split(string(text), "\n## ")[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		sections[heading] = body
	}
	seen := make(map[string]bool)
	for i, kind := range problemKinds {
		if kind.code == "" || seen[kind.code] {
			t.Errorf("kind %d has no code of its own: %q", i, kind.code)
			continue
		}
		seen[kind.code] = true
		// GitHub makes anchors so from headings of letters and spaces.
		if anchor := strings.ReplaceAll(strings.ToLower(kind.title), " ", "-"); anchor != strings.ReplaceAll(kind.code, "_", "-") {
			t.Errorf("%s: the title's anchor is %s", kind.code, anchor)
		}
		section, ok := sections[kind.title]
		if !ok {
			t.Errorf("no section %q", kind.title)
			continue
		}
		for _, want := range []string{"**Status " + strconv.Itoa(kind.status) + "**", "`" + kind.code + "`", "*Who acts:*", "*What to do:*"} {
			if !strings.Contains(section, want) {
				t.Errorf("section %q lacks %s", kind.title, want)
			}
		}
		_, sample, _ := strings.Cut(section, "```json\n")
		sample, _, _ = strings.Cut(sample, "\n```")
		checkSample(t, problemKind(i), sample)
	}
}

func checkSample(t *testing.T, kind problemKind, sample string) {
	t.Helper()
	var m struct {
		Detail, Integration, Connection, Cause string
		ProviderError                          string `json:"provider_error"`
		ReauthURL                              string `json:"reauth_url"`
		TraceID                                string `json:"intuit_tid"`
		Incident                               string
		IncidentURL                            string `json:"incident_url"`
		Since, Time                            time.Time
	}
	if err := json.Unmarshal([]byte(sample), &m); err != nil {
		t.Errorf("the sample of %s: %v", problemKinds[kind].code, err)
		return
	}
	p := &problem{
		Kind: kind, Detail: m.Detail, Integration: m.Integration, Connection: m.Connection, Cause: m.Cause,
		ProviderError: m.ProviderError, ReauthURL: m.ReauthURL, TraceID: m.TraceID, Since: m.Since,
		Incident: m.Incident, IncidentURL: m.IncidentURL,
	}
	var got, want any
	if err := json.Unmarshal([]byte(sample), &got); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal(p.json(m.Time), &want); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the sample of %s is not what is written:\n%v\n%v", problemKinds[kind].code, got, want)
	}
}
