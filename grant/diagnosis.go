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
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// confirm decides on an invalid_grant. Intuit's own list of its causes holds
// outages, races and wrong keys, so a human is only asked after each of them
// has been ruled out.
func (k *Keeper) confirm(ctx context.Context, c *connection, in *Integration, record *tokenstore.Record, first *provider.TokenError) (*Snapshot, error) {
	stored, err := k.vault.Load(ctx, c.key)
	if err == nil && (stored.Generation != record.Generation || stored.Epoch != record.Epoch) {
		// Someone else rotated the token: theirs is the good one.
		k.count(record.Integration, RefreshRefused)
		switch snap := k.publish(c, stored); {
		case k.dead(snap):
			return nil, reauthorization(snap)
		case snap.usable(k.clock.Now()):
			return snap, nil
		}
		// Not with the token at hand: it is the one that was replaced.
		return nil, c.failed(k.clock.Now(), ReasonProvider, backoffFirst, first)
	}
	if record.ClientID != in.Client.ClientID {
		return k.pronounce(ctx, c, in, record, tokenstore.CauseWrongClient, first)
	}
	since := k.clock.Now()
	if record.State == tokenstore.StateSuspect {
		since = record.Since
	}
	k.refused(in, record, "refused", first)

	// Who only waited to hear from others has been asked for the second time.
	last := first
	if !k.witnesses(in).wasPatient(c) {
		// Not for a verdict alone: the flight's deadline, or the process's end,
		// leaves the question open.
		timer := k.clock.NewTimer(k.opts.ConfirmAfter)
		defer timer.Stop()
		select {
		case <-timer.Chan():
		case <-ctx.Done():
			return nil, k.setAside(c, record, first)
		}
		if d := k.doubts(ctx, in, record, since); d != nil {
			return k.suspect(ctx, c, in, record, first, d)
		}
		tokens, second, err := k.ask(ctx, in, record)
		if err == nil {
			return k.commit(ctx, c, in, record, tokens)
		}
		if second.Outcome != provider.OutcomeInvalidGrant {
			return nil, k.setAside(c, record, second)
		}
		k.refused(in, record, "refused again", second)
		last = second
	}
	if d := k.doubts(ctx, in, record, since); d != nil {
		return k.suspect(ctx, c, in, record, last, d)
	}
	if superseded, ok := k.stepBack(record); ok {
		tokens, third, err := k.ask(ctx, in, superseded)
		if err == nil {
			return k.commit(ctx, c, in, record, tokens)
		}
		if third.Outcome != provider.OutcomeInvalidGrant {
			return nil, k.setAside(c, record, third)
		}
		record.Note(k.step("superseded token refused", record, third))
	}
	// An authorization that is being redeemed may have ended this grant; it is
	// then the human's answer, and not a reason to ask for one.
	unlock, err := k.ends.lock(ctx, c.key)
	if err != nil {
		return nil, k.setAside(c, record, last)
	}
	unlock()
	return k.pronounce(ctx, c, in, record, k.causeOf(in, record, last), last)
}

// refused notes a refusal in the grant's history and, if the grant gave no
// reason for it, among the witnesses.
func (k *Keeper) refused(in *Integration, record *tokenstore.Record, event string, refusal *provider.TokenError) {
	// A suspect is refused again and again; its history has better to hold.
	if record.State != tokenstore.StateSuspect {
		record.Note(k.step(event, record, refusal))
	}
	if k.cause(record) == tokenstore.CauseRevokedOrReplaced {
		k.witnesses(in).refuse(record.Key, k.clock.Now())
	}
}

// step is an entry of the history about an answer of the token endpoint.
func (k *Keeper) step(event string, record *tokenstore.Record, refusal *provider.TokenError) tokenstore.HistoryEntry {
	return tokenstore.HistoryEntry{
		Time: k.clock.Now(), Event: event, Generation: record.Generation,
		Error: refusal.Code, Description: refusal.Description, TraceID: refusal.TraceID,
	}
}

// graceTime is the longest that a provider is known to accept a refresh token
// after it gave another (Intuit's older documents: 24 hours).
const graceTime = 24 * time.Hour

// stepBack returns the record with the refresh token before the current one,
// if the provider may have forgotten that it gave the current one: it has
// never been good for a refresh, and the one before may be in its grace time.
func (k *Keeper) stepBack(r *tokenstore.Record) (*tokenstore.Record, bool) {
	if r.PreviousRefreshToken.Empty() || !r.RefreshIssuedAt.Equal(r.AccessIssuedAt) || k.clock.Now().Sub(r.RefreshIssuedAt) >= graceTime {
		return nil, false
	}
	superseded := *r
	superseded.RefreshToken = r.PreviousRefreshToken
	return &superseded, true
}

// cause computes from the record why the provider refuses its refresh token.
func (k *Keeper) cause(r *tokenstore.Record) tokenstore.Cause {
	now := k.clock.Now()
	switch {
	case !r.AuthorizationExpiresAt.IsZero() && !now.Before(r.AuthorizationExpiresAt):
		return tokenstore.CauseAuthorizationExpired
	case !r.RefreshExpiresAt.IsZero() && !now.Before(r.RefreshExpiresAt):
		return tokenstore.CauseRefreshTokenExpired
	case !r.UnansweredSince.IsZero():
		return tokenstore.CauseRefreshResponseLost
	}
	return tokenstore.CauseRevokedOrReplaced
}

// causeOf is cause, but believes the provider if it says more.
func (k *Keeper) causeOf(in *Integration, r *tokenstore.Record, refusal *provider.TokenError) tokenstore.Cause {
	if in.Client.Provider.OtherClient(refusal.Description) {
		return tokenstore.CauseWrongClient
	}
	return k.cause(r)
}

// pronounce marks the grant as dead. The record stays, tokens and all.
func (k *Keeper) pronounce(
	ctx context.Context, c *connection, in *Integration, record *tokenstore.Record, cause tokenstore.Cause, refusal *provider.TokenError,
) (*Snapshot, error) {
	k.count(record.Integration, RefreshRefused)
	w := newWrite(record, func(next *tokenstore.Record) {
		next.State, next.Cause, next.Since, next.Rechecks = tokenstore.StateNeedsReauth, cause, k.clock.Now(), 0
		next.ProviderError, next.TraceID = refusal.Code, refusal.TraceID
		next.UnansweredSince = record.UnansweredSince
		next.RefusedClient = ""
		if cause == tokenstore.CauseWrongClient {
			next.RefusedClient = in.Client.ClientID
		}
		next.Note(k.step("needs_reauth: "+string(cause), record, refusal))
	}, samePair(record))
	snap, err := k.settle(context.WithoutCancel(ctx), c, w)
	if err != nil {
		return nil, err
	}
	k.witnesses(in).leave(c)
	c.succeeded()
	if snap.State != tokenstore.StateNeedsReauth {
		return snap, nil // reconnected meanwhile
	}
	k.trouble(w.next, TroubleDead, refusal)
	k.logger.Warn("connection must be authorized again", k.fields(w.next,
		zap.String("cause", string(cause)), zap.String("provider_error", refusal.Code), zap.String("trace_id", refusal.TraceID))...)
	k.arm(w.next)
	return nil, reauthorization(snap)
}
