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
	"os"
	"path/filepath"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// auditLogs finds the audit log of a keeper.
var auditLogs sync.Map // *grant.Keeper to *audit.Log

// auditDir is where the audit log of a store is: in the store's directory,
// which one process at a time can use. A store without one has a place in
// Caddy's data directory.
func auditDir(identity, storeID string) string {
	const name = "freshbearer.audit"
	if info, err := os.Stat(identity); err == nil && info.IsDir() && filepath.IsAbs(identity) {
		return filepath.Join(identity, name)
	}
	return filepath.Join(caddy.AppDataDir(), name, storeID)
}

// openAudit opens the audit log of a store. Grants are not given up for it: a
// store whose log cannot be opened goes without.
func (s *sharedKeeper) openAudit(ctx context.Context, vault *tokenstore.Vault) {
	logger := s.logs.logger().Named("audit")
	log, err := audit.Open(ctx, audit.Options{
		Dir: auditDir(s.identity, vault.StoreID()), Key: vault.DeriveKey("audit"), Heads: vault, Logger: logger,
	})
	if err != nil {
		logger.Error("there is no audit log: it cannot be opened; the next start tries again", zap.Error(err))
		return
	}
	auditLogs.Store(s.keeper, log)
	outcome := ""
	if hold := s.keeper.Hold(); hold != nil {
		outcome = "on_hold_" + string(hold.Reason)
	}
	record(ctx, s.keeper, audit.Entry{What: audit.Opened, By: audit.BySystem, Outcome: outcome})
}

// closeAudit closes the log before its store.
func (s *sharedKeeper) closeAudit() {
	if log := auditLog(s.keeper); log != nil {
		auditLogs.Delete(s.keeper)
		if err := log.Close(); err != nil {
			s.logs.logger().Error("closing the audit log", zap.Error(err))
		}
	}
}

// auditLog returns the log of a keeper, nil if there is none.
func auditLog(k *grant.Keeper) *audit.Log {
	log, _ := auditLogs.Load(k)
	l, _ := log.(*audit.Log)
	return l
}

// record writes an entry to the audit log. What it tells of has been done, so
// nobody is refused because it cannot be written.
func record(ctx context.Context, k *grant.Keeper, e audit.Entry) {
	log := auditLog(k)
	if log == nil {
		return
	}
	if err := log.Record(ctx, e); err != nil {
		caddy.Log().Named("freshbearer.audit").Error("an entry could not be written to the audit log",
			zap.String("what", string(e.What)), zap.Error(err))
	}
}

// recordAbout is record for what was done to a connection.
func recordAbout(ctx context.Context, k *grant.Keeper, what audit.Action, by audit.Actor, who string, key tokenstore.Key, outcome string) {
	e := audit.Entry{What: what, By: by, Who: who, Outcome: outcome, Integration: key.Integration}
	if key.Connection != "" {
		e.Connection = k.Pseudonym(key)
	}
	record(ctx, k, e)
}

// recordRefused counts somebody who was not let in. k may be nil.
func recordRefused(k *grant.Keeper, by audit.Actor, who, integration, why string) {
	if k == nil {
		return
	}
	if log := auditLog(k); log != nil {
		log.Refuse(by, who, integration, why)
	}
}

// outcomeOf is the word for what came of something.
func outcomeOf(err error) string {
	var (
		dead        *grant.ReauthorizationError
		unavailable *grant.UnavailableError
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &dead):
		return string(dead.Cause)
	case errors.As(err, &unavailable):
		return string(unavailable.Reason)
	}
	return "failed"
}

// strangerRefused is told of every request whose caller is unknown.
func (a *App) strangerRefused() {
	recordRefused(a.running.Load(), audit.ByStranger, "", "", "caller_unknown")
}

// forbidden says that the caller may not use the connection.
func (x *exchange) forbidden() error {
	recordRefused(x.keeper, audit.ByCaller, x.caller.name, x.key.Integration, "connection_forbidden")
	return errForbidden
}

// suspicious are the failures of an authorization that somebody may have
// wanted; the others happen to everybody.
var suspicious = map[grant.Failure]bool{
	grant.FailureState: true, grant.FailureUsed: true, grant.FailureCallback: true, grant.FailureAccount: true,
	grant.FailureOtherAccount: true, grant.FailureOwned: true, grant.FailureNotConnected: true,
}

// recordFailure counts a callback that was refused.
func (h *ConnectHandler) recordFailure(k *grant.Keeper, e *grant.AuthorizationError) {
	if !suspicious[e.Failure] {
		return
	}
	caller := ""
	if e.Again != nil {
		caller = e.Again.Caller
	}
	recordRefused(k, audit.ByLink, caller, h.integration.name, "connect_"+string(e.Failure))
}

// installed returns what is told of an authorization that was stored.
func (h *ConnectHandler) installed(ctx context.Context, k *grant.Keeper) func(grant.Installed) {
	return func(i grant.Installed) {
		what := audit.Connected
		if i.Again {
			what = audit.Reconnected
		}
		recordAbout(ctx, k, what, audit.ByLink, i.Caller, i.Key, string(i.Refusal))
	}
}

// actor is whom the status page is shown to.
func (d *desk) actor() audit.Actor {
	if d.user == "" {
		return audit.ByAdmin
	}
	return audit.ByStatusPage
}

// deskActions are the buttons that change something, as actions.
var deskActions = map[string]audit.Action{
	"disconnect": audit.Disconnected, "recheck": audit.Rechecked, "refresh": audit.Refreshed,
}

// recordKeys tells of a change of the encryption key, if there was one.
func (a *App) recordKeys(ctx context.Context, k *grant.Keeper, before tokenstore.KeyUse) {
	if before.Done() {
		return
	}
	outcome := ""
	if after, err := k.Vault().KeyUse(ctx); err != nil || !after.Done() {
		outcome = "unfinished"
	}
	record(ctx, k, audit.Entry{What: audit.Rekeyed, By: audit.BySystem, Outcome: outcome})
}
