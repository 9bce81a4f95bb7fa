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

package reliability_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// A caller hangs up while its request waits for a refresh: half of the time
// before the provider has decided, half of the time when its answer is on the
// way. The provider is strict. From time to time the process is killed, so that
// only what was durable counts.
func TestHangUp(t *testing.T) {
	gate(t)
	s := newSystem(t, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	at := s.Sites[0]
	s.spawn()
	s.up()
	realms := s.connectAll(at, 10)
	at.Intuit.ResetCounters()
	n := times(100, 1000)
	began := time.Now()
	const killEvery = 50
	for i := range n {
		realm := realms[i%len(realms)]
		// The API has taken the token, so its refusal drives a refresh at once.
		mustServe(t, s, at, realm)
		at.Intuit.RevokeAccess(realm)
		if err := hangUp(s, at, realm, i/len(realms)%2 == 1); err != nil {
			t.Fatalf("hang-up %d: %v", i, err)
		}
		if err := eventually(10*time.Second, func() error {
			if c := at.Intuit.Counters(); c.RefreshesOK != i+1 {
				return fmt.Errorf("%d refreshes after %d hang-ups", c.RefreshesOK, i+1)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if (i+1)%killEvery == 0 {
			// Every connection's answer is there: its token is in use.
			for _, realm := range realms {
				mustServe(t, s, at, realm)
			}
			s.proc.kill()
			s.spawn()
			s.up()
		}
	}
	s.serves(at, realms)
	c := at.Intuit.Counters()
	if c.RefreshesOK != n || c.Rotations != n || c.Refreshes != n || c.SupersededReuses != 0 {
		t.Errorf("%d hang-ups: %d refreshes, %d good, %d rotations, %d with a token that had been replaced",
			n, c.Refreshes, c.RefreshesOK, c.Rotations, c.SupersededReuses)
	}
	neverTwoAtOnce(t, at.Intuit)
	t.Logf("%d hang-ups and %d kills in %s: %d rotations, none lost", n, n/killEvery, time.Since(began).Round(time.Second), c.Rotations)
}

func mustServe(t *testing.T, s *system, at *site, realm string) {
	t.Helper()
	if a, err := s.get(at, realm); err != nil || a.Status != http.StatusOK {
		t.Fatalf("%s: %s %v", realm, a, err)
	}
}

// hangUp sends a request that needs a refresh, and hangs up in the middle of
// it: when the token request has come, or when it has been answered and the
// answer is held back.
func hangUp(s *system, at *site, realm string, decided bool) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.Origin+companyInfo(realm), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.Key)
	gate := new(intuittest.Gate)
	rotations := at.Intuit.Counters().Rotations
	if decided {
		at.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultDelayAfter, Delay: 20 * time.Millisecond, Realm: realm})
	} else {
		gate = at.Intuit.Hold(intuittest.EndpointToken, realm)
	}
	left := make(chan error, 1)
	go func() {
		_, err := send(s.client, req)
		left <- err
	}()
	if decided {
		err = eventually(10*time.Second, func() error {
			if at.Intuit.Counters().Rotations == rotations {
				return errors.New("no rotation")
			}
			return nil
		})
	} else {
		select {
		case <-gate.Arrived():
			defer gate.Release()
		case <-time.After(10 * time.Second):
			err = errors.New("no token request")
		}
	}
	if err != nil {
		return err
	}
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) && !decided {
		return fmt.Errorf("the caller that hung up got %v", err)
	}
	return nil
}
