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

package freshbearer

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"

	"github.com/freshbearer/freshbearer/provider"
)

// The transport to the API dials no private address but a named one, and
// leaves nothing else open either.
func TestUpstreamTransport(t *testing.T) {
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// A name that leads to this machine, on every machine.
	address := "localhost:" + port
	if _, err := newUpstreamTransport(nil).DialContext(t.Context(), "tcp", address); !errors.Is(err, provider.ErrFenced) {
		t.Errorf("not named: %v", err)
	}
	conn, err := newUpstreamTransport([]string{"localhost"}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("named: %v", err)
	}
	_ = conn.Close()
	if upstreamTransport(nil) == upstreamTransport([]string{"localhost"}) {
		t.Error("who has not named a host shares connections with who has")
	}
	transport := newUpstreamTransport(nil)
	if c := transport.TLS; c.MinVersion != tls.VersionTLS12 || c.InsecureSkipVerify || c.RootCAs != nil {
		t.Errorf("TLS is weak: %+v", c)
	}
	problem := problemFor(nil, &net.OpError{Op: "dial", Err: provider.ErrFenced})
	if problem.Kind != kindUpstreamUnreachable {
		t.Errorf("an app is told %v", problem)
	}
}

// What the operator writes out is named, and nothing else is.
func TestNamedHosts(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  []string
	}{
		{"", nil},
		{"api_url https://api.example.com", []string{"api.example.com"}},
		{"token_url https://b.example.com:8443/t\nrevoke_url https://a.example.com/r\nauthorize_url https://b.example.com/a\n" +
			"status_page https://c.example.com", []string{"a.example.com", "b.example.com", "c.example.com"}},
	} {
		provisionEnv(t)
		_, app := provisioned(t, withChange(t, scopesLine, scopesLine+"\n"+c.lines))
		got := app.Integrations["quickbooks"].client.Endpoints.Named
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q is named", c.lines, got)
		}
	}
}

// A reverse_proxy goes through no proxy but one that its transport names.
func TestEnvironmentNamesNoProxy(t *testing.T) {
	api := &url.URL{Scheme: "https", Host: "api.example.com"}
	for transport, want := range map[string]string{
		`null`:                `{"from":"none"}`,
		`{"protocol":"http"}`: `{"from":"none"}`,
		`{"protocol":"http","network_proxy":{"from":"url","url":"http://p.example.com"}}`: `{"from":"url","url":"http://p.example.com"}`,
		`{"protocol":"http","forward_proxy_url":"http://p.example.com"}`:                  ``,
	} {
		raw, _, err := takeOver(json.RawMessage(`{"handler":"reverse_proxy","transport":`+transport+`}`), api)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Transport struct {
				NetworkProxy json.RawMessage `json:"network_proxy"`
			} `json:"transport"`
		}
		if err := json.Unmarshal(raw, &config); err != nil {
			t.Fatal(err)
		}
		if got := string(config.Transport.NetworkProxy); got != want {
			t.Errorf("%s: %s", transport, raw)
		}
	}
}
