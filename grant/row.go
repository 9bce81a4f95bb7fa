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
	"math"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// row is an Entry in a fifth of the space, because there may be very many. It
// is never changed.
type row struct {
	// text is the connection, and then the account: one text takes less space
	// than two.
	text               string
	integration, owner unique.Handle[string]
	standing           unique.Handle[standing]

	since, connectedAt, refreshedAt                         second
	accessExpiresAt, refreshExpiresAt, authorizationExpires second

	generation uint64
	// split is the length of the connection.
	split uint16
	rank  uint8
}

func (r *row) connection() string { return r.text[:r.split] }
func (r *row) account() string    { return r.text[r.split:] }

// second is a time in Unix seconds, 0 for none. A list is for people.
type second uint32

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
		text: r.Connection + r.Account, split: uint16(len(r.Connection)),
		integration: unique.Make(r.Integration), owner: unique.Make(r.Owner),
		standing: unique.Make(standing{state, r.Cause, r.ProviderError}),

		since: secondOf(r.Since), connectedAt: secondOf(r.ConnectedAt), refreshedAt: secondOf(r.AccessIssuedAt),
		accessExpiresAt: secondOf(r.AccessExpiresAt), refreshExpiresAt: secondOf(r.RefreshExpiresAt),
		authorizationExpires: secondOf(r.AuthorizationExpiresAt),

		generation: r.Generation,
		rank:       rankOf(state),
	}
}

func secondOf(t time.Time) second {
	if t.IsZero() {
		return 0
	}
	return second(min(max(t.Unix(), 1), math.MaxUint32))
}

func (s second) time() time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}

// ranked are the states in the order of a Listing, the worst first.
var ranked = [...]tokenstore.State{
	tokenstore.StateNeedsReauth, tokenstore.StateSuspect, StateRevokePending, tokenstore.StateConnected, tokenstore.StateDisconnected,
}

// rankOf returns the place of a state among them. One that a newer program has
// stored comes last.
func rankOf(state tokenstore.State) uint8 {
	if i := slices.Index(ranked[:], state); i >= 0 {
		return uint8(i)
	}
	return uint8(len(ranked) - 1)
}

func (r *row) key() rowKey { return rowKey{r.integration, r.connection()} }

func (r *row) entry() Entry {
	s := r.standing.Value()
	return Entry{
		Key:     tokenstore.Key{Integration: r.integration.Value(), Connection: r.connection()},
		Account: r.account(), Owner: r.owner.Value(),
		State: s.state, Cause: s.cause, ProviderError: s.providerError,
		Since: r.since.time(), ConnectedAt: r.connectedAt.time(), RefreshedAt: r.refreshedAt.time(),
		AccessExpiresAt: r.accessExpiresAt.time(), RefreshExpiresAt: r.refreshExpiresAt.time(),
		AuthorizationExpiresAt: r.authorizationExpires.time(),
		Generation:             r.generation,
	}
}

// holds tells whether a text in lower case is a part of what people know the
// connection by.
func (r *row) holds(lower string) bool {
	return containsFold(r.account(), lower) || containsFold(r.connection(), lower) || containsFold(r.owner.Value(), lower)
}

// compareRows is the order of a Listing.
func compareRows(a, b *row) int {
	if a.rank != b.rank {
		return cmp.Compare(a.rank, b.rank)
	}
	return cmp.Or(compareFold(a.account(), b.account()), cmp.Compare(a.connection(), b.connection()),
		cmp.Compare(a.integration.Value(), b.integration.Value()))
}

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
