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
	"net/http"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

// Nothing binds the company in a callback to its code: whoever edits it would
// overwrite somebody else's connection, if the token did not have to prove it.
func TestTamperedRealm(t *testing.T) {
	s := start(t)
	s.connect(realmTwo)
	before, _ := s.Intuit.Tokens(realmTwo)
	for name, realms := range map[string][]string{
		"another company": {realmTwo}, "a company of nobody's": {realmNone}, "two": {realmOne, realmTwo}, "none": nil,
		"no digits": {"../1"}, "a company that Intuit does not know": {"1"}, "a leading zero": {"0" + realmOne},
	} {
		t.Run(name, func(t *testing.T) {
			c := walker(t)
			callback := s.begin(c, s.link(`{}`), realmOne)
			query := callback.Query()
			query.Del("realmId")
			for _, realm := range realms {
				query.Add("realmId", realm)
			}
			callback.RawQuery = query.Encode()
			refused(t, s.finish(c, callback), "")
		})
	}
	if s.works(realmOne) {
		t.Error("a connection was stored")
	}
	s.Intuit.RevokeAccess(realmTwo)
	if !s.works(realmTwo) {
		t.Error("the connection that was aimed at does not work any more")
	}
	if after := s.Intuit.Grants(realmTwo); len(after) != 1 || after[0].IssuedAt != before.IssuedAt {
		t.Errorf("%d grants of the company that was aimed at", len(after))
	}
}

// A callback with parts missing or doubled is refused, and still no page.
func TestMalformedCallback(t *testing.T) {
	s := start(t)
	for _, name := range []string{"code", "state", "realmId"} {
		for _, twice := range []bool{false, true} {
			c := walker(t)
			callback := s.begin(c, s.link(`{}`), realmOne)
			query := callback.Query()
			if twice {
				query.Add(name, query.Get(name))
			} else {
				query.Del(name)
			}
			callback.RawQuery = query.Encode()
			refused(t, s.finish(c, callback), "")
		}
	}
	if n := s.Intuit.Counters().CodeExchanges; n != 0 || s.works(realmOne) {
		t.Errorf("%d exchanges", n)
	}
}

// The repair of one company must not connect another one.
func TestRepairWithAnotherCompany(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.Intuit.KillGrant(realmOne)
	a := s.get(client(t), realmOne)
	p := a.problem(t)
	if a.Status != http.StatusPreconditionRequired {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	c := walker(t)
	refused(t, s.finish(c, s.begin(c, p.ReauthURL, realmTwo)), "Another company was chosen")
	if a := s.get(client(t), realmTwo); a.Status != http.StatusPreconditionRequired || a.problem(t).Cause != "never_connected" {
		t.Errorf("the other company: %d %s", a.Status, a.Body)
	}
	again := s.get(client(t), realmOne)
	if q := again.problem(t); q.Cause != p.Cause || q.Since != p.Since {
		t.Errorf("the record was changed: %s, was %s", again.Body, a.Body)
	}
	// The grant that nobody asked for was given back.
	if n := s.Intuit.Counters().Revocations; n != 1 {
		t.Errorf("%d revocations", n)
	}
	s.repair(p.ReauthURL, realmOne)

	// A connection that is alive is not touched either, and what is connected
	// here already is not revoked.
	s.connect(realmTwo)
	c = walker(t)
	refused(t, s.finish(c, s.begin(c, s.link(`{"connection":"`+realmOne+`"}`), realmTwo)), "Another company was chosen")
	if !s.works(realmOne) || !s.works(realmTwo) {
		t.Error("a connection does not work any more")
	}
	if n := s.Intuit.Counters().Revocations; n != 1 {
		t.Errorf("%d revocations", n)
	}
}

// A connection belongs to the caller whose link made it.
func TestOwnedByAnotherCaller(t *testing.T) {
	var owner, other *caller
	s := start(t, func(s *system) {
		owner = s.addCaller("owner", "")
		other = s.addCaller("other", "")
	})
	asks := func(who *caller, realm string) int {
		t.Helper()
		return mustDo(t, client(t), http.MethodGet, s.Proxy+companyInfo(realm), nil, "Authorization: Bearer "+who.Key).Status
	}
	c := walker(t)
	page := s.finish(c, s.begin(c, link(t, client(t), s.Proxy, owner.Key, `{}`), realmOne))
	if !bytes.Contains(page.Body, connected) || asks(owner, realmOne) != http.StatusOK {
		t.Fatalf("%d\n%s", page.Status, page.Body)
	}
	if status := asks(other, realmOne); status != http.StatusForbidden {
		t.Errorf("another caller gets %d", status)
	}
	c = walker(t)
	refused(t, s.finish(c, s.begin(c, link(t, client(t), s.Proxy, other.Key, `{}`), realmOne)), "already connected to another app")
	if status := asks(other, realmOne); status != http.StatusForbidden {
		t.Errorf("another caller gets %d, after it tried to take over", status)
	}
	s.Intuit.RevokeAccess(realmOne)
	if status := asks(owner, realmOne); status != http.StatusOK {
		t.Errorf("the owner gets %d", status)
	}
	// The newest grant is the one that is used, for the owner: the consent may
	// have ended the one before.
	refreshed, grants := s.Intuit.TokenRequests(), s.Intuit.Grants(realmOne)
	if refreshed[len(refreshed)-1].RefreshToken != grants[len(grants)-1].RefreshToken {
		t.Error("another grant than the newest is refreshed")
	}
	// Each may connect a company of its own, and who may use all may renew any,
	// which does not change whose it is.
	c = walker(t)
	page = s.finish(c, s.begin(c, link(t, client(t), s.Proxy, other.Key, `{}`), realmTwo))
	if !bytes.Contains(page.Body, connected) || asks(other, realmTwo) != http.StatusOK || asks(owner, realmTwo) != http.StatusForbidden {
		t.Errorf("%d\n%s", page.Status, page.Body)
	}
	s.connect(realmOne)
	if asks(owner, realmOne) != http.StatusOK || asks(other, realmOne) != http.StatusForbidden {
		t.Error("a renewal by a caller for all has changed the owner")
	}
}

// Intuit is not there when the code is to be redeemed, or refuses the operator:
// a failure page, and nothing stored.
func TestConnectWhileIntuitFails(t *testing.T) {
	s := start(t)
	for kind, words := range map[intuittest.FaultKind]string{
		intuittest.FaultUnavailable:   "QuickBooks did not answer",
		intuittest.FaultInvalidClient: "does not accept this app",
		intuittest.FaultInvalidGrant:  "refused the code of this sign-in, and does not say why",
		intuittest.FaultNoAccessToken: "QuickBooks did not answer",
	} {
		c := walker(t)
		callback := s.begin(c, s.link(`{}`), realmOne)
		s.Intuit.FailToken(intuittest.Fault{Kind: kind, Times: -1})
		refused(t, s.finish(c, callback), words)
		s.Intuit.ClearFaults()
	}
	if s.works(realmOne) {
		t.Error("a connection was stored")
	}
	s.connect(realmOne)
	if !s.works(realmOne) {
		t.Error("the connection does not work")
	}
}
