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
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"slices"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// supersededKept is how many refresh tokens a record remembers that the
	// provider has replaced. Intuit replaces one about once a day: a week's.
	supersededKept = 8
	// supersededSize is what is remembered of each, in bytes: enough to know it
	// again, and of no use to anybody else.
	supersededSize = 8
)

func (k *Keeper) markOf(token secret.String) []byte {
	mac := hmac.New(sha256.New, k.supersededKey)
	mac.Write([]byte(token.Reveal()))
	return mac.Sum(nil)[:supersededSize]
}

// supersede notes that the provider has replaced the record's refresh token.
func (k *Keeper) supersede(r *tokenstore.Record) {
	marks := append(k.markOf(r.RefreshToken), r.Superseded...)
	r.Superseded = marks[:min(len(marks), supersededKept*supersededSize)]
}

// wasSuperseded tells whether the provider has replaced a token of this
// connection by another one, as far as the record remembers.
func (k *Keeper) wasSuperseded(r *tokenstore.Record, token secret.String) bool {
	mark := k.markOf(token)
	return slices.ContainsFunc(slices.Collect(slices.Chunk(r.Superseded, supersededSize)), func(known []byte) bool {
		return bytes.Equal(known, mark)
	})
}
