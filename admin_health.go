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
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// healthReason is what is not well, as a word for programs.
type healthReason string

// The reasons. Only the first four are ones that a new start may repair, and
// fail health.
const (
	reasonNotConfigured healthReason = "not_configured"
	reasonStoreNotOpen  healthReason = "store_not_open"
	reasonStoreFailed   healthReason = "store_failed"
	reasonStoreHangs    healthReason = "store_hangs"

	reasonStoreFull healthReason = "store_full"
	reasonWrongKey  healthReason = "keys_do_not_fit"
	reasonOnHold    healthReason = "on_hold"
	reasonUnsaved   healthReason = "unsaved"
)

// ailment is one thing that is not well. It holds no secret.
type ailment struct {
	Reason  healthReason `json:"reason"`
	Message string       `json:"message"`
}

// healthAnswer is the answer of health and of ready.
type healthAnswer struct {
	OK      bool      `json:"ok"`
	Store   string    `json:"store,omitempty"`
	Reasons []ailment `json:"reasons"`
}

// vitals are what health and ready judge by.
type vitals struct {
	// configured and open are false before anything else can be told.
	configured, open bool
	store            string
	probe            error
	hold             *tokenstore.Hold
	unsaved          int
}

// probeLimit is how long a store may take to read and write a few bytes.
const probeLimit = 3 * time.Second

var errStoreHangs = fmt.Errorf("the store did not answer within %s", probeLimit)

// storeProbes makes one probe of a store at a time: of a disk that hangs, a
// probe does not come back.
var storeProbes singleflight.Group

func probeStore(ctx context.Context, identity string, v *tokenstore.Vault, limit time.Duration) error {
	result := storeProbes.DoChan(identity, func() (any, error) {
		return nil, v.Probe(context.WithoutCancel(ctx))
	})
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-result:
		return r.Err
	case <-timer.C:
		return errStoreHangs
	}
}

func takeVitals(ctx context.Context) vitals {
	app := inForce()
	if app == nil {
		return vitals{}
	}
	v := vitals{configured: true, store: app.sharedAs}
	k := app.running.Load()
	if k == nil {
		return v
	}
	v.open, v.hold, v.unsaved = true, k.Hold(), k.Unsaved()
	v.probe = probeStore(ctx, app.sharedAs, k.Vault(), probeLimit)
	return v
}

// ailments returns what is not well, and whether a new start may repair it.
func (v vitals) ailments() (found []ailment, restart bool) {
	if !v.configured {
		return []ailment{{reasonNotConfigured, "Caddy runs no configuration with a freshbearer app"}}, true
	}
	if !v.open {
		return []ailment{{reasonStoreNotOpen, "the token store is not open; Caddy's log says why"}}, true
	}
	var wrong *tokenstore.WrongKeyError
	switch {
	case v.probe == nil:
	case errors.Is(v.probe, tokenstore.ErrFull):
		found = append(found, ailment{reasonStoreFull, v.probe.Error()})
	case errors.As(v.probe, &wrong):
		found = append(found, ailment{reasonWrongKey, v.probe.Error()})
	case errors.Is(v.probe, errStoreHangs):
		found, restart = append(found, ailment{reasonStoreHangs, v.probe.Error()}), true
	default:
		found, restart = append(found, ailment{reasonStoreFailed, v.probe.Error()}), true
	}
	if v.hold != nil {
		found = append(found, ailment{reasonOnHold, fmt.Sprintf("the token store is on hold since %s, because it was %s: no token is refreshed; see caddy freshbearer resume --help",
			v.hold.Since.UTC().Format(time.RFC3339), v.hold.Reason)})
	}
	if v.unsaved > 0 {
		found = append(found, ailment{reasonUnsaved, "new tokens of " + count(v.unsaved, "connection") + " could not be stored, and are only in memory: do not stop Caddy, repair the disk"})
		// The end of the process would be the end of these grants.
		restart = false
	}
	return found, restart
}

// health tells whether the process should be left running: 503 means that a new
// start may help. What it cannot repair, or would make worse, is not unhealthy.
func (a *adminAPI) health(w http.ResponseWriter, r *http.Request) error {
	v := takeVitals(r.Context())
	found, restart := v.ailments()
	return answerHealth(w, v.store, !restart, found)
}

// ready tells whether every grant can be kept alive: 503 if anything is not
// well.
func (a *adminAPI) ready(w http.ResponseWriter, r *http.Request) error {
	v := takeVitals(r.Context())
	found, _ := v.ailments()
	return answerHealth(w, v.store, len(found) == 0, found)
}

func answerHealth(w http.ResponseWriter, store string, ok bool, found []ailment) error {
	status := http.StatusOK
	if !ok {
		status = http.StatusServiceUnavailable
	}
	if found == nil {
		found = []ailment{}
	}
	writeJSON(w, status, healthAnswer{ok, store, found})
	return nil
}
