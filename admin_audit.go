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
	"fmt"
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
)

// maxAuditEntries is how many entries one answer has at most.
const maxAuditEntries = 10_000

// auditShown is the answer of audit: the newest entries, the oldest first.
type auditShown struct {
	Store   string        `json:"store"`
	Entries []audit.Entry `json:"entries"`
}

// auditVerified is the answer of audit/verify.
type auditVerified struct {
	Store  string `json:"store"`
	Intact bool   `json:"intact"`
	*audit.Report
}

func adminAudit(r *http.Request) (*audit.Log, string, error) {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return nil, "", err
	}
	log := auditLog(k)
	if log == nil {
		return nil, "", caddy.APIError{HTTPStatus: http.StatusServiceUnavailable,
			Err: fmt.Errorf("token store %s has no audit log, because it could not be opened; Caddy's log says why", identity)}
	}
	return log, identity, nil
}

// audit shows the newest entries of the audit log.
func (a *adminAPI) audit(w http.ResponseWriter, r *http.Request) error {
	log, identity, err := adminAudit(r)
	if err != nil {
		return err
	}
	limit := 100
	if text := r.URL.Query().Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxAuditEntries {
			return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: fmt.Errorf("the limit is a number from 1 to %d", maxAuditEntries)}
		}
	}
	entries, err := log.Entries(r.Context(), limit)
	if err != nil {
		return adminError(err)
	}
	writeJSON(w, http.StatusOK, auditShown{identity, entries})
	return nil
}

// verifyAudit verifies the audit log.
func (a *adminAPI) verifyAudit(w http.ResponseWriter, r *http.Request) error {
	log, identity, err := adminAudit(r)
	if err != nil {
		return err
	}
	report, err := log.Verify(r.Context())
	if err != nil {
		return adminError(err)
	}
	if !report.Intact() {
		a.logger.Error("the audit log is broken", zap.String("store", identity), zap.Any("breaks", report.Breaks))
	}
	writeJSON(w, http.StatusOK, auditVerified{identity, report.Intact(), report})
	return nil
}

// recordAdmin is record for what was done through the admin API.
func recordAdmin(r *http.Request, k *grant.Keeper, what audit.Action, err error) {
	record(r.Context(), k, audit.Entry{What: what, By: audit.ByAdmin, Outcome: outcomeOf(err)})
}
