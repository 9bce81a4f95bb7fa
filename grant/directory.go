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
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Entry is what a list shows of a connection. It holds no token.
type Entry struct {
	tokenstore.Key
	// Owner is the caller that the connection belongs to, Account its name for
	// people.
	Account string
	Owner   string
	// State is the one that people are told: it may be StateRevokePending.
	State         tokenstore.State
	Cause         tokenstore.Cause
	ProviderError string

	// The times are those of Snapshot; each is zero if it is not known.
	Since                  time.Time
	ConnectedAt            time.Time
	RefreshedAt            time.Time
	AccessExpiresAt        time.Time
	RefreshExpiresAt       time.Time
	AuthorizationExpiresAt time.Time

	Generation uint64
}

// Filter chooses from the connections.
type Filter struct {
	// Integration and State are empty for all.
	Integration string
	State       tokenstore.State
	// Text is a part of the account, the connection or the owner, in any case.
	Text string
	// Allow, if not nil, tells whether an entry may be seen at all. It must not
	// keep e.
	Allow func(e *Entry) bool
	// Offset is how many entries to leave out. Limit is how many to return:
	// DefaultPage if it is not positive, and MaxPage at most.
	Offset, Limit int
}

// The sizes of a page.
const (
	DefaultPage = 50
	MaxPage     = 1000
)

// Listing is a page of connections.
type Listing struct {
	// Entries are sorted: the worst states first, then by account, then by
	// connection.
	Entries []Entry
	// Total is how many fit the filter, Counts how many in each state fit all
	// of it but State.
	Total  int
	Counts map[tokenstore.State]int
	// Damaged is how many records cannot be read, of all integrations.
	Damaged int
}

// ranks order the states, the worst first.
var ranks = map[tokenstore.State]int{
	tokenstore.StateNeedsReauth: 0, tokenstore.StateSuspect: 1, StateRevokePending: 2,
	tokenstore.StateConnected: 3, tokenstore.StateDisconnected: 4,
}

// List returns the connections that fit a filter, as they are stored: tokens
// that are only in memory yet do not show.
func (k *Keeper) List(ctx context.Context, f Filter) (Listing, error) {
	l := Listing{Counts: make(map[tokenstore.State]int)}
	var all []Entry
	text := strings.ToLower(f.Text)
	damaged, err := k.Inspect(ctx, func(r *tokenstore.Record) {
		e := Entry{
			Key: r.Key, Account: r.Account, Owner: r.Owner,
			State: told(r.State, revokePending(r)), Cause: r.Cause, ProviderError: r.ProviderError,
			Since: r.Since, ConnectedAt: r.ConnectedAt, RefreshedAt: r.AccessIssuedAt,
			AccessExpiresAt: r.AccessExpiresAt, RefreshExpiresAt: r.RefreshExpiresAt, AuthorizationExpiresAt: r.AuthorizationExpiresAt,
			Generation: r.Generation,
		}
		if f.Integration != "" && f.Integration != e.Integration ||
			!strings.Contains(strings.ToLower(e.Account+"\n"+e.Connection+"\n"+e.Owner), text) ||
			f.Allow != nil && !f.Allow(&e) {
			return
		}
		l.Counts[e.State]++
		if f.State == "" || f.State == e.State {
			all = append(all, e)
		}
	})
	if err != nil {
		return Listing{}, err
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(ranks[a.State], ranks[b.State]), cmp.Compare(strings.ToLower(a.Account), strings.ToLower(b.Account)),
			cmp.Compare(a.Connection, b.Connection), cmp.Compare(a.Integration, b.Integration))
	})
	if f.Limit <= 0 {
		f.Limit = DefaultPage
	}
	l.Total, l.Damaged = len(all), damaged
	from := min(max(f.Offset, 0), len(all))
	l.Entries = all[from:min(len(all), from+min(f.Limit, MaxPage))]
	return l, nil
}

// Describe returns the stored record of a connection, with its history. The
// error is tokenstore.ErrNotFound if there is none, and tokenstore.ErrClosed
// when the keeper closes.
func (k *Keeper) Describe(ctx context.Context, key tokenstore.Key) (*tokenstore.Record, error) {
	if err := k.begin(); err != nil {
		return nil, err
	}
	defer k.work.Done()
	return k.vault.Load(ctx, key)
}
