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
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// connection serves the page of one connection.
func (d *desk) connection(w http.ResponseWriter, r *http.Request) {
	row, record, ok := d.find(w, r)
	if !ok {
		return
	}
	view := pages.ConnectionView{Frame: d.frame(w, r), Connection: row, Next: d.next(row, record), Facts: facts(row, record)}
	view.Page, view.Back = "connection", backOf(r.URL.Query())
	if in := d.configured(row.Integration); in != nil {
		view.Notices = differences(in, record)
	}
	if hold := d.keeper.Hold(); hold != nil {
		view.Notices = append(view.Notices, pages.Notice{Tone: pages.ToneBad, Title: "The token store is on hold.", Text: holdText(hold)})
	}
	for _, h := range slices.Backward(record.History) {
		view.History = append(view.History, pages.Happening{
			Time: h.Time, What: h.Event, ProviderError: h.Error, Description: h.Description,
			TraceID: h.TraceID, Generation: h.Generation, Count: h.Count,
		})
	}
	pages.WriteConnection(w, view)
}

// find returns the connection that a query names, and its record, or answers
// itself.
func (d *desk) find(w http.ResponseWriter, r *http.Request) (pages.Connection, *tokenstore.Record, bool) {
	key := keyOf(r.URL.Query())
	record, err := d.keeper.Describe(r.Context(), key)
	var snap *grant.Snapshot
	if err == nil {
		// What is in memory may be newer than what could be stored.
		snap, err = d.keeper.Peek(r.Context(), key)
	}
	switch {
	case notFound(err):
		refuse(w, r, http.StatusNotFound, "Not found", "This company is not known here.")
		return pages.Connection{}, nil, false
	case err != nil:
		d.storeFailed(w, r, err)
		return pages.Connection{}, nil, false
	}
	return d.row(entryOf(snap)), record, true
}

// next says what happens to a connection by itself, and who can do what.
func (d *desk) next(c pages.Connection, r *tokenstore.Record) string {
	if d.configured(c.Integration) == nil {
		return "Its integration is not configured, so nothing is done with it."
	}
	due := ""
	if !r.DueAt.IsZero() {
		due = exactly(r.DueAt)
	}
	switch tokenstore.State(c.State) {
	case tokenstore.StateConnected:
		return "It is refreshed when it is used. Without use, it is looked after at " + due + "."
	case tokenstore.StateSuspect:
		return "It is tried again by itself. Within a day it either works again, or is pronounced dead. Nobody has to reconnect it."
	case grant.StateRevokePending:
		return "The revocation is tried again every hour, until the provider has confirmed it. Nothing else happens to it."
	case tokenstore.StateDisconnected:
		return "Nothing happens by itself. A person of the company can connect it again."
	}
	const human = "A person of the company can reconnect it now."
	if c.State == string(tokenstore.StateNeedsReauth) && due != "" {
		return "In case the provider was wrong, it is tried again by itself at " + due + ". " + human
	}
	return "It is not tried again by itself any more. " + human
}

func facts(c pages.Connection, r *tokenstore.Record) []pages.Field {
	owner := c.Owner
	if owner == "" {
		owner = "the operator"
	}
	provided := []pages.Field{
		{Name: "Company", Value: c.Account}, {Name: "Company ID", Value: c.ID}, {Name: "Integration", Value: c.Integration},
		{Name: "Environment", Value: r.Environment}, {Name: "Client ID", Value: r.ClientID},
		{Name: "Scopes", Value: strings.Join(r.Scopes, " ")}, {Name: "Belongs to", Value: owner},
	}
	for _, at := range []struct {
		name string
		time time.Time
	}{
		{"Connected", r.ConnectedAt},
		{"Refreshed", c.RefreshedAt},
		{"State since", c.Since},
		{"Access token until", c.Access.Until},
		{"Refresh token until", c.Refresh.Until},
		{"Authorization until", c.Authorization.Until},
	} {
		if !at.time.IsZero() {
			provided = append(provided, pages.Field{Name: at.name, Value: exactly(at.time)})
		}
	}
	return append(provided,
		pages.Field{Name: "Generation", Value: strconv.FormatUint(r.Generation, 10)},
		pages.Field{Name: "Epoch", Value: strconv.FormatUint(r.Epoch, 10)},
		pages.Field{Name: "Cause", Value: string(r.Cause)},
		pages.Field{Name: "Provider’s error", Value: r.ProviderError},
		pages.Field{Name: "intuit_tid", Value: r.TraceID},
	)
}

// differences are between what a connection was authorized for and what is
// configured.
func differences(in *Integration, r *tokenstore.Record) []pages.Notice {
	var found []pages.Notice
	if r.State == tokenstore.StateDisconnected {
		return nil
	}
	if r.ClientID != "" && r.ClientID != in.client.ClientID {
		found = append(found, pages.Notice{
			Tone: pages.ToneBad, Title: "Another client_id.",
			Text: "It was authorized with another client_id than the one that is configured, and cannot be refreshed with that. Put the former back, or reconnect it.",
		})
	}
	if r.Environment != "" && r.Environment != in.Environment {
		found = append(found, pages.Notice{
			Tone: pages.ToneBad, Title: "Another environment.",
			Text: "It was authorized in the environment " + r.Environment + ", and the integration's is " + in.Environment + ". Put the former back, or reconnect it.",
		})
	}
	if host := in.unbound(r); host != "" {
		found = append(found, pages.Notice{
			Tone: pages.ToneBad, Title: "Another host.",
			Text: "The configuration sends tokens to " + host + ", which its tokens are not bound to. Correct the host, or if it is meant, run: caddy freshbearer rebind.",
		})
	}
	return found
}

// desk serves the operator's pages on the admin endpoint.
func (a *adminAPI) desk(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	var failed caddy.APIError
	if errors.As(err, &failed) {
		refuse(w, r, failed.HTTPStatus, "Not now", sentence(failed.Err.Error()), "A store is named in the address: ?store=<path>")
		return nil
	}
	if err != nil {
		return err
	}
	d := &desk{keeper: k, store: r.URL.Query().Get("store"), logger: a.logger}
	// The store of a configuration that was replaced is open until its last
	// request has ended.
	if app, err := theApp(caddy.ActiveContext()); err == nil && app.sharedAs == identity {
		d.app = app
	}
	d.serve(w, r, r.URL.Path[len(adminPath):])
	return nil
}
