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
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// EventType says what happened to a grant.
type EventType string

// The types of events.
const (
	// EventConnected: somebody authorized the connection, for the first time
	// or again.
	EventConnected EventType = "grant_connected"
	// EventRefreshed: the grant, which worked, has new tokens.
	EventRefreshed EventType = "grant_refreshed"
	// EventSuspect: the provider refuses the grant, but there is reason not to
	// believe it yet.
	EventSuspect EventType = "grant_suspect"
	// EventNeedsReauth: the grant is dead; a human must authorize again.
	EventNeedsReauth EventType = "grant_needs_reauth"
	// EventRecovered: the grant works again without anybody's authorizing.
	EventRecovered EventType = "grant_recovered"
	// EventExpiring: the authorization ends soon, and no refresh prolongs it.
	EventExpiring EventType = "grant_expiring"
	// EventDisconnected: the grant was given up on purpose.
	EventDisconnected EventType = "grant_disconnected"
)

// EventTypes are all types of events.
var EventTypes = []EventType{
	EventConnected, EventRefreshed, EventSuspect, EventNeedsReauth, EventRecovered, EventExpiring, EventDisconnected,
}

// Event is one change of a grant's state. It holds no secret. Its JSON is the
// form in which the outbox keeps it.
type Event struct {
	// ID is the same whenever the same change is told of.
	ID   string    `json:"id"`
	Type EventType `json:"type"`
	Time time.Time `json:"time"`

	Integration string `json:"integration"`
	Connection  string `json:"connection"`
	// Owner is the caller that the connection belongs to, Account the
	// account's name for people.
	Owner   string `json:"owner,omitempty"`
	Account string `json:"account,omitempty"`

	Generation    uint64           `json:"generation,omitempty"`
	State         tokenstore.State `json:"state"`
	Cause         tokenstore.Cause `json:"cause,omitempty"`
	Since         time.Time        `json:"since,omitzero"`
	ProviderError string           `json:"provider_error,omitempty"`
	TraceID       string           `json:"trace_id,omitempty"`

	// ExpiresAt is when the authorization ends, Days how many whole days are
	// left until then. Only EventExpiring has them.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Days      int       `json:"days,omitempty"`
}

// transition tells what happened when the stored record before was replaced by
// after, in the order in which to tell it. Either is nil if there is none. It
// is the one place where events come from: what is not a transition between
// stored records has not happened.
func transition(before, after *tokenstore.Record) []EventType {
	if after == nil {
		if before == nil || before.State == tokenstore.StateDisconnected {
			return nil
		}
		return []EventType{EventDisconnected}
	}
	fresh := before == nil || before.Epoch != after.Epoch
	var types []EventType
	switch {
	case fresh && after.State == tokenstore.StateConnected:
		types = append(types, EventConnected)
	case !fresh && before.State == tokenstore.StateConnected && after.State == tokenstore.StateConnected:
		if after.Generation > before.Generation {
			types = append(types, EventRefreshed)
		}
	case before != nil && before.State == after.State:
	case before != nil && before.State == tokenstore.StateDisconnected && after.State == tokenstore.StateConnected:
		types = append(types, EventConnected)
	default:
		if t, ok := eventOf[after.State]; ok {
			types = append(types, t)
		}
	}
	if !fresh && after.Warned > before.Warned && after.State != tokenstore.StateDisconnected {
		types = append(types, EventExpiring)
	}
	return types
}

// eventOf says what has happened to a grant that has come into a state from
// another one.
var eventOf = map[tokenstore.State]EventType{
	tokenstore.StateConnected:    EventRecovered,
	tokenstore.StateSuspect:      EventSuspect,
	tokenstore.StateNeedsReauth:  EventNeedsReauth,
	tokenstore.StateDisconnected: EventDisconnected,
}

// The longest texts of an event in bytes: enough for people to recognize, and
// little enough for MaxNotice of the token store.
const (
	maxEventAccount = 256
	maxEventText    = 128
)

// events describes a transition at a time.
func (k *Keeper) events(before, after *tokenstore.Record, now time.Time) []Event {
	types := transition(before, after)
	if len(types) == 0 {
		return nil
	}
	r := after
	if r == nil {
		gone := *before
		gone.State, gone.Cause, gone.Since = tokenstore.StateDisconnected, tokenstore.CauseDisconnected, now
		gone.ProviderError, gone.TraceID = "", ""
		r = &gone
	}
	events := make([]Event, len(types))
	for i, t := range types {
		events[i] = Event{
			ID: k.eventID(t, before, r), Type: t, Time: now,
			Integration: r.Integration, Connection: r.Connection,
			Owner: r.Owner, Account: clip(r.Account, maxEventAccount),
			Generation: r.Generation, State: r.State, Cause: r.Cause, Since: r.Since,
			ProviderError: clip(r.ProviderError, maxEventText), TraceID: clip(r.TraceID, maxEventText),
		}
		if t == EventExpiring {
			events[i].ExpiresAt = r.AuthorizationExpiresAt
			events[i].Days = max(0, int(r.AuthorizationExpiresAt.Sub(now)/(24*time.Hour)))
		}
	}
	return events
}

// eventID derives the ID from what has changed, so that a write that has to be
// repeated does not make a second event of it. The time of the last
// authorization is in it because a connection that was deleted begins with its
// first generation again.
func (k *Keeper) eventID(t EventType, before, r *tokenstore.Record) string {
	mac := hmac.New(sha256.New, k.eventKey)
	since := r.Since
	if t == EventDisconnected && before != nil && before.State != tokenstore.StateDisconnected {
		since = before.Since // the end itself may be tried more than once
	}
	fmt.Fprintf(mac, "%s\n%q %q\n%d %d %d\n%d %d", t, r.Integration, r.Connection,
		r.Epoch, r.Generation, r.Warned, since.UnixNano(), r.ConnectedAt.UnixNano())
	return "msg_" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18])
}

// clip bounds a text that others have written, without splitting a letter.
func clip(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}
