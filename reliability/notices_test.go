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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// hookSecret signs the notices of every site.
const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA="

// hook is an app that takes notices, or refuses them.
type hook struct {
	*httptest.Server
	t  *testing.T
	mu sync.Mutex
	// refuse lets it answer 503.
	refuse bool
	// ids are those of the notices that were refused and that were taken, by
	// the company and the type.
	refused, taken map[string][]string
}

func newHook(t *testing.T) *hook {
	h := &hook{t: t, refused: make(map[string][]string), taken: make(map[string][]string)}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the process was killed while it sent
	}
	verifier, err := standardwebhooks.NewWebhook(hookSecret)
	if err = errors.Join(err, verifier.Verify(body, r.Header)); err != nil {
		h.t.Errorf("a notice is not verified: %v", err)
	}
	var n struct {
		Type string
		Data struct{ Connection string }
	}
	if err := json.Unmarshal(body, &n); err != nil {
		h.t.Errorf("a notice cannot be read: %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key, id := n.Type+" "+n.Data.Connection, r.Header.Get("webhook-id")
	if h.refuse {
		h.refused[key] = append(h.refused[key], id)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	h.taken[key] = append(h.taken[key], id)
}

func (h *hook) refuses(refuse bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = refuse
}

// check waits until one notice for every key was taken, always with one ID.
func (h *hook) check(keys []string) {
	h.t.Helper()
	if err := eventually(30*time.Second, func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, key := range keys {
			if len(h.taken[key]) == 0 {
				return fmt.Errorf("no notice %s", key)
			}
		}
		return nil
	}); err != nil {
		h.t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, key := range keys {
		for _, id := range append(h.refused[key], h.taken[key]...) {
			if id != h.taken[key][0] {
				h.t.Errorf("the notice %s came with the IDs %v and %v", key, h.refused[key], h.taken[key])
				break
			}
		}
	}
}

// kill -9 between a change of state and the delivery of its notice, again and
// again: nobody is left untold, and whoever is told twice can see it.
func TestKillBeforeDelivery(t *testing.T) {
	gate(t)
	s := newSystem(t, strict())
	h := newHook(t)
	at := s.Sites[0]
	at.Hook = h.URL
	s.spawn()
	s.up()
	realms := s.connectAll(at, times(5, 50))
	random := dice(t)
	h.refuses(true)
	var keys []string
	for _, realm := range realms {
		keys = append(keys, "grant_connected "+realm, "grant_needs_reauth "+realm)
		at.Intuit.KillGrant(realm)
		if err := eventually(30*time.Second, func() error {
			a, err := s.get(at, realm)
			if err == nil && a.Status != http.StatusPreconditionRequired {
				err = errors.New(a.String())
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		// From right after the change to somewhere in the tries.
		time.Sleep(time.Duration(random.Int64N(int64(200 * time.Millisecond))))
		s.proc.kill()
		s.spawn()
		s.up()
	}
	h.refuses(false)
	s.proc.kill() // what waits for another try is tried at the start
	s.spawn()
	s.up()
	h.check(keys)
	h.mu.Lock()
	defer h.mu.Unlock()
	late := 0
	for _, key := range keys {
		if len(h.refused[key]) > 0 {
			late++
		}
	}
	if late == 0 {
		t.Error("no notice was refused: this proves nothing")
	}
	t.Logf("%d kills; %d of %d notices were refused before they were taken", len(realms)+1, late, len(keys))
}
