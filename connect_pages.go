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
	"net/url"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// ends say to the person who can reconnect it how a connection came to its
// end. What they can do nothing about is not theirs to read.
var ends = map[tokenstore.Cause]string{
	tokenstore.CauseRefreshTokenExpired:  "It was not used for too long, and has ended.",
	tokenstore.CauseAuthorizationExpired: "Every connection ends some years after somebody has agreed to it, and this one has.",
	tokenstore.CauseRevokedOrReplaced:    "It was ended in %s, or replaced by a newer connection.",
	tokenstore.CauseRefreshResponseLost:  "An answer on the way here got lost, and the connection with it.",
	tokenstore.CauseWrongClient:          "The app was registered anew.",
	tokenstore.CauseDisconnected:         "It was disconnected.",
}

// appName is who asks for access, in words.
func (h *ConnectHandler) appName(caller string) string {
	switch {
	case h.integration.AppName != "":
		return h.integration.AppName
	case caller != "":
		return caller
	}
	return h.integration.redirect.Hostname()
}

// connectPage says what a link is for, before anybody leaves for the provider.
func (h *ConnectHandler) connectPage(r *http.Request, keeper *grant.Keeper, link grant.Link, start string) (pages.Page, error) {
	if link.Connection == "" {
		return h.askPage(link, start), nil
	}
	snap, err := keeper.Peek(r.Context(), h.integration.key(link.Connection))
	var dead *grant.ReauthorizationError
	switch {
	case errors.As(err, &dead):
		return h.askPage(link, start), nil // it never was connected
	case err != nil:
		return pages.Page{}, err
	}
	return h.againPage(link, snap, start), nil
}

// askPage asks for a first connection.
func (h *ConnectHandler) askPage(link grant.Link, start string) pages.Page {
	title, app := h.integration.provider.Title(), h.appName(link.Caller)
	page := pages.Page{
		App:   app,
		Title: "Connect to " + title,
		Lead:  app + " asks to work with the data of one of your companies in " + title + ".",
		Facts: append([]pages.Field{{Name: "Company", Value: link.Connection}}, h.access()...),
		Steps: []string{
			"You sign in at " + title + ". Your password stays there.",
			"You choose the company, and allow the access.",
			"You come back here, and read whether it is connected.",
		},
		Action: pages.Action{Label: "Connect to " + title, URL: start, Brand: true},
		Other:  h.back(link.ReturnURL, "Not now"),
		Small:  "You can end the access at any time, in the app or in " + title + ".",
	}
	if link.Connection != "" {
		page.Steps[1] = "You choose the company with this number, and allow the access. No other will be connected."
	}
	return page
}

// againPage asks for a connection that there was once.
func (h *ConnectHandler) againPage(link grant.Link, snap *grant.Snapshot, start string) pages.Page {
	title, app := h.integration.provider.Title(), h.appName(link.Caller)
	company := companyName(snap.Account, snap.Connection)
	page := pages.Page{
		Kind:  pages.Failure,
		App:   app,
		Title: "Reconnect to " + title,
		Lead:  app + " cannot reach " + company + " in " + title + " any more.",
		Facts: append([]pages.Field{
			{Name: "Company", Value: company}, {Name: "Company ID", Value: snap.Connection},
			{Name: "Why", Value: named(ends[snap.Cause], title)}, {Name: "Since", Value: dateFor(snap.Since)},
		}, h.access()...),
		Steps: []string{
			"You sign in at " + title + ". Your password stays there.",
			"You choose " + company + " again, and allow the access. With another company, nothing is changed.",
			"You come back here, and read whether it is connected.",
		},
		Action:    pages.Action{Label: "Reconnect to " + title, URL: start, Brand: true},
		Other:     h.back(link.ReturnURL, "Not now"),
		Technical: h.technical(snap),
	}
	switch snap.State {
	case tokenstore.StateConnected:
		page.Kind, page.Lead = pages.Success, company+" is connected. There is nothing to repair."
	case tokenstore.StateSuspect:
		page.Kind = pages.Info
		page.Lead = title + " refuses the access to " + company + " at the moment. That usually passes by itself within the day."
	case tokenstore.StateDisconnected:
		page.Kind, page.Lead = pages.Info, company+" was disconnected from "+app+"."
	}
	return page
}

func (h *ConnectHandler) technical(snap *grant.Snapshot) []pages.Field {
	return []pages.Field{
		{Name: "integration", Value: h.integration.name},
		{Name: "connection", Value: snap.Connection},
		{Name: "state", Value: string(snap.Told())},
		{Name: "cause", Value: string(snap.Cause)},
		{Name: "provider_error", Value: snap.ProviderError},
		{Name: "since", Value: problemTime(snap.Since)},
		{Name: "intuit_tid", Value: snap.TraceID},
	}
}

// access says what is asked for.
func (h *ConnectHandler) access() []pages.Field {
	var fields []pages.Field
	for _, scope := range h.integration.Scopes {
		name := "Access"
		if len(fields) > 0 {
			name = "and"
		}
		fields = append(fields, pages.Field{Name: name, Value: h.integration.provider.DescribeScope(scope)})
	}
	return fields
}

// reconnect is where the provider's own messages lead to (Intuit: "Reconnect
// URL"). Whoever comes has no link and is told nothing about the company; to be
// its administrator they prove at the provider.
func (h *ConnectHandler) reconnect(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	query := r.URL.Query()
	company := query.Get("realmId")
	if !h.integration.provider.ValidConnection(company) {
		page := h.landing("Reconnect to " + h.integration.provider.Title())
		page.Lead = "This address does not say which company is to be reconnected."
		page.Detail = []string{"Go to the app and reconnect the company there."}
		pages.Write(w, http.StatusBadRequest, page)
		return nil
	}
	link := grant.Link{Integration: h.integration.name, Purpose: grant.PurposeReconnect, Connection: company}
	if query.Get("start") != "" {
		return h.start(w, r, keeper, grant.Start{Link: link})
	}
	pages.Write(w, http.StatusOK, h.reconnectPage(company))
	return nil
}

// reconnectPage is the same whether the company is known here or not.
func (h *ConnectHandler) reconnectPage(company string) pages.Page {
	title := h.integration.provider.Title()
	page := h.landing("Reconnect to " + title)
	page.Lead = "If " + page.App + " has lost the access to your company, you can allow it again."
	page.Facts = append([]pages.Field{{Name: "Company ID", Value: company}}, h.access()...)
	page.Steps = []string{
		"You sign in at " + title + ". Your password stays there.",
		"You choose the same company again, and allow the access. With another company, nothing is changed.",
		"You come back here, and read whether it is connected.",
	}
	page.Other = page.Action
	page.Action = pages.Action{Label: "Reconnect to " + title, URL: h.reconnectURL(company, true), Brand: true}
	return page
}

func (h *ConnectHandler) reconnectURL(company string, start bool) string {
	query := url.Values{"realmId": {company}}
	if start {
		query.Set("start", "1")
	}
	return h.integration.publicURL("reconnect", query)
}

// disconnected is where the provider sends people who have ended the access
// over there (Intuit: "Disconnect URL"). Anybody can come here with any number,
// so it changes nothing; that the tokens are dead shows by itself.
func (h *ConnectHandler) disconnected(w http.ResponseWriter, r *http.Request, _ *grant.Keeper) error {
	title := h.integration.provider.Title()
	page := h.landing("Disconnected in " + title)
	page.Lead = "You have ended the access of " + page.App + " in " + title + "."
	page.Detail = []string{"What the app has stored of your company is not deleted by that; ask the people who run the app."}
	if company := r.URL.Query().Get("realmId"); h.integration.provider.ValidConnection(company) {
		page.Facts = []pages.Field{{Name: "Company ID", Value: company}}
		page.Other = pages.Action{Label: "That was a mistake: reconnect", URL: h.reconnectURL(company, false)}
	}
	pages.Write(w, http.StatusOK, page)
	return nil
}

// launch is where the provider sends people who open the app from over there
// (Intuit: "Launch URL").
func (h *ConnectHandler) launch(w http.ResponseWriter, _ *http.Request, _ *grant.Keeper) error {
	title := h.integration.provider.Title()
	page := h.landing(h.appName(""))
	page.App = ""
	page.Lead = "This app works with your company in " + title + "."
	page.Detail = []string{"Open the app and sign in there to go on."}
	pages.Write(w, http.StatusOK, page)
	return nil
}

// landing is a page for people whom nobody has given a link.
func (h *ConnectHandler) landing(title string) pages.Page {
	return pages.Page{App: h.appName(""), Title: title, Action: h.back("", "Open the app")}
}

// back leads to the app: to where it wanted people back, or to its front door.
func (h *ConnectHandler) back(returnURL, label string) pages.Action {
	if returnURL != "" && h.checkReturnURL(returnURL) == nil {
		return pages.Action{Label: label, URL: returnURL}
	}
	return pages.Action{Label: label, URL: h.integration.AppURL}
}

func companyName(account, connection string) string {
	if account != "" {
		return account
	}
	return "company " + connection
}
