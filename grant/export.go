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

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Export chooses what is exported.
type Export struct {
	// Integration is empty for all.
	Integration string
	// Hold puts the store on hold first, so that no token is refreshed, here,
	// after it was exported.
	Hold bool
}

// LeftOut says why a connection is not in an export.
type LeftOut string

// The reasons.
const (
	// LeftDisconnected: its grant was given up on purpose.
	LeftDisconnected LeftOut = "disconnected"
	// LeftWithoutToken: there is no refresh token.
	LeftWithoutToken LeftOut = "no_refresh_token"
	// LeftDamaged: the record cannot be read.
	LeftDamaged LeftOut = "damaged"
)

// Exported is what came of an export.
type Exported struct {
	// States counts the connections that were exported, by their state here.
	States map[tokenstore.State]int
	// LeftOut counts those that were not.
	LeftOut map[LeftOut]int
	// Doubtful counts those that were exported in mid refresh, or after one whose
	// answer never came: the provider may have replaced their token.
	Doubtful int
	// Hold is the store's, nil if it is not on hold. PutOnHold says that this
	// export has put it there, and that is so after an error as well.
	Hold      *tokenstore.Hold
	PutOnHold bool
}

// Errors of Export.
var (
	ErrNothingToExport = errors.New("there is no connection to export")
	ErrReleased        = errors.New("the hold of the token store was ended during the export: what was exported may have been refreshed here")
)

// Export calls fn with the record of every connection whose refresh token may be
// of use to somebody else, in an order that means nothing. Tokens that could not
// be stored yet are among them. A grant that needs a human is exported too: that
// verdict may be wrong, and the next program finds out by itself. What was given
// up on purpose is not.
//
// Without a hold, a record is as it was at some moment of the export. What is
// exported is changed by nothing here, and refreshed as before.
func (k *Keeper) Export(ctx context.Context, e Export, fn func(*tokenstore.Record) error) (Exported, error) {
	x := Exported{States: make(map[tokenstore.State]int), LeftOut: make(map[LeftOut]int)}
	if err := k.begin(); err != nil {
		return x, err
	}
	defer k.work.Done()
	// Closing must wait for no more than what fn is doing.
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer context.AfterFunc(k.accepting, stop)()

	switch found, err := k.holdsAny(ctx, e.Integration); {
	case err != nil:
		return x, err
	case !found:
		return x, ErrNothingToExport
	}
	var err error
	if x.Hold = k.Hold(); e.Hold {
		if x.Hold, x.PutOnHold, err = k.PutOnHold(ctx, tokenstore.HoldExported); err != nil {
			return x, err
		}
	}
	interrupted, err := k.interrupted(ctx)
	if err != nil {
		return x, err
	}
	damaged, err := k.each(ctx, e.Integration, func(r *tokenstore.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := k.newest(ctx, r)
		if errors.Is(err, tokenstore.ErrNotFound) {
			return nil // removed in the meantime
		}
		if err != nil {
			return err
		}
		switch {
		case r.State == tokenstore.StateDisconnected:
			x.LeftOut[LeftDisconnected]++
			return nil
		case r.RefreshToken.Empty():
			x.LeftOut[LeftWithoutToken]++
			return nil
		}
		x.States[r.State]++
		if !r.UnansweredSince.IsZero() || interrupted[r.Key] == r.Generation {
			x.Doubtful++
		}
		return fn(r)
	})
	if damaged > 0 {
		x.LeftOut[LeftDamaged] = damaged
	}
	if err == nil && x.Hold != nil && k.Hold() != x.Hold {
		err = ErrReleased
	}
	if err != nil {
		return x, fmt.Errorf("exporting grants: %w", err)
	}
	return x, nil
}

// holdsAny tells whether there is a record, be it damaged.
func (k *Keeper) holdsAny(ctx context.Context, integration string) (bool, error) {
	records, _, err := k.vault.List(ctx, integration, "", 1)
	var damaged *tokenstore.DamagedError
	if errors.As(err, &damaged) {
		return true, nil
	}
	return len(records) > 0, err
}

// interrupted returns the generations whose refresh token is being used, or was
// when the process ended.
func (k *Keeper) interrupted(ctx context.Context) (map[tokenstore.Key]uint64, error) {
	intents, err := k.vault.Intents(ctx)
	var damaged *tokenstore.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		return nil, fmt.Errorf("reading open intents: %w", err)
	}
	generations := make(map[tokenstore.Key]uint64)
	for _, intent := range intents {
		generations[intent.Key] = intent.Generation
	}
	return generations, nil
}

// newest returns what is true of a connection that was read from the store: its
// tokens may be in memory only, or have been until they were stored since, and
// those that were read superseded.
func (k *Keeper) newest(ctx context.Context, r *tokenstore.Record) (*tokenstore.Record, error) {
	v, ok := k.connections.Load(r.Key)
	if !ok {
		return r, nil
	}
	c := v.(*connection)
	if c.unsaved() == nil && !c.snapshot.Load().after(r) {
		return r, nil
	}
	// A write that is being stored may be made anew.
	c.saving.Lock()
	defer c.saving.Unlock()
	if w := c.unsaved(); w != nil {
		next := *w.next
		return &next, nil
	}
	return k.vault.Load(ctx, r.Key)
}

// unsaved returns what could not be stored yet.
func (c *connection) unsaved() *write {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending
}

// after tells whether a snapshot, if there is one, is newer than a record.
func (s *Snapshot) after(r *tokenstore.Record) bool {
	return s != nil && (s.Epoch > r.Epoch || s.Epoch == r.Epoch && s.Generation > r.Generation)
}
