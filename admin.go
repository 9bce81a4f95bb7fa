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
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// adminAPI is the operator's side, in Caddy's admin API. It never answers with
// a token, but sealed. If the process has more than one store open, the query parameter
// `store` names the one that is meant.
type adminAPI struct {
	logger *zap.Logger
}

// adminPath is what all endpoints are under.
const adminPath = "/freshbearer/"

// adminEndpoints are the endpoints, each with its one method; one
// without a method serves several.
var adminEndpoints = map[string]struct {
	method string
	serve  func(*adminAPI, http.ResponseWriter, *http.Request) error
}{
	"audit":        {http.MethodGet, (*adminAPI).audit},
	"audit/verify": {http.MethodGet, (*adminAPI).verifyAudit},
	"backup":       {http.MethodGet, (*adminAPI).backup},
	"doctor":       {http.MethodGet, (*adminAPI).doctor},
	"export":       {http.MethodPost, (*adminAPI).exportGrants},
	"import":       {http.MethodPost, (*adminAPI).importGrants},
	"links":        {http.MethodPost, (*adminAPI).links},
	"rebind":       {http.MethodPost, (*adminAPI).rebind},
	"health":       {http.MethodGet, (*adminAPI).health},
	"keys":         {"", (*adminAPI).keys},
	"ready":        {http.MethodGet, (*adminAPI).ready},
	"recheck":      {http.MethodPost, (*adminAPI).recheck},
	"rekey":        {http.MethodPost, (*adminAPI).rekey},
	"resume":       {http.MethodPost, (*adminAPI).resume},

	"connections":            {http.MethodGet, (*adminAPI).connections},
	"connections/disconnect": {http.MethodPost, (*adminAPI).disconnect},
	"connections/refresh":    {http.MethodPost, (*adminAPI).refresh},
	"connections/show":       {http.MethodGet, (*adminAPI).show},

	"":           {http.MethodGet, (*adminAPI).desk},
	"connection": {http.MethodGet, (*adminAPI).desk},
	"disconnect": {http.MethodGet, (*adminAPI).desk},
	"do":         {http.MethodPost, (*adminAPI).desk},
}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.freshbearer",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Provision sets up the endpoints. Caddy does this before it provisions the
// apps, and never cleans up, so nothing is held here.
func (a *adminAPI) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	return nil
}

// Routes implements caddy.AdminRouter.
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminPath, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (a *adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	endpoint, ok := adminEndpoints[r.URL.Path[len(adminPath):]]
	if !ok {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("there is no %s", r.URL.Path)}
	}
	if endpoint.method != "" && r.Method != endpoint.method {
		w.Header().Set("Allow", endpoint.method)
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("%s is for %s requests", r.URL.Path, endpoint.method)}
	}
	w.Header().Set("Cache-Control", "no-store")
	// What cannot be read is left out of r.URL.Query: a hold that was asked for, or
	// the one connection that a link is good for.
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		return badParameter("the query cannot be read")
	}
	// Caddy gives a request ten seconds to be read, and the lines of an import are
	// read while others are being proven.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return endpoint.serve(a, w, r)
}

// adminKeeper returns the keeper of the store that a request means, and the
// store's identity.
func adminKeeper(r *http.Request) (*grant.Keeper, string, error) {
	open := openKeepers()
	names := slices.Sorted(maps.Keys(open))
	wanted := r.URL.Query().Get("store")
	switch {
	case len(open) == 0:
		return nil, "", caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("no token store is open: the running configuration has no freshbearer app")}
	case wanted == "" && len(open) > 1:
		return nil, "", caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("several token stores are open; name one of them: %q", names)}
	case wanted == "":
		wanted = names[0]
	}
	k, ok := open[wanted]
	if !ok {
		return nil, "", caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("token store %q is not open; there is %q", wanted, names)}
	}
	return k, wanted, nil
}

// adminError makes an answer of an error of a keeper.
func adminError(err error) error {
	var unavailable *grant.UnavailableError
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, tokenstore.ErrClosed), errors.As(err, &unavailable):
		status = http.StatusServiceUnavailable
	case errors.Is(err, tokenstore.ErrFull):
		status = http.StatusInsufficientStorage
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// backup sends a backup of the store. One that cannot be finished is broken
// off, so that no client takes it for whole.
func (a *adminAPI) backup(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	out := &download{ResponseWriter: w, control: http.NewResponseController(w), name: backupName(time.Now())}
	err = k.Backup(r.Context(), out)
	recordAdmin(r, k, audit.BackedUp, err)
	switch {
	case err == nil:
		a.logger.Info("backup sent", zap.String("store", identity), zap.Int64("bytes", out.size))
		return nil
	case out.size == 0:
		return adminError(err)
	}
	a.logger.Error("backup broken off", zap.String("store", identity), zap.Int64("bytes", out.size), zap.Error(err))
	panic(http.ErrAbortHandler)
}

// downloadStall is how long a client may take nothing of a backup or an export.
// It holds up the closing of the store.
const downloadStall = 10 * time.Second

// download writes the body of an answer, and the fields of its header before it.
type download struct {
	http.ResponseWriter
	control *http.ResponseController
	// name is the file's, trailer that of the field that follows the body.
	name, trailer string
	size          int64
}

// Write implements io.Writer.
func (d *download) Write(p []byte) (int, error) {
	if d.size == 0 {
		h := d.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
		h.Set("X-Content-Type-Options", "nosniff")
		if d.trailer != "" {
			h.Set("Trailer", d.trailer)
		}
	}
	if err := d.control.SetWriteDeadline(time.Now().Add(downloadStall)); err != nil {
		return 0, fmt.Errorf("setting a deadline on the admin connection: %w", err)
	}
	n, err := d.ResponseWriter.Write(p)
	d.size += int64(n)
	return n, err
}

// backupName is the name of a file with a backup.
func backupName(t time.Time) string {
	return "freshbearer-" + t.UTC().Format("20060102T150405Z") + ".backup"
}

// released is the answer of resume. Released is nil if there was no hold.
type released struct {
	Store    string        `json:"store"`
	Released *releasedHold `json:"released"`
}

type releasedHold struct {
	Reason   tokenstore.HoldReason `json:"reason"`
	Since    time.Time             `json:"since"`
	BackupAt time.Time             `json:"backup_at,omitzero"`
}

// resume ends the hold of the store.
func (a *adminAPI) resume(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	hold, err := k.Release(r.Context())
	if hold != nil || err != nil {
		recordAdmin(r, k, audit.Resumed, err)
	}
	if err != nil {
		return adminError(err)
	}
	answer := released{Store: identity}
	if hold != nil {
		answer.Released = &releasedHold{hold.Reason, hold.Since, hold.BackupAt}
	}
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner = (*adminAPI)(nil)
	_ caddy.AdminRouter = (*adminAPI)(nil)
)
