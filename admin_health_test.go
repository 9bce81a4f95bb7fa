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
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// Health fails only for what a new start may repair, and never while tokens are
// only in memory; ready fails for everything.
func TestAilments(t *testing.T) {
	fire := errors.New("disk on fire")
	well := vitals{configured: true, open: true}
	with := func(change func(*vitals)) vitals {
		v := well
		change(&v)
		return v
	}
	for name, test := range map[string]struct {
		vitals  vitals
		reasons []healthReason
		restart bool
	}{
		"well":           {well, nil, false},
		"nothing there":  {vitals{}, []healthReason{reasonNotConfigured}, true},
		"not open":       {vitals{configured: true}, []healthReason{reasonStoreNotOpen}, true},
		"failed":         {with(func(v *vitals) { v.probe = fire }), []healthReason{reasonStoreFailed}, true},
		"closed":         {with(func(v *vitals) { v.probe = tokenstore.ErrClosed }), []healthReason{reasonStoreFailed}, true},
		"hangs":          {with(func(v *vitals) { v.probe = errStoreHangs }), []healthReason{reasonStoreHangs}, true},
		"full":           {with(func(v *vitals) { v.probe = fmt.Errorf("x: %w", tokenstore.ErrFull) }), []healthReason{reasonStoreFull}, false},
		"wrong key":      {with(func(v *vitals) { v.probe = &tokenstore.WrongKeyError{} }), []healthReason{reasonWrongKey}, false},
		"on hold":        {with(func(v *vitals) { v.hold = &tokenstore.Hold{} }), []healthReason{reasonOnHold}, false},
		"unsaved":        {with(func(v *vitals) { v.unsaved = 1 }), []healthReason{reasonUnsaved}, false},
		"unsaved, fails": {with(func(v *vitals) { v.unsaved, v.probe = 1, fire }), []healthReason{reasonStoreFailed, reasonUnsaved}, false},
	} {
		found, restart := test.vitals.ailments()
		var reasons []healthReason
		for _, a := range found {
			reasons = append(reasons, a.Reason)
			if a.Message == "" {
				t.Errorf("%s: %s has no words", name, a.Reason)
			}
		}
		if !slices.Equal(reasons, test.reasons) || restart != test.restart {
			t.Errorf("%s: %v, restart %t", name, reasons, restart)
		}
	}
}

// A process without a freshbearer app is neither healthy nor ready, and says so
// to programs.
func TestHealthWithoutApp(t *testing.T) {
	origin := adminServer(t)
	for _, endpoint := range []string{"health", "ready"} {
		resp, body := adminDo(t, http.MethodGet, origin+adminPath+endpoint)
		var answer healthAnswer
		if err := json.Unmarshal(body, &answer); err != nil || resp.StatusCode != 503 || answer.OK ||
			len(answer.Reasons) != 1 || answer.Reasons[0].Reason != reasonNotConfigured {
			t.Errorf("%s: %s %v %s", endpoint, resp.Status, err, body)
		}
	}
}

// A store that hangs is told of in time, and probed once, not once for each who
// asks.
func TestProbeHangs(t *testing.T) {
	memory := storetest.NewMemory()
	k, _ := openAdminStore(t, t.Name(), memory)
	if err := probeStore(t.Context(), t.Name(), k.Vault(), time.Minute); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	storeProbes.DoChan(t.Name(), func() (any, error) { <-release; return nil, nil })
	if err := probeStore(t.Context(), t.Name(), k.Vault(), time.Millisecond); !errors.Is(err, errStoreHangs) {
		t.Errorf("a store that hangs: %v", err)
	}
	memory.FailAll(errors.New("disk on fire"))
	joined := make(chan error, 1)
	go func() { joined <- probeStore(t.Context(), t.Name(), k.Vault(), time.Minute) }()
	select {
	case err := <-joined:
		t.Fatalf("a second probe was made: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-joined; err != nil {
		t.Error(err)
	}
	memory.FailAll(nil)
}
