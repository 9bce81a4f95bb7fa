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

// Package secret holds the one type that carries tokens, client secrets and
// keys through the program. It cannot print itself.
package provider_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/provider"
)

func statusPage(t *testing.T, handler http.HandlerFunc) (*provider.StatusPage, *clockwork.FakeClock) {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	clock := clockwork.NewFakeClock()
	return &provider.StatusPage{URL: server.URL, Clock: clock}, clock
}

func TestStatusPage(t *testing.T) {
	const incident = `{"name":%q,"status":%q,"impact":%q,"shortlink":%q}`
	summary := func(indicator, incidents, maintenances string) string {
		return fmt.Sprintf(`{"page":{"id":"x"},"status":{"indicator":%q,"description":"Partial Outage"},"incidents":[%s],"scheduled_maintenances":[%s]}`,
			indicator, incidents, maintenances)
	}
	for name, c := range map[string]struct {
		body      string
		want, url string // url empty: the page's own
	}{
		"all is well":           {summary("none", "", ""), "", ""},
		"incident":              {summary("none", fmt.Sprintf(incident, "OAuth", "investigating", "major", "https://stspg.io/a"), ""), "OAuth", "https://stspg.io/a"},
		"monitored":             {summary("none", fmt.Sprintf(incident, "OAuth", "monitoring", "minor", ""), ""), "OAuth", ""},
		"resolved":              {summary("none", fmt.Sprintf(incident, "OAuth", "resolved", "major", ""), ""), "", ""},
		"without impact":        {summary("none", fmt.Sprintf(incident, "OAuth", "investigating", "none", ""), ""), "", ""},
		"indicator alone":       {summary("minor", "", ""), "Partial Outage", ""},
		"maintenance":           {summary("none", "", `{"name":"Move","status":"in_progress","shortlink":"https://stspg.io/m"}`), "Move", "https://stspg.io/m"},
		"maintenance to come":   {summary("none", "", `{"name":"Move","status":"scheduled"}`), "", ""},
		"unnamed":               {summary("none", fmt.Sprintf(incident, "", "investigating", "major", ""), ""), "an incident", ""},
		"script in the link":    {summary("none", fmt.Sprintf(incident, "OAuth", "investigating", "major", "javascript:alert(1)"), ""), "OAuth", ""},
		"user in the link":      {summary("none", fmt.Sprintf(incident, "OAuth", "investigating", "major", "https://a@b.example/"), ""), "OAuth", ""},
		"endless, with a break": {summary("none", fmt.Sprintf(incident, "a\nb"+strings.Repeat("c", 500), "investigating", "major", ""), ""), "a b" + strings.Repeat("c", 117), ""},
	} {
		page, _ := statusPage(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v2/summary.json" || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write([]byte(c.body))
		})
		got, err := page.Incident(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.url == "" {
			c.url = page.URL
		}
		switch {
		case got == nil && c.want != "":
			t.Errorf("%s: no incident", name)
		case got != nil && (got.Name != c.want || got.URL != c.url):
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestStatusPageThatCannotBeRead(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"500":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"a page":    func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"JSON":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
		"too long":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat(" ", 2<<20)) },
		"redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", 302) },
	} {
		page, _ := statusPage(t, handler)
		if incident, err := page.Incident(t.Context()); err == nil || incident != nil {
			t.Errorf("%s: %v, %v", name, incident, err)
		}
	}
}

func TestStatusPageThatHangs(t *testing.T) {
	release := make(chan struct{})
	page, _ := statusPage(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	began := time.Now()
	if _, err := page.Incident(t.Context()); err == nil {
		t.Error("no error")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestStatusPageIsAskedOnceAMinute(t *testing.T) {
	for name, status := range map[string]int{"answers": 200, "failures": 500} {
		var asked atomic.Int64
		page, clock := statusPage(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(status)
			fmt.Fprint(w, `{"status":{"indicator":"none"}}`)
		})
		for range 3 {
			for range 59 {
				_, _ = page.Incident(t.Context())
				clock.Advance(time.Second)
			}
			clock.Advance(time.Second)
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("%s: asked %d times in three minutes", name, n)
		}
	}
}
