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
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// refresh brings the connection a newer generation. It runs in the
// connection's flight, so it is alone.
func (k *Keeper) refresh(ctx context.Context, c *connection, again recheck) (*Snapshot, error) {
	record, err := k.current(ctx, c)
	if err != nil {
		return nil, err
	}
	// Another process may have refreshed since we last looked (certmagic's
	// "check again under the lock").
	if seen := c.snapshot.Load(); seen.Epoch != record.Epoch || seen.Generation != record.Generation || seen.State != record.State {
		if snap := k.publish(c, record); !snap.is(seen) && snap.usable(k.clock.Now()) {
			return snap, nil
		}
	}
	if snap := c.snapshot.Load(); k.dead(snap) && !k.mayRecheck(again, record) {
		return nil, reauthorization(snap)
	}
	in := k.integration(record.Integration)
	if in == nil {
		return nil, c.failed(k.clock.Now(), ReasonClientRefused, backoffFirst,
			fmt.Errorf("integration %q is not configured", record.Integration))
	}
	if err := bound(record.Hosts, in.Hosts); err != nil {
		k.logger.Error("refresh not started: "+err.Error(), k.fields(record)...)
		return nil, c.failed(k.clock.Now(), ReasonHosts, clientRefusedPause, err)
	}

	b := k.breaker(in)
	if err := k.admit(ctx, b, in); err != nil {
		return nil, err
	}
	up := false
	defer func() { k.report(b, in, up) }()

	// Without the note there would be no telling, after a crash, whether the
	// provider has rotated the token. It also proves that the store can be
	// written before a token is spent.
	if err := k.vault.CheckSpace(ctx); err != nil {
		up = true
		k.count(record.Integration, RefreshNotStarted)
		k.trouble(record, TroubleNotStarted, nil)
		k.logger.Error("refresh not started: there is too little space for the token store", k.fields(record, zap.Error(err))...)
		return nil, c.failed(k.clock.Now(), ReasonStorage, storageRetry, err)
	}
	intent := tokenstore.Intent{Key: c.key, Epoch: record.Epoch, Generation: record.Generation, Time: k.clock.Now()}
	if err := k.timed(func() error { return k.vault.PutIntent(ctx, intent) }); err != nil {
		up = true // as far as anybody knows
		k.count(record.Integration, RefreshNotStarted)
		k.trouble(record, TroubleNotStarted, nil)
		k.logger.Error("refresh not started: the token store cannot be written", k.fields(record, zap.Error(err))...)
		return nil, c.failed(k.clock.Now(), ReasonStorage, storageRetry, err)
	}

	tokens, refused, err := k.ask(ctx, in, record)
	up = err == nil || refused.Outcome == provider.OutcomeInvalidGrant || refused.Outcome == provider.OutcomeClientRefused
	if err == nil {
		return k.commit(ctx, c, in, record, tokens)
	}
	switch {
	case refused.Outcome != provider.OutcomeInvalidGrant:
	case again != recheckNone && record.State == tokenstore.StateNeedsReauth:
		return k.stillDead(ctx, c, record, refused)
	default:
		return k.confirm(ctx, c, in, record, refused)
	}
	return nil, k.setAside(c, record, refused)
}

// current returns the truth about the connection: what could not be stored
// yet, or else what is stored.
func (k *Keeper) current(ctx context.Context, c *connection) (*tokenstore.Record, error) {
	if err := k.savePending(ctx, c); err != nil {
		return nil, c.failed(k.clock.Now(), ReasonStorage, storageRetry, err)
	}
	record, err := k.vault.Load(ctx, c.key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, k.forget(c)
	}
	if err != nil {
		return nil, c.failed(k.clock.Now(), ReasonStorage, storageRetry, err)
	}
	return record, nil
}

// forget drops a connection that is no longer stored.
func (k *Keeper) forget(c *connection) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.drop(c)
	return &ReauthorizationError{Key: c.key, Cause: tokenstore.CauseNeverConnected}
}

// ask sends the refresh token. After an unknown outcome it asks once more at
// once, with the same token: a provider that has rotated it most likely still
// answers within its grace time, and one that has not is none the wiser.
// If there is an error, it is also returned as a *provider.TokenError.
func (k *Keeper) ask(ctx context.Context, in *Integration, record *tokenstore.Record) (*provider.Tokens, *provider.TokenError, error) {
	tokens, err := in.Client.Refresh(ctx, record.RefreshToken)
	if err == nil {
		return tokens, nil, nil
	}
	failure := tokenError(err)
	if failure.Outcome != provider.OutcomeUnknown {
		return nil, failure, err
	}
	if record.UnansweredSince.IsZero() {
		record.UnansweredSince = k.clock.Now()
	}
	k.logger.Warn("no answer to a refresh that can be understood; asking once more", k.fields(record, zap.Error(err))...)
	tokens, err = in.Client.Refresh(ctx, record.RefreshToken)
	if err == nil {
		return tokens, nil, nil
	}
	return nil, tokenError(err), err
}

// tokenError makes every error of the client a TokenError; one that is none
// came before anything was sent.
func tokenError(err error) *provider.TokenError {
	var e *provider.TokenError
	if errors.As(err, &e) {
		return e
	}
	return &provider.TokenError{Outcome: provider.OutcomeTransient, Err: err}
}

// commit stores a new generation and then lets requests see it.
func (k *Keeper) commit(ctx context.Context, c *connection, in *Integration, record *tokenstore.Record, tokens *provider.Tokens) (*Snapshot, error) {
	k.count(record.Integration, RefreshSucceeded)
	k.noteSkew(in, tokens.Skew)
	w := newWrite(record, func(next *tokenstore.Record) {
		// Kept for one generation: the provider may forget that it gave the new one.
		next.PreviousRefreshToken = secret.String{}
		if !tokens.RefreshToken.Equal(next.RefreshToken) {
			next.PreviousRefreshToken = next.RefreshToken
			k.supersede(next)
		}
		applyTokens(next, tokens)
		next.ClientID = in.Client.ClientID
		event := "refreshed"
		if next.State != tokenstore.StateConnected {
			next.State, next.Since = tokenstore.StateConnected, k.clock.Now()
			event = "recovered"
		}
		next.Cause, next.ProviderError, next.TraceID = "", "", ""
		next.UnansweredSince, next.RefusedClient, next.Rechecks = time.Time{}, "", 0
		next.Note(tokenstore.HistoryEntry{Time: k.clock.Now(), Event: event, Generation: next.Generation, TraceID: tokens.TraceID})
	}, samePair(record))
	w.brought = tokens.RefreshToken

	// The tokens are here: no deadline may keep them from the disk.
	snap, err := k.settle(context.WithoutCancel(ctx), c, w)
	if err != nil {
		return nil, err
	}
	c.succeeded()
	k.witnesses(in).leave(c)
	k.heardGood(in, c.key, tokens.RequestedAt)
	if record.State != tokenstore.StateConnected {
		k.logger.Info("a grant that was refused works again",
			k.fields(w.next, zap.String("was", string(record.State)), zap.Duration("for", k.clock.Since(record.Since)))...)
	} else {
		k.logger.Debug("access token refreshed", k.fields(w.next)...)
	}
	if own := snap.Epoch == w.next.Epoch && snap.Generation == w.next.Generation; own && !snap.usable(k.clock.Now()) {
		return nil, c.failed(k.clock.Now(), ReasonProvider, 0, errShortLived)
	}
	return snap, nil
}

// applyTokens enters the answer of the token endpoint as a new generation.
func applyTokens(r *tokenstore.Record, tokens *provider.Tokens) {
	r.Generation++
	r.AccessToken = tokens.AccessToken
	r.AccessIssuedAt, r.AccessExpiresAt = tokens.RequestedAt, tokens.ExpiresAt
	if !r.RefreshToken.Equal(tokens.RefreshToken) {
		r.RefreshToken = tokens.RefreshToken
		r.RefreshIssuedAt = tokens.RequestedAt
		r.RefreshExpiresAt = time.Time{}
	}
	if d := tokens.Lifetimes.Refresh; d > 0 {
		r.RefreshExpiresAt = tokens.RequestedAt.Add(d)
	}
	if d := tokens.Lifetimes.Authorization; d > 0 {
		r.AuthorizationExpiresAt = tokens.RequestedAt.Add(d)
	}
}

// setAside ends a flight that neither brought tokens nor hurt the grant.
func (k *Keeper) setAside(c *connection, record *tokenstore.Record, failure *provider.TokenError) error {
	now := k.clock.Now()
	k.failedRefresh(record, failure)
	// The outcome is known now, or known to be unknown, which the record says.
	// Either way the intent has done its duty.
	if err := k.closeIntent(record); err != nil {
		k.logger.Error("the end of a refresh could not be noted", k.fields(record, zap.Error(err))...)
	}
	if failure.Outcome == provider.OutcomeClientRefused {
		k.logger.Error("the provider refuses this client; check client_id, client_secret and environment", k.fields(record, zap.Error(failure))...)
		return c.failed(now, ReasonClientRefused, clientRefusedPause, failure)
	}
	k.logger.Warn("refresh failed; it will be tried again", k.fields(record, zap.Error(failure))...)
	return c.failed(now, ReasonProvider, failure.RetryAfter, failure)
}

// clientRefusedPause keeps a wrong client secret from becoming a flood.
const clientRefusedPause = 30 * time.Second

func (k *Keeper) closeIntent(record *tokenstore.Record) error {
	// Beyond the flight's deadline too: an intent left behind would be taken
	// for a crash.
	ctx := context.Background()
	if record.UnansweredSince.IsZero() && !noted(record) {
		return k.vault.ClearIntent(ctx, record.Key)
	}
	err := k.store(ctx, newWrite(record, func(next *tokenstore.Record) {
		next.UnansweredSince = record.UnansweredSince
	}, samePair(record)))
	var overtaken *overtakenError
	if errors.As(err, &overtaken) {
		return nil // and whoever overtook it has closed the intent
	}
	return err
}

// noted tells whether the record's history ends with something that is not
// stored yet: a refusal must not be forgotten because the next answer was none.
func noted(r *tokenstore.Record) bool {
	n := len(r.History)
	if n == 0 {
		return false
	}
	stored := r.Stored()
	if stored == nil || len(stored.History) == 0 {
		return true
	}
	return r.History[n-1] != stored.History[len(stored.History)-1]
}

// fields describe a connection in a log line. The account is a customer's
// identity, so it is not named.
func (k *Keeper) fields(r *tokenstore.Record, more ...zap.Field) []zap.Field {
	return append([]zap.Field{
		zap.String("integration", r.Integration),
		zap.String("connection_hash", k.Pseudonym(r.Key)),
		zap.Uint64("generation", r.Generation),
	}, more...)
}
