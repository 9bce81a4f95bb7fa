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
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// keyShown is what is told of a key that was made at run time. Key is there
// once: in the answer that makes it.
type keyShown struct {
	ID      string    `json:"id"`
	Caller  string    `json:"caller"`
	Created time.Time `json:"created"`
	// Usable tells whether the running configuration names the caller.
	Usable bool   `json:"usable"`
	Key    string `json:"key,omitempty"`
}

// keysShown is the answer of a list of keys, by caller and age.
type keysShown struct {
	Store string     `json:"store"`
	Keys  []keyShown `json:"keys"`
}

func (app *App) shownKey(key tokenstore.ProxyKey) keyShown {
	return keyShown{ID: key.ID, Caller: key.Caller, Created: key.Created, Usable: app.Callers[key.Caller] != nil}
}

// keys creates, lists and revokes keys of callers.
func (a *adminAPI) keys(w http.ResponseWriter, r *http.Request) error {
	serve := map[string]func(http.ResponseWriter, *http.Request, *App, *grant.Keeper) error{
		http.MethodGet: a.listKeys, http.MethodPost: a.createKey, http.MethodDelete: a.revokeKey,
	}[r.Method]
	if serve == nil {
		w.Header().Set("Allow", "DELETE, GET, POST")
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("%s is for GET, POST and DELETE requests", r.URL.Path)}
	}
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	app, err := inForceOn(k, identity)
	if err != nil {
		return err
	}
	return serve(w, r, app, k)
}

func (a *adminAPI) listKeys(w http.ResponseWriter, r *http.Request, app *App, k *grant.Keeper) error {
	keys, damaged, err := k.Vault().ProxyKeys(r.Context())
	if err != nil {
		return adminError(err)
	}
	if damaged != nil {
		a.logger.Error("proxy keys that were made at run time cannot be read, and open nothing", zap.Error(damaged))
	}
	slices.SortFunc(keys, func(a, b tokenstore.ProxyKey) int {
		return cmp.Or(cmp.Compare(a.Caller, b.Caller), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	answer := keysShown{Store: app.sharedAs, Keys: []keyShown{}}
	for _, key := range keys {
		answer.Keys = append(answer.Keys, app.shownKey(key))
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

func (a *adminAPI) createKey(w http.ResponseWriter, r *http.Request, app *App, k *grant.Keeper) error {
	caller := r.URL.Query().Get("caller")
	if caller == "" {
		return badParameter("the parameter caller names whose key it is to be")
	}
	if app.Callers[caller] == nil {
		return unknownCaller(app, caller)
	}
	// Once begun it is carried through: a key that nobody was told of would
	// stay.
	key, text, err := app.callers.issued.create(context.WithoutCancel(r.Context()), k.Vault(), caller, time.Now())
	recordKey(r, k, audit.KeyCreated, key, caller, err)
	if errors.Is(err, errTooManyKeys) {
		return caddy.APIError{HTTPStatus: http.StatusConflict, Err: err}
	}
	if err != nil {
		return adminError(err)
	}
	shown := app.shownKey(key)
	shown.Key = text.Reveal()
	writeJSON(w, http.StatusCreated, shown)
	return nil
}

// unknownCaller is the answer about a caller that is not configured.
func unknownCaller(app *App, name string) error {
	return caddy.APIError{HTTPStatus: http.StatusNotFound,
		Err: fmt.Errorf("the running configuration has no caller %q; it has %q", name, slices.Sorted(maps.Keys(app.Callers)))}
}

func (a *adminAPI) revokeKey(w http.ResponseWriter, r *http.Request, app *App, k *grant.Keeper) error {
	id := r.URL.Query().Get("id")
	if id == "" {
		return badParameter("the parameter id names the key")
	}
	key, err := app.callers.issued.revoke(context.WithoutCancel(r.Context()), k.Vault(), id)
	if errors.Is(err, errNoSuchKey) {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no key %q that was made at run time", id)}
	}
	recordKey(r, k, audit.KeyRevoked, key, key.Caller, err)
	if err != nil {
		return adminError(fmt.Errorf("the key may work again after the next start, so revoke it once more: %w", err))
	}
	writeJSON(w, http.StatusOK, app.shownKey(key))
	return nil
}

func recordKey(r *http.Request, k *grant.Keeper, what audit.Action, key tokenstore.ProxyKey, caller string, err error) {
	outcome := outcomeOf(err)
	if err == nil {
		outcome = "key_" + key.ID
	}
	record(r.Context(), k, audit.Entry{What: what, By: audit.ByAdmin, Who: caller, Outcome: outcome})
}
