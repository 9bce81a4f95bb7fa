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
	"fmt"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// ReauthorizationError says that a grant is dead or never existed, and that
// only a human can repair it, by authorizing again.
type ReauthorizationError struct {
	tokenstore.Key
	// Cause is our diagnosis; ProviderError is the provider's OAuth error code
	// and TraceID its id of the answer, if there was one.
	Cause         tokenstore.Cause
	ProviderError string
	TraceID       string
	// Since is when the grant died; zero if there never was one.
	Since time.Time
	// Account is the account's name for people, if known.
	Account string
}

func (e *ReauthorizationError) Error() string {
	return fmt.Sprintf("connection must be authorized again: %s", e.Cause)
}

// Reason says why a token cannot be had now.
type Reason string

// The reasons.
const (
	// ReasonProvider: the provider does not answer, or not in a way that can
	// be understood.
	ReasonProvider Reason = "provider_unavailable"
	// ReasonClientRefused: the provider refuses the operator's client id or
	// secret. Waiting does not help; the operator must act.
	ReasonClientRefused Reason = "client_refused"
	// ReasonStorage: the token store cannot be read or written.
	ReasonStorage Reason = "storage_unavailable"
	// ReasonSuspect: the provider refuses the grant, but there is reason not to
	// believe it: it has an incident, or refuses many at once, or nobody else
	// has been heard of since.
	ReasonSuspect Reason = "grant_suspect"
	// ReasonSlow: the refresh goes on, but the caller has waited long enough.
	ReasonSlow Reason = "refresh_in_progress"
	// ReasonHold: the store is on hold (see tokenstore.Hold), so nothing is
	// refreshed. Waiting does not help; the operator must act.
	ReasonHold Reason = "on_hold"
	// ReasonHosts: the configuration would send the grant's tokens to a host that
	// they are not bound to. Waiting does not help; the operator must act.
	ReasonHosts Reason = "host_unconfirmed"
	// ReasonTooSoon: the grant was refreshed by hand a moment ago.
	ReasonTooSoon Reason = "too_soon"
	// ReasonClosed: the process is stopping.
	ReasonClosed Reason = "shutting_down"
)

// UnavailableError says that no usable token can be had now, but that no human
// need authorize again.
type UnavailableError struct {
	Reason Reason
	// RetryAfter is how long to wait before another try; 0 if waiting alone
	// does not help.
	RetryAfter time.Duration
	// Incident is the provider's incident that may be the reason, if it
	// admits one.
	Incident *provider.Incident
	// Err is what went wrong. It holds no secret.
	Err error
}

func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return "no token for now: " + string(e.Reason)
	}
	return fmt.Sprintf("no token for now: %s: %v", e.Reason, e.Err)
}

// Unwrap returns what went wrong.
func (e *UnavailableError) Unwrap() error { return e.Err }

func reauthorization(s *Snapshot) *ReauthorizationError {
	return &ReauthorizationError{
		Key:           s.Key,
		Cause:         s.Cause,
		ProviderError: s.ProviderError,
		TraceID:       s.TraceID,
		Since:         s.Since,
		Account:       s.Account,
	}
}
