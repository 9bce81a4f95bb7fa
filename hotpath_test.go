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
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// hotPath is a handler as Caddy provisions it, with a connection whose token
// is good for the test's life. Nothing is sent: the API answers in memory.
type hotPath struct {
	*Handler
	request *http.Request
	w       *discardWriter
	api     *memoryAPI
}

// memoryAPI answers with one response, and keeps what it was sent.
type memoryAPI struct {
	resp *http.Response
	got  *http.Request
}

func (a *memoryAPI) RoundTrip(req *http.Request) (*http.Response, error) {
	a.got = req
	return a.resp, nil
}

// discardWriter is a caller that wants nothing.
type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *discardWriter) WriteHeader(status int)      { w.status = status }

func newHotPath(t testing.TB) *hotPath {
	provisionEnv(t)
	ctx, app := provisioned(t, provisionCaddyfile)
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	vault, err := tokenstore.OpenVault(t.Context(), storetest.NewMemory(), ring)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	record := &tokenstore.Record{
		Key:      tokenstore.Key{Integration: "quickbooks", Connection: "123140000000000"},
		Provider: "quickbooks", Environment: app.Integrations["quickbooks"].Environment, ClientID: "client", Owner: "billing-app",
		State: tokenstore.StateConnected, Since: now, Epoch: 1, Generation: 2, ConnectedAt: now,
		AccessToken: secret.New("access"), AccessIssuedAt: now, AccessExpiresAt: now.Add(24 * time.Hour),
		RefreshToken: secret.New("refresh"), RefreshIssuedAt: now, RefreshExpiresAt: now.Add(100 * 24 * time.Hour),
	}
	if err := vault.Save(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	keeper := grant.NewKeeper(vault, grant.Options{})
	t.Cleanup(func() {
		if err := keeper.Close(); err != nil {
			t.Error(err)
		}
	})
	app.running.Store(keeper)
	module, err := ctx.LoadModuleByID("http.handlers.freshbearer", json.RawMessage(`{"integration":"quickbooks"}`))
	if err != nil {
		t.Fatal(err)
	}
	h := &hotPath{Handler: module.(*Handler), w: &discardWriter{header: make(http.Header)}}
	// Pacing is on, but of what it limits only what is under way: 10 requests a
	// second would be all that could be counted.
	h.integration.limits.PerMinute, h.integration.limits.PerSecond, h.integration.limits.AtOnce = 0, 0, 10
	h.api = &memoryAPI{resp: &http.Response{
		StatusCode: http.StatusOK, ContentLength: 2,
		Header: http.Header{"Content-Type": {"application/json"}, "Content-Length": {"2"}, "Intuit_tid": {"1-2-3"}, "Date": {"Tue, 24 Nov 2026 12:00:00 GMT"}},
		Body:   io.NopCloser(bytes.NewReader(nil)),
	}}
	h.forwarder.transport = h.api
	h.request = &http.Request{
		Method: http.MethodGet, Host: "qb.example.com", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body:       io.NopCloser(bytes.NewReader(nil)), // as Caddy wraps it
		RequestURI: "/v3/company/123140000000000/companyinfo/123140000000000?minorversion=75",
		Header: http.Header{
			"Authorization": {"Bearer " + sentinels["FRESHBEARER_TEST_KEY"]}, "Accept": {"application/json"},
			"Accept-Encoding": {"gzip"}, "User-Agent": {"an-app/1.0"},
		},
	}
	return h
}

// A try changes nothing of the one before it, which may still be being written:
// neither a replay does, nor Caddy's reverse proxy when it tries again.
func TestTriesShareNothing(t *testing.T) {
	h := newHotPath(t)
	for _, proxied := range []bool{false, true} {
		caller, err := h.enter(h.request)
		if err != nil {
			t.Fatal(err)
		}
		x, target, err := h.admit(h.request, caller)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.take(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if !proxied {
			x.to = h.forwarder.origins[target.API]
		}
		try := func() *http.Request {
			return x.outgoing(h.request, upstreamHeader(h.request.Header), &requestBody{replayable: true})
		}
		first := try()
		x.replayed = !proxied
		second := try()
		if first == second || first.URL != nil && first.URL == second.URL || &first.Header["Authorization"][0] == &second.Header["Authorization"][0] {
			t.Errorf("proxied %t: the two share memory", proxied)
		}
		x.leave()
		caller.leave()
	}
}

// inject goes through our layers up to where the request is sent: caller,
// limits, target, entitlement, snapshot, pacing, header, token. It is what
// ServeHTTP does but for the answer.
func (h *hotPath) inject() error {
	caller, err := h.enter(h.request)
	if err != nil {
		return err
	}
	defer caller.leave()
	x, target, err := h.admit(h.request, caller)
	if err != nil {
		return err
	}
	defer x.leave()
	x.origins, x.to = h.forwarder.allowed, h.forwarder.origins[target.API]
	_, err = x.send(h.request, h.api)
	return err
}

func (h *hotPath) serve(t testing.TB) {
	clear(h.w.header)
	if err := h.ServeHTTP(h.w, h.request, nil); err != nil || h.w.status != http.StatusOK {
		t.Fatalf("%d %v", h.w.status, err)
	}
}

// The cost of a request in our own layers. It is counted and not timed, so
// that the test is the same on every machine.
func TestHotPathAllocations(t *testing.T) {
	h := newHotPath(t)
	h.serve(t) // reads the connection from the store
	if got := h.api.got.Header.Get("Authorization"); got != "Bearer access" {
		t.Fatalf("the token is %q", got)
	}
	layers := testing.AllocsPerRun(200, func() {
		if err := h.inject(); err != nil {
			t.Fatal(err)
		}
	})
	all := testing.AllocsPerRun(200, func() { h.serve(t) })
	// The exchange, which holds the request, and the two of the header's one copy.
	if layers > 3 {
		t.Errorf("up to the sending there are %v allocations", layers)
	}
	// The answer brings none of its own.
	if all > 3 {
		t.Errorf("with the answer there are %v allocations", all)
	}
}

// BenchmarkHotPath has the time of what TestHotPathAllocations counts.
func BenchmarkHotPath(b *testing.B) {
	h := newHotPath(b)
	h.serve(b)
	b.Run("layers", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := h.inject(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("handler", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.serve(b)
		}
	})
}
