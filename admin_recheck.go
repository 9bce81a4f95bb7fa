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

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// rechecked is the answer of recheck: what is true of the connection now.
type rechecked struct {
	Integration   string           `json:"integration"`
	Connection    string           `json:"connection"`
	State         tokenstore.State `json:"state"`
	Generation    uint64           `json:"generation,omitempty"`
	Cause         tokenstore.Cause `json:"cause,omitempty"`
	Since         time.Time        `json:"since,omitzero"`
	ProviderError string           `json:"provider_error,omitempty"`
	TraceID       string           `json:"intuit_tid,omitempty"`
}

// recheck asks the provider about one connection now, also if its grant was
// pronounced dead.
func (a *adminAPI) recheck(w http.ResponseWriter, r *http.Request) error {
	k, _, err := adminKeeper(r)
	if err != nil {
		return err
	}
	key := tokenstore.Key{Integration: r.URL.Query().Get("integration"), Connection: r.URL.Query().Get("connection")}
	if key.Integration == "" || key.Connection == "" {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New("the parameters integration and connection name what to check")}
	}
	snap, err := k.Recheck(r.Context(), key)
	recordAbout(r.Context(), k, audit.Rechecked, audit.ByAdmin, "", key, outcomeOf(err))
	var (
		dead        *grant.ReauthorizationError
		unavailable *grant.UnavailableError
	)
	answer := rechecked{Integration: key.Integration, Connection: key.Connection}
	switch {
	case err == nil:
		answer.State, answer.Generation, answer.Since = snap.State, snap.Generation, snap.Since
	case errors.As(err, &dead) && dead.Cause == tokenstore.CauseNeverConnected:
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("%s has no connection %s", key.Integration, key.Connection)}
	case errors.As(err, &dead):
		answer.State, answer.Cause, answer.Since = tokenstore.StateNeedsReauth, dead.Cause, dead.Since
		answer.ProviderError, answer.TraceID = dead.ProviderError, dead.TraceID
		if dead.Cause == tokenstore.CauseDisconnected {
			answer.State = tokenstore.StateDisconnected
		}
	case errors.As(err, &unavailable) && unavailable.Reason == grant.ReasonSuspect:
		answer.State = tokenstore.StateSuspect
	default:
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	// A client that is gone gets no second answer.
	_ = json.NewEncoder(w).Encode(answer)
	return nil
}
