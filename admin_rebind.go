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
	"net/http"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
)

// rebound is the answer of rebind.
type rebound struct {
	Store string `json:"store"`
	// Hosts are the origins beside the provider's own, by integration.
	Hosts map[string][]string `json:"hosts"`
	// Rebound is how many connections were bound to others.
	Rebound int    `json:"rebound"`
	Error   string `json:"error,omitempty"`
}

// rebind binds all connections to the hosts that the configuration in force
// sends tokens to.
func (a *adminAPI) rebind(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	app, err := inForceOn(k, identity)
	if err != nil {
		return err
	}
	answer := rebound{Store: identity, Hosts: make(map[string][]string)}
	for name, in := range app.Integrations {
		answer.Hosts[name] = append([]string{}, in.hosts...)
	}
	answer.Rebound, err = k.Rebind(r.Context())
	if err != nil {
		answer.Error = err.Error()
	}
	if answer.Rebound > 0 || err != nil {
		record(r.Context(), k, audit.Entry{What: audit.Rebound, By: audit.ByAdmin, Outcome: outcomeOf(err), Count: answer.Rebound})
		a.logger.Warn("connections were bound to the hosts that are configured", zap.String("store", identity),
			zap.Int("connections", answer.Rebound), zap.Any("hosts", answer.Hosts), zap.Error(err))
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}
