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
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// shownConnection is what the operator is told of a connection.
type shownConnection struct {
	Integration string `json:"integration"`
	connectionJSON
	Owner         string `json:"owner,omitempty"`
	ProviderError string `json:"provider_error,omitempty"`
	Generation    uint64 `json:"generation,omitempty"`
}

// shownConnections is a page of the list.
type shownConnections struct {
	Store       string                   `json:"store"`
	Connections []shownConnection        `json:"connections"`
	Total       int                      `json:"total"`
	Counts      map[tokenstore.State]int `json:"counts"`
	// Damaged is how many records cannot be read, of all integrations.
	Damaged int `json:"damaged,omitempty"`
	// Next is the query of the page after this one, if there is one.
	Next string `json:"next,omitempty"`
}

// describedConnection is all that is known of one connection but its tokens.
type describedConnection struct {
	shownConnection
	Provider    string       `json:"provider,omitempty"`
	Environment string       `json:"environment,omitempty"`
	ClientID    string       `json:"client_id,omitempty"`
	Hosts       []string     `json:"hosts,omitempty"`
	Scopes      []string     `json:"scopes,omitempty"`
	Epoch       uint64       `json:"epoch,omitempty"`
	TraceID     string       `json:"intuit_tid,omitempty"`
	DueAt       time.Time    `json:"due_at,omitzero"`
	History     []shownEvent `json:"history"`
}

// shownEvent is a tokenstore.HistoryEntry, with the names that the other answers
// have.
type shownEvent struct {
	Time        time.Time `json:"time"`
	Event       string    `json:"event"`
	Generation  uint64    `json:"generation,omitempty"`
	Error       string    `json:"provider_error,omitempty"`
	Description string    `json:"description,omitempty"`
	TraceID     string    `json:"intuit_tid,omitempty"`
	Count       int       `json:"count,omitempty"`
}

func shown(e *grant.Entry) shownConnection {
	return shownConnection{
		Integration: e.Integration,
		connectionJSON: connectionJSON{
			Connection: e.Connection, Company: e.Account, State: e.State, Cause: e.Cause, Since: e.Since,
			ConnectedAt: e.ConnectedAt, RefreshedAt: e.RefreshedAt, AccessExpiresAt: e.AccessExpiresAt,
			RefreshExpiresAt: e.RefreshExpiresAt, AuthorizationExpiresAt: e.AuthorizationExpiresAt,
		},
		Owner: e.Owner, ProviderError: e.ProviderError, Generation: e.Generation,
	}
}

// entryOf is what a list would show of a snapshot.
func entryOf(snap *grant.Snapshot) *grant.Entry {
	return &grant.Entry{
		Key: snap.Key, Account: snap.Account, Owner: snap.Owner, State: snap.Told(), Cause: snap.Cause,
		ProviderError: snap.ProviderError,
		Since:         snap.Since, ConnectedAt: snap.ConnectedAt, RefreshedAt: snap.RefreshedAt,
		AccessExpiresAt: snap.ExpiresAt(), RefreshExpiresAt: snap.RefreshExpiresAt,
		AuthorizationExpiresAt: snap.AuthorizationExpiresAt, Generation: snap.Generation,
	}
}

// connections lists connections: those of an integration, in a state, or with a
// text in the company's name, its ID or the owner, a page at a time.
func (a *adminAPI) connections(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	filter := grant.Filter{
		Integration: query.Get("integration"), State: tokenstore.State(query.Get("state")), Text: query.Get("text"), Limit: grant.DefaultPage,
	}
	if !knownState(filter.State) {
		return badParameter("the state must be one of connected, suspect, needs_reauth, revoke_pending or disconnected")
	}
	for name, number := range map[string]*int{"offset": &filter.Offset, "limit": &filter.Limit} {
		if text := query.Get(name); text != "" {
			if *number, err = strconv.Atoi(text); err != nil || *number < 0 || *number > maxOffset || name == "limit" && (*number == 0 || *number > grant.MaxPage) {
				return badParameter(fmt.Sprintf("offset is a number from 0, limit one from 1 to %d", grant.MaxPage))
			}
		}
	}
	listing, err := k.List(r.Context(), filter)
	if err != nil {
		return adminError(err)
	}
	page := shownConnections{
		Store: identity, Connections: make([]shownConnection, len(listing.Entries)),
		Total: listing.Total, Counts: listing.Counts, Damaged: listing.Damaged,
	}
	for i := range listing.Entries {
		page.Connections[i] = shown(&listing.Entries[i])
	}
	if next := filter.Offset + len(listing.Entries); next < listing.Total && len(listing.Entries) > 0 {
		query.Set("offset", strconv.Itoa(next))
		page.Next = "?" + query.Encode()
	}
	writeJSON(w, http.StatusOK, page)
	return nil
}

func knownState(s tokenstore.State) bool {
	switch s {
	case "", tokenstore.StateConnected, tokenstore.StateSuspect, tokenstore.StateNeedsReauth, tokenstore.StateDisconnected, grant.StateRevokePending:
		return true
	}
	return false
}

func badParameter(text string) error {
	return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New(text)}
}

// switched tells whether a parameter is switched on.
func switched(r *http.Request, parameter string) (bool, error) {
	values := r.URL.Query()[parameter]
	if len(values) > 1 || len(values) == 1 && !slices.Contains([]string{"", "true", "false"}, values[0]) {
		return false, badParameter(parameter + " is true or false, or without a value true")
	}
	return len(values) == 1 && values[0] != "false", nil
}

// show tells all that is known of one connection, with its history.
func (a *adminAPI) show(w http.ResponseWriter, r *http.Request) error {
	k, key, err := namedConnection(r)
	if err != nil {
		return err
	}
	record, err := k.Describe(r.Context(), key)
	var snap *grant.Snapshot
	if err == nil {
		// What is in memory may be newer than what could be stored.
		snap, err = k.Peek(r.Context(), key)
	}
	switch {
	case notFound(err):
		return unknownConnection(key)
	case err != nil:
		return adminError(err)
	}
	one := describedConnection{
		shownConnection: shown(entryOf(snap)),
		Provider:        record.Provider, Environment: record.Environment, ClientID: record.ClientID, Hosts: record.Hosts, Scopes: record.Scopes,
		Epoch: record.Epoch, TraceID: lastTraceID(record), DueAt: record.DueAt,
		History: make([]shownEvent, len(record.History)),
	}
	for i, entry := range record.History {
		one.History[i] = shownEvent(entry)
	}
	writeJSON(w, http.StatusOK, one)
	return nil
}

// disconnect gives a connection up, and has its grant revoked at the provider.
func (a *adminAPI) disconnect(w http.ResponseWriter, r *http.Request) error {
	k, key, err := namedConnection(r)
	if err != nil {
		return err
	}
	snap, err := k.Disconnect(r.Context(), key)
	recordAbout(r.Context(), k, audit.Disconnected, audit.ByAdmin, "", key, outcomeOf(err))
	var dead *grant.ReauthorizationError
	switch {
	case notFound(err):
		return unknownConnection(key)
	case errors.As(err, &dead):
		return caddy.APIError{HTTPStatus: http.StatusConflict, Err: err}
	case err != nil:
		return adminError(err)
	}
	writeJSON(w, http.StatusOK, shown(entryOf(snap)))
	return nil
}

// madeLink is the answer of links.
type madeLink struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// links makes a link at which a human connects a company: any, or the one that
// is named. A new connection belongs to the caller that is named, or to the
// operator.
func (a *adminAPI) links(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	app, err := inForceOn(k, identity)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	if query.Get("integration") == "" {
		return badParameter("the parameter integration names what is meant")
	}
	in, err := app.integration(query.Get("integration"))
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	link := grant.Link{Integration: in.name, Caller: query.Get("caller"), Connection: query.Get("connection"), ReturnURL: query.Get("return_url")}
	if _, ok := app.Callers[link.Caller]; link.Caller != "" && !ok {
		return unknownCaller(app, link.Caller)
	}
	if link.ReturnURL != "" && !allowedReturn(link.ReturnURL, in.returns) {
		return badParameter("return_url must be under one of the origins that the integration's return_urls setting names")
	}
	if link.Connection != "" {
		if !in.provider.ValidConnection(link.Connection) {
			return badParameter("the connection is not a connection ID of this provider")
		}
		snap, err := k.Peek(r.Context(), in.key(link.Connection))
		switch {
		case err == nil:
			link.Caller = snap.Owner // it stays, whoever opens the link
		case !notFound(err):
			return adminError(err)
		}
	}
	expires := time.Now().Add(time.Duration(in.LinkLifetime)).Truncate(time.Second)
	link.ExpiresAt = expires.Unix()
	recordAbout(r.Context(), k, audit.LinkMade, audit.ByAdmin, "", in.key(link.Connection), "")
	writeJSON(w, http.StatusCreated, madeLink{in.linkURL(k, link), expires.UTC()})
	return nil
}

// nextPage reads what follows from the address of a page.
func nextPage(next string) url.Values {
	values, _ := url.ParseQuery(next[1:])
	return values
}
