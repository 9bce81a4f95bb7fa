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
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// answer is a response that was read to its end.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Trailer are the fields that follow the body.
	Trailer http.Header
}

// problem is what the tests look at in an answer of the proxy's own.
type problem struct {
	Type       string `json:"type"`
	Status     int    `json:"status"`
	Detail     string `json:"detail"`
	Connection string `json:"connection"`
	Cause      string `json:"cause"`
	ReauthURL  string `json:"reauth_url"`
	Since      string `json:"since"`
	Error      string `json:"error"`
	Fault      struct {
		Error []struct{ Message, Detail, Code string }
		Type  string `json:"type"`
	}
}

// problem reads the answer as one of the proxy's own.
func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(a.Body, &p); err != nil {
		t.Fatalf("the answer %d is no problem: %v\n%s", a.Status, err, a.Body)
	}
	if p.Status != a.Status {
		t.Errorf("the answer has status %d and says %d", a.Status, p.Status)
	}
	if status := a.Header.Get("Proxy-Status"); !strings.HasPrefix(status, "freshbearer; error=") {
		t.Errorf("Proxy-Status is %q: this could be taken for Intuit's answer", status)
	}
	if cache := a.Header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("Cache-Control is %q, not no-store", cache)
	}
	return p
}

// client makes an HTTP client that follows no redirect, and closes its
// connections when the test ends.
func client(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// browser is a client with a cookie jar, which follows redirects.
func browser(t *testing.T) *http.Client {
	c := client(t)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Jar, c.CheckRedirect = jar, nil
	return c
}

// do sends a request and reads the answer. Header lines are "Name: value".
func do(c *http.Client, method, url string, body []byte, lines ...string) (answer, error) {
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequest(method, url, reader)
	if err != nil {
		return answer{}, err
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Add(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	return read(resp)
}

func read(resp *http.Response) (answer, error) {
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, all, resp.Trailer}, err
}

// mustDo is do, where an error ends the test.
func mustDo(t *testing.T, c *http.Client, method, url string, body []byte, lines ...string) answer {
	t.Helper()
	a, err := do(c, method, url, body, lines...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

// openAfterReload opens a page in a new browser, again if its connection was
// closed: see load.send.
func openAfterReload(t *testing.T, url string) answer {
	t.Helper()
	a, err := do(browser(t), http.MethodGet, url, nil)
	for try := 0; err != nil && closedByServer(err) && try < 5; try++ {
		a, err = do(browser(t), http.MethodGet, url, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func companyInfo(realm string) string { return "/v3/company/" + realm + "/companyinfo/" + realm }

func (s *system) bearer() string { return "Authorization: Bearer " + s.Key }

// get asks for the company's own record, as the first caller.
func (s *system) get(c *http.Client, realm string, lines ...string) answer {
	s.t.Helper()
	for {
		a, err := do(c, http.MethodGet, s.Proxy+companyInfo(realm), nil, append(lines, s.bearer())...)
		switch {
		case err == nil:
			return a
		case time.Since(s.loadedAt) > time.Second:
			s.t.Fatalf("asking for company %s: %v", realm, err)
		}
		// Caddy resets connections that are new in the moment of a reload, with
		// or without this module.
		s.t.Logf("right after a reload: %v", err)
	}
}

// link asks for a connect link.
func link(t *testing.T, c *http.Client, proxy, key, body string) string {
	t.Helper()
	a := mustDo(t, c, http.MethodPost, proxy+"/oauth/links", []byte(body), "Authorization: Bearer "+key)
	var made struct {
		URL       string    `json:"url"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal(a.Body, &made); err != nil || a.Status != http.StatusCreated || made.URL == "" {
		t.Fatalf("asking for a connect link: %d %s (%v)", a.Status, a.Body, err)
	}
	if made.ExpiresAt.Before(time.Now()) {
		t.Errorf("the link ends at %s", made.ExpiresAt)
	}
	return made.URL
}

// connect connects a company as a human with a browser does, and returns the
// last page.
func (s *system) connect(realm string) answer {
	s.t.Helper()
	return connectAt(s.t, s.Sites[0], s.Key, realm)
}

func connectAt(t *testing.T, at *site, key, realm string) answer {
	t.Helper()
	at.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = realm })
	c := browser(t)
	a := mustDo(t, c, http.MethodGet, link(t, c, at.Origin, key, `{"connection":"`+realm+`"}`)+"&start=1", nil)
	if a.Status != http.StatusOK || !bytes.Contains(a.Body, []byte("Connected to QuickBooks")) {
		t.Fatalf("connecting %s ended with %d:\n%s", realm, a.Status, a.Body)
	}
	return a
}

// step sends one request of a browser that does not follow redirects, and
// returns where it is sent.
func step(t *testing.T, c *http.Client, from string) (answer, *url.URL) {
	t.Helper()
	a := mustDo(t, c, http.MethodGet, from, nil)
	location, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return a, location
}

// unpaced lets all requests of the first site go to Intuit at once.
func unpaced(s *system) { s.Sites[0].Unpaced = true }
