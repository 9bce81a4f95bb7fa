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
	"mime"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// act does what a button says. What came of it is told on the page that the
// browser is sent back to, so that a reload does nothing again.
func (d *desk) act(w http.ResponseWriter, r *http.Request) {
	form, ok := d.form(w, r)
	if !ok {
		return
	}
	key := keyOf(form)
	button := form.Get("do")
	if button == "connect" {
		d.connect(w, r, key, form)
		return
	}
	var do func(*http.Request, tokenstore.Key) string
	switch button {
	case "refresh":
		do = d.refresh
	case "recheck":
		do = d.recheck
	case "disconnect":
		do = d.disconnect
	default:
		refuse(w, r, http.StatusBadRequest, "Not like this", "The form names nothing that can be done.")
		return
	}
	code := do(r, key)
	recordAbout(r.Context(), d.keeper, deskActions[button], d.actor(), d.user, key, code)
	d.logger.Info("done by hand", zap.String("what", button), zap.String("outcome", code), zap.String("user", d.user),
		zap.String("integration", key.Integration), zap.String("connection_hash", d.keeper.Pseudonym(key)))
	query := []string{
		"outcome", code, "of_integration", key.Integration, "of", key.Connection,
		"proof", d.keeper.FormToken(cookieOf(r), d.about("outcome", code, key.Integration, key.Connection)),
	}
	frame, page := pages.Frame{Store: d.store}, ""
	if form.Get("page") == "connection" {
		page = "connection"
		query = append(query, "integration", key.Integration, "connection", key.Connection, "back", backOf(form))
	} else {
		back, _ := url.ParseQuery(backOf(form))
		for name := range back {
			query = append(query, name, back.Get(name))
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "same-origin")
	redirect(w, http.StatusSeeOther, frame.Link(page, query...))
}

// form reads a form, and answers itself if it does not come from a page of
// ours, opened by the same user in the same browser.
func (d *desk) form(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	if early(r) {
		refuse(w, r, http.StatusTooEarly, "Too early", "Nothing was done. Send the form again.")
		return nil, false
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		refuse(w, r, http.StatusUnsupportedMediaType, "Not like this", "Nothing was done. This address is for forms.")
		return nil, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(w, r, http.StatusBadRequest, "Not like this", "Nothing was done. The form cannot be read.")
		return nil, false
	}
	if http.NewCrossOriginProtection().Check(r) != nil ||
		!d.keeper.CheckFormToken(r.PostForm.Get("token"), cookieOf(r), d.about("form")) {
		recordRefused(d.keeper, d.actor(), d.user, "", "form_refused")
		refuse(w, r, http.StatusForbidden, "Nothing was done",
			"This form does not come from a page that this browser has opened here.",
			"Open the status page again, and press the button there. It needs cookies.")
		return nil, false
	}
	return r.PostForm, true
}

func (d *desk) refresh(r *http.Request, key tokenstore.Key) string {
	_, err := d.keeper.Refresh(r.Context(), key)
	return d.came("refreshed", err)
}

func (d *desk) recheck(r *http.Request, key tokenstore.Key) string {
	snap, err := d.keeper.Recheck(r.Context(), key)
	if err == nil && snap.State == tokenstore.StateSuspect {
		return string(grant.ReasonSuspect)
	}
	return d.came("works", err)
}

func (d *desk) disconnect(r *http.Request, key tokenstore.Key) string {
	snap, err := d.keeper.Disconnect(r.Context(), key)
	switch {
	case err == nil && snap.State != tokenstore.StateDisconnected:
		return "reconnected"
	case err == nil && snap.RevokePending:
		return "revoke_pending"
	}
	return d.came("disconnected", err)
}

// came returns the code of what came of something that is done in the best
// case.
func (d *desk) came(done string, err error) string {
	var (
		dead        *grant.ReauthorizationError
		unavailable *grant.UnavailableError
	)
	switch {
	case err == nil:
		return done
	case notFound(err):
		return "unknown"
	case errors.As(err, &dead):
		return "dead"
	case errors.As(err, &unavailable) && outcomes[string(unavailable.Reason)].Title != "":
		return string(unavailable.Reason)
	}
	d.logger.Error("acting by hand", zap.Error(err))
	return "failed"
}

// outcomes are what can come of a button, by their codes. The name of the
// company is put before each text.
var outcomes = map[string]pages.Notice{
	"refreshed":      {Tone: pages.ToneGood, Title: "Refreshed.", Text: "has a fresh access token."},
	"works":          {Tone: pages.ToneGood, Title: "It works.", Text: "is accepted, and has a fresh access token."},
	"disconnected":   {Tone: pages.ToneGood, Title: "Disconnected.", Text: "is disconnected. The provider has confirmed that its tokens are revoked, and they are forgotten."},
	"revoke_pending": {Tone: pages.ToneWarning, Title: "Given up here, not yet confirmed.", Text: "is refused from now on, but the provider has not confirmed that its tokens are revoked. That is tried again every hour until it does."},
	"reconnected":    {Tone: pages.ToneWarning, Title: "Still connected.", Text: "was authorized again meanwhile."},
	"dead":           {Tone: pages.ToneBad, Title: "Refused.", Text: "must be authorized again, by a person of the company."},
	"unknown":        {Tone: pages.ToneBad, Title: "Not found.", Text: "is not known here."},
	"failed":         {Tone: pages.ToneBad, Title: "Failed.", Text: "could not be asked about. Caddy's log says why."},

	string(grant.ReasonProvider):      {Tone: pages.ToneWarning, Title: "No answer.", Text: "could not be asked about: the provider gives no usable answer. Nothing is lost, and it is tried again by itself."},
	string(grant.ReasonClientRefused): {Tone: pages.ToneBad, Title: "Client refused.", Text: "could not be asked about: the provider refuses the client_id or client_secret of this proxy. Correct them; nothing is lost."},
	string(grant.ReasonStorage):       {Tone: pages.ToneBad, Title: "Storage.", Text: "was left as it is: the token store cannot be read or written. Caddy's log says why."},
	string(grant.ReasonSuspect):       {Tone: pages.ToneWarning, Title: "Refused, but not believed yet.", Text: "is refused by the provider, but there is reason not to believe that. It is tried again by itself."},
	string(grant.ReasonSlow):          {Tone: pages.ToneWarning, Title: "It takes long.", Text: "is being asked about. Load this page again in a moment."},
	string(grant.ReasonHosts):         {Tone: pages.ToneBad, Title: "Host unconfirmed.", Text: "was not asked about: the configuration sends tokens to a host that this connection's are not bound to. If it is meant, run: caddy freshbearer rebind."},
	string(grant.ReasonHold):          {Tone: pages.ToneBad, Title: "On hold.", Text: "was not asked about, because the token store is on hold."},
	string(grant.ReasonTooSoon):       {Tone: pages.ToneWarning, Title: "A moment, please.", Text: "was refreshed by hand less than a minute ago."},
	string(grant.ReasonClosed):        {Tone: pages.ToneWarning, Title: "Stopping.", Text: "was not asked about, because Caddy is stopping or reloading. Try again."},
}

// outcome reads what came of the last button from a query, if it was this
// process that wrote it there, for this browser and user. The words are ours;
// an address that somebody made up says nothing.
func (d *desk) outcome(cookie string, query url.Values) pages.Notice {
	code := query.Get("outcome")
	notice, ok := outcomes[code]
	key := tokenstore.Key{Integration: query.Get("of_integration"), Connection: query.Get("of")}
	if !ok || !d.keeper.CheckFormToken(query.Get("proof"), cookie, d.about("outcome", code, key.Integration, key.Connection)) {
		return pages.Notice{}
	}
	notice.Text = key.Integration + " " + key.Connection + " " + notice.Text
	return notice
}

// connect shows a connect link, for any company or for the one that is to be
// reconnected. It is not opened at once: the operator often sends it to
// somebody else.
func (d *desk) connect(w http.ResponseWriter, r *http.Request, key tokenstore.Key, form url.Values) {
	in := d.configured(key.Integration)
	if in == nil {
		refuse(w, r, http.StatusNotFound, "Not configured", "The running configuration has no such integration, so nothing can be connected to it.")
		return
	}
	owner := form.Get("owner")
	view := pages.LinkView{
		Integration: in.name, Provider: in.provider.Title(), Environment: in.Environment,
		ExpiresAt: time.Now().Add(time.Duration(in.LinkLifetime)).Truncate(time.Second),
	}
	if key.Connection != "" {
		snap, err := d.keeper.Peek(r.Context(), key)
		switch {
		case notFound(err):
			refuse(w, r, http.StatusNotFound, "Not found", "This company is not known here.")
			return
		case err != nil:
			d.storeFailed(w, r, err)
			return
		}
		// Its owner stays, whoever opens the link.
		owner = snap.Owner
		view.Connection = pages.Connection{Integration: key.Integration, ID: key.Connection, Account: snap.Account}
	} else if _, ok := d.app.Callers[owner]; owner != "" && !ok {
		refuse(w, r, http.StatusBadRequest, "Not like this", "The running configuration has no such caller.")
		return
	}
	view.Frame, view.Owner = d.frame(w, r), owner
	view.Back = backOf(form)
	view.URL = in.linkURL(d.keeper, grant.Link{
		Integration: in.name, Caller: owner, Connection: key.Connection, ExpiresAt: view.ExpiresAt.Unix(),
	})
	recordAbout(r.Context(), d.keeper, audit.LinkMade, d.actor(), d.user, tokenstore.Key{Integration: in.name, Connection: key.Connection}, "")
	pages.WriteLink(w, view)
}

// askDisconnect asks whether a connection is really to be given up.
func (d *desk) askDisconnect(w http.ResponseWriter, r *http.Request) {
	row, _, ok := d.find(w, r)
	if !ok {
		return
	}
	view := pages.DisconnectView{Frame: d.frame(w, r), Connection: row, Provider: "the provider"}
	view.Page, view.Back = "connection", backOf(r.URL.Query())
	if in := d.configured(row.Integration); in != nil {
		view.Provider = in.provider.Title()
	}
	pages.WriteDisconnect(w, view)
}
