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
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	formCookie = "freshbearer-form"
	// maxForm is far more than a link is long.
	maxForm = 16 << 10
)

// disconnectable reads a disconnect link, and what it is about.
func (h *ConnectHandler) disconnectable(r *http.Request, keeper *grant.Keeper, text string) (grant.Link, *grant.Snapshot, error) {
	link, err := keeper.OpenLink(text)
	if err != nil {
		return link, nil, h.linkProblem(link, err)
	}
	if link.Integration != h.integration.name || link.Purpose != grant.PurposeDisconnect {
		return link, nil, &problem{Kind: kindLinkInvalid}
	}
	snap, err := keeper.Peek(r.Context(), h.integration.key(link.Connection))
	var dead *grant.ReauthorizationError
	if errors.As(err, &dead) {
		return link, nil, &problem{Kind: kindNotFound, Detail: "There is no such connection (any more)."}
	}
	if err == nil && !h.mayReplace(link.Caller, snap.Owner, snap.Connection) {
		// It was made when the caller still might.
		err = &problem{Kind: kindLinkInvalid}
	}
	return link, snap, err
}

// confirmDisconnect asks before anything is done.
func (h *ConnectHandler) confirmDisconnect(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	text := r.URL.Query().Get("link")
	link, snap, err := h.disconnectable(r, keeper, text)
	if err != nil {
		return err
	}
	if snap.Told() == tokenstore.StateDisconnected {
		page, status := h.donePage(keeper, h.disconnectResult(link, snap))
		pages.Write(w, status, page)
		return nil
	}
	// The token is good in this browser alone: nobody else's page can know both.
	var cookie string
	if c, err := r.Cookie(h.cookieName(formCookie)); err == nil && len(c.Value) >= 43 {
		cookie = c.Value
	} else {
		cookie = provider.NewState()
		set := h.cookie(formCookie, cookie, 0)
		set.SameSite = http.SameSiteStrictMode
		http.SetCookie(w, set)
	}
	title, app := h.integration.provider.Title(), h.appName(link.Caller)
	company := companyName(snap.Account, snap.Connection)
	pages.Write(w, http.StatusOK, pages.Page{
		App:   app,
		Title: "Disconnect from " + title,
		Lead:  "Shall " + app + " lose its access to " + company + "?",
		Facts: []pages.Field{{Name: "Company", Value: company}, {Name: "Company ID", Value: snap.Connection}},
		Steps: []string{
			title + " is told to end the access. The app can neither read nor change anything there any more.",
			"The keys to the company are forgotten here.",
			"To use it again, somebody must connect it again.",
		},
		Form: &pages.Form{Label: "Disconnect " + company, Hidden: []pages.Field{
			{Name: "link", Value: text}, {Name: "token", Value: keeper.FormToken(cookie, text)},
		}},
		Other:     h.back(link.ReturnURL, "Keep it connected"),
		Technical: h.technical(snap),
	})
	return nil
}

// disconnect gives a grant up. Who may is proven by the link; that it is meant,
// by a form which this browser was shown here.
func (h *ConnectHandler) disconnect(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	if http.NewCrossOriginProtection().Check(r) != nil {
		return h.forged(keeper)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return &bodyError{err}
	}
	text := r.PostForm.Get("link")
	cookie, err := r.Cookie(h.cookieName(formCookie))
	if err != nil || !keeper.CheckFormToken(r.PostForm.Get("token"), cookie.Value, text) {
		return h.forged(keeper)
	}
	link, snap, err := h.disconnectable(r, keeper, text)
	if err != nil {
		return err
	}
	key := snap.Key
	snap, err = keeper.Disconnect(r.Context(), key)
	recordAbout(r.Context(), keeper, audit.Disconnected, audit.ByLink, link.Caller, key, outcomeOf(err))
	if err != nil {
		return err
	}
	h.logger.Info("disconnected by a link", zap.String("integration", h.integration.name),
		zap.String("caller", link.Caller), zap.String("connection_hash", keeper.Pseudonym(snap.Key)))
	result := keeper.SignResult(h.disconnectResult(link, snap))
	redirect(w, http.StatusSeeOther, h.integration.publicURL("done", url.Values{"result": {result}}))
	return nil
}

// forged answers a form that may have come from somebody else's page.
func (h *ConnectHandler) forged(keeper *grant.Keeper) *problem {
	recordRefused(keeper, audit.ByStranger, "", h.integration.name, "form_refused")
	return &problem{Kind: kindFormRefused}
}

func (h *ConnectHandler) disconnectResult(link grant.Link, snap *grant.Snapshot) grant.Result {
	return grant.Result{
		Purpose: grant.PurposeDisconnect, Integration: h.integration.name,
		Connection: snap.Connection, Account: snap.Account, Pending: snap.RevokePending,
		Caller: link.Caller, ReturnURL: link.ReturnURL,
	}
}

// disconnectedPage tells what came of it. As long as the provider may honour the
// grant, it is not called disconnected.
func (h *ConnectHandler) disconnectedPage(r grant.Result) pages.Page {
	title := h.integration.provider.Title()
	company := companyName(r.Account, r.Connection)
	page := pages.Page{
		Kind: pages.Success, App: h.appName(r.Caller),
		Title: "Disconnected from " + title,
		Lead:  company + " is disconnected.",
		Detail: []string{
			title + " has confirmed that the access is ended, and the keys to the company are forgotten here.",
		},
		Action: h.backWith(r),
		Technical: []pages.Field{
			{Name: "integration", Value: r.Integration}, {Name: "connection", Value: r.Connection},
			{Name: "state", Value: string(tokenstore.StateDisconnected)},
		},
	}
	if r.Pending {
		page.Kind, page.Title = pages.Info, "Not confirmed yet"
		page.Lead = company + " is no longer used here, but " + title + " has not confirmed yet that the access is ended."
		page.Detail = []string{
			"It is asked again every hour until it has. You need not wait for that.",
			"If you want to be sure now, end the access in " + title + ", under the connected apps of the company.",
		}
		page.Technical[2].Value = string(grant.StateRevokePending)
	}
	return page
}

// dateFor is a date for people.
func dateFor(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}
