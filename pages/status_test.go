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
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// statusSamples are the operator's pages, each with one of everything.
func statusSamples() map[string]any {
	return map[string]any{"list": sampleStatus(), "connection": samplePage(), "disconnect": sampleDisconnect(), "link": sampleLink()}
}

func writeSample(name string, view any) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	writeStatusPage(w, name, view)
	return w
}

func TestStatusHeaders(t *testing.T) {
	for name, view := range statusSamples() {
		w := writeSample(name, view)
		styles := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(w.Body.String(), -1)
		if w.Code != http.StatusOK || len(styles) != 1 {
			t.Fatalf("%s: %d, %d styles", name, w.Code, len(styles))
		}
		sum := sha256.Sum256([]byte(styles[0][1]))
		csp := w.Header().Get("Content-Security-Policy")
		for _, want := range []string{
			"default-src 'none'", "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "';",
			"base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
		} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q lacks %s", name, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || strings.Contains(csp, "script") {
			t.Errorf("%s: the policy %q allows too much", name, csp)
		}
		for field, want := range map[string]string{
			"Cache-Control": "no-store", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
			"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		} {
			if got := w.Header().Get(field); got != want {
				t.Errorf("%s: %s is %q", name, field, got)
			}
		}
		if not := regexp.MustCompile(` (style|on\w+)="|<script|ZgotmplZ|(?:href|action)="/`).FindString(w.Body.String()); not != "" {
			t.Errorf("%s: the page holds %q", name, not)
		}
	}
}

// fill sets every text in a view, however deep.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Struct:
		if v.Type() != reflect.TypeFor[time.Time]() {
			for i := range v.NumField() {
				fill(v.Field(i), text)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	}
}

func TestStatusHostileValues(t *testing.T) {
	for name, view := range statusSamples() {
		render := func(text string) string {
			filled := reflect.New(reflect.TypeOf(view)).Elem()
			filled.Set(reflect.ValueOf(view))
			fill(filled, text)
			w := writeSample(name, filled.Interface())
			if w.Code != http.StatusOK {
				t.Fatalf("%s: %d", name, w.Code)
			}
			return w.Body.String()
		}
		plain := render("x")
		for _, hostile := range []string{
			`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</title></style><svg onload=alert(1)>`,
			`' onmouseover='alert(1)`, "javascript:alert(1)", "{{.Token}}", "\x00<b>\xff\u202e",
		} {
			body := render(hostile)
			for _, char := range []string{"<", ">", `"`} {
				if got, want := strings.Count(body, char), strings.Count(plain, char); got != want {
					t.Errorf("%s with %q: %d times %s, want %d", name, hostile, got, char, want)
				}
			}
			if regexp.MustCompile(`(?:href|action|src)="\s*javascript:`).MatchString(body) {
				t.Errorf("%s with %q: a script became a link", name, hostile)
			}
		}
	}
}

// The two styles have the look in common.
func TestStatusProperties(t *testing.T) {
	property := regexp.MustCompile(`(--(?:paper|card|ink|soft|line|button)): ([^;]+);`)
	values := func(text string) map[string][]string {
		found := make(map[string][]string)
		for _, m := range property.FindAllStringSubmatch(text, -1) {
			found[m[1]] = append(found[m[1]], m[2])
		}
		return found
	}
	if ours, theirs := values(statusStyle), values(style); fmt.Sprint(ours) != fmt.Sprint(theirs) {
		t.Errorf("status.css has %v, style.css has %v", ours, theirs)
	}
}

func TestStatusWords(t *testing.T) {
	now := sampleNow
	for want, d := range map[string]time.Duration{
		"just now": 3 * time.Second, "59 s ago": 59 * time.Second, "1 min ago": 119 * time.Second, "47 h ago": 48*time.Hour - 1,
		"2 days ago": 48 * time.Hour, "2.0 years ago": 731 * day, "in 30 min": -31*time.Minute + 1, "in 4.9 years": -1824 * day,
	} {
		if got := when(now, now.Add(-d)).Text; got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	for want, n := range map[string]int{"0": 0, "999": 999, "1,000": 1000, "100,000": 100000, "1,234,567": 1234567} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
	for _, c := range []struct {
		span  Span
		text  string
		tone  string
		width int
	}{
		{Span{}, "unknown", "quiet", 0},
		{Span{Until: now, Life: day}, "ended", "bad", 0},
		{Span{Until: now.Add(1425 * day), Life: 1900 * day}, "3.9 years", "good", 75},
		{Span{Until: now.Add(6 * day), Life: 100 * day, Soon: 14 * day}, "6 days", "warning", 6},
		{Span{Until: now.Add(time.Second), Life: 100 * day}, "1 s", "good", 1},
	} {
		if g := newGauge(now, "x", c.span); g.Text != c.text || g.Tone != c.tone || g.Width != c.width {
			t.Errorf("%+v: %+v", c.span, g)
		}
	}
}

func BenchmarkStatusPage(b *testing.B) {
	view := sampleStatus()
	for len(view.Connections) < 50 {
		view.Connections = append(view.Connections, sampleConnection("connected"))
	}
	b.ReportAllocs()
	for b.Loop() {
		WriteStatus(httptest.NewRecorder(), view)
	}
}
