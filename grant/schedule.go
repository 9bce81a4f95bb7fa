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
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// lookEvery is how often the keeper looks for grants that are due. They
	// are due for days.
	lookEvery = time.Hour
	duePage   = 100

	// touchShare of a refresh token's life may pass without a refresh. After
	// half of it there is as much time left to repair whatever goes wrong.
	touchShare = 2
	// touchUnknown is for providers that do not tell how long it lives.
	touchUnknown = 30 * 24 * time.Hour
)

// warnBefore is when humans are told that an authorization will end, which no
// refresh prolongs.
var warnBefore = []time.Duration{30 * 24 * time.Hour, 14 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour}

// dueAt returns when a grant wants attention although nobody uses it.
func dueAt(r *tokenstore.Record) time.Time {
	if revokePending(r) {
		return r.Since
	}
	switch r.State {
	case tokenstore.StateSuspect:
		return r.Since // a restart must find it
	case tokenstore.StateNeedsReauth:
		return recheckAt(r)
	case tokenstore.StateDisconnected:
		return time.Time{}
	}
	due := touchAt(r)
	if warn := warnAt(r); !warn.IsZero() && warn.Before(due) {
		due = warn
	}
	return due
}

// touchAt returns when a grant without traffic is refreshed, so that its
// refresh token does not end unused.
func touchAt(r *tokenstore.Record) time.Time {
	// From the last refresh on, and not from when the token was first seen: a
	// refresh that brings the same token, or a clock that has jumped since,
	// would make it due again at once.
	last := r.AccessIssuedAt
	if last.Before(r.RefreshIssuedAt) {
		last = r.RefreshIssuedAt // there is no access token
	}
	if r.RefreshExpiresAt.IsZero() {
		return last.Add(touchUnknown)
	}
	return last.Add(r.RefreshExpiresAt.Sub(last) / touchShare)
}

// warnAt returns when to warn next of the end of the authorization, zero if
// there is nothing to warn of.
func warnAt(r *tokenstore.Record) time.Time {
	if r.AuthorizationExpiresAt.IsZero() || r.Warned >= len(warnBefore) {
		return time.Time{}
	}
	return r.AuthorizationExpiresAt.Add(-warnBefore[r.Warned])
}

// watch looks after the grants that are due until the keeper closes.
func (k *Keeper) watch() {
	ticker := k.clock.NewTicker(lookEvery)
	defer ticker.Stop()
	for k.awaitRelease() {
		if err := k.attendDue(k.accepting); err != nil && k.accepting.Err() == nil {
			k.logger.Error("looking after grants that nobody uses", zap.Error(err))
		}
		select {
		case <-ticker.Chan():
		case <-k.accepting.Done():
			return
		}
	}
}

// attendDue attends to all grants that are due, a page at a time, so that a
// million of them do not stand in line at once. What cannot be done now stays
// due.
func (k *Keeper) attendDue(ctx context.Context) error {
	var after []byte
	for {
		if err := k.begin(); err != nil {
			return nil // the process is stopping
		}
		records, next, err := k.vault.Due(ctx, k.clock.Now(), after, duePage)
		k.work.Done()
		var damaged *tokenstore.DamagedError
		if err != nil && !errors.As(err, &damaged) {
			return err
		}
		var under []<-chan struct{}
		for _, r := range records {
			if done := k.attend(ctx, r); done != nil {
				under = append(under, done)
			}
		}
		for _, done := range under {
			select {
			case <-done:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if after = next; after == nil {
			return nil
		}
	}
}

// attend warns of the end of a grant, refreshes one that nobody uses, or
// revokes one that was given up. It returns what is done when that is, if it
// goes on.
func (k *Keeper) attend(ctx context.Context, r *tokenstore.Record) <-chan struct{} {
	if k.Hold() != nil {
		return nil
	}
	if revokePending(r) {
		return k.giveBackSoon(r.Key)
	}
	now := k.clock.Now()
	switch r.State {
	case tokenstore.StateSuspect:
		return k.attendSuspect(ctx, r.Key)
	case tokenstore.StateNeedsReauth:
		return k.attendDead(ctx, r, now)
	}
	warn := warnAt(r)
	ending := !warn.IsZero() && !now.Before(warn)
	if !ending && now.Before(touchAt(r)) {
		return nil // due later on this day
	}
	c, err := k.lockLoaded(ctx, r.Key)
	if err != nil {
		return nil // a request will say so
	}
	defer c.mu.Unlock()
	if c.pending != nil {
		return nil
	}
	if f := c.flight.Load(); f != nil {
		return f.done
	}
	if ending {
		// Under the lock, with no flight under way: to save the record closes
		// the intent that a flight has opened.
		k.warn(ctx, r, now)
		return nil
	}
	if k.dead(c.snapshot.Load()) || c.backingOff(now) != nil || k.pause(r.Integration, now) != nil {
		return nil
	}
	k.logger.Debug("refreshing a grant that nobody uses", k.fields(r)...)
	f, err := k.launch(ctx, c, false)
	if err != nil {
		return nil // the process is stopping, or the store was put on hold
	}
	return f.done
}

// warn says that an authorization will end, and notes that it was said.
func (k *Keeper) warn(ctx context.Context, r *tokenstore.Record, now time.Time) {
	left := r.AuthorizationExpiresAt.Sub(now)
	for r.Warned < len(warnBefore) && left <= warnBefore[r.Warned] {
		r.Warned++
	}
	r.DueAt = dueAt(r)
	if err := k.begin(); err != nil {
		return
	}
	defer k.work.Done()
	if err := k.save(ctx, r); err != nil {
		return // a refresh was faster; it is due again
	}
	k.logger.Warn("an authorization ends soon, and only a human can renew it",
		k.fields(r, zap.Time("ends", r.AuthorizationExpiresAt), zap.Int("days", int(left/(24*time.Hour))))...)
}
