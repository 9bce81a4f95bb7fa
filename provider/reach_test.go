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

package provider_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/provider"
)

func TestReach(t *testing.T) {
	var asked atomic.Int32
	client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("%s with %v", r.Method, r.Header)
		}
		w.Header().Set("Date", start.Add(2*time.Minute).Format(http.TimeFormat))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusFound)
	})
	got, err := client.Reach(t.Context(), client.Endpoints.TokenURL)
	if err != nil || got.Status != http.StatusFound || got.Skew != 2*time.Minute || !got.Dated || !got.CertificateEnds.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	if asked.Load() != 1 {
		t.Errorf("%d requests: a redirect was followed", asked.Load())
	}
}

func TestReachWithoutDate(t *testing.T) {
	client := newClient(t, answer(http.StatusOK, "", nil))
	if got, err := client.Reach(t.Context(), client.Endpoints.TokenURL); err != nil || got.Dated || got.Skew != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReachTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	client := clientOf(t, server.URL)
	_, err := client.Reach(t.Context(), client.Endpoints.TokenURL)
	if !errors.Is(err, provider.ErrCertificate) {
		t.Errorf("a certificate of nobody's: %v", err)
	}
	client.HTTP = server.Client().Transport
	got, err := client.Reach(t.Context(), client.Endpoints.TokenURL)
	if err != nil || got.Status != http.StatusNotFound || !got.CertificateEnds.Equal(server.Certificate().NotAfter) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A connection from before proves nothing.
func TestReachDialsAnew(t *testing.T) {
	var dialled atomic.Int32
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			dialled.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	client := clientOf(t, server.URL)
	client.HTTP = nil
	for i := range 3 {
		if _, err := client.Reach(t.Context(), server.URL); err != nil || dialled.Load() != int32(i+1) {
			t.Errorf("%d connections after %d requests, %v", dialled.Load(), i+1, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Somebody waits for a check-up.
func TestChecksAreBounded(t *testing.T) {
	client := clientOf(t, "http://127.0.0.1:1")
	client.Endpoints.DiscoveryURL = client.Endpoints.TokenURL
	asked := 0
	client.HTTP = roundTripper(func(r *http.Request) (*http.Response, error) {
		asked++
		if deadline, ok := r.Context().Deadline(); !ok || time.Until(deadline) > 5*time.Second {
			t.Errorf("%s %s may take until %v", r.Method, r.URL, deadline)
		}
		return nil, errors.New("nobody is there")
	})
	_, reachErr := client.Reach(t.Context(), client.Endpoints.TokenURL)
	_, discoveryErr := client.Discovery(t.Context())
	if clientErr := client.CheckClient(t.Context()); reachErr == nil || discoveryErr == nil || clientErr == nil || asked != 3 {
		t.Errorf("%d requests: %v, %v, %v", asked, reachErr, discoveryErr, clientErr)
	}
}

func TestReachNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + l.Addr().String()
	l.Close()
	client := clientOf(t, address)
	if _, err := client.Reach(t.Context(), address); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
	// RFC 6761 §6.4: nobody resolves this.
	client.HTTP = &http.Transport{DialContext: (&net.Dialer{Resolver: &net.Resolver{}}).DialContext}
	if _, err := client.Reach(t.Context(), "http://nobody.invalid"); !errors.Is(err, provider.ErrNoSuchHost) {
		t.Errorf("%v", err)
	}
	_, err = client.Reach(t.Context(), "://")
	if failed, ok := errors.AsType[*provider.RequestError](err); !ok || failed.Request != "reach" {
		t.Errorf("%v", err)
	}
}

func TestCheckClient(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		body    string
		good    bool
		outcome provider.Outcome
	}{
		"the token alone is refused": {400, `{"error":"invalid_grant"}`, true, ""},
		"with a description":         {400, `{"error":"invalid_grant","error_description":"Incorrect Token type or clientID"}`, true, ""},
		"the client is refused":      {401, `{"error":"invalid_client"}`, false, provider.OutcomeClientRefused},
		"the client may not":         {400, `{"error":"unauthorized_client"}`, false, provider.OutcomeClientRefused},
		"an incident":                {400, `{"error":"invalid_request"}`, false, provider.OutcomeTransient},
		"throttled":                  {429, "", false, provider.OutcomeTransient},
		"down":                       {503, "<html>", false, provider.OutcomeUnknown},
		"a page":                     {200, "<html>", false, provider.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				asked++
				id, secret, _ := r.BasicAuth()
				if err := r.ParseForm(); err != nil || id != "client+id" || secret == "" || r.PostForm.Get("grant_type") != "refresh_token" {
					t.Errorf("request of %q: %v, %v", id, r.PostForm, err)
				}
				if sent := r.PostForm.Get("refresh_token"); !strings.Contains(sent, "freshbearerdoctor") {
					t.Errorf("the token is %q", sent)
				}
				answer(c.status, c.body, nil)(w, r)
			})
			err := client.CheckClient(t.Context())
			if asked != 1 {
				t.Errorf("%d requests", asked)
			}
			if c.good {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if got := tokenError(t, err); got.Outcome != c.outcome {
				t.Errorf("outcome %s: %v", got.Outcome, got)
			}
		})
	}
	client := newClient(t, answer(http.StatusOK, goodAnswer(), nil))
	if err := client.CheckClient(t.Context()); err == nil || strings.Contains(err.Error(), newRefresh) {
		t.Errorf("tokens for nothing: %v", err)
	}
}

func TestDiscovery(t *testing.T) {
	const document = `{"authorization_endpoint":%q,"token_endpoint":%q,"revocation_endpoint":%q}`
	long := "https://a.example/" + strings.Repeat("a", 300)
	for name, c := range map[string]struct {
		status int
		body   string
		want   provider.Discovery
		none   bool
		fails  bool
	}{
		"complete":      {200, fmt.Sprintf(document, "https://a.example/a", "https://a.example/t", "https://a.example/r"), provider.Discovery{AuthorizeURL: "https://a.example/a", TokenURL: "https://a.example/t", RevokeURL: "https://a.example/r"}, false, false},
		"token alone":   {200, `{"token_endpoint":"https://a.example/t"}`, provider.Discovery{TokenURL: "https://a.example/t"}, false, false},
		"odd addresses": {200, fmt.Sprintf(document, "https://user@a.example/", "a\nb", long), provider.Discovery{}, false, false},
		"no token":      {200, `{}`, provider.Discovery{}, false, true},
		"a page":        {200, "<html>", provider.Discovery{}, false, true},
		"not found":     {404, "", provider.Discovery{}, true, true},
		"gone":          {410, "", provider.Discovery{}, true, true},
		"down":          {503, fmt.Sprintf(document, "https://a.example/a", "https://a.example/t", ""), provider.Discovery{}, false, true},
		"endless":       {200, strings.Repeat(" ", 65<<10), provider.Discovery{}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, answer(c.status, c.body, nil))
			client.Endpoints.DiscoveryURL = client.Endpoints.TokenURL
			got, err := client.Discovery(t.Context())
			if got != c.want || (err != nil) != c.fails || errors.Is(err, provider.ErrNoDiscovery) != c.none {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	client := clientOf(t, "http://127.0.0.1:1")
	if _, err := client.Discovery(t.Context()); !errors.Is(err, provider.ErrNoDiscovery) {
		t.Errorf("without an address: %v", err)
	}
}
