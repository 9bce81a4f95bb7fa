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
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// idleSoon is when an unused refresh token's end is worth a warning. The
	// keeper refreshes it when half of its life is over, so something is wrong.
	idleSoon = 14 * 24 * time.Hour
	// endSoon is when the end is that no refresh prolongs.
	endSoon = 30 * 24 * time.Hour
)

// reconnect says who repairs a grant, and how.
func reconnect(r *tokenstore.Record) string {
	return "a human must authorize it again: open the reauth_url of the answer 428, or the link of: caddy freshbearer connect " +
		r.Integration + " " + r.Connection
}

// connection says how a connection is. Faults are what the operator must
// repair; what a human must authorize again is a warning.
func (c *census) connection(r *tokenstore.Record) finding {
	const check = "connection"
	subject := r.Integration + " " + r.Connection
	in := c.app.Integrations[r.Integration]
	if in == nil {
		return warning(check, subject, "its integration is not configured: "+c.describe(r), "configure integration "+r.Integration+", if it is still wanted")
	}
	text := c.describe(r)
	switch r.State {
	case tokenstore.StateDisconnected:
		if r.RefreshToken.Empty() {
			return fine(check, subject, "%s", text)
		}
		return warning(check, subject, text+"; the provider has not confirmed that it is revoked", "nothing: it is tried again by itself")
	case tokenstore.StateNeedsReauth:
		if r.Cause == tokenstore.CauseWrongClient {
			return fault(check, subject, text, "put the client_id and client_secret back that it was authorized with, or: "+reconnect(r))
		}
		return warning(check, subject, text, reconnect(r))
	}
	switch {
	case r.ClientID != "" && r.ClientID != in.client.ClientID:
		return fault(check, subject, text+"; it was authorized with another client_id, and cannot be refreshed with this one",
			"put the client_id and client_secret back that it was authorized with, or: "+reconnect(r))
	case r.Environment != "" && r.Environment != in.Environment:
		return fault(check, subject, fmt.Sprintf("%s; it was authorized in the environment %s, and the integration's is %s", text, r.Environment, in.Environment),
			"put the environment back, or: "+reconnect(r))
	case in.unbound(r) != "":
		return fault(check, subject, text+"; the configuration sends tokens to "+in.unbound(r)+", which its tokens are not bound to",
			"correct the host, or if it is meant, run: caddy freshbearer rebind")
	case r.State == tokenstore.StateSuspect:
		return warning(check, subject, text, "nothing: it is tried again by itself, and either works again or is pronounced dead within a day")
	case !r.AuthorizationExpiresAt.IsZero() && r.AuthorizationExpiresAt.Sub(c.now) < endSoon:
		return warning(check, subject, text, "its authorization ends, which no refresh prolongs: "+reconnect(r))
	case !r.RefreshExpiresAt.IsZero() && r.RefreshExpiresAt.Sub(c.now) < idleSoon:
		return warning(check, subject, text, "it should have been refreshed long ago: look for its connection_hash in Caddy's log; any request to it refreshes it")
	}
	return fine(check, subject, "%s", text)
}

// describe tells the state of a connection, its age, and its two ends.
func (c *census) describe(r *tokenstore.Record) string {
	parts := []string{string(r.State)}
	if r.State != tokenstore.StateConnected {
		parts[0] += " since " + r.Since.UTC().Format(time.RFC3339)
		if r.Cause != "" {
			parts[0] += " (" + string(r.Cause) + ")"
		}
	}
	if !r.ConnectedAt.IsZero() {
		parts = append(parts, "authorized "+days(c.now.Sub(r.ConnectedAt))+" ago")
	}
	if r.State == tokenstore.StateConnected || r.State == tokenstore.StateSuspect {
		parts = append(parts,
			ending("refresh token", "ends unused", r.RefreshExpiresAt, c.now),
			ending("authorization", "ends", r.AuthorizationExpiresAt, c.now))
	}
	if id := lastTraceID(r); id != "" {
		parts = append(parts, "last intuit_tid "+id)
	}
	return strings.Join(parts, ", ")
}

func ending(what, verb string, at, now time.Time) string {
	switch left := at.Sub(now); {
	case at.IsZero():
		return what + "'s end is not known"
	case left < 0:
		return what + " ended " + days(-left) + " ago"
	default:
		return what + " " + verb + " in " + days(left)
	}
}

// lastTraceID returns the provider's id of the last answer about a grant.
func lastTraceID(r *tokenstore.Record) string {
	if r.TraceID != "" {
		return r.TraceID
	}
	for i := len(r.History) - 1; i >= 0; i-- {
		if id := r.History[i].TraceID; id != "" {
			return id
		}
	}
	return ""
}
