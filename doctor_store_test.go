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
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

const day = 24 * time.Hour

// well returns the record of a connection that is well.
func well(connection string, change ...func(*tokenstore.Record)) *tokenstore.Record {
	r := &tokenstore.Record{
		Key: tokenstore.Key{Integration: "quickbooks", Connection: connection}, Provider: "quickbooks",
		Environment: "production", ClientID: "client", Owner: "billing-app", Epoch: 1, Generation: 1,
		AccessToken: secret.New("sentinel-access"), AccessIssuedAt: doctorNow, AccessExpiresAt: doctorNow.Add(time.Hour),
		RefreshToken: secret.New("sentinel-refresh"), RefreshIssuedAt: doctorNow,
		RefreshExpiresAt: doctorNow.Add(100 * day), AuthorizationExpiresAt: doctorNow.Add(1800 * day),
		State: tokenstore.StateConnected, Since: doctorNow.Add(-20 * day), ConnectedAt: doctorNow.Add(-20 * day),
		History: []tokenstore.HistoryEntry{{TraceID: "1-old"}, {TraceID: "1-new"}, {Event: "warned"}},
	}
	for _, c := range change {
		c(r)
	}
	return r
}

func TestDoctorConnection(t *testing.T) {
	provisionEnv(t)
	c := newCensus(patient(t, provisionCaddyfile).app, doctorNow)
	state := func(state tokenstore.State, cause tokenstore.Cause) func(*tokenstore.Record) {
		return func(r *tokenstore.Record) { r.State, r.Cause, r.TraceID = state, cause, "1-refused" }
	}
	const since = " since 2026-11-03T06:00:00Z"
	for name, x := range map[string]struct {
		change func(*tokenstore.Record)
		want   string
	}{
		"well": {func(*tokenstore.Record) {},
			"ok connection quickbooks 1: connected, authorized 20 days ago, refresh token ends unused in 100 days, authorization ends in 1800 days, last intuit_tid 1-new"},
		"nothing is known": {func(r *tokenstore.Record) {
			r.RefreshExpiresAt, r.AuthorizationExpiresAt, r.History, r.ConnectedAt = time.Time{}, time.Time{}, nil, time.Time{}
		}, "ok connection quickbooks 1: connected, refresh token's end is not known, authorization's end is not known"},
		"idle":                {func(r *tokenstore.Record) { r.RefreshExpiresAt = doctorNow.Add(14*day - 1) }, "warning connection quickbooks 1: ends unused in 13 days"},
		"hardly idle":         {func(r *tokenstore.Record) { r.RefreshExpiresAt = doctorNow.Add(14 * day) }, "ok connection quickbooks 1: ends unused in 14 days"},
		"ended":               {func(r *tokenstore.Record) { r.RefreshExpiresAt = doctorNow.Add(-36 * time.Hour) }, "warning connection quickbooks 1: refresh token ended 1 day ago"},
		"at its end":          {func(r *tokenstore.Record) { r.AuthorizationExpiresAt = doctorNow.Add(30*day - 1) }, "warning connection quickbooks 1: authorization ends in 29 days"},
		"not yet at its end":  {func(r *tokenstore.Record) { r.AuthorizationExpiresAt = doctorNow.Add(30 * day) }, "ok connection quickbooks 1: authorization ends in 30 days"},
		"suspect":             {state(tokenstore.StateSuspect, ""), "warning connection quickbooks 1: suspect" + since},
		"revoked":             {state(tokenstore.StateNeedsReauth, tokenstore.CauseRevokedOrReplaced), "warning connection quickbooks 1: needs_reauth" + since + " (revoked_or_replaced), authorized 20 days ago, last intuit_tid 1-refused"},
		"of another client":   {state(tokenstore.StateNeedsReauth, tokenstore.CauseWrongClient), "fault connection quickbooks 1: needs_reauth" + since + " (wrong_client)"},
		"disconnected":        {func(r *tokenstore.Record) { r.State, r.RefreshToken = tokenstore.StateDisconnected, secret.String{} }, "ok connection quickbooks 1: disconnected" + since},
		"not revoked yet":     {state(tokenstore.StateDisconnected, ""), "warning connection quickbooks 1: not confirmed"},
		"another client":      {func(r *tokenstore.Record) { r.ClientID = "other" }, "fault connection quickbooks 1: with another client_id"},
		"another environment": {func(r *tokenstore.Record) { r.Environment = "sandbox" }, "fault connection quickbooks 1: authorized in the environment sandbox, and the integration's is production"},
		"another integration": {func(r *tokenstore.Record) { r.Integration = "books" }, "warning connection books 1: not configured"},
	} {
		t.Run(name, func(t *testing.T) { want(t, []finding{c.connection(well("1", x.change))}, x.want) })
	}
}

func TestDoctorCensus(t *testing.T) {
	provisionEnv(t)
	app := patient(t, provisionCaddyfile).app
	dead := func(r *tokenstore.Record) {
		r.State, r.Cause = tokenstore.StateNeedsReauth, tokenstore.CauseRevokedOrReplaced
	}
	wrong := func(r *tokenstore.Record) { r.ClientID = "other" }
	count := func(found []finding) map[level]int {
		n := make(map[level]int)
		for _, f := range found {
			n[f.Level]++
		}
		return n
	}
	see := func(n int, change func(i int) []func(*tokenstore.Record)) *census {
		c := newCensus(app, doctorNow)
		for i := range n {
			c.see(well(fmt.Sprintf("%05d", i), change(i)...))
		}
		return c
	}
	// All of a thousand are listed, in order.
	thousand := see(listedMost, func(i int) []func(*tokenstore.Record) {
		if i%2 == 0 {
			return []func(*tokenstore.Record){dead}
		}
		return nil
	}).connections()
	if n := count(thousand); len(thousand) != listedMost+1 || n[levelWarning] != 500 || thousand[0].Message != "500 connected, 500 needs_reauth" {
		t.Errorf("%d findings, %v, %s", len(thousand), n, thousand[0].Message)
	}
	if thousand[1].Subject != "quickbooks 00000" || thousand[listedMost].Subject != "quickbooks 00999" {
		t.Errorf("from %s to %s", thousand[1].Subject, thousand[listedMost].Subject)
	}
	// Of more, what is wrong, and faults before all.
	more := see(listedMost+500, func(i int) []func(*tokenstore.Record) {
		switch {
		case i >= listedMost+490:
			return []func(*tokenstore.Record){wrong}
		case i%2 == 0:
			return []func(*tokenstore.Record){dead}
		}
		return nil
	}).connections()
	if n := count(more); len(more) != wrongMost+2 || n[levelFault] != 10 || n[levelWarning] != 91 || n[levelOK] != 1 || more[1].Level != levelFault {
		t.Errorf("%d findings, %v, %+v", len(more), n, more[1])
	}
	want(t, more[len(more)-1:], "warning connections: and 655 more")
	if all := see(listedMost+1, func(int) []func(*tokenstore.Record) { return nil }).connections(); len(all) != 1 {
		t.Errorf("%d findings about what is well", len(all))
	}
	// One that could not be ended.
	broken := see(3, func(int) []func(*tokenstore.Record) { return nil })
	broken.err = errors.New("too slow")
	want(t, broken.connections()[:1], "warning connections: only 3 were looked at (3 connected): too slow")
	want(t, broken.callers(), "warning caller billing-app: not all connections")
	want(t, newCensus(app, doctorNow).connections(), "ok connections: none yet")
}

func TestDoctorCallers(t *testing.T) {
	provisionEnv(t)
	for name, c := range map[string]struct {
		connections string
		records     []*tokenstore.Record
		want        []string
	}{
		"all":                    {"connections *", []*tokenstore.Record{well("1"), well("2")}, []string{"ok caller billing-app: may use 2 of 2 connections"}},
		"none":                   {"connections *", nil, []string{"warning caller billing-app: there is no connection"}},
		"all are disconnected":   {"connections *", []*tokenstore.Record{well("1", func(r *tokenstore.Record) { r.State = tokenstore.StateDisconnected })}, []string{"warning caller billing-app: there is no connection"}},
		"of no integration":      {"connections *", []*tokenstore.Record{well("1", func(r *tokenstore.Record) { r.Integration = "books" })}, []string{"warning caller billing-app: there is no connection"}},
		"its own":                {"", []*tokenstore.Record{well("1"), well("2", func(r *tokenstore.Record) { r.Owner = "other" })}, []string{"ok caller billing-app: may use 1 of 2 connections"}},
		"others' only":           {"", []*tokenstore.Record{well("2", func(r *tokenstore.Record) { r.Owner = "other" })}, []string{"warning caller billing-app: there is no connection"}},
		"listed":                 {"connections 2", []*tokenstore.Record{well("2", func(r *tokenstore.Record) { r.Owner = "other" })}, []string{"ok caller billing-app: may use 1 of 1 connection"}},
		"one does not exist":     {"connections 1 2", []*tokenstore.Record{well("2")}, []string{"warning caller billing-app: do not exist: 1"}},
		"none of them exists":    {"connections 2 1", nil, []string{"warning caller billing-app: there is no connection", "warning caller billing-app: do not exist: 1, 2"}},
		"so many do not exist":   {"connections 1 2 3 4 5 6 7 8 9 10 11 12", []*tokenstore.Record{well("99")}, []string{"warning caller billing-app: do not exist: 1, 10, 11, 12, 2, 3, 4, 5, 6, 7 and 2 more"}},
		"it needs reauthorizing": {"connections *", []*tokenstore.Record{well("1", func(r *tokenstore.Record) { r.State = tokenstore.StateNeedsReauth })}, []string{"ok caller billing-app: may use 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			census := newCensus(patient(t, withChange(t, "connections *", c.connections)).app, doctorNow)
			for _, r := range c.records {
				census.see(r)
			}
			want(t, census.callers(), c.want...)
		})
	}
}

// keeperOf opens a keeper on a store with keys.
func keeperOf(t *testing.T, store *storetest.Memory, clock clockwork.Clock, keys ...string) *grant.Keeper {
	t.Helper()
	var secrets []secret.String
	for _, key := range keys {
		secrets = append(secrets, secret.New(key))
	}
	ring, err := tokenstore.ParseKeyring(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	vault, err := tokenstore.OpenVault(t.Context(), store, ring)
	if err != nil {
		t.Fatal(err)
	}
	k := grant.NewKeeper(vault, grant.Options{Clock: clock})
	t.Cleanup(func() { _ = k.Close() })
	return k
}

func TestDoctorStore(t *testing.T) {
	provisionEnv(t)
	d := patient(t, provisionCaddyfile)
	key := tokenstore.GenerateKey().Reveal()
	store := storetest.NewMemory()
	store.SetPlace(map[string]string{"inode": "1"})
	d.keeper = keeperOf(t, store, clockwork.NewRealClock(), key)
	if err := d.keeper.Vault().Save(t.Context(), well("1")); err != nil {
		t.Fatal(err)
	}
	look := func() []finding { return d.store(t.Context(), d.look(t.Context())) }
	want(t, look(), "ok store: open, with space")

	store.Full(true)
	want(t, look(), "fault store: no token is refreshed: ")
	store.Full(false)

	store.FailAll(errors.New("disk on fire"))
	want(t, look(), "fault store: cannot be read: ")
	want(t, d.look(t.Context()).connections()[:1], "warning connections: only 0 were looked at")
	want(t, d.encryptionKey(t.Context()), "fault encryption_key: disk on fire")
	store.FailAll(nil)

	copied := store.Copy()
	copied.SetPlace(map[string]string{"inode": "2"})
	original := d.keeper
	d.keeper = keeperOf(t, copied, clockwork.NewRealClock(), key)
	want(t, look(), "fault store: because it was copied: no token is refreshed")
	d.keeper = original

	store.Damage("g")
	want(t, look(), "fault store: 1 connection cannot be read")
	if err := d.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	if found := look(); len(found) == 0 || found[0].Level != levelFault {
		t.Errorf("a closed store: %+v", found)
	}
	d.keeper, d.closed = nil, errors.New("in use by another process")
	want(t, d.store(t.Context(), nil), "fault store: cannot be opened: in use by another process")
}

func TestDoctorUnsaved(t *testing.T) {
	intuit := intuittest.NewServer(intuittest.Config{})
	t.Cleanup(intuit.Close)
	in := integrationOf(t, intuit.URL())
	in.client.ClientSecret = secret.New(intuittest.DefaultClientSecret)
	g := intuit.Connect(intuittest.DefaultRealm)
	store := storetest.NewMemory()
	k := keeperOf(t, store, clockwork.NewFakeClockAt(time.Now()), tokenstore.GenerateKey().Reveal())
	k.Attach(map[string]*grant.Integration{"quickbooks": {Name: "quickbooks", Provider: "quickbooks", Environment: "production", Client: in.client}})
	r := well(intuittest.DefaultRealm, func(r *tokenstore.Record) {
		r.RefreshToken, r.AccessExpiresAt = secret.New(g.RefreshToken), doctorNow
	})
	if err := k.Vault().Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	want(t, unsaved(k))
	store.FailApply(2, storetest.BeforeApply, errors.New("disk on fire")) // the first is the intent
	if _, err := k.Token(t.Context(), r.Key); err != nil {
		t.Fatal(err)
	}
	want(t, unsaved(k), "fault store: new tokens of 1 connection could")
}

func TestDoctorKeyChange(t *testing.T) {
	provisionEnv(t)
	d := patient(t, provisionCaddyfile)
	keys := []string{tokenstore.GenerateKey().Reveal(), tokenstore.GenerateKey().Reveal()}
	store := storetest.NewMemory()
	d.keeper = keeperOf(t, store, clockwork.NewRealClock(), keys[1])
	want(t, d.encryptionKey(t.Context()), "ok encryption_key: configured, apart")
	_ = d.keeper.Close()

	d.keeper = keeperOf(t, store.Copy(), clockwork.NewRealClock(), keys...)
	want(t, d.encryptionKey(t.Context()), "warning encryption_key: still sealed with a former key")

	ring, err := tokenstore.ParseKeyring(secret.New(keys[0]), secret.New(keys[1]))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.keeper.Vault().UseKeys(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	if err := d.keeper.Rotate(t.Context(), ring); err != nil {
		t.Fatal(err)
	}
	d.app.keys = ring
	want(t, d.encryptionKey(t.Context()), "ok encryption_key: the others are needed no more")

	// The generated key is gone, and Caddy is the last to know it.
	d.app.EncryptionKeys = nil
	want(t, d.encryptionKey(t.Context()), "fault encryption_key: is gone, and only the running Caddy still has it")
}

// The whole, in its order, without an open store.
func TestDoctorOrder(t *testing.T) {
	intuit := intuittest.NewServer(intuittest.Config{ClientSecret: sentinels["FRESHBEARER_TEST_SECRET"], ClientID: "client"})
	t.Cleanup(intuit.Close)
	integrationOf(t, intuit.URL()) // for its environment variables
	input := withChange(t, "scopes com", strings.NewReplacer("@", intuit.URL(), ";", "\n\t\t\t").Replace(
		"token_url @/oauth2/v1/tokens/bearer;authorize_url @/connect/oauth2;revoke_url @/v2/oauth2/tokens/revoke;api_url @;scopes com"))
	d := patient(t, input)
	r := d.examine(t.Context())
	var checks []string
	for _, f := range r.Findings {
		checks = append(checks, f.Check)
	}
	const order = "configuration secrets encryption_key environment redirect_url scopes endpoint discovery client clock status_page listener"
	if got := strings.Join(checks, " "); got != order {
		t.Errorf("%s", got)
	}
	skipped := make(map[string]string)
	for _, n := range r.NotRun {
		skipped[n.Check] = n.Reason
	}
	if !maps.Equal(skipped, map[string]string{"store": noStore, "connections": "the store is not open", "callers": "the store is not open"}) {
		t.Errorf("not run: %v", skipped)
	}
	if r.OK != 11 || r.Warnings != 1 || r.Faults != 0 {
		t.Errorf("%d ok, %d warnings, %d faults: %+v", r.OK, r.Warnings, r.Faults, r.Findings)
	}
	if c := intuit.Counters(); c.Refreshes != 1 || c.RefreshesOK != 0 {
		t.Errorf("Intuit was asked %+v", c)
	}
}
