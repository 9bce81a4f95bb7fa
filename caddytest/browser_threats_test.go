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
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/freshbearer/freshbearer/intuittest"
)

// browserPaths are what is under /oauth.
var browserPaths = []string{
	"callback", "connect", "connect.js", "connections", "connections/" + realmOne, "connections/" + realmOne + "/refresh",
	"connections/" + realmOne + "/disconnect", "disconnect", "disconnected", "done", "launch", "links", "reconnect",
}

// A page that somebody's site has a browser open by another name for this
// machine (DNS rebinding) is not served, whichever way the name arrives.
func TestHostMatrix(t *testing.T) {
	s := start(t, func(s *system) {
		site := s.Sites[0]
		// Any name reaches the handler, as with a careless site address.
		site.Address = "http://:" + site.Origin[strings.LastIndexByte(site.Origin, ':')+1:]
		s.Globals = append(s.Globals, "servers {", "\tprotocols h1 h2c", "}")
	})
	good := strings.TrimPrefix(s.Proxy, "http://")
	port := good[strings.IndexByte(good, ':'):]
	link := strings.TrimPrefix(s.link(`{}`), s.Proxy) + "&start=1"
	callback := s.begin(walker(t), s.Proxy+strings.TrimSuffix(link, "&start=1"), realmOne)
	targets := []string{link, callback.RequestURI(), "/oauth/reconnect?realmId=" + realmOne, "/oauth/reconnect?realmId=" + realmOne + "&start=1",
		"/oauth/launch", "/oauth/disconnected?realmId=" + realmOne, "/oauth/done?result=x", "/oauth/disconnect?link=x"}
	hosts := []string{"evil.example.com", "evil.example.com" + port, "localhost" + port, "127.0.0.1", "127.0.0.1:1", "127.0.0.1." + port, "127.1" + port,
		"2130706433" + port, "0x7f000001" + port, "[::1]" + port, "[::ffff:127.0.0.1]" + port, good + ".evil.example.com", "127.0.0.1.evil.example.com" + port}
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(h2.CloseIdleConnections)
	overH2 := func(host, target string) (answer, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Proxy+target, nil)
		if err != nil {
			return answer{}, err
		}
		req.Host = host
		resp, err := h2.RoundTrip(req)
		if err != nil {
			return answer{}, err
		}
		if resp.ProtoMajor != 2 {
			return answer{}, fmt.Errorf("answered over %s", resp.Proto)
		}
		return read(resp)
	}
	lines := func(first, host string) string {
		return first + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"
	}
	for _, target := range targets {
		for _, host := range hosts {
			for way, send := range map[string]func() (answer, error){
				"h1":            func() (answer, error) { return s.raw(lines("GET "+target, host)) },
				"absolute form": func() (answer, error) { return s.raw(lines("GET http://"+host+target, good)) },
				"h2":            func() (answer, error) { return overH2(host, target) },
			} {
				a, err := send()
				if err != nil {
					t.Fatalf("%s %s %s: %v", way, host, target, err)
				}
				if a.Status < 400 || a.Header.Get("Set-Cookie") != "" {
					t.Errorf("%s by the name %s over %s: %d %v", target, host, way, a.Status, a.Header)
				}
			}
		}
	}
	for _, request := range []string{
		"GET " + link + " HTTP/1.1\r\nConnection: close\r\n\r\n", "GET " + link + " HTTP/1.0\r\n\r\n",
		"GET " + link + " HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
		"GET " + link + " HTTP/1.1\r\nHost: " + good + "\r\nHost: evil.example.com\r\nConnection: close\r\n\r\n",
	} {
		if a, err := s.raw(request); err == nil && (a.Status < 400 || a.Header.Get("Set-Cookie") != "") {
			t.Errorf("%q: %d %v", request, a.Status, a.Header)
		}
	}
	if n := s.Intuit.Counters().CodeExchanges; n != 0 {
		t.Errorf("%d codes were redeemed", n)
	}
	for way, send := range map[string]func() (answer, error){
		"h1": func() (answer, error) { return s.raw(lines("GET "+link, good)) },
		"h2": func() (answer, error) { return overH2(good, link) },
	} {
		if a, err := send(); err != nil || a.Status != http.StatusFound {
			t.Errorf("the right name over %s: %d, %v", way, a.Status, err)
		}
	}
}

// Whatever looks at links before people do, or instead of them, changes
// nothing: mail scanners, previews, prefetching.
func TestSweepByGET(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	connect, disconnect := s.link(`{"connection":"`+realmOne+`"}`), s.link(`{"connection":"`+realmOne+`","purpose":"disconnect"}`)
	query := func(link string) string { return link[strings.IndexByte(link, '?'):] }
	c := walker(t)
	_, form := s.disconnectForm(c, realmOne)
	queries := []string{"", query(connect), query(disconnect), query(connect) + "&start=1", query(disconnect) + "&start=1", query(connect) + "&popup=1",
		"?" + form.Encode(), "?realmId=" + realmOne, "?realmId=" + realmOne + "&start=1", "?realmId=" + realmTwo + "&code=x&state=y", "?error=access_denied&state=y",
		"?_method=DELETE", "?_method=POST&link=" + url.QueryEscape(connect)}
	before := s.Intuit.Counters()
	for _, path := range browserPaths {
		for _, q := range queries {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
				for _, lines := range [][]string{nil, {s.bearer()}, {"X-HTTP-Method-Override: DELETE", s.bearer()}, {"Sec-Purpose: prefetch"}} {
					mustDo(t, c, method, s.Proxy+"/oauth/"+path+q, nil, lines...)
				}
			}
		}
	}
	after := s.Intuit.Counters()
	if after.Refreshes != before.Refreshes || after.Revocations != before.Revocations || after.CodeExchanges != before.CodeExchanges {
		t.Errorf("Intuit was asked for something: %+v, before %+v", after, before)
	}
	if !s.works(realmOne) || s.works(realmTwo) {
		t.Error("a company was connected or disconnected")
	}
	// The link has not been used up either.
	c = walker(t)
	if page := s.finish(c, s.begin(c, connect, realmOne)); !bytes.Contains(page.Body, connected) {
		t.Errorf("the link is spent: %d", page.Status)
	}
}

// hostileTexts are texts that pages must show, and not run.
var hostileTexts = []string{
	`<script>alert(1)</script>`, `"><script>alert(1)</script>`, `'><img src=x onerror=alert(1)>`, `" onmouseover="alert(1)`, `' autofocus onfocus='alert(1)`,
	`</title><svg onload=alert(1)>`, `</style><script>alert(1)</script>`, `--><script>alert(1)</script>`, `]]><script>alert(1)</script>`,
	`javascript:alert(1)`, `{{.}}{{template "page"}}`, `{{constructor.constructor('alert(1)')()}}`, "\u003cscript\u003e", `&lt;script&gt;`, `&#60;script&#62;`,
	`<a href="javascript:alert(1)">x</a>`, `<meta http-equiv=refresh content=0;url=//evil.example.net>`, `<base href=//evil.example.net>`, `<form action=//evil.example.net>`,
	"<scr\x00ipt>alert(1)</script>", "\u2028<img src=x>\u2029", `%3Cscript%3Ealert(1)%3C/script%3E`, `<noscript><p title="</noscript><img src=x onerror=alert(1)>">`,
}

// Texts that strangers write do not change what a page is made of.
func TestHostileTexts(t *testing.T) {
	realm := func(i int) string { return fmt.Sprint(4620816365100000000 + i) }
	s := start(t, func(s *system) {
		companies := []intuittest.Company{{RealmID: realm(0), Name: "Plain"}}
		for i, text := range hostileTexts {
			companies = append(companies, intuittest.Company{RealmID: realm(i + 1), Name: text})
		}
		in := intuittest.NewServer(intuittest.Config{
			ClientID: intuittest.DefaultClientID, ClientSecret: intuittest.DefaultClientSecret, Companies: companies,
		})
		s.t.Cleanup(in.Close)
		s.Sites[0].Intuit = in
	})
	c := client(t)
	callback := func(change func(q url.Values)) answer {
		w := walker(t)
		u := s.begin(w, s.link(`{}`), realm(0))
		q := u.Query()
		change(q)
		u.RawQuery = q.Encode()
		return s.finish(w, u)
	}
	param := func(path, name, text string) answer {
		return mustDo(t, c, http.MethodGet, s.Proxy+"/oauth/"+path+"?"+url.Values{name: {text}}.Encode(), nil, "Accept: text/html")
	}
	form := func(i int) answer {
		return mustDo(t, c, http.MethodGet, s.link(`{"connection":"`+realm(i)+`","purpose":"disconnect"}`), nil)
	}
	for what, page := range map[string]func(i int, text string) answer{
		"the company's name when connected": func(i int, _ string) answer { w := walker(t); return s.finish(w, s.begin(w, s.link(`{}`), realm(i))) },
		"the company's name on the form":    func(i int, _ string) answer { s.connect(realm(i)); return form(i) },
		"the company's name when reconnecting": func(i int, _ string) answer {
			s.connect(realm(i))
			return mustDo(t, c, http.MethodGet, s.link(`{"connection":"`+realm(i)+`"}`), nil)
		},
		"error": func(_ int, text string) answer {
			return callback(func(q url.Values) { q.Del("code"); q.Set("error", text) })
		},
		"error_description": func(_ int, text string) answer {
			return callback(func(q url.Values) { q.Del("code"); q.Set("error", "server_error"); q.Set("error_description", text) })
		},
		"realmId at the callback":     func(_ int, text string) answer { return callback(func(q url.Values) { q.Set("realmId", text) }) },
		"code":                        func(_ int, text string) answer { return callback(func(q url.Values) { q.Set("code", text) }) },
		"state":                       func(_ int, text string) answer { return callback(func(q url.Values) { q.Set("state", text) }) },
		"iss":                         func(_ int, text string) answer { return callback(func(q url.Values) { q.Set("iss", text) }) },
		"realmId at reconnect":        func(_ int, text string) answer { return param("reconnect", "realmId", text) },
		"realmId when disconnected":   func(_ int, text string) answer { return param("disconnected", "realmId", text) },
		"the link":                    func(_ int, text string) answer { return param("connect", "link", text) },
		"the link of a disconnection": func(_ int, text string) answer { return param("disconnect", "link", text) },
		"the result":                  func(_ int, text string) answer { return param("done", "result", text) },
		"the path":                    func(_ int, text string) answer { return param(url.PathEscape(text), "a", text) },
	} {
		plain := outline(t, page(0, "plain"))
		for i, text := range hostileTexts {
			a := page(i+1, text)
			if got := outline(t, a); !slices.Equal(got, plain) {
				t.Errorf("%s: %q changes the page (%d):\n%s", what, text, a.Status, a.Body)
			}
			if a.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("%s: the page's headers: %v", what, a.Header)
			}
		}
	}
}

// outline returns the elements of a page, with the names of their attributes
// and where they lead, if that is a place of its own.
func outline(t *testing.T, page answer) []string {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page.Body))
	if err != nil {
		t.Fatal(err)
	}
	var elements []string
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		element := n.Data
		for _, a := range n.Attr {
			element += " " + a.Key
			if u, err := url.Parse(a.Val); a.Key == "href" && err == nil {
				element += "=" + u.Scheme + "://" + u.Host
			}
		}
		elements = append(elements, element)
	}
	if len(elements) < 8 {
		t.Fatalf("no page: %d %s", page.Status, page.Body)
	}
	return elements
}
