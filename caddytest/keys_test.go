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
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// restart ends the process's hold on the store and takes it up anew.
func (s *system) restart() error {
	s.t.Helper()
	if err := caddy.Stop(); err != nil {
		s.t.Fatal(err)
	}
	return s.load()
}

// The encryption key is replaced: the new one first, the old one after it, by
// a reload. What was sealed with the old key needs it until it is sealed anew,
// which a refresh does.
func TestReloadWithNewKey(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.connect(realmTwo)
	s.addKey("new")
	former, fresh := s.Keys[0], s.Keys[1]
	c := client(t)

	s.Keys = []string{fresh, former}
	if err := s.load(); err != nil {
		t.Fatalf("reloading with a new key before the old: %v", err)
	}
	serves := func(when string, realms ...string) {
		t.Helper()
		for _, realm := range realms {
			if a := s.get(c, realm); a.Status != http.StatusOK {
				t.Errorf("%s, %s: %d %s", when, realm, a.Status, a.Body)
			}
		}
	}
	refresh := func(realm string) {
		t.Helper()
		s.Intuit.RevokeAccess(realm)
		serves("refreshing", realm)
	}
	serves("with both keys", realmOne, realmTwo)
	refresh(realmOne)

	// A restart with both reads both records.
	if err := s.restart(); err != nil {
		t.Fatalf("restarting with both keys: %v", err)
	}
	serves("restarted with both keys", realmOne, realmTwo)

	// With the new key alone: one record was sealed anew, the other was not. It
	// is damaged, which is neither an outage of Intuit nor a dead grant.
	s.Keys = []string{fresh}
	if err := s.restart(); err != nil {
		t.Fatalf("restarting with the new key alone: %v", err)
	}
	serves("restarted with the new key", realmOne)
	a := s.get(c, realmTwo)
	if p := a.problem(t); a.Status != http.StatusServiceUnavailable || p.Error != "storage_unavailable" {
		t.Errorf("a record that needs the old key: %d %s", a.Status, a.Body)
	}

	// The old key alone opens nothing any more, and says so.
	s.Keys = []string{former}
	if err := s.restart(); err == nil || !strings.Contains(err.Error(), "encryption key") {
		t.Errorf("restarting with the old key alone: %v", err)
	}

	// Nothing was lost: with both keys, in either order, all is there.
	for _, keys := range [][]string{{fresh, former}, {former, fresh}} {
		s.Keys = keys
		if err := s.restart(); err != nil {
			t.Fatalf("restarting with both keys again: %v", err)
		}
		serves("with both keys again", realmOne, realmTwo)
	}

	// Once every record was sealed anew, the new key is enough.
	s.Keys = []string{fresh, former}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	refresh(realmOne)
	refresh(realmTwo)
	s.Keys = []string{fresh}
	if err := s.load(); err != nil {
		t.Fatalf("reloading with the new key alone: %v", err)
	}
	if err := s.restart(); err != nil {
		t.Fatalf("restarting with the new key alone: %v", err)
	}
	serves("in the end", realmOne, realmTwo)
}
