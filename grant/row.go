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
	"strings"
	"time"
	"unique"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// row is an Entry in a third of the space, because there may be very many. It
// is never changed.
type row struct {
	connection, account string
	integration, owner  unique.Handle[string]
	standing            unique.Handle[standing]

	// In Unix nanoseconds, 0 for none.
	since, connectedAt, refreshedAt                         int64
	accessExpiresAt, refreshExpiresAt, authorizationExpires int64

	generation uint64
	rank       uint8
}

// standing is what few words say of many connections.
type standing struct {
	state         tokenstore.State
	cause         tokenstore.Cause
	providerError string
}

// rowKey is a tokenstore.Key in less space.
type rowKey struct {
	integration unique.Handle[string]
	connection  string
}

func keyOf(key tokenstore.Key) rowKey { return rowKey{unique.Make(key.Integration), key.Connection} }

func newRow(r tokenstore.Brief) *row {
	state := told(r.State, r.State == tokenstore.StateDisconnected && r.HasRefreshToken)
	return &row{
		connection: r.Connection, account: r.Account,
		integration: unique.Make(r.Integration), owner: unique.Make(r.Owner),
		standing: unique.Make(standing{state, r.Cause, r.ProviderError}),

		since: nanos(r.Since), connectedAt: nanos(r.ConnectedAt), refreshedAt: nanos(r.AccessIssuedAt),
		accessExpiresAt: nanos(r.AccessExpiresAt), refreshExpiresAt: nanos(r.RefreshExpiresAt),
		authorizationExpires: nanos(r.AuthorizationExpiresAt),

		generation: r.Generation,
		rank:       rankOf(state),
	}
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// rankOf orders the states, the worst first.
func rankOf(state tokenstore.State) uint8 {
	switch state {
	case tokenstore.StateNeedsReauth:
		return 0
	case tokenstore.StateSuspect:
		return 1
	case StateRevokePending:
		return 2
	case tokenstore.StateConnected:
		return 3
	}
	return 4
}

func (r *row) key() rowKey { return rowKey{r.integration, r.connection} }

func (r *row) entry() Entry {
	s := r.standing.Value()
	return Entry{
		Key:     tokenstore.Key{Integration: r.integration.Value(), Connection: r.connection},
		Account: r.account, Owner: r.owner.Value(),
		State: s.state, Cause: s.cause, ProviderError: s.providerError,
		Since: timeOf(r.since), ConnectedAt: timeOf(r.connectedAt), RefreshedAt: timeOf(r.refreshedAt),
		AccessExpiresAt: timeOf(r.accessExpiresAt), RefreshExpiresAt: timeOf(r.refreshExpiresAt),
		AuthorizationExpiresAt: timeOf(r.authorizationExpires),
		Generation:             r.generation,
	}
}

// holds tells whether a text in lower case is a part of what people know the
// connection by.
func (r *row) holds(lower string) bool {
	return containsFold(r.account, lower) || containsFold(r.connection, lower) || containsFold(r.owner.Value(), lower)
}

// compareRows is the order of a Listing.
func compareRows(a, b *row) int {
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank)
	}
	return cmp.Or(compareFold(a.account, b.account), cmp.Compare(a.connection, b.connection),
		cmp.Compare(a.integration.Value(), b.integration.Value()))
}

// samePlace tells whether two rows of one connection have one place in the
// order.
func samePlace(a, b *row) bool { return a.rank == b.rank && a.account == b.account }

const beyondASCII = 0x80

func lowerASCII(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// compareFold compares two texts as if they were in lower case, without making
// any of them anew if they are ASCII.
func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] >= beyondASCII || b[i] >= beyondASCII {
			return cmp.Compare(strings.ToLower(a[i:]), strings.ToLower(b[i:]))
		}
		if c, d := lowerASCII(a[i]), lowerASCII(b[i]); c != d {
			return cmp.Compare(c, d)
		}
	}
	return cmp.Compare(len(a), len(b))
}

// containsFold tells whether a text holds another, which is in lower case, in
// any case.
func containsFold(s, lower string) bool {
	for i := range len(s) {
		if s[i] >= beyondASCII {
			return strings.Contains(strings.ToLower(s), lower)
		}
	}
	for i := 0; i+len(lower) <= len(s); i++ {
		n := 0
		for n < len(lower) && lowerASCII(s[i+n]) == lower[n] {
			n++
		}
		if n == len(lower) {
			return true
		}
	}
	return false
}
