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
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// desk is where the operator works: the pages about one token store, in the
// name of one user. All links are relative, so it stands under any path.
type desk struct {
	keeper *grant.Keeper
	// app is the configuration that the store belongs to; nil if it is not the
	// running one. Then nothing can be connected.
	app *App
	// store is named in all links; empty if only one is open.
	store string
	// user is whom Caddy has authenticated; empty for the admin endpoint.
	user   string
	logger *zap.Logger
}

// deskPages are the pages, each with its one method.
var deskPages = map[string]struct {
	method string
	serve  func(*desk, http.ResponseWriter, *http.Request)
}{
	"":           {http.MethodGet, (*desk).list},
	"connection": {http.MethodGet, (*desk).connection},
	"disconnect": {http.MethodGet, (*desk).askDisconnect},
	"do":         {http.MethodPost, (*desk).act},
}

func (d *desk) serve(w http.ResponseWriter, r *http.Request, name string) {
	page, ok := deskPages[name]
	if !ok {
		refuse(w, r, http.StatusNotFound, "Nothing here", "There is no such page. The address of the status page ends in a slash.")
		return
	}
	if r.Method != page.method && !(r.Method == http.MethodHead && page.method == http.MethodGet) {
		w.Header().Set("Allow", page.method)
		refuse(w, r, http.StatusMethodNotAllowed, "Not like this", "This address is for "+page.method+" requests.")
		return
	}
	if r.Method == http.MethodHead {
		w = headWriter{w}
	}
	page.serve(d, w, r)
}

// refuse answers with a page that says why there is no other.
func refuse(w http.ResponseWriter, r *http.Request, status int, title, lead string, detail ...string) {
	if r.Method == http.MethodHead {
		w = headWriter{w}
	}
	pages.Write(w, status, pages.Page{Kind: pages.Failure, Title: title, Lead: lead, Detail: detail})
}

// storeFailed answers that the store cannot be read.
func (d *desk) storeFailed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() == nil {
		d.logger.Error("reading the token store for the status page", zap.Error(err))
	}
	refuse(w, r, http.StatusServiceUnavailable, "Not now", "The token store cannot be read. Caddy's log says why.")
}

const (
	// statusCookie ties forms to the browser that they were sent to.
	statusCookie = "freshbearer_form"
	// maxDeskText bounds what is read of a query's values.
	maxDeskText = 200
)

// frame returns what all pages have, and gives the browser a cookie if it has
// none.
func (d *desk) frame(w http.ResponseWriter, r *http.Request) pages.Frame {
	cookie := cookieOf(r)
	if cookie == "" {
		random := make([]byte, 32)
		_, _ = rand.Read(random) // never fails
		cookie = base64.RawURLEncoding.EncodeToString(random)
		// Without a path it is for these pages, wherever they are. Lax: coming
		// by a link from elsewhere must not make forms in other tabs stale.
		http.SetCookie(w, &http.Cookie{
			Name: statusCookie, Value: cookie, HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
		})
	}
	return pages.Frame{
		Version: version(), Now: time.Now(), User: d.user, Store: d.store,
		Token:   d.keeper.FormToken(cookie, d.about("form")),
		Outcome: d.outcome(cookie, r.URL.Query()),
	}
}

// cookieOf returns the form cookie of a request. If there are two, somebody
// else has set one, and none is believed.
func cookieOf(r *http.Request) string {
	cookies := r.CookiesNamed(statusCookie)
	if len(cookies) != 1 {
		return ""
	}
	return cookies[0].Value
}

// about binds a token to what it is for, and to the user: nobody can use the
// form of somebody else.
func (d *desk) about(what ...string) string {
	return "status\x00" + strings.Join(append(what, d.user), "\x00")
}

// filterOf reads a filter from a query. What it does not know, it leaves out.
func filterOf(query url.Values) pages.Filter {
	f := pages.Filter{
		Text: short(query.Get("text")), Integration: short(query.Get("integration")),
		Offset: number(query.Get("offset")), Limit: grant.DefaultPage,
	}
	if state := query.Get("state"); slices.Contains(pages.States(), state) {
		f.State = state
	}
	return f
}

func short(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, ""))
	if len(text) > maxDeskText {
		text = strings.ToValidUTF8(text[:maxDeskText], "")
	}
	return text
}

// number reads a number that is not negative; anything else is 0.
func number(text string) int {
	if text == "" || len(text) > 9 {
		return 0
	}
	n := 0
	for _, digit := range []byte(text) {
		if digit < '0' || digit > '9' {
			return 0
		}
		n = 10*n + int(digit-'0')
	}
	return n
}

// backOf cleans the query that leads back to a list.
func backOf(query url.Values) string {
	back, err := url.ParseQuery(query.Get("back"))
	if err != nil {
		return ""
	}
	return filterOf(back).Query()
}

func keyOf(query url.Values) tokenstore.Key {
	return tokenstore.Key{Integration: short(query.Get("integration")), Connection: short(query.Get("connection"))}
}
