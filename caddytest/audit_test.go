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
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// auditEntry is what the tests look at in an entry.
type auditEntry struct {
	What, By, Who, Integration, Outcome string
	Connection                          string `json:"connection_hash"`
	Time                                time.Time
	Count                               int
}

func (e auditEntry) String() string {
	return strings.TrimRight(strings.Join([]string{e.What, e.By, e.Who, e.Outcome}, " "), " ")
}

// audited returns the audit log.
func (s *system) audited(c *http.Client) (entries []auditEntry) {
	s.t.Helper()
	a := mustDo(s.t, c, http.MethodGet, "http://"+s.Admin+"/freshbearer/audit?limit=1000", nil)
	var answer struct{ Entries []auditEntry }
	if err := json.Unmarshal(a.Body, &answer); err != nil || a.Status != http.StatusOK {
		s.t.Fatalf("%d %s %v", a.Status, a.Body, err)
	}
	return answer.Entries
}

// Who did what, and who was refused, is in the audit log, with nothing about
// the customers.
func TestAudit(t *testing.T) {
	s := start(t, func(s *system) {
		s.Admin = freeAddress(t)
		s.addCaller("other", "")
	})
	c := client(t)
	s.connect(realmOne)
	s.connect(realmTwo)
	s.connect(realmOne)
	strangers := 0
	for _, target := range []string{companyInfo(realmOne), "/oauth/connections"} {
		for range 20 {
			if a := mustDo(t, c, http.MethodGet, s.Proxy+target, nil, "Authorization: Bearer nobody-knows-this-key"); a.Status == http.StatusUnauthorized {
				strangers++
			}
		}
	}
	for _, target := range []string{companyInfo(realmOne), "/oauth/connections/" + realmTwo} {
		mustDo(t, c, http.MethodGet, s.Proxy+target, nil, "Authorization: Bearer "+s.Callers[1].Key)
	}
	mustDo(t, c, http.MethodGet, s.Proxy+"/oauth/callback?code=forged&state=forged", nil)
	mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/disconnect", []byte("token=forged"), "Content-Type: application/x-www-form-urlencoded")
	mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/connections/"+realmOne+"/refresh", nil, s.bearer())
	mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/connections/"+realmOne+"/refresh", nil, s.bearer())
	mustDo(t, c, http.MethodDelete, s.Proxy+"/oauth/connections/"+realmOne, nil, s.bearer())
	// Another company than the link is for.
	w := walker(t)
	s.finish(w, s.begin(w, s.link(`{"connection":"`+realmOne+`"}`), realmNone))
	s.buttons(t, "recheck", "refresh", "connect", "disconnect")

	var entries []auditEntry
	want := []string{
		"opened system", "connected link app", "connected link app", "reconnected link app",
		"refreshed caller app", "refreshed caller app too_soon", "disconnected caller app",
		"rechecked admin  works", "refreshed admin  refreshed", "link_made admin", "disconnected admin  disconnected",
	}
	refusals := []string{
		"refused caller other connection_forbidden", "refused link  connect_state_unknown", "refused link app connect_other_account",
		"refused stranger  caller_unknown", "refused stranger  form_refused", "refused admin  form_refused",
	}
	err := eventually(10*time.Second, func() error {
		entries = s.audited(c)
		var done, refused []string
		for _, e := range entries {
			if e.What == "refused" {
				refused = append(refused, e.String())
			} else {
				done = append(done, e.String())
			}
		}
		slices.Sort(refused)
		slices.Sort(refusals)
		if refused = slices.Compact(refused); !slices.Equal(refused, refusals) || !slices.Equal(done, want) {
			return fmt.Errorf("done:\n%q\nwant:\n%q\nrefused:\n%q\nwant:\n%q", done, want, refused, refusals)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	log := string(mustDo(t, c, http.MethodGet, "http://"+s.Admin+"/freshbearer/audit?limit=1000", nil).Body)
	for _, customer := range []string{realmOne, realmTwo, realmNone, "Sandbox Company", "Craig's"} {
		if strings.Contains(log, customer) {
			t.Errorf("the audit log names a customer: %s", customer)
		}
	}
	one := entries[1].Connection
	if len(one) < 16 || entries[3].Connection != one || entries[2].Connection == one {
		t.Errorf("connections are not told apart: %+v", entries[:4])
	}
	if strangers != 40 {
		t.Errorf("%d strangers were refused", strangers)
	}
	// Nobody waits for it, and few lines come of many: the rest of the forty is
	// written when Caddy stops.
	if n := len(entries); n > len(want)+2*len(refusals) {
		t.Errorf("%d entries", n)
	}
	if err := s.restart(); err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, e := range s.audited(c) {
		if e.Outcome == "caller_unknown" {
			counted += e.Count
		}
	}
	if counted != strangers {
		t.Errorf("%d of %d refusals were counted", counted, strangers)
	}
	a := mustDo(t, c, http.MethodGet, "http://"+s.Admin+"/freshbearer/audit/verify", nil)
	if a.Status != http.StatusOK || !strings.Contains(string(a.Body), `"intact":true`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	c.CloseIdleConnections()
}

// buttons presses buttons of the status page about the second company, and
// sends a form that nobody was shown.
func (s *system) buttons(t *testing.T, names ...string) {
	t.Helper()
	c := walker(t)
	page := mustDo(t, c, http.MethodGet, "http://"+s.Admin+"/freshbearer/connection?integration=quickbooks&connection="+realmTwo, nil)
	token := regexp.MustCompile(`name="token" value="([^"]+)"`).FindSubmatch(page.Body)
	if token == nil {
		t.Fatalf("%d %s", page.Status, page.Body)
	}
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = realmTwo })
	for _, name := range append([]string{"forged"}, names...) {
		form := url.Values{"token": {html.UnescapeString(string(token[1]))}, "do": {name}, "integration": {"quickbooks"}, "connection": {realmTwo}}
		if name == "forged" {
			form.Set("token", "forged")
		}
		mustDo(t, c, http.MethodPost, "http://"+s.Admin+"/freshbearer/do", []byte(form.Encode()),
			"Content-Type: application/x-www-form-urlencoded", "Origin: http://"+s.Admin)
	}
}

// The method of an endpoint is the only one, and what is asked for has bounds.
func TestAuditEndpoints(t *testing.T) {
	s := start(t, func(s *system) { s.Admin = freeAddress(t) })
	c := client(t)
	for path, status := range map[string]int{
		"POST /freshbearer/audit": 405, "GET /freshbearer/rekey": 405, "POST /freshbearer/audit/verify": 405,
		"GET /freshbearer/audit?limit=0": 400, "GET /freshbearer/audit?limit=10001": 400, "GET /freshbearer/audit?limit=x": 400,
		"GET /freshbearer/audit?store=/nowhere": 404, "GET /freshbearer/audit?limit=1": 200,
	} {
		method, target, _ := strings.Cut(path, " ")
		if a := mustDo(t, c, method, "http://"+s.Admin+target, nil, "Origin: http://"+s.Admin); a.Status != status {
			t.Errorf("%s: %d %s, want %d", path, a.Status, a.Body, status)
		}
	}
	c.CloseIdleConnections()
}
