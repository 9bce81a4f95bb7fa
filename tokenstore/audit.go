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

package tokenstore

import (
	"context"
	"fmt"
)

// wireAuditHead is the payload of the audit log's head.
type wireAuditHead struct {
	Version int    `json:"v"`
	Head    []byte `json:"head"`
}

// AuditHead returns where the audit log ends, as SetAuditHead was told; nil if
// it never was. It is not in a backup: the log is not, either.
func (v *Vault) AuditHead(ctx context.Context) ([]byte, error) {
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	var w wireAuditHead
	found, err := v.readItem(ctx, auditName, &w, &w.Version)
	if err != nil || !found {
		return nil, err
	}
	return w.Head, nil
}

// SetAuditHead keeps where the audit log ends, sealed. Whoever writes the log
// is the only one to call it.
func (v *Vault) SetAuditHead(ctx context.Context, head []byte) error {
	// What is left of the space is for tokens.
	if err := v.CheckSpace(ctx); err != nil {
		return fmt.Errorf("storing where the audit log ends: %w", err)
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	change, err := sealedChange(v.ring, auditName, wireAuditHead{payloadVersion, head})
	if err == nil {
		err = v.store.Apply(ctx, change)
	}
	if err != nil {
		return fmt.Errorf("storing where the audit log ends: %w", err)
	}
	return nil
}
