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
	"time"

	"github.com/freshbearer/freshbearer/secret"
)

// Key names a connection: an integration and the account that granted it.
type Key struct {
	// Integration is the name of the integration.
	Integration string
	// Connection is the provider's id of the account (QuickBooks: the realm
	// ID, digits).
	Connection string
}

// State is the state of a grant.
type State string

// The states of a grant.
const (
	// StateConnected: the grant works, as far as anybody knows.
	StateConnected State = "connected"
	// StateSuspect: the provider refused the grant, but there is reason not to
	// believe it yet.
	StateSuspect State = "suspect"
	// StateNeedsReauth: the grant is dead; a human must authorize again.
	StateNeedsReauth State = "needs_reauth"
	// StateDisconnected: the grant was given up on purpose.
	StateDisconnected State = "disconnected"
)

// Cause says why a grant is not connected.
type Cause string

// The causes.
const (
	// CauseRefreshTokenExpired: the refresh token was not used in time
	// (QuickBooks: 100 days).
	CauseRefreshTokenExpired Cause = "refresh_token_expired"
	// CauseAuthorizationExpired: the authorization reached its hard end
	// (QuickBooks: 5 years).
	CauseAuthorizationExpired Cause = "authorization_expired"
	// CauseRevokedOrReplaced: the provider refused a refresh token that should
	// be good: revoked by the user, or replaced by someone else's refresh.
	CauseRevokedOrReplaced Cause = "revoked_or_replaced"
	// CauseRefreshResponseLost: the answer to a refresh never arrived, and the
	// provider now refuses the token that it had answered.
	CauseRefreshResponseLost Cause = "refresh_response_lost"
	// CauseWrongClient: the grant was issued to another client id.
	CauseWrongClient Cause = "wrong_client"
	// CauseDisconnected: the grant was given up on purpose.
	CauseDisconnected Cause = "disconnected"
	// CauseNeverConnected: nobody has authorized this connection.
	CauseNeverConnected Cause = "never_connected"
)

// Record is all that is known of one grant. It is stored sealed; outside a
// Vault its tokens are secrets that cannot print themselves.
type Record struct {
	Key

	// Provider and Environment say where the grant was issued, ClientID to
	// which client registration.
	Provider    string
	Environment string
	ClientID    string
	// Hosts are the origins, beside the provider's own, that the grant's tokens
	// may be sent to: those that were configured when a human authorized it, or
	// the operator confirmed them.
	Hosts []string

	// Owner is the caller whose link created the connection; empty if the
	// operator did.
	Owner string
	// Account is the account's name for people (the company's name), if known.
	Account string
	// Scopes are the scopes that were asked for at the last authorization.
	Scopes []string

	// Epoch counts the authorizations of this connection, from 1. A flight
	// that began in an older epoch must not overwrite a newer one.
	Epoch uint64
	// Generation counts the token pairs of this connection, from 1, and goes
	// on over epochs.
	Generation uint64

	// AccessToken is the current access token; it was asked for at
	// AccessIssuedAt and is valid until AccessExpiresAt.
	AccessToken     secret.String
	AccessIssuedAt  time.Time
	AccessExpiresAt time.Time

	// RefreshToken is the current refresh token. RefreshIssuedAt is when this
	// value was first received, RefreshExpiresAt when it ends if it is not
	// used, AuthorizationExpiresAt when no refresh can prolong it any more;
	// the latter two are zero if the provider did not say.
	RefreshToken           secret.String
	RefreshIssuedAt        time.Time
	RefreshExpiresAt       time.Time
	AuthorizationExpiresAt time.Time

	// PreviousRefreshToken is the refresh token that RefreshToken superseded,
	// kept for one generation; empty if the last refresh returned the same.
	PreviousRefreshToken secret.String

	// Superseded are keyed hashes of the refresh tokens that the provider has
	// replaced, the newest first. Do not change it in place.
	Superseded []byte

	// State is the grant's state since Since. Cause, ProviderError and TraceID
	// say why, if it is not connected: our diagnosis, the provider's OAuth
	// error code, and the provider's id of the answer (Intuit: intuit_tid).
	State         State
	Cause         Cause
	Since         time.Time
	ProviderError string
	TraceID       string

	// RefusedClient is the client id with which the provider refused a grant
	// of another one (CauseWrongClient).
	RefusedClient string

	// UnansweredSince is the time of the first token request with RefreshToken
	// whose outcome never became known; zero if there is none.
	UnansweredSince time.Time

	// ConnectedAt is the time of the last authorization.
	ConnectedAt time.Time

	// DueAt is when the grant wants attention although nobody uses it; zero
	// for never. Vault.Due finds it by the day.
	DueAt time.Time
	// Warned counts the warnings that were given of the authorization's end.
	Warned int
	// Rechecks counts how often a grant that needs a human was tried again by
	// itself since State changed.
	Rechecks int

	// History holds the last things that happened to the grant, oldest first.
	History []HistoryEntry

	// sealed is the value this record was read from or last saved as, content
	// the digest of what it holds; nil and zero if it was never stored.
	// Vault.Save checks sealed, so that a stale copy cannot overwrite a newer
	// record, and tells by content a newer record from one that was only
	// sealed anew.
	sealed  []byte
	content digest

	// dueOn is the day that the stored record is found on in the due index, 0
	// for none.
	dueOn uint32

	// stored is what the store holds, as far as this record knows.
	stored *Record

	// sequence numbers the notices of the next write; it stays the same until
	// that has succeeded. 0 for none yet.
	sequence uint64

	// unsure is set when a write of this record ended with an error that left
	// open whether it was applied; attempt is the digest of what it wrote, and
	// attemptDue its day. The next write finds out.
	unsure     bool
	attempt    digest
	attemptDue uint32
}

// Stored returns the record as it was read or last saved, nil if it never was
// stored or has been deleted. Do not change it.
func (r *Record) Stored() *Record { return r.stored }

// wasStored notes that the store holds r as it is now.
func (r *Record) wasStored() {
	stored := *r
	stored.stored = nil
	r.stored = &stored
}

// HistoryLimit is how many entries of its history a record keeps.
const HistoryLimit = 20

// HistoryEntry is one thing that happened to a grant. It holds no secret.
type HistoryEntry struct {
	Time       time.Time `json:"time"`
	Event      string    `json:"event"`
	Generation uint64    `json:"generation,omitempty"`
	// Error and Description are the provider's OAuth error code and
	// description, cleaned of anything that could be a token.
	Error       string `json:"error,omitempty"`
	Description string `json:"description,omitempty"`
	TraceID     string `json:"trace_id,omitempty"`
	// Count is how often in a row it happened, if more than once; the other
	// members are those of the last time.
	Count int `json:"count,omitempty"`
}

// Note appends an entry to the history and forgets the oldest beyond the
// limit. It never changes a history that another copy of the record shares.
func (r *Record) Note(e HistoryEntry) {
	h := r.History
	if len(h) >= HistoryLimit {
		h = h[len(h)-HistoryLimit+1:]
	}
	r.History = append(append(make([]HistoryEntry, 0, len(h)+1), h...), e)
}

// NoteAgain is Note for what may happen very often: if it is what happened
// last, that entry counts it.
func (r *Record) NoteAgain(e HistoryEntry) {
	if n := len(r.History); n > 0 {
		last := r.History[n-1]
		if last.Event == e.Event && last.Generation == e.Generation && last.Error == e.Error {
			e.Count = max(last.Count, 1) + 1
			r.History = append(append(make([]HistoryEntry, 0, n), r.History[:n-1]...), e)
			return
		}
	}
	r.Note(e)
}

// Intent is the durable note that a token request is about to be sent. One
// that is found when the store is opened means that the process died between
// the request and its outcome.
type Intent struct {
	Key
	Epoch      uint64
	Generation uint64 // the generation whose refresh token is about to be used
	Time       time.Time
}
