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
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	parser "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/freshbearer/freshbearer/intuittest"
)

func init() { caddy.RegisterModule(new(witness)) }

// witness is an event handler that remembers: `on <event> freshbearer_witness`.
type witness struct{}

// witnessed is what all of them have seen, since the test began.
var witnessed struct {
	sync.Mutex
	events []caddy.Event
}

func (*witness) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.freshbearer_witness", New: func() caddy.Module { return new(witness) }}
}

func (*witness) UnmarshalCaddyfile(d *parser.Dispenser) error {
	d.Next()
	return nil
}

func (*witness) Handle(ctx context.Context, e caddy.Event) error {
	if ctx.Err() != nil {
		return errors.New("handed over with a context that has ended")
	}
	witnessed.Lock()
	defer witnessed.Unlock()
	witnessed.events = append(witnessed.events, e)
	return nil
}

// seen are the grants' events that were witnessed.
func seen() (events []caddy.Event) {
	witnessed.Lock()
	defer witnessed.Unlock()
	for _, e := range witnessed.events {
		if strings.HasPrefix(e.Name(), "grant_") {
			events = append(events, e)
		}
	}
	return events
}

// notice is what a receiver got.
type notice struct {
	header http.Header
	body   []byte

	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      struct {
		Integration   string `json:"integration"`
		Connection    string `json:"connection"`
		Account       string `json:"account"`
		State         string `json:"state"`
		Cause         string `json:"cause"`
		Since         string `json:"since"`
		Generation    int    `json:"generation"`
		ProviderError string `json:"provider_error"`
		TraceID       string `json:"intuit_tid"`
		ReauthURL     string `json:"reauth_url"`
	} `json:"data"`
}

// receiver is an app that takes notices.
type receiver struct {
	*httptest.Server
	t      *testing.T
	secret string
	mu     sync.Mutex
	got    []notice
	status int
	// hold, if not nil, is waited for before an answer.
	hold chan struct{}
}

// addReceiver gives the first site a receiver of its notices.
func (s *system) addReceiver(options ...string) *receiver {
	s.t.Helper()
	r := &receiver{t: s.t, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA=", status: http.StatusNoContent}
	r.Server = httptest.NewServer(r)
	s.t.Cleanup(r.Close)
	s.secrets = append(s.secrets, r.secret, r.secret[6:])
	s.t.Setenv("FRESHBEARER_TEST_HOOK", r.secret)
	s.Sites[0].Options = append(s.Sites[0].Options, "notify "+r.URL+"/hooks {", "secret {env.FRESHBEARER_TEST_HOOK}")
	s.Sites[0].Options = append(append(s.Sites[0].Options, options...), "}")
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	n := notice{header: req.Header.Clone(), body: body}
	if err = errors.Join(err, json.Unmarshal(body, &n)); err != nil {
		r.t.Errorf("a notice that cannot be read: %v %s", err, body)
	}
	r.mu.Lock()
	status, hold := r.status, r.hold
	if status < 300 {
		r.got = append(r.got, n)
	}
	r.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-req.Context().Done():
		}
	}
	w.WriteHeader(status)
}

func (r *receiver) notices() []notice {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// await waits until these notices have come, in this order.
func (r *receiver) await(types ...string) []notice {
	r.t.Helper()
	var got []string
	err := eventually(10*time.Second, func() error {
		got = nil
		for _, n := range r.notices() {
			got = append(got, n.Type)
		}
		if len(got) < len(types) {
			return fmt.Errorf("only %v", got)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, types) {
		r.t.Fatalf("notices: %v, want %v (%v)", got, types, err)
	}
	return r.notices()
}

// awaitEvents does the same for Caddy's events.
func awaitEvents(t *testing.T, names ...string) []caddy.Event {
	t.Helper()
	var got []string
	err := eventually(10*time.Second, func() error {
		got = nil
		for _, e := range seen() {
			got = append(got, e.Name())
		}
		if len(got) < len(names) {
			return fmt.Errorf("only %v", got)
		}
		return nil
	})
	if err != nil || !slices.Equal(got, names) {
		t.Fatalf("events: %v, want %v (%v)", got, names, err)
	}
	return seen()
}

// withWitness wires all events of grants to the witness.
func withWitness(s *system) {
	witnessed.Lock()
	witnessed.events = nil
	witnessed.Unlock()
	s.Globals = append(s.Globals, "events {")
	for _, name := range []string{"connected", "refreshed", "suspect", "needs_reauth", "recovered", "expiring", "disconnected"} {
		s.Globals = append(s.Globals, "on grant_"+name+" freshbearer_witness")
	}
	s.Globals = append(s.Globals, "}")
}

// dies kills the first company's grant and has the proxy find out.
func (s *system) dies(c *http.Client) problem {
	s.t.Helper()
	s.Intuit.KillGrant(realmOne)
	var p problem
	if err := eventually(20*time.Second, func() error {
		a := s.get(c, realmOne)
		if a.Status != http.StatusPreconditionRequired {
			return fmt.Errorf("answered %d", a.Status)
		}
		p = a.problem(s.t)
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func TestEventsAndNotices(t *testing.T) {
	var r *receiver
	s := start(t, withWitness, func(s *system) { r = s.addReceiver() })
	s.connect(realmOne)
	r.await("grant_connected")
	c := client(t)
	if !s.works(realmOne) {
		t.Fatal("the connection does not work")
	}
	p := s.dies(c)
	notices := r.await("grant_connected", "grant_needs_reauth")
	events := awaitEvents(t, "grant_connected", "grant_needs_reauth")

	dead := notices[1]
	if d := dead.Data; d.Integration != "quickbooks" || d.Connection != realmOne || d.Account != "Sandbox Company US 1" ||
		d.State != "needs_reauth" || d.Cause != "revoked_or_replaced" || d.Cause != p.Cause || d.Generation != 1 ||
		d.ProviderError != "invalid_grant" || d.TraceID == "" || d.Since == "" || dead.Timestamp.IsZero() {
		t.Errorf("the notice: %s", dead.body)
	}
	data := events[1].Data
	for name, want := range map[string]any{
		"id": dead.header.Get("webhook-id"), "integration": "quickbooks", "connection": realmOne, "account": "Sandbox Company US 1",
		"state": "needs_reauth", "cause": "revoked_or_replaced", "generation": uint64(1), "provider_error": "invalid_grant",
		"intuit_tid": dead.Data.TraceID, "expires_at": "", "days": "",
	} {
		if data[name] != want {
			t.Errorf("the event's %s is %v, want %v", name, data[name], want)
		}
	}
	if id := events[1].Origin().CaddyModule().ID; id != "freshbearer" {
		t.Errorf("the event comes from %s", id)
	}
	verifier, err := standardwebhooks.NewWebhook(r.secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range notices {
		if err := verifier.Verify(n.body, n.header); err != nil {
			t.Errorf("%s: %v", n.Type, err)
		}
	}
	if notices[0].Data.ReauthURL != "" || events[0].Data["reauth_url"] != "" {
		t.Error("a grant that works needs no repair")
	}

	// A reload later, a human follows the notice's link; the event's works, too.
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	for i, link := range []string{dead.Data.ReauthURL, fmt.Sprint(data["reauth_url"])} {
		s.Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = realmOne })
		if page := openAfterReload(t, link+"&start=1"); !bytes.Contains(page.Body, connected) {
			t.Fatalf("link %d: %d\n%s", i, page.Status, page.Body)
		}
	}
	if !s.works(realmOne) {
		t.Fatal("the repaired connection does not work")
	}
	s.dies(c)
	all := []string{"grant_connected", "grant_needs_reauth", "grant_connected", "grant_connected", "grant_needs_reauth"}
	notices = r.await(all...)
	events = awaitEvents(t, all...)

	// Nothing secret is in any of it.
	secrets := append(tokensOf(s.Intuit), s.secrets...)
	secrets = append(secrets, intuittest.DefaultClientSecret)
	for i, n := range notices {
		text := fmt.Sprint(string(n.body), n.header, events[i].Data)
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is in %s: %s", n.Type, text)
			}
		}
	}
	verifyWithNode(t, r.secret, notices[1])
}

// verifyWithNode has the receiver's side of the README's example done by the
// library that it names.
func verifyWithNode(t *testing.T, secret string, n notice) {
	t.Helper()
	modules := installModules(t, "sdk")
	driver, err := os.ReadFile(filepath.Join("sdk", "webhook.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(modules, "webhook-"+digest(driver)[:16]+".mjs")
	if err := os.WriteFile(path, driver, 0o644); err != nil {
		t.Fatal(err)
	}
	headers := make(map[string]string)
	for _, name := range []string{"webhook-id", "webhook-timestamp", "webhook-signature"} {
		headers[name] = n.header.Get(name)
	}
	for body, want := range map[string]string{string(n.body): "grant_needs_reauth " + realmOne, string(n.body) + " ": "refused"} {
		input, err := json.Marshal(map[string]any{"secret": secret, "headers": headers, "body": body})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), tool(t, "node"), path)
		cmd.Stdin = bytes.NewReader(input)
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("node says %q, want %q (%v)", out, want, err)
		}
	}
}

func TestNoticesOfChosenEvents(t *testing.T) {
	var r *receiver
	s := start(t, func(s *system) {
		s.Sites[0].Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = shortLife })
		r = s.addReceiver("events grant_refreshed grant_needs_reauth")
	})
	s.connect(realmOne)
	time.Sleep(shortLife)
	if !s.works(realmOne) {
		t.Fatal("the connection does not work")
	}
	s.dies(client(t))
	r.mu.Lock()
	first, last := r.got[0].Type, len(r.got)
	r.mu.Unlock()
	if err := eventually(10*time.Second, func() error {
		if n := r.notices(); n[len(n)-1].Type != "grant_needs_reauth" {
			return fmt.Errorf("the last of %d notices is %s", len(n), n[len(n)-1].Type)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if first != "grant_refreshed" || last == 0 {
		t.Errorf("the first of %d notices is %s", last, first)
	}
}

// A receiver that never answers costs requests and refreshes nothing, and
// neither a reload nor a stop much.
func TestReceiverThatHangsHoldsUpNobody(t *testing.T) {
	var r *receiver
	s := start(t, withWitness, func(s *system) {
		s.Sites[0].Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = shortLife })
		r = s.addReceiver("events grant_connected grant_refreshed")
	})
	r.hold = make(chan struct{})
	defer close(r.hold)
	s.connect(realmOne)
	c := client(t)
	for end := time.Now().Add(3 * shortLife); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		began := time.Now()
		if a := s.get(c, realmOne); a.Status != http.StatusOK {
			t.Fatalf("answered %d %s", a.Status, a.Body)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a request took %s", took)
		}
	}
	began := time.Now()
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the reload took %s", took)
	}
	began = time.Now()
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if counters := s.Intuit.Counters(); counters.RefreshesOK < 2 {
		t.Errorf("%d refreshes", counters.RefreshesOK)
	}
}

// Interface guards
var (
	_ caddyevents.Handler = (*witness)(nil)
	_ parser.Unmarshaler  = (*witness)(nil)
)
