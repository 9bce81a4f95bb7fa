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

package grant_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// request does what the transport does with a request, without the HTTP.
func (w *world) request(key tokenstore.Key) error {
	s, err := w.keeper.Token(w.t.Context(), key)
	if err != nil {
		return err
	}
	for replayed := false; ; replayed = true {
		_, err := w.client.Account(w.t.Context(), secret.New(s.Authorization().Reveal()[len("Bearer "):]), key.Connection)
		if err == nil {
			s.Accepted()
			return nil
		}
		if replayed {
			return err
		}
		if s, err = w.keeper.Reject(w.t.Context(), s); err != nil {
			return err
		}
	}
}

// A clock jumps, this machine's alone or the provider's with it, and back: no
// request notices, and no company is refreshed more than once a jump, by
// requests or by the look after those that nobody uses.
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 24 * time.Hour, -24 * time.Hour, 10 * year, -10 * year} {
		for _, alone := range []bool{true, false} {
			for name, rotation := range map[string]intuittest.Rotation{"by age": intuittest.RotateByAge, "at every refresh": intuittest.RotateAlways} {
				t.Run(fmt.Sprintf("%s/alone=%v/%s", jump, alone, name), func(t *testing.T) {
					clock := clockwork.NewFakeClockAt(time.Now())
					b := intuittest.Behaviour{Rotation: rotation, RevokeFamily: true}
					if !alone {
						// Whoever sets all clocks does not end all grants.
						b.RefreshTTL, b.HardTTL = 100*year, 100*year
					}
					w := newWorld(t, clock, b)
					const companies, requests = 8, 5
					keys := crowd(w, companies)
					ask := func() {
						t.Helper()
						_, errs := all(companies*requests, func(i int) (struct{}, error) { return struct{}{}, w.request(keys[i%companies]) })
						if err := errors.Join(errs...); err != nil {
							t.Fatal(err)
						}
					}
					ask()
					w.intuit.ResetCounters()
					for jumps, by := range []time.Duration{jump, -jump} {
						clock.Advance(by)
						if alone {
							w.intuit.Advance(-by)
						}
						for range 3 {
							ask()
							if err := w.keeper.AttendDue(t.Context()); err != nil {
								t.Fatal(err)
							}
						}
						w.wantRefreshes(jumps + 1)
					}
					// And those that were begun in the background.
					if err := w.keeper.Close(); err != nil {
						t.Fatal(err)
					}
					w.wantRefreshes(2)
				})
			}
		}
	}
}

// wantRefreshes expects so many refreshes of every company at most.
func (w *world) wantRefreshes(most int) {
	w.t.Helper()
	of := make(map[string]int)
	for _, r := range w.intuit.TokenRequests() {
		if of[r.Realm]++; of[r.Realm] > most {
			w.t.Fatalf("%d refreshes of one company in %d jumps", of[r.Realm], most)
		}
	}
}
