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

package grant

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Snapshot is the immutable view of one generation of a grant.
type Snapshot struct {
	tokenstore.Key
	Epoch      uint64
	Generation uint64

	State         tokenstore.State
	Cause         tokenstore.Cause
	Since         time.Time
	ProviderError string
	TraceID       string

	// RevokePending says of a disconnected grant that the provider has not
	// confirmed its end yet.
	RevokePending bool

	// Environment and ClientID say where the grant was issued, and to whom.
	Environment string
	ClientID    string
	// hosts are those of the record.
	hosts []string
	// RefusedClient is the client id that the provider refused it with, if the
	// grant belongs to another one.
	RefusedClient string

	// Owner is the caller whose link created the connection; Account is its
	// name for people.
	Owner   string
	Account string

	// ConnectedAt is when the grant was last authorized, RefreshedAt when its
	// access token was asked for. RefreshExpiresAt is when the refresh token
	// ends if it is not used, AuthorizationExpiresAt when no refresh prolongs
	// the grant any more. Each is zero if it is not known.
	ConnectedAt            time.Time
	RefreshedAt            time.Time
	RefreshExpiresAt       time.Time
	AuthorizationExpiresAt time.Time

	authorization secret.String
	life          time.Duration
	issuedAt      time.Time
	expiresAt     time.Time
	refreshAt     time.Time

	// accepted is shared by all snapshots of one generation: it is the one
	// thing about a generation that is learned later.
	accepted *atomic.Bool
}

// Authorization is the value of the Authorization field for a request to the
// API.
func (s *Snapshot) Authorization() secret.String { return s.authorization }

// StateRevokePending is never stored. It is what people and apps are told of a
// disconnected grant whose end the provider has not confirmed.
const StateRevokePending tokenstore.State = "revoke_pending"

// Told returns the state that people and apps are told.
func (s *Snapshot) Told() tokenstore.State { return told(s.State, s.RevokePending) }

func told(state tokenstore.State, revokePending bool) tokenstore.State {
	if revokePending {
		return StateRevokePending
	}
	return state
}

// ExpiresAt is when the access token ends.
func (s *Snapshot) ExpiresAt() time.Time { return s.expiresAt }

// Accepted notes that the API took the access token. A token that was accepted
// and is refused later has really died, and is worth a refresh at once.
func (s *Snapshot) Accepted() {
	// The load keeps the cache line shared between cores.
	if !s.accepted.Load() {
		s.accepted.Store(true)
	}
}

// is tells whether two snapshots are of one token pair.
func (s *Snapshot) is(other *Snapshot) bool {
	return s.Epoch == other.Epoch && s.Generation == other.Generation
}

func (s *Snapshot) left(now time.Time) time.Duration { return s.expiresAt.Sub(now) }

func (s *Snapshot) usable(now time.Time) bool {
	// A token from the future tells that the clock was set back: how long it
	// lives on is then unknown.
	return now.Before(s.expiresAt) && !now.Before(s.issuedAt.Add(-clockSlack)) && s.State != tokenstore.StateDisconnected
}

// clockSlack is how far a clock may be set back, as time services do, without
// harm.
const clockSlack = time.Minute

// windowShare bounds the refresh window to a share of the token's life, so
// that a short-lived token is not refreshed all the time.
const windowShare = 6

// newSnapshot makes the snapshot of a record. in is nil if the integration is
// not configured any more.
func newSnapshot(r *tokenstore.Record, in *Integration, previous *Snapshot) *Snapshot {
	s := &Snapshot{
		Key:        r.Key,
		Epoch:      r.Epoch,
		Generation: r.Generation,

		State:         r.State,
		Cause:         r.Cause,
		Since:         r.Since,
		ProviderError: r.ProviderError,
		TraceID:       r.TraceID,

		RevokePending: revokePending(r),

		Environment: r.Environment,
		ClientID:    r.ClientID,
		hosts:       r.Hosts,

		RefusedClient: r.RefusedClient,

		Owner:   r.Owner,
		Account: r.Account,

		ConnectedAt:            r.ConnectedAt,
		RefreshedAt:            r.AccessIssuedAt,
		RefreshExpiresAt:       r.RefreshExpiresAt,
		AuthorizationExpiresAt: r.AuthorizationExpiresAt,
	}
	if !r.AccessToken.Empty() {
		s.authorization = secret.New("Bearer " + r.AccessToken.Reveal())
		s.life = r.AccessExpiresAt.Sub(r.AccessIssuedAt)
		s.issuedAt, s.expiresAt = r.AccessIssuedAt, r.AccessExpiresAt
	}
	var refreshBefore time.Duration
	if in != nil {
		refreshBefore = in.RefreshBefore
		s.share(in)
	}
	window := min(refreshBefore, s.life/windowShare)
	// Up to half a window more, different for every connection: a herd of
	// tokens that were issued together is not refreshed together.
	s.refreshAt = s.expiresAt.Add(-window - time.Duration(float64(window)/2*share(r.Key)))

	if previous != nil && previous.is(s) {
		s.accepted = previous.accepted
		if previous.expiresAt.Before(s.expiresAt) {
			// The token was refused before its time; storing a new state must
			// not make it look good again.
			s.expiresAt = previous.expiresAt
		}
	} else {
		s.accepted = new(atomic.Bool)
	}
	return s
}

// share lets the snapshots of an integration share what they have in common.
func (s *Snapshot) share(in *Integration) {
	for _, same := range [...]struct {
		own    *string
		common string
	}{{&s.Integration, in.Name}, {&s.Environment, in.Environment}, {&s.ClientID, in.Client.ClientID}} {
		if *same.own == same.common {
			*same.own = same.common
		}
	}
	if slices.Equal(s.hosts, in.Hosts) {
		s.hosts = in.Hosts
	}
}

// refused returns the snapshot as it is after the API refused its token.
func (s *Snapshot) refused(now time.Time) *Snapshot {
	dead := *s
	if now.Before(dead.expiresAt) {
		dead.expiresAt = now
	}
	return &dead
}

// share spreads keys evenly over [0, 1), the same way every time (FNV-1a).
func share(key tokenstore.Key) float64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, s := range [...]string{key.Integration, key.Connection} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * prime
		}
		h *= prime
	}
	return float64(h>>11) / (1 << 53)
}
