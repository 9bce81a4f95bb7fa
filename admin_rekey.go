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
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
)

// rekeyed is a line of the answer of rekey. The last one has Keys or Error; the
// others come while it goes on.
type rekeyed struct {
	Store string `json:"store"`
	// Sealed is how many records were sealed anew so far.
	Sealed int          `json:"sealed"`
	Keys   []rekeyedKey `json:"keys,omitempty"`
	Error  string       `json:"error,omitempty"`
}

// rekeyedKey is one key. Position is its place in encryption_key, from 1, and 0
// for one that is not there.
type rekeyedKey struct {
	Position int    `json:"position"`
	ID       string `json:"id"`
	Seals    bool   `json:"seals"`
	Records  int    `json:"records"`
	Needed   bool   `json:"needed"`
}

// rekeyTold is how often the answer of rekey gets a line.
const rekeyTold = time.Second

// rekey seals all records anew that are sealed with another key than the first
// one of the configuration in force, and says what is left under which key.
func (a *adminAPI) rekey(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	app, err := inForceOn(k, identity)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	line := rekeyed{Store: identity}
	out, control, told := json.NewEncoder(w), http.NewResponseController(w), time.Now()
	err = k.Rekey(r.Context(), app.shared.ringOf(app), func(done int) {
		if line.Sealed = done; time.Since(told) >= rekeyTold {
			told = time.Now()
			_ = errors.Join(out.Encode(line), control.Flush())
		}
	})
	counts, countErr := k.Vault().KeyCounts(r.Context())
	for _, c := range counts {
		line.Keys = append(line.Keys, rekeyedKey{c.Position, c.ID, c.Active, c.Records, c.Needed})
	}
	if err = errors.Join(err, countErr); err != nil {
		line.Error = err.Error()
		a.logger.Error("not all records could be sealed with the first encryption key", zap.String("store", identity), zap.Error(err))
	}
	record(r.Context(), k, audit.Entry{What: audit.Rekeyed, By: audit.ByAdmin, Outcome: outcomeOf(err), Count: line.Sealed})
	// A client that is gone gets no second answer.
	_ = out.Encode(line)
	return nil
}

// inForceOn returns the app of the configuration in force, if it uses the
// keeper.
func inForceOn(k *grant.Keeper, identity string) (*App, error) {
	app := inForce()
	if app == nil || app.running.Load() != k {
		return nil, caddy.APIError{HTTPStatus: http.StatusConflict,
			Err: fmt.Errorf("the running configuration does not use token store %s, so it does not say what is to be done with it", identity)}
	}
	return app, nil
}

// inForce returns the app of the configuration in force, nil if it has none.
func inForce() *App {
	active, err := caddy.ActiveContext().AppIfConfigured("freshbearer")
	if err != nil {
		return nil
	}
	app, _ := active.(*App)
	return app
}
