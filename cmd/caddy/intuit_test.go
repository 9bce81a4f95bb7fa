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

package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/freshbearer/freshbearer/intuittest"
)

// intuitKey finds a script's simulated Intuit.
type intuitKey struct{}

// intuit starts a simulated Intuit and sets INTUIT to its origin:
// `intuit`; `intuit incident` opens an incident, and `intuit strict` replaces
// refresh tokens at each refresh, and ends a grant whose former one is used.
func intuit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 0 && args[0] == "strict" {
		theIntuit(ts).SetBehaviour(func(b *intuittest.Behaviour) { b.Rotation, b.RevokeFamily = intuittest.RotateAlways, true })
		return
	}
	if len(args) > 0 {
		theIntuit(ts).OpenIncident()
		return
	}
	server := intuittest.NewServer(intuittest.Config{})
	ts.Defer(server.Close)
	*ts.Value(intuitKey{}).(**intuittest.Server) = server
	ts.Setenv("INTUIT", server.URL())
	ts.Setenv("CLIENT_ID", intuittest.DefaultClientID)
	ts.Setenv("CLIENT_SECRET", intuittest.DefaultClientSecret)
}

func theIntuit(ts *testscript.TestScript) *intuittest.Server {
	server := *ts.Value(intuitKey{}).(**intuittest.Server)
	if server == nil {
		ts.Fatalf("there is no simulated Intuit")
	}
	return server
}

// await waits until somebody listens at an address: `await <host:port>`.
func await(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(time.Minute)
	for {
		connection, err := net.DialTimeout("tcp", args[0], time.Second)
		if err == nil {
			ts.Check(connection.Close())
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("nobody listens: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// connect connects the company as an app and a browser do:
// `connect <proxy> <proxy key>`.
func connect(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequest(http.MethodPost, args[0]+"/oauth/links", bytes.NewBufferString(`{}`))
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+args[1])
	client := &http.Client{Timeout: 30 * time.Second}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	var link struct{ URL string }
	ts.Check(json.NewDecoder(resp.Body).Decode(&link))
	client.Jar, err = cookiejar.New(nil)
	ts.Check(err)
	page, err := client.Get(link.URL + "&start=1")
	ts.Check(err)
	ts.Check(page.Body.Close())
	if page.StatusCode != http.StatusOK {
		ts.Fatalf("the last page answers %s", page.Status)
	}
}

// spent fails unless a refresh token that exists was sent: `! spent`.
func spent(ts *testscript.TestScript, neg bool, _ []string) {
	server := theIntuit(ts)
	made := 0
	for _, r := range server.TokenRequests() {
		if r.GrantType == "refresh_token" && r.Realm != "" {
			made++
		}
	}
	if made += server.Counters().RefreshesOK; neg != (made == 0) {
		ts.Fatalf("%d refreshes with tokens that exist", made)
	}
}

// secrets fails unless a file holds a token of the simulated Intuit or the
// client secret: `! secrets <file>`.
func secrets(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	if len(text) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
	all := []string{intuittest.DefaultClientSecret, ts.Getenv("PROXY_KEY")}
	server := theIntuit(ts)
	for _, g := range server.Grants(intuittest.DefaultRealm) {
		all = append(all, g.AccessToken, g.RefreshToken)
	}
	for _, r := range server.TokenRequests() {
		if r.RefreshToken != "" {
			all = append(all, r.RefreshToken)
		}
	}
	if len(all) < 3 {
		ts.Fatalf("there is no token to look for")
	}
	found := false
	for _, s := range all {
		found = found || s != "" && strings.Contains(text, s)
	}
	if neg == found {
		ts.Fatalf("%s holds a secret: %v\n%s", args[0], found, text)
	}
}

// contents sets a variable to the text of a file: `contents NAME <file>`.
func contents(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// idOf sets a variable to the ID of the key that a file tells of:
// `idof NAME <file>`.
func idOf(ts *testscript.TestScript, _ bool, args []string) {
	words := strings.Fields(ts.ReadFile(args[1]))
	if len(words) < 2 || words[0] != "key" {
		ts.Fatalf("no key is told of: %q", words)
	}
	ts.Setenv(args[0], words[1])
}

// answers checks the status that a proxy key gets: `answers <status> <URL> <key>`.
func answers(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequest(http.MethodGet, args[1], http.NoBody)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+args[2])
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	if strconv.Itoa(resp.StatusCode) != args[0] {
		ts.Fatalf("it answers %s", resp.Status)
	}
}
