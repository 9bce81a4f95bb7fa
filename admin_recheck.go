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

// recheck asks the provider about a connection now, also if it was pronounced
// dead.
func (a *adminAPI) recheck(w http.ResponseWriter, r *http.Request) error {
	return a.ask(w, r, audit.Rechecked, (*grant.Keeper).Recheck)
}

// refresh has a connection refreshed now, although its token may be good.
func (a *adminAPI) refresh(w http.ResponseWriter, r *http.Request) error {
	return a.ask(w, r, audit.Refreshed, (*grant.Keeper).Refresh)
}

// namedConnection returns the keeper and the connection that a request means.
func namedConnection(r *http.Request) (*grant.Keeper, tokenstore.Key, error) {
	k, _, err := adminKeeper(r)
	key := keyOf(r.URL.Query())
	if err == nil && (key.Integration == "" || key.Connection == "") {
		err = caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New("the parameters integration and connection name what is meant")}
	}
	return k, key, err
}

// unknownConnection is the answer about a connection that is not stored.
func unknownConnection(key tokenstore.Key) error {
	return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("%s has no connection %s", key.Integration, key.Connection)}
}

func (a *adminAPI) ask(
	w http.ResponseWriter, r *http.Request, what audit.Action, do func(*grant.Keeper, context.Context, tokenstore.Key) (*grant.Snapshot, error),
) error {
	k, key, err := namedConnection(r)
	if err != nil {
		return err
	}
	snap, err := do(k, r.Context(), key)
	recordAbout(r.Context(), k, what, audit.ByAdmin, "", key, outcomeOf(err))
	var (
		dead        *grant.ReauthorizationError
		unavailable *grant.UnavailableError
	)
	answer := rechecked{Integration: key.Integration, Connection: key.Connection}
	switch {
	case err == nil:
		answer.State, answer.Generation, answer.Since = snap.State, snap.Generation, snap.Since
	case errors.As(err, &dead) && dead.Cause == tokenstore.CauseNeverConnected:
		return unknownConnection(key)
	case errors.As(err, &dead):
		answer.State, answer.Cause, answer.Since = tokenstore.StateNeedsReauth, dead.Cause, dead.Since
		answer.ProviderError, answer.TraceID = dead.ProviderError, dead.TraceID
		if dead.Cause == tokenstore.CauseDisconnected {
			answer.State = tokenstore.StateDisconnected
		}
	case errors.As(err, &unavailable) && unavailable.Reason == grant.ReasonSuspect:
		answer.State = tokenstore.StateSuspect
	case errors.As(err, &unavailable):
		status := http.StatusServiceUnavailable
		if unavailable.Reason == grant.ReasonTooSoon {
			status = http.StatusTooManyRequests
		}
		setRetryAfter(w.Header(), unavailable.RetryAfter)
		return caddy.APIError{HTTPStatus: status, Err: err}
	default:
		return adminError(err)
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}
