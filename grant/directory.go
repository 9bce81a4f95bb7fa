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
	"strings"
	"time"
	"unique"

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

	// The times are those of Snapshot, to the second; each is zero if it is not
	// known.
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

// List returns the connections that fit a filter, as they are stored: of tokens
// that could not be stored yet, the ones before are shown.
//
// The first question reads the whole store, and lets writes through meanwhile;
// what it found is kept current until nobody has asked for some minutes. The
// error is tokenstore.ErrClosed when the keeper closes, or the store's.
func (k *Keeper) List(ctx context.Context, f Filter) (Listing, error) {
	order, damaged, err := k.ordered(ctx)
	if err != nil {
		return Listing{}, err
	}
	if f.Limit <= 0 {
		f.Limit = DefaultPage
	}
	limit, from := min(f.Limit, MaxPage), max(f.Offset, 0)
	integration := unique.Make(f.Integration)
	text := strings.ToLower(f.Text)

	l := Listing{Counts: make(map[tokenstore.State]int), Damaged: damaged}
	var e Entry // one for all calls of Allow
	for i := range order {
		r := order[i].Load()
		if f.Integration != "" && r.integration != integration || text != "" && !r.holds(text) {
			continue
		}
		if f.Allow != nil {
			if e = r.entry(); !f.Allow(&e) {
				continue
			}
		}
		state := r.standing.Value().state
		l.Counts[state]++
		if f.State != "" && f.State != state {
			continue
		}
		if l.Total >= from && len(l.Entries) < limit {
			l.Entries = append(l.Entries, r.entry())
		}
		l.Total++
	}
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
