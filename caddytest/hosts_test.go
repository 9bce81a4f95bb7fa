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
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/intuittest"
)

// A token that a human has authorized for one host does not go to another
// because the configuration names that now, whichever part of it does.
func TestHostIsBound(t *testing.T) {
	for name, move := range map[string]func(s *system, to string){
		"api_url":       func(s *system, to string) { s.Sites[0].API = to },
		"token_url":     func(s *system, to string) { s.Sites[0].Token = to + "/oauth2/v1/tokens/bearer" },
		"reverse_proxy": func(s *system, to string) { s.Sites[0].Directive = []string{"reverse_proxy " + to} },
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(s *system) { s.Admin = freeAddress(t) })
			s.connect(realmOne)
			c := client(t)
			if a := s.get(c, realmOne); a.Status != http.StatusOK {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			other := intuittest.NewServer(intuittest.Config{})
			t.Cleanup(other.Close)
			before := *s.Sites[0]
			move(s, other.URL())
			if err := s.load(); err != nil {
				t.Fatal(err)
			}
			s.Intuit.RevokeAccess(realmOne)
			s.Intuit.ResetCounters()
			for range 3 {
				a := s.get(c, realmOne)
				if p := a.problem(t); a.Status != http.StatusServiceUnavailable || p.Error != "host_unconfirmed" || a.Header.Get("Retry-After") != "" {
					t.Fatalf("%d %s", a.Status, a.Body)
				}
			}
			if n := len(other.TokenRequests()) + len(other.APIRequests()) + len(s.Intuit.TokenRequests()) + s.Intuit.Counters().APIRequests; n != 0 {
				t.Errorf("%d requests were sent", n)
			}
			// Back to what it was needs nobody.
			*s.Sites[0] = before
			if err := s.load(); err != nil {
				t.Fatal(err)
			}
			if a := s.get(c, realmOne); a.Status != http.StatusOK {
				t.Errorf("back: %d %s", a.Status, a.Body)
			}
			// The other host is meant.
			move(s, other.URL())
			if err := s.load(); err != nil {
				t.Fatal(err)
			}
			a := mustDo(t, c, http.MethodPost, "http://"+s.Admin+"/freshbearer/rebind", nil)
			var answer struct {
				Hosts   map[string][]string
				Rebound int
			}
			if err := json.Unmarshal(a.Body, &answer); err != nil || answer.Rebound != 1 || !strings.Contains(strings.Join(answer.Hosts["quickbooks"], " "), other.URL()) {
				t.Fatalf("rebind: %d %s %v", a.Status, a.Body, err)
			}
			s.get(c, realmOne)
			if name == "token_url" {
				s.Intuit.RevokeAccess(realmOne)
				s.get(c, realmOne)
			}
			if len(other.TokenRequests())+len(other.APIRequests()) == 0 {
				t.Error("nothing goes to the host that was confirmed")
			}
		})
	}
}
