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
	"bytes"
	"context"
	"encoding/json"
	"time"
)

// Brief is what a list shows of a Record: no tokens, and no history.
type Brief struct {
	Key
	Owner, Account string
	Generation     uint64

	State         State
	Cause         Cause
	Since         time.Time
	ProviderError string

	ConnectedAt            time.Time
	AccessIssuedAt         time.Time
	AccessExpiresAt        time.Time
	RefreshExpiresAt       time.Time
	AuthorizationExpiresAt time.Time

	// HasRefreshToken says that there is a refresh token.
	HasRefreshToken bool
}

// Brief returns what a list shows of the record.
func (r *Record) Brief() Brief {
	return Brief{
		Key: r.Key, Owner: r.Owner, Account: r.Account, Generation: r.Generation,
		State: r.State, Cause: r.Cause, Since: r.Since, ProviderError: r.ProviderError,
		ConnectedAt: r.ConnectedAt, AccessIssuedAt: r.AccessIssuedAt, AccessExpiresAt: r.AccessExpiresAt,
		RefreshExpiresAt: r.RefreshExpiresAt, AuthorizationExpiresAt: r.AuthorizationExpiresAt,
		HasRefreshToken: !r.RefreshToken.Empty(),
	}
}

// Survey is List for very many records of all integrations: it reads only what
// a Brief holds, and says only how many of a page cannot be read.
func (v *Vault) Survey(ctx context.Context, cursor string, limit int) (briefs []Brief, next string, damaged int, err error) {
	if limit <= 0 {
		limit = DefaultPage
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	entries, next, err := v.page(ctx, "", cursor, min(limit, MaxPage))
	if err != nil {
		return nil, "", 0, err
	}
	briefs = make([]Brief, 0, len(entries))
	for _, e := range entries {
		b, err := v.openBrief(e.name, e.value)
		if err != nil {
			damaged++
			continue
		}
		briefs = append(briefs, b)
	}
	return briefs, next, damaged, nil
}

// openBrief is openRecord for a Brief.
func (v *Vault) openBrief(name, sealed []byte) (Brief, error) {
	opened, err := v.ring.open(name, sealed)
	if err != nil {
		return Brief{}, err
	}
	b, err := decodeBrief(opened.plaintext)
	if err != nil {
		return Brief{}, err
	}
	if b.Generation != opened.generation || !bytes.Equal(v.names.connection(kindGrant, b.Key), name) {
		return Brief{}, ErrAltered
	}
	return b, nil
}

// wireBrief is a part of wireRecord.
type wireBrief struct {
	Version     int    `json:"v"`
	Integration string `json:"integration"`
	Connection  string `json:"connection"`
	Owner       string `json:"owner"`
	Account     string `json:"account"`
	Generation  uint64 `json:"generation"`

	RefreshToken           json.RawMessage `json:"refresh_token"`
	AccessIssuedAt         time.Time       `json:"access_issued_at"`
	AccessExpiresAt        time.Time       `json:"access_expires_at"`
	RefreshExpiresAt       time.Time       `json:"refresh_expires_at"`
	AuthorizationExpiresAt time.Time       `json:"authorization_expires_at"`

	State         State     `json:"state"`
	Cause         Cause     `json:"cause"`
	Since         time.Time `json:"since"`
	ProviderError string    `json:"provider_error"`
	ConnectedAt   time.Time `json:"connected_at"`
}

// historyMember begins what nobody needs of a list, and is most of a record. No
// text can hold it, because quotes in texts are escaped.
var historyMember = []byte(`,"history":[`)

func decodeBrief(payload []byte) (Brief, error) {
	if i := bytes.Index(payload, historyMember); i >= 0 {
		// The seal says that the rest is what was written.
		payload = append(bytes.Clone(payload[:i]), '}')
	}
	var w wireBrief
	// The decoder's error is dropped because it may quote what was read.
	if json.Unmarshal(payload, &w) != nil || w.Version < 1 {
		return Brief{}, ErrAltered
	}
	if w.Version > payloadVersion {
		return Brief{}, ErrNewerVersion
	}
	return Brief{
		Key: Key{w.Integration, w.Connection}, Owner: w.Owner, Account: w.Account, Generation: w.Generation,
		State: w.State, Cause: w.Cause, Since: w.Since, ProviderError: w.ProviderError,
		ConnectedAt: w.ConnectedAt, AccessIssuedAt: w.AccessIssuedAt, AccessExpiresAt: w.AccessExpiresAt,
		RefreshExpiresAt: w.RefreshExpiresAt, AuthorizationExpiresAt: w.AuthorizationExpiresAt,
		HasRefreshToken: len(w.RefreshToken) > len(`""`),
	}, nil
}
