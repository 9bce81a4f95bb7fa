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
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/freshbearer/freshbearer/secret"
)

// payloadVersion is the version of the form below. It goes up when an older
// program would lose something by reading and writing a record.
const payloadVersion = 1

// wireRecord is the form of a Record under its seal. Tokens are bytes, because
// JSON cannot carry a text that is not UTF-8 without changing it, and a token
// that comes back changed is a lost grant.
type wireRecord struct {
	Version     int    `json:"v"`
	Integration string `json:"integration"`
	Connection  string `json:"connection"`

	Provider    string   `json:"provider,omitempty"`
	Environment string   `json:"environment,omitempty"`
	ClientID    string   `json:"client_id,omitempty"`
	Hosts       []string `json:"hosts,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	Account     string   `json:"account,omitempty"`
	Scopes      []string `json:"scopes,omitempty"`

	Epoch      uint64 `json:"epoch,omitempty"`
	Generation uint64 `json:"generation,omitempty"`

	AccessToken     []byte    `json:"access_token,omitempty"`
	AccessIssuedAt  time.Time `json:"access_issued_at,omitzero"`
	AccessExpiresAt time.Time `json:"access_expires_at,omitzero"`

	RefreshToken           []byte    `json:"refresh_token,omitempty"`
	RefreshIssuedAt        time.Time `json:"refresh_issued_at,omitzero"`
	RefreshExpiresAt       time.Time `json:"refresh_expires_at,omitzero"`
	AuthorizationExpiresAt time.Time `json:"authorization_expires_at,omitzero"`
	PreviousRefreshToken   []byte    `json:"previous_refresh_token,omitempty"`
	Superseded             []byte    `json:"superseded,omitempty"`

	State         State     `json:"state,omitempty"`
	Cause         Cause     `json:"cause,omitempty"`
	Since         time.Time `json:"since,omitzero"`
	ProviderError string    `json:"provider_error,omitempty"`
	TraceID       string    `json:"trace_id,omitempty"`

	UnansweredSince time.Time `json:"unanswered_since,omitzero"`
	ConnectedAt     time.Time `json:"connected_at,omitzero"`
	DueAt           time.Time `json:"due_at,omitzero"`
	Warned          int       `json:"warned,omitempty"`
	Rechecks        int       `json:"rechecks,omitempty"`
	RefusedClient   string    `json:"refused_client,omitempty"`

	History []HistoryEntry `json:"history,omitempty"`

	// Write is different in every payload: two writes of one content are told
	// apart by it, and a value that was only sealed anew from either.
	Write []byte `json:"write,omitempty"`
}

// encodeRecord returns the payload of a record. It forgets the oldest history
// if the record would not fit into a value otherwise: a token must never fail
// to be stored because of notes about it.
func encodeRecord(r *Record) ([]byte, error) {
	w := wireRecord{
		Version:                payloadVersion,
		Integration:            r.Integration,
		Connection:             r.Connection,
		Provider:               r.Provider,
		Environment:            r.Environment,
		ClientID:               r.ClientID,
		Hosts:                  r.Hosts,
		Owner:                  r.Owner,
		Account:                r.Account,
		Scopes:                 r.Scopes,
		Epoch:                  r.Epoch,
		Generation:             r.Generation,
		AccessToken:            []byte(r.AccessToken.Reveal()),
		AccessIssuedAt:         r.AccessIssuedAt.UTC(),
		AccessExpiresAt:        r.AccessExpiresAt.UTC(),
		RefreshToken:           []byte(r.RefreshToken.Reveal()),
		RefreshIssuedAt:        r.RefreshIssuedAt.UTC(),
		RefreshExpiresAt:       r.RefreshExpiresAt.UTC(),
		AuthorizationExpiresAt: r.AuthorizationExpiresAt.UTC(),
		PreviousRefreshToken:   []byte(r.PreviousRefreshToken.Reveal()),
		Superseded:             r.Superseded,
		State:                  r.State,
		Cause:                  r.Cause,
		Since:                  r.Since.UTC(),
		ProviderError:          r.ProviderError,
		TraceID:                r.TraceID,
		UnansweredSince:        r.UnansweredSince.UTC(),
		ConnectedAt:            r.ConnectedAt.UTC(),
		DueAt:                  r.DueAt.UTC(),
		Warned:                 r.Warned,
		Rechecks:               r.Rechecks,
		RefusedClient:          r.RefusedClient,
		History:                r.History,
		Write:                  randomBytes(12),
	}
	for {
		payload, err := json.Marshal(&w)
		if err != nil {
			return nil, errors.New("encoding the record: a time is out of range")
		}
		if len(payload)+sealOverhead <= MaxValue {
			return payload, nil
		}
		if len(w.History) == 0 {
			return nil, fmt.Errorf("the record has %d bytes, which is more than a store keeps", len(payload))
		}
		w.History = w.History[(len(w.History)+1)/2:]
	}
}

// decodeRecord is the inverse of encodeRecord. Its errors are ErrAltered and
// ErrNewerVersion.
func decodeRecord(payload []byte) (*Record, error) {
	var w wireRecord
	// The decoder's error is dropped because it may quote from the payload.
	if err := json.Unmarshal(payload, &w); err != nil || w.Version < 1 {
		return nil, ErrAltered
	}
	if w.Version > payloadVersion {
		return nil, ErrNewerVersion
	}
	return &Record{
		Key:                    Key{Integration: w.Integration, Connection: w.Connection},
		Provider:               w.Provider,
		Environment:            w.Environment,
		ClientID:               w.ClientID,
		Hosts:                  w.Hosts,
		Owner:                  w.Owner,
		Account:                w.Account,
		Scopes:                 w.Scopes,
		Epoch:                  w.Epoch,
		Generation:             w.Generation,
		AccessToken:            secret.New(string(w.AccessToken)),
		AccessIssuedAt:         w.AccessIssuedAt,
		AccessExpiresAt:        w.AccessExpiresAt,
		RefreshToken:           secret.New(string(w.RefreshToken)),
		RefreshIssuedAt:        w.RefreshIssuedAt,
		RefreshExpiresAt:       w.RefreshExpiresAt,
		AuthorizationExpiresAt: w.AuthorizationExpiresAt,
		PreviousRefreshToken:   secret.New(string(w.PreviousRefreshToken)),
		Superseded:             w.Superseded,
		State:                  w.State,
		Cause:                  w.Cause,
		Since:                  w.Since,
		ProviderError:          w.ProviderError,
		TraceID:                w.TraceID,
		UnansweredSince:        w.UnansweredSince,
		ConnectedAt:            w.ConnectedAt,
		DueAt:                  w.DueAt,
		Warned:                 w.Warned,
		Rechecks:               w.Rechecks,
		RefusedClient:          w.RefusedClient,
		dueOn:                  dayOf(w.DueAt),
		History:                w.History,
	}, nil
}

// wireIntent is the form of an Intent under its seal.
type wireIntent struct {
	Version     int       `json:"v"`
	Integration string    `json:"integration"`
	Connection  string    `json:"connection"`
	Epoch       uint64    `json:"epoch,omitempty"`
	Generation  uint64    `json:"generation,omitempty"`
	Time        time.Time `json:"time,omitzero"`
}

func encodeIntent(i Intent) ([]byte, error) {
	payload, err := json.Marshal(wireIntent{
		Version:     payloadVersion,
		Integration: i.Integration,
		Connection:  i.Connection,
		Epoch:       i.Epoch,
		Generation:  i.Generation,
		Time:        i.Time.UTC(),
	})
	if err != nil {
		return nil, errors.New("encoding the intent: its time is out of range")
	}
	return payload, nil
}

func decodeIntent(payload []byte) (Intent, error) {
	var w wireIntent
	if err := json.Unmarshal(payload, &w); err != nil || w.Version < 1 {
		return Intent{}, ErrAltered
	}
	if w.Version > payloadVersion {
		return Intent{}, ErrNewerVersion
	}
	return Intent{
		Key:        Key{Integration: w.Integration, Connection: w.Connection},
		Epoch:      w.Epoch,
		Generation: w.Generation,
		Time:       w.Time,
	}, nil
}
