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
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

const appOrigin = "https://app.example.com"

// elsewhere are hosts that somebody may want people to be sent to.
var elsewhere = []string{
	"evil.example.net", "evil.example.net:443", "EVIL.example.net", "evil.example.net.", "evil.example.net/%2f..",
	"evil\u3002example\u3002net", "evil%2eexample%2enet", "\u24d4vil.example.net", "xn--vil-8ma.example.net", "0x7f000001", "2130706433",
	"[::1]", "[::ffff:127.0.0.1]:80", "169.254.169.254", "app.example.com.evil.example.net", "app.example.comevil.example.net",
}

// disguises are ways to write one of them: O is the app's origin, H its host, E
// the other host.
var disguises = []string{
	"E", "//E", "///E", "////E", "/\\E", "\\E", "\\\\E", "/\t/E", "\t//E", " //E", "//E/O", "/%09/E", "/%5cE", "/%2f/E", "/.//E", "/..//E",
	"https:E", "https:/E", "https://E", "https:///E", "https:\\\\E", "https://E/O", "https://E?O", "https://E#O", "https://E\\@H", "https://E%00H",
	"https://H@E", "https://H:x@E", "https://H%40E", "https://E@H", "https://H\\@E", "https://H\\E", "https://H\tE", "https://H\n.E", "https://H%0a.E",
	"https://H:80@E", "https://H:@E", "https://H.E", "https://HE", "https://H%2eE", "https://H\u3002E", "https://H;E", "https://H,E", "https://H E",
	"ht\ttps://E", "http://E", "HTTPS://E", "O/../..//E", "O//E", "O/\\E", "O\t//E", "O?next=//E", "O#//E", "O/%2f%2fE",
	"javascript:location='//E'//O", "javascript://H/%0alocation='//E'", "data:text/html,<a href=//E>", "vbscript:E", "blob:O/E", "\x00//E", "\u202e//E",
}

// No way to write another address lets a link lead there: what is accepted is
// under the app's origin for the parser that browsers have, too, before and
// after the result is added to it.
func TestReturnURLPayloads(t *testing.T) {
	s := start(t, func(s *system) { s.Sites[0].Options = []string{"return_urls " + appOrigin} })
	s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.Consent = intuittest.ConsentDeny })
	c := client(t)
	payloads := []string{
		appOrigin, appOrigin + "/", appOrigin + "/back", appOrigin + "/back?a=1&b=%2f#c", appOrigin + "/a/../b", appOrigin + "/?a=b;c=d",
	}
	good := len(payloads)
	for _, disguise := range disguises {
		for _, host := range elsewhere {
			payloads = append(payloads, strings.NewReplacer("O", appOrigin, "H", appOrigin[len("https://"):], "E", host).Replace(disguise))
		}
	}
	if len(payloads) < 559 {
		t.Fatalf("%d payloads", len(payloads))
	}
	var led []string
	for i, raw := range payloads {
		body, err := json.Marshal(map[string]string{"return_url": raw})
		if err != nil {
			t.Fatal(err)
		}
		a := mustDo(t, c, http.MethodPost, s.Proxy+"/oauth/links", body, s.bearer())
		var made struct{ URL string }
		switch {
		case a.Status == http.StatusBadRequest && i >= good:
			continue
		case a.Status != http.StatusCreated || json.Unmarshal(a.Body, &made) != nil:
			t.Fatalf("%q: %d %s", raw, a.Status, a.Body)
		}
		w := walker(t)
		page := s.finish(w, s.begin(w, made.URL, realmOne))
		back := backOf(page)
		if back == "" {
			t.Errorf("%q: the page leads nowhere:\n%s", raw, page.Body)
		}
		led = append(led, raw, back)
	}
	t.Logf("%d payloads, of which %d are let through", len(payloads), len(led)/2)
	for i, origin := range originsByNode(t, led) {
		if origin != appOrigin {
			t.Errorf("%q leads to %s", led[i], origin)
		}
	}
}

// backOf returns where a page leads back to.
func backOf(page answer) string {
	for _, m := range anyLink.FindAllSubmatch(page.Body, -1) {
		if u := unescaped(m[1]); strings.Contains(u, "freshbearer_error=access_denied") {
			return u
		}
	}
	return ""
}

// originsByNode reads addresses with the parser of browsers (WHATWG URL), as
// links on a page at another origin.
func originsByNode(t *testing.T, addresses []string) []string {
	t.Helper()
	input, err := json.Marshal(addresses)
	if err != nil {
		t.Fatal(err)
	}
	const program = `let text = ""; process.stdin.on("data", (d) => text += d).on("end", () =>
		console.log(JSON.stringify(JSON.parse(text).map((a) => new URL(a, "https://proxy.example.org/oauth/done").origin))));`
	cmd := exec.CommandContext(t.Context(), tool(t, "node"), "-e", program)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.Output()
	var origins []string
	if err == nil {
		err = json.Unmarshal(out, &origins)
	}
	if err == nil && len(origins) != len(addresses) {
		err = fmt.Errorf("%d answers for %d addresses", len(origins), len(addresses))
	}
	if err != nil {
		t.Fatal(err)
	}
	return origins
}
