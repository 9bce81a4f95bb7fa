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
	"flag"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var h2spec = flag.String("h2spec", "", "the program h2spec, to ask the proxy whether it speaks HTTP/2 as the RFC says")

var (
	h2specSum    = regexp.MustCompile(`(?m)^\d+ tests, (\d+) passed, \d+ skipped, \d+ failed$`)
	h2specFailed = regexp.MustCompile(`(?m)^ +× \d+: (.*)$`)
)

// What h2spec finds in the proxy, it finds in a bare server of Go's net/http,
// too: there is nothing that this module could add.
func TestH2Spec(t *testing.T) {
	if *h2spec == "" {
		t.Skip("with -h2spec <path> only")
	}
	bare := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("An answer with a body."))
	}))
	bare.Config.Protocols = new(http.Protocols)
	bare.Config.Protocols.SetHTTP1(true)
	bare.Config.Protocols.SetUnencryptedHTTP2(true)
	bare.Start()
	gos := runH2Spec(t, "bare", bare.URL)
	bare.Close() // before anybody looks for goroutines that are left
	for failed := range runH2Spec(t, "proxy", start(t, withH2C).Proxy) {
		if !gos[failed] {
			t.Errorf("this fails with the proxy alone: %s", failed)
		}
	}
}

// runH2Spec returns what has failed.
func runH2Spec(t *testing.T, what, url string) map[string]bool {
	t.Helper()
	host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), *h2spec, "-h", host, "-p", port, "-P", companyInfo(realmOne)).CombinedOutput()
	sum := h2specSum.FindStringSubmatch(string(out))
	if sum == nil || sum[1] == "0" {
		t.Fatalf("%s: h2spec did not come to its end: %v\n%s", what, err, out)
	}
	failed := make(map[string]bool)
	for _, m := range h2specFailed.FindAllStringSubmatch(string(out), -1) {
		failed[m[1]] = true
	}
	t.Logf("%s: %s", what, sum[0])
	for name := range failed {
		t.Logf("%s: failed: %s", what, name)
	}
	return failed
}
