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

package pages

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func write(status int, p Page) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	Write(w, status, p)
	return w
}

func TestHeaders(t *testing.T) {
	w := write(http.StatusConflict, Page{Title: "Another company"})
	if w.Code != http.StatusConflict {
		t.Errorf("status %d", w.Code)
	}
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-store",
		"Referrer-Policy":        "no-referrer",
		"X-Content-Type-Options": "nosniff",
		"X-Frame-Options":        "DENY",
		"Content-Length":         strconv.Itoa(w.Body.Len()),
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	csp := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
	} {
		if !strings.Contains(csp, want) {
			t.Errorf("the policy %q lacks %s", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
		t.Errorf("the policy %q allows too much", csp)
	}
}

// A browser hashes what stands between the tags, so this reads the page and
// not the embedded file.
func TestPolicyAllowsTheStyle(t *testing.T) {
	w := write(http.StatusOK, Page{Kind: Success, Title: "Connected"})
	found := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(w.Body.String(), -1)
	if len(found) != 1 {
		t.Fatalf("%d styles", len(found))
	}
	sum := sha256.Sum256([]byte(found[0][1]))
	want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';"
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, want) {
		t.Errorf("the policy %q lacks %s", csp, want)
	}
}

func TestHostileValues(t *testing.T) {
	for _, hostile := range []string{
		`<script>alert(1)</script>`,
		`"><img src=x onerror=alert(1)>`,
		`</title></style><svg onload=alert(1)>`,
		`' onmouseover='alert(1)`,
		`{{.Style}}`,
		"\x00<b>\xff\u202e",
	} {
		// url.Parse refuses control characters, and the link would be missing.
		query := strings.ReplaceAll(hostile, "\x00", "")
		plain := write(http.StatusOK, full("x", "https://example.com/")).Body.String()
		body := write(http.StatusOK, full(hostile, "https://example.com/?q="+query)).Body.String()
		for _, char := range []string{"<", ">", `"`} {
			if got, want := strings.Count(body, char), strings.Count(plain, char); got != want {
				t.Errorf("%q: %d times %s in the page, want %d:\n%s", hostile, got, char, want, body)
			}
		}
	}
}

func full(text, address string) Page {
	return Page{
		Kind:      Failure,
		Title:     text,
		Lead:      text,
		App:       text,
		Detail:    []string{text, text},
		Facts:     []Field{{Name: text, Value: text}},
		Steps:     []string{text},
		Small:     text,
		Form:      &Form{Label: text, Hidden: []Field{{Name: text, Value: text}}},
		Other:     Action{Label: text, URL: address},
		Message:   &Message{Origin: address, URL: address, Connection: text, Company: text, Error: text, Text: text},
		Cases:     []Case{{What: text, Who: text, Do: text}, {What: text, Do: text}},
		Technical: []Field{{Name: text, Value: text}},
		Action:    Action{Label: text, URL: address},
	}
}

func TestActionURL(t *testing.T) {
	for _, address := range []string{
		"https://qb.example.com/oauth/connect?link=a.b&x=1",
		"http://127.0.0.1:8080/",
	} {
		body := write(http.StatusOK, Page{Action: Action{Label: "Go", URL: address}}).Body.String()
		if want := `href="` + strings.ReplaceAll(address, "&", "&amp;") + `"`; !strings.Contains(body, want) {
			t.Errorf("%s: the page lacks %s", address, want)
		}
	}
	for _, address := range []string{
		"",
		"javascript:alert(1)",
		"JaVaScRiPt:alert(1)",
		"java\tscript:alert(1)",
		" javascript:alert(1)",
		"\x01javascript:alert(1)",
		"javascript://example.com/%0aalert(1)",
		"data:text/html,<script>alert(1)</script>",
		"vbscript:x",
		"mailto:a@example.com",
		"//example.com/",
		"/oauth/connect",
		"https:",
		"https:example.com",
		"https://trusted.example@example.com/",
	} {
		body := write(http.StatusOK, Page{Action: Action{Label: "Go", URL: address}}).Body.String()
		if strings.Contains(body, "<a") || strings.Contains(body, "href") {
			t.Errorf("%q became a link:\n%s", address, body)
		}
	}
}

func TestPage(t *testing.T) {
	body := write(http.StatusOK, Page{
		Kind:      Success,
		App:       "Billing",
		Title:     "Connected",
		Lead:      "QuickBooks is connected.",
		Cases:     []Case{{"It was late.", "You", "Start again."}, {What: "Rain.", Do: "Wait."}},
		Technical: []Field{{"Company", "9130"}, {"Trace", ""}},
	}).Body.String()
	for _, want := range []string{
		"<!DOCTYPE html>", `<html lang="en">`, `name="viewport"`, "prefers-color-scheme: dark",
		"<title>Connected – Billing</title>", `<main class="success">`, "</svg>Connected</h1>", `<p class="app">Billing</p>`,
		`<p class="lead">QuickBooks is connected.</p>`, "<dt>Company</dt><dd>9130</dd>",
		"<ol class=\"cases\">\n<li><strong>It was late.</strong><br><em>You:</em> Start again.</li>\n<li><strong>Rain.</strong><br>Wait.</li>\n</ol>",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s:\n%s", want, body)
		}
	}
	for _, not := range []string{"<script", "http://", "https://", "url(", "@import", "src=", "Trace"} {
		if strings.Contains(body, not) {
			t.Errorf("the page holds %s", not)
		}
	}
	if bare := write(http.StatusOK, Page{Title: "x"}).Body.String(); strings.Contains(bare, "<details>") {
		t.Errorf("an empty fold:\n%s", bare)
	}
}

// Only a page with something to tell runs a script, and only that one.
func TestMessage(t *testing.T) {
	m := &Message{Origin: "https://app.example.com", URL: "https://app.example.com/back?freshbearer_connection=1", Connection: "1", Company: `A "quoted" <b>`}
	w := write(http.StatusOK, Page{Title: "Connected", Message: m})
	body := w.Body.String()
	found := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllStringSubmatch(body, -1)
	if len(found) != 1 {
		t.Fatalf("%d scripts:\n%s", len(found), body)
	}
	sum := sha256.Sum256([]byte(found[0][1]))
	want := "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, want) || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy %q lacks %s", csp, want)
	}
	for _, want := range []string{`data-origin="https://app.example.com"`, `data-company="A &#34;quoted&#34; &lt;b&gt;"`, `data-connection="1"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s:\n%s", want, body)
		}
	}
	for _, bad := range []string{"", "*", "javascript:alert(1)", "//x.example"} {
		for _, m := range []*Message{{Origin: bad, URL: m.URL}, {Origin: m.Origin, URL: bad}} {
			w := write(http.StatusOK, Page{Title: "Connected", Message: m})
			if strings.Contains(w.Body.String(), "<script") || strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src") {
				t.Errorf("%+v is told", m)
			}
		}
	}
}
