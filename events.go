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
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
)

// Caddy's events app is told what happens to grants, once per change of state
// and after it is stored: grant_connected, grant_refreshed, grant_suspect,
// grant_needs_reauth, grant_recovered, grant_expiring and grant_disconnected.
//
// Placeholder | Description
// ------------|-------------
// `{event.data.id}` | The same for an event and the notice of it
// `{event.data.integration}`, `{event.data.connection}` | Which grant
// `{event.data.account}` | The account's name for people, if known
// `{event.data.state}` | `connected`, `suspect`, `needs_reauth` or `disconnected`
// `{event.data.cause}` | Why, if it is not connected
// `{event.data.since}` | Since when, as in RFC 3339
// `{event.data.generation}` | Counts the token pairs
// `{event.data.provider_error}`, `{event.data.intuit_tid}` | The provider's error code and its id of the answer
// `{event.data.reauth_url}` | Where a human repairs it: with grant_needs_reauth, grant_expiring and grant_disconnected
// `{event.data.expires_at}`, `{event.data.days}` | When the authorization ends: with grant_expiring
//
// All of them are there in every event, empty if there is nothing to say, so
// that no placeholder is left as it is in a command line.

// emitter hands events to Caddy's events app. That app can be asked once the
// configuration is in force, and not before: its handlers are registered while
// the apps start.
type emitter struct {
	ctx    caddy.Context
	events *caddyevents.App
	logger *zap.Logger
	// inForce is closed when the configuration is in force, gone when it is
	// given up.
	inForce, gone chan struct{}
}

func newEmitter(ctx caddy.Context) (*emitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("loading the events app: %w", err)
	}
	events, ok := app.(*caddyevents.App)
	if !ok {
		return nil, errors.New("the events app is not Caddy's own")
	}
	return &emitter{
		ctx: ctx, events: events, logger: ctx.Logger(),
		inForce: make(chan struct{}), gone: make(chan struct{}),
	}, nil
}

// emit hands an event over, and returns false if the configuration was given up
// before it could.
func (em *emitter) emit(k *grant.Keeper, in *Integration, e grant.Event) bool {
	select {
	case <-em.inForce:
	case <-em.gone:
		return false
	}
	if em.ctx.Err() != nil || !em.events.ShouldEmit(string(e.Type)) {
		return em.ctx.Err() == nil
	}
	defer func() {
		// A handler is somebody else's code, and this process keeps grants.
		if p := recover(); p != nil {
			em.logger.Error("panic in an event handler", zap.String("event", string(e.Type)), zap.Any("panic", p))
		}
	}()
	data := in.describe(k, e).Data
	fields := map[string]any{
		"id":          e.ID,
		"integration": data.Integration, "connection": data.Connection, "account": data.Account,
		"state": string(data.State), "cause": string(data.Cause), "since": timeText(data.Since),
		"generation": data.Generation, "provider_error": data.ProviderError, "intuit_tid": data.TraceID,
		"reauth_url": "", "expires_at": timeText(data.ExpiresAt), "days": "",
	}
	if data.ReauthURL != "" {
		fields["reauth_url"] = signedLink(data.ReauthURL)
	}
	if data.Days != nil {
		fields["days"] = *data.Days
	}
	em.events.Emit(em.ctx, string(e.Type), fields)
	return true
}

// signedLink is a link in an event: whoever has it can begin to connect a
// company. Placeholders give it; Caddy logs the data of every event at DEBUG,
// as JSON, and that does not.
type signedLink string

// String implements fmt.Stringer, which is what placeholders ask.
func (l signedLink) String() string { return string(l) }

// MarshalText implements encoding.TextMarshaler, and so covers JSON.
func (signedLink) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// timeText is how events tell a time, empty for none.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
