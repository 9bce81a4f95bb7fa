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

// Disconnect gives up a grant. It is disconnected at once and durably: no
// request is served from then on, and no refresh brings it back. Then it is
// revoked at the provider, and its tokens are forgotten when the provider has
// confirmed that; the record stays, so that whoever asks is told what happened.
//
// Until the confirmation the record holds the refresh token, the snapshot says
// RevokePending, and the revocation is tried again every hour and at every
// start: a grant that lives on at the provider is one that somebody knows of.
// To disconnect again tries at once.
//
// The call waits for the revocation as long as ctx lives, at most
// Options.CallerWait; what has begun goes on without it. The error is a
// *ReauthorizationError if there is no such connection, and an
// *UnavailableError if the store fails; the grant then lives on.
func (k *Keeper) Disconnect(ctx context.Context, key tokenstore.Key) (*Snapshot, error) {
	c, err := k.keep(ctx, key)
	if err != nil {
		return nil, err
	}
	defer c.letGo()
	if err := k.giveUp(context.WithoutCancel(ctx), c); err != nil {
		return nil, err
	}
	timer := k.clock.NewTimer(k.opts.CallerWait)
	defer timer.Stop()
	select {
	case <-k.giveBackSoon(key):
	case <-timer.Chan():
	case <-ctx.Done():
	}
	return k.Peek(context.WithoutCancel(ctx), key)
}

// giveUp makes the end of a grant durable and visible.
func (k *Keeper) giveUp(ctx context.Context, c *connection) error {
	if err := k.begin(); err != nil {
		return unavailable(err)
	}
	defer k.work.Done()
	// The truth may be in memory only, and newer than what is stored.
	if err := k.savePending(ctx, c); err != nil {
		return unavailable(err)
	}
	record, err := k.vault.Load(ctx, c.key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return k.forget(c)
	}
	if err != nil {
		return unavailable(err)
	}
	if record.State == tokenstore.StateDisconnected {
		k.publish(c, record)
		return nil
	}
	w := newWrite(record, func(next *tokenstore.Record) {
		next.State, next.Cause, next.Since = tokenstore.StateDisconnected, tokenstore.CauseDisconnected, k.clock.Now()
		next.ProviderError, next.TraceID = "", ""
		// A generation of its own, so that no flight fits it any more, and what
		// a flight publishes late is older.
		next.Generation++
		next.AccessToken, next.AccessIssuedAt, next.AccessExpiresAt = secret.String{}, time.Time{}, time.Time{}
		// Not the one to revoke: the provider may call it gone while its
		// successor lives.
		next.PreviousRefreshToken = secret.String{}
		next.Note(tokenstore.HistoryEntry{Time: k.clock.Now(), Event: "disconnected", Generation: next.Generation})
	}, func(stored *tokenstore.Record) bool { return stored.State != tokenstore.StateDisconnected })

	err = k.store(ctx, w)
	var overtaken *overtakenError
	switch {
	case errors.As(err, &overtaken) && overtaken.by == nil:
		return k.forget(c)
	case errors.As(err, &overtaken):
		k.publish(c, overtaken.by)
		return nil
	case err != nil:
		return unavailable(err)
	}
	k.publish(c, w.next)
	k.logger.Info("disconnected", k.fields(w.next)...)
	return nil
}

// revokePending tells whether a grant was given up and may live on at the
// provider.
func revokePending(r *tokenstore.Record) bool {
	return r.State == tokenstore.StateDisconnected && !r.RefreshToken.Empty()
}

// giveBackSoon revokes a grant that was given up. The channel is closed when
// that is done, or was tried. If the process is stopping, the next one does it.
func (k *Keeper) giveBackSoon(key tokenstore.Key) <-chan struct{} {
	done := make(chan struct{})
	if k.begin() != nil {
		close(done)
		return done
	}
	go func() {
		defer k.work.Done()
		defer close(done)
		ctx, cancel := k.detached()
		defer cancel()
		// The record remembers it: it is not worth keeping a process from its end.
		defer context.AfterFunc(k.accepting, cancel)()
		if err := k.giveBack(ctx, key); err != nil {
			k.logger.Error("a disconnected grant may live on at the provider; its revocation is tried again within the hour, and at the next start",
				zap.String("integration", key.Integration), zap.String("connection_hash", k.Pseudonym(key)), zap.Error(err))
		}
	}()
	return done
}

const (
	// maxRevocations may be under way at once. They do not share the places of
	// refreshes: an endpoint for revocations that hangs must hold up nobody who
	// waits for a token.
	maxRevocations = 4
	// revokeLimit bounds one. A human who authorizes again waits for it.
	revokeLimit = 20 * time.Second
)

// giveBack revokes a grant that was given up, and then forgets its tokens.
func (k *Keeper) giveBack(ctx context.Context, key tokenstore.Key) error {
	c, err := k.keep(ctx, key)
	if err != nil {
		return err
	}
	defer c.letGo()
	// A refresh under way may bring another token, which is then the one to
	// revoke; that the provider knows its predecessor no more proves nothing.
	if f := c.flight.Load(); f != nil {
		select {
		case <-f.done:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a refresh: %w", ctx.Err())
		}
	}
	turn := k.revocations.enter(true)
	defer k.revocations.leave(turn)
	if err := k.revocations.wait(ctx, turn); err != nil {
		return fmt.Errorf("waiting in line: %w", err)
	}
	// An authorization that is being redeemed is newer than this one: its
	// tokens must not be made before this revocation and ended by it.
	unlock, err := k.ends.lock(ctx, key)
	if err != nil {
		return fmt.Errorf("waiting for an authorization: %w", err)
	}
	defer unlock()
	if err := k.savePending(ctx, c); err != nil {
		return err
	}
	for range writeTries {
		record, err := k.vault.Load(ctx, key)
		if errors.Is(err, tokenstore.ErrNotFound) || err == nil && !revokePending(record) {
			return nil // connected again, or done
		}
		if err != nil {
			return err
		}
		if err := k.revoke(ctx, record, record.RefreshToken); err != nil {
			k.trouble(record, TroubleNotRevoked, nil)
			return err
		}
		again, err := k.forgetTokens(ctx, c, record)
		if err != nil || !again {
			return err
		}
	}
	return errors.New("its tokens change all the time")
}

// forgetTokens ends a disconnection. It tells whether there is another token to
// revoke.
func (k *Keeper) forgetTokens(ctx context.Context, c *connection, record *tokenstore.Record) (again bool, err error) {
	w := newWrite(record, func(next *tokenstore.Record) {
		next.RefreshToken, next.RefreshIssuedAt, next.RefreshExpiresAt = secret.String{}, time.Time{}, time.Time{}
		next.AuthorizationExpiresAt, next.UnansweredSince = time.Time{}, time.Time{}
		next.Note(tokenstore.HistoryEntry{Time: k.clock.Now(), Event: "revoked at the provider", Generation: next.Generation})
	}, samePair(record))
	err = k.store(context.WithoutCancel(ctx), w)
	var overtaken *overtakenError
	switch {
	case errors.As(err, &overtaken):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("revoked, but the record cannot be written: %w", err)
	}
	k.publish(c, w.next)
	k.logger.Info("a disconnected grant was revoked at the provider", k.fields(w.next)...)
	return false, nil
}

// revoke returns nil if the grant of a token is gone at the provider.
func (k *Keeper) revoke(ctx context.Context, r *tokenstore.Record, token secret.String) error {
	in := k.integration(r.Integration)
	if in == nil {
		return fmt.Errorf("integration %q: %w", r.Integration, ErrNotConfigured)
	}
	if in.Client.ClientID != r.ClientID {
		// Its refusal of somebody else's token would read as "already gone".
		return errors.New("the grant was issued to another client id")
	}
	if err := bound(r.Hosts, in.Hosts); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, revokeLimit)
	defer cancel()
	if err := in.Client.Revoke(ctx, token); err != nil && !errors.Is(err, provider.ErrAlreadyRevoked) {
		return err
	}
	return nil
}

// handOver gives a refresh token that came too late to the record of its
// disconnected connection, which has it revoked.
func (k *Keeper) handOver(ctx context.Context, c *connection, w *write, stored *tokenstore.Record) (*Snapshot, error) {
	epoch := stored.Epoch
	late := newWrite(stored, func(next *tokenstore.Record) {
		next.RefreshToken = w.brought
		next.RefreshIssuedAt, next.RefreshExpiresAt = w.next.RefreshIssuedAt, w.next.RefreshExpiresAt
		next.Note(tokenstore.HistoryEntry{Time: k.clock.Now(), Event: "refreshed too late", Generation: next.Generation})
	}, func(stored *tokenstore.Record) bool {
		return stored.State == tokenstore.StateDisconnected && stored.Epoch == epoch
	})
	k.logger.Info("a refresh ended after its connection was disconnected; its token is to be revoked", k.fields(stored)...)
	snap, err := k.settle(ctx, c, late)
	k.giveBackSoon(c.key)
	if err == nil && k.dead(snap) {
		err = reauthorization(snap)
	}
	if err != nil {
		return nil, err
	}
	return snap, nil // connected again
}

// revokeOrphan revokes a token that came for a connection that is not stored
// any more. There is no record to remember it by, so it is tried once, and a
// human is told if that fails.
func (k *Keeper) revokeOrphan(w *write) {
	if w.brought.Empty() {
		return
	}
	if err := k.revoke(k.life, w.next, w.brought); err != nil {
		k.logger.Error("the grant of a connection that was deleted in mid refresh could not be revoked; end it at the provider",
			k.fields(w.next, zap.Error(err))...)
		return
	}
	k.logger.Info("the grant of a connection that was deleted in mid refresh was revoked", k.fields(w.next)...)
}
