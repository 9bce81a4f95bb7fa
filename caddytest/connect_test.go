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
	"bytes"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// walker is a browser that goes one step at a time.
func walker(t *testing.T) *http.Client {
	c := client(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Jar = jar
	return c
}

// begin opens a connect link and lets the human consent for realm, and returns
// the callback that the browser is sent to, without going there.
func (s *system) begin(c *http.Client, link, realm string) *url.URL {
	s.t.Helper()
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = realm })
	a, consent := step(s.t, c, link+"&start=1")
	if a.Status != http.StatusFound || !strings.HasPrefix(consent.String(), s.Intuit.AuthorizeURL()+"?") {
		s.t.Fatalf("the connect link was answered %d %v %s", a.Status, a.Header, a.Body)
	}
	query := consent.Query()
	if len(query.Get("state")) < 43 || query.Get("code_challenge_method") != "S256" || query.Get("code_challenge") == "" ||
		query.Get("redirect_uri") != s.Proxy+"/oauth/callback" || query.Get("response_type") != "code" {
		s.t.Errorf("the consent page is at %s", consent)
	}
	_, callback := step(s.t, c, consent.String())
	if !strings.HasPrefix(callback.String(), s.Proxy+"/oauth/callback?") {
		s.t.Fatalf("Intuit sends the browser to %s", callback)
	}
	return callback
}

// finish goes to the callback and then to the page that it leads to, and
// returns that page. The callback itself never shows anything.
func (s *system) finish(c *http.Client, callback *url.URL, lines ...string) answer {
	s.t.Helper()
	a := mustDo(s.t, c, http.MethodGet, callback.String(), nil, lines...)
	location := a.Header.Get("Location")
	if a.Status != http.StatusSeeOther || !strings.HasPrefix(location, s.Proxy+"/oauth/done?result=") {
		s.t.Fatalf("the callback was answered %d %v %s", a.Status, a.Header, a.Body)
	}
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || len(a.Body) > 0 {
		s.t.Errorf("the callback answers HTML: %q %s", a.Header.Get("Content-Type"), a.Body)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "no-referrer" {
		s.t.Errorf("the callback could be cached or leaked: %v", a.Header)
	}
	query := callback.Query()
	for _, name := range []string{"code", "state"} {
		if value := query.Get(name); len(value) > 20 && strings.Contains(location, value) {
			s.t.Errorf("the %s is in the address that the browser keeps: %s", name, location)
		}
	}
	page := mustDo(s.t, c, http.MethodGet, location, nil)
	if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || page.Header.Get("Cache-Control") != "no-store" {
		s.t.Errorf("the last page: %v", page.Header)
	}
	return page
}

var connected = []byte("Connected to QuickBooks")

// refused expects a page that does not say that a company is connected.
func refused(t *testing.T, page answer, words string) {
	t.Helper()
	if bytes.Contains(page.Body, connected) || !bytes.Contains(page.Body, []byte("Not connected to QuickBooks")) ||
		!bytes.Contains(page.Body, []byte(words)) {
		t.Errorf("expected a refusal with %q, got %d:\n%s", words, page.Status, page.Body)
	}
}

// used expects a page that says neither that a company is connected nor that it
// is not: the one that came first knows.
func used(t *testing.T, page answer) {
	t.Helper()
	if page.Status != http.StatusGone || !bytes.Contains(page.Body, []byte("<h1>Already used</h1>")) ||
		bytes.Contains(page.Body, connected) || bytes.Contains(page.Body, []byte("Not connected")) || bytes.Contains(page.Body, []byte("Sandbox Company")) {
		t.Errorf("expected a page about an earlier use, got %d:\n%s", page.Status, page.Body)
	}
}

// link is a connect link of the first caller's.
func (s *system) link(body string) string {
	s.t.Helper()
	return link(s.t, client(s.t), s.Proxy, s.Key, body)
}

// works tells whether a company's data can be had through the proxy.
func (s *system) works(realm string) bool {
	s.t.Helper()
	return s.get(client(s.t), realm).Status == http.StatusOK
}

const notOurs = "was not started in this browser"

func TestConnect(t *testing.T) {
	s := start(t)
	for _, body := range []string{``, `{}`, `{"connection":"` + realmOne + `"}`} {
		s.Intuit.ResetCounters()
		c := walker(t)
		callback := s.begin(c, s.link(body), realmOne)
		page := s.finish(c, callback)
		if page.Status != http.StatusOK || !bytes.Contains(page.Body, connected) || !bytes.Contains(page.Body, []byte("Sandbox Company US 1")) {
			t.Errorf("%d:\n%s", page.Status, page.Body)
		}
		if !s.works(realmOne) {
			t.Error("the connection does not work")
		}
		if n := s.Intuit.Counters(); n.CodeExchanges != 1 || n.CodeExchangesOK != 1 || n.Refreshes != 0 {
			t.Errorf("%v", n.TokenRequests)
		}
		// The same callback again, as with a reload: nothing is asked of Intuit,
		// which would revoke the grant for it, and the human reads of no failure.
		again := s.finish(c, callback)
		if again.Status != http.StatusOK || !bytes.Equal(again.Body, page.Body) {
			t.Errorf("the same callback again: %d\n%s", again.Status, again.Body)
		}
		// Another browser learns nothing about the company.
		used(t, s.finish(client(t), callback))
		if n := s.Intuit.Counters(); n.CodeExchanges != 1 || !s.works(realmOne) {
			t.Errorf("after a replay: %v", n.TokenRequests)
		}
	}
}

func TestConnectDenied(t *testing.T) {
	s := start(t)
	for consent, words := range map[intuittest.Consent]string{
		intuittest.ConsentDeny: "was not allowed", intuittest.ConsentInvalidScope: "QuickBooks did not allow",
	} {
		s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Consent = consent })
		c := walker(t)
		refused(t, s.finish(c, s.begin(c, s.link(`{}`), realmOne)), words)
	}
	if n := s.Intuit.Counters().CodeExchanges; n != 0 || s.works(realmOne) {
		t.Errorf("%d exchanges", n)
	}
}

// Of a hundred callbacks with one state, one is redeemed, and all are told of it.
func TestConnectInParallel(t *testing.T) {
	s := start(t)
	c := walker(t)
	callback := s.begin(c, s.link(`{}`), realmOne)
	var lines []string
	for _, cookie := range c.Jar.Cookies(callback) {
		lines = append(lines, "Cookie: "+cookie.Name+"="+cookie.Value)
	}
	if len(lines) != 1 {
		t.Fatalf("cookies: %q", lines)
	}
	const n = 100
	bare := client(t)
	answers := make([]answer, n)
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			<-gate
			var err error
			if answers[i], err = do(bare, http.MethodGet, callback.String(), nil, lines...); err != nil {
				t.Errorf("callback %d: %v", i, err)
			}
		})
	}
	close(gate)
	wg.Wait()
	successes := 0
	for _, a := range answers {
		if a.Status != http.StatusSeeOther {
			t.Errorf("a callback was answered %d", a.Status)
			continue
		}
		if page := mustDo(t, bare, http.MethodGet, a.Header.Get("Location"), nil); bytes.Contains(page.Body, connected) {
			successes++
		}
	}
	counters := s.Intuit.Counters()
	if successes != n || counters.CodeExchanges != 1 || counters.CodeReuses != 0 {
		t.Errorf("%d successes, %d exchanges, %d of them with a used code", successes, counters.CodeExchanges, counters.CodeReuses)
	}
	if !s.works(realmOne) {
		t.Error("the connection does not work")
	}
}

// The browser that comes back must be the one that set out.
func TestConnectFromAnotherBrowser(t *testing.T) {
	s := start(t)
	mine, theirs := walker(t), walker(t)
	t.Run("no cookie", func(t *testing.T) {
		callback := s.begin(mine, s.link(`{}`), realmOne)
		refused(t, s.finish(client(t), callback), notOurs)
		// The state is spent: the right browser comes too late.
		used(t, s.finish(mine, callback))
	})
	t.Run("another browser's callback", func(t *testing.T) {
		callback := s.begin(theirs, s.link(`{}`), realmOne)
		_ = s.begin(mine, s.link(`{}`), realmOne)
		refused(t, s.finish(mine, callback), notOurs)
	})
	t.Run("another flow's cookie", func(t *testing.T) {
		first, second := walker(t), walker(t)
		callback := s.begin(first, s.link(`{}`), realmOne)
		other := s.begin(second, s.link(`{}`), realmOne)
		name, value := first.Jar.Cookies(callback)[0].Name, second.Jar.Cookies(other)[0].Value
		refused(t, s.finish(client(t), callback, "Cookie: "+name+"="+value), notOurs)
	})
	t.Run("a state of nobody's", func(t *testing.T) {
		callback := s.begin(mine, s.link(`{}`), realmOne)
		query := callback.Query()
		for _, state := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 4000)} {
			query.Set("state", state)
			forged := *callback
			forged.RawQuery = query.Encode()
			refused(t, s.finish(mine, &forged), notOurs)
		}
	})
	if n := s.Intuit.Counters().CodeExchanges; n != 0 || s.works(realmOne) {
		t.Errorf("%d exchanges", n)
	}
	// Two companies in two tabs of one browser do not get in each other's way.
	one := s.begin(mine, s.link(`{}`), realmOne)
	two := s.begin(mine, s.link(`{}`), realmTwo)
	for _, callback := range []*url.URL{one, two} {
		if page := s.finish(mine, callback); !bytes.Contains(page.Body, connected) {
			t.Errorf("%d:\n%s", page.Status, page.Body)
		}
	}
	if !s.works(realmOne) || !s.works(realmTwo) {
		t.Error("a connection does not work")
	}
}

func TestConnectLinks(t *testing.T) {
	s := start(t, func(s *system) {
		s.Sites[0].Options = []string{"return_urls https://app.example.com http://localhost:3000"}
	})
	c := walker(t)
	good := s.link(`{}`)
	at := strings.Index(good, "link=") + len("link=")
	for what, bad := range map[string]string{
		"changed":     good[:at+5] + flip(good[at+5]) + good[at+6:],
		"resigned":    good[:len(good)-3] + flip(good[len(good)-3]) + good[len(good)-2:],
		"cut":         good[:len(good)-5],
		"none":        good[:at],
		"no query":    s.Proxy + "/oauth/connect",
		"a result":    s.Proxy + "/oauth/connect?link=" + s.resultText(),
		"very long":   good + strings.Repeat("A", 10000),
		"not a text":  s.Proxy + "/oauth/connect?link=%00%ff",
		"other query": s.Proxy + "/oauth/connect?connection=" + realmOne,
	} {
		a := mustDo(t, c, http.MethodGet, bad, nil)
		if p := a.problem(t); a.Status != http.StatusBadRequest || p.Error != "link_invalid" || a.Header.Values("Set-Cookie") != nil {
			t.Errorf("%s: %d %v %s", what, a.Status, a.Header, a.Body)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodDelete} {
		for _, page := range []string{"connect", "callback", "done"} {
			if a := mustDo(t, c, method, s.Proxy+"/oauth/"+page, nil); a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET" {
				t.Errorf("%s %s: %d, Allow %q", method, page, a.Status, a.Header.Get("Allow"))
			}
		}
	}
	for _, bad := range []string{
		`{"return_url":"https://evil.example.com/"}`,
		`{"return_url":"https://app.example.com.evil.example.com/"}`,
		`{"return_url":"https://app.example.com@evil.example.com/"}`,
		`{"return_url":"https://app.example.com:8443/"}`,
		`{"return_url":"http://app.example.com/"}`,
		`{"return_url":"//app.example.com/"}`,
		`{"return_url":"https:app.example.com"}`,
		`{"return_url":"https://app.example.com\\@evil.example.com/"}`,
		`{"return_url":"javascript:alert(1)"}`,
		`{"return_url":"/relative"}`,
		`{"connection":"12x"}`,
		`{"connection":"../1"}`,
		`{"unknown":1}`,
		`{"connection":7}`,
		`[]`, `null x`, `{`,
	} {
		a := mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/links", []byte(bad), s.bearer())
		if p := a.problem(t); a.Status != http.StatusBadRequest || p.Error != "bad_request" {
			t.Errorf("%s: %d %s", bad, a.Status, a.Body)
		}
	}
	if a := mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/links", []byte(`{"connection":9130347957983546}`), s.bearer()); !bytes.Contains(a.Body, []byte("must be a text, in quotes")) {
		t.Errorf("a realm ID as a number: %d %s", a.Status, a.Body)
	}
	for _, back := range []string{"https://app.example.com/done?a=b&c=d", "http://localhost:3000/x"} {
		page := s.finish(c, s.begin(c, s.link(`{"return_url":"`+back+`"}`), realmOne))
		target, err := url.Parse(actionOf(page))
		if err != nil || !bytes.Contains(page.Body, connected) || !strings.HasPrefix(target.String(), strings.Split(back, "?")[0]+"?") ||
			target.Query().Get("freshbearer_connection") != realmOne || target.Query().Get("freshbearer_company") != "Sandbox Company US 1" ||
			strings.Contains(back, "?") && target.Query().Get("c") != "d" {
			t.Errorf("%s: %d\n%s", back, page.Status, page.Body)
		}
	}
}

// flip returns another letter.
func flip(c byte) string {
	if c == 'A' {
		return "B"
	}
	return "A"
}

// resultText is a signed text of the proxy's that is no link.
func (s *system) resultText() string {
	s.t.Helper()
	a := mustDo(s.t, client(s.t), http.MethodGet, s.Proxy+"/oauth/callback", nil)
	_, text, ok := strings.Cut(a.Header.Get("Location"), "result=")
	if !ok {
		s.t.Fatalf("the callback was answered %d %v", a.Status, a.Header)
	}
	return text
}

func TestConnectLinkExpires(t *testing.T) {
	s := start(t, func(s *system) { s.Sites[0].Options = []string{"link_lifetime 2s"} })
	link := s.link(`{}`)
	c := walker(t)
	if err := eventually(10*time.Second, func() error {
		a, err := do(c, http.MethodGet, link, nil)
		if err == nil && a.Status == http.StatusGone {
			if p := a.problem(t); p.Error != "link_expired" || a.Header.Values("Set-Cookie") != nil {
				t.Errorf("%v %s", a.Header, a.Body)
			}
			return nil
		}
		return http.ErrNoLocation
	}); err != nil {
		t.Error("the link does not expire")
	}
}
