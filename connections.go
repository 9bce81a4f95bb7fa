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
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// connectionJSON is what an app is told of a connection.
type connectionJSON struct {
	Connection string           `json:"connection"`
	Company    string           `json:"company,omitempty"`
	State      tokenstore.State `json:"state"`
	Cause      tokenstore.Cause `json:"cause,omitempty"`
	Since      time.Time        `json:"since"`

	ConnectedAt            time.Time `json:"connected_at,omitzero"`
	RefreshedAt            time.Time `json:"refreshed_at,omitzero"`
	AccessExpiresAt        time.Time `json:"access_expires_at,omitzero"`
	RefreshExpiresAt       time.Time `json:"refresh_expires_at,omitzero"`
	AuthorizationExpiresAt time.Time `json:"authorization_expires_at,omitzero"`

	// ReauthURL is where a human repairs it, if one must.
	ReauthURL string `json:"reauth_url,omitempty"`
}

// connectionsPage is a part of the list. Next is the address of the part after
// it; if connections come and go meanwhile, one may be in both or in none.
type connectionsPage struct {
	Connections []connectionJSON `json:"connections"`
	Total       int              `json:"total"`
	Next        string           `json:"next,omitempty"`
}

// aboutConnection serves what is about one connection, which the caller must be
// entitled to. The exchange is for the answer to an error.
func aboutConnection(serve func(*ConnectHandler, http.ResponseWriter, *http.Request, *exchange) error) serveAPI {
	return func(h *ConnectHandler, w http.ResponseWriter, r *http.Request, caller *Caller, id string) (*exchange, error) {
		keeper, err := h.keeper()
		if err != nil {
			return nil, err
		}
		if !h.integration.provider.ValidConnection(id) {
			return nil, &problem{Kind: kindNotFound}
		}
		x := h.exchange(keeper, caller, id)
		if err := x.entitled(r.Context()); err != nil {
			return x, err
		}
		return x, serve(h, w, r, x)
	}
}

func (h *ConnectHandler) showConnection(w http.ResponseWriter, r *http.Request, x *exchange) error {
	snap, err := x.keeper.Peek(r.Context(), x.key)
	if err != nil {
		return noSuchConnection(err)
	}
	writeJSON(w, http.StatusOK, h.connectionJSON(x.keeper, x.caller, entryOf(snap)))
	return nil
}

func (h *ConnectHandler) refreshConnection(w http.ResponseWriter, r *http.Request, x *exchange) error {
	snap, err := x.keeper.Refresh(r.Context(), x.key)
	recordAbout(r.Context(), x.keeper, audit.Refreshed, audit.ByCaller, x.caller.name, x.key, outcomeOf(err))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, h.connectionJSON(x.keeper, x.caller, entryOf(snap)))
	return nil
}

func (h *ConnectHandler) disconnectConnection(w http.ResponseWriter, r *http.Request, x *exchange) error {
	snap, err := x.keeper.Disconnect(r.Context(), x.key)
	recordAbout(r.Context(), x.keeper, audit.Disconnected, audit.ByCaller, x.caller.name, x.key, outcomeOf(err))
	if err != nil {
		return noSuchConnection(err)
	}
	status := http.StatusOK
	if snap.RevokePending {
		status = http.StatusAccepted // it is tried until the provider confirms
	}
	writeJSON(w, status, h.connectionJSON(x.keeper, x.caller, entryOf(snap)))
	return nil
}

// noSuchConnection makes a 404 of the error about a connection that there never
// was: nobody wants it repaired who only asks about it.
func noSuchConnection(err error) error {
	if notFound(err) {
		return &problem{Kind: kindNotFound, Detail: "There is no such connection."}
	}
	return err
}

// maxOffset keeps numbers in a query from being absurd.
const maxOffset = 100_000_000

// listConnections is the apps' own view of the grants.
func (h *ConnectHandler) listConnections(w http.ResponseWriter, r *http.Request, caller *Caller, _ string) (*exchange, error) {
	keeper, err := h.keeper()
	if err != nil {
		return nil, err
	}
	query := r.URL.Query()
	numbers := map[string]int{"offset": 0, "limit": 100}
	for name := range numbers {
		if text := query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || n > maxOffset || name == "limit" && (n == 0 || n > 1000) {
				return nil, badRequest("The offset is a number from 0, the limit one from 1 to 1000.")
			}
			numbers[name] = n
		}
	}
	state := tokenstore.State(query.Get("state"))
	if !knownState(state) {
		return nil, badRequest("The state must be one of connected, suspect, needs_reauth, revoke_pending or disconnected.")
	}
	listing, err := keeper.List(r.Context(), grant.Filter{
		Integration: h.integration.name, State: state,
		Allow:  func(e *grant.Entry) bool { return caller.mayUse(e.Connection, e.Owner) },
		Offset: numbers["offset"], Limit: numbers["limit"],
	})
	if err != nil {
		return nil, storageError(r.Context(), err)
	}
	page := connectionsPage{Connections: make([]connectionJSON, len(listing.Entries)), Total: listing.Total}
	for i := range listing.Entries {
		page.Connections[i] = h.connectionJSON(keeper, caller, &listing.Entries[i])
	}
	if next := numbers["offset"] + len(listing.Entries); next < listing.Total && len(listing.Entries) > 0 {
		more := url.Values{"offset": {strconv.Itoa(next)}, "limit": {strconv.Itoa(numbers["limit"])}}
		if state != "" {
			more.Set("state", string(state))
		}
		page.Next = h.integration.publicURL("connections", more)
	}
	writeJSON(w, http.StatusOK, page)
	return nil, nil
}

// storageError is what the store's errors are to a caller.
func storageError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &grant.UnavailableError{Reason: grant.ReasonStorage, RetryAfter: time.Second, Err: err}
}

func (h *ConnectHandler) connectionJSON(keeper *grant.Keeper, caller *Caller, e *grant.Entry) connectionJSON {
	c := shown(e).connectionJSON
	if e.State == tokenstore.StateNeedsReauth || e.State == tokenstore.StateDisconnected {
		c.ReauthURL = h.integration.reauthURL(keeper, caller.name, e.Connection)
	}
	return c
}
