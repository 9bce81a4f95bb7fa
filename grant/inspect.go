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

	"github.com/freshbearer/freshbearer/tokenstore"
)

// inspectPage is how many records are in memory at once.
const inspectPage = 200

// Inspect calls fn with every record that is stored, in an order that means
// nothing, and returns how many cannot be read. It changes nothing and asks
// nobody. Records that change meanwhile may be seen before or after.
func (k *Keeper) Inspect(ctx context.Context, fn func(*tokenstore.Record)) (damaged int, err error) {
	return k.each(ctx, "", func(r *tokenstore.Record) error {
		fn(r)
		return nil
	})
}

// each is Inspect for one integration, or for all if integration is empty, until
// the first error.
func (k *Keeper) each(ctx context.Context, integration string, fn func(*tokenstore.Record) error) (damaged int, err error) {
	cursor := ""
	for {
		// A lease for each page: closing must not wait for all of them.
		if err := k.begin(); err != nil {
			return damaged, err
		}
		records, next, err := k.vault.List(ctx, integration, cursor, inspectPage)
		k.work.Done()
		var one *tokenstore.DamagedError
		if err != nil && !errors.As(err, &one) {
			return damaged, err
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			damaged += len(joined.Unwrap())
		}
		for _, r := range records {
			if err := fn(r); err != nil {
				return damaged, err
			}
		}
		if err := ctx.Err(); err != nil || next == "" {
			return damaged, err
		}
		cursor = next
	}
}

// Unsaved returns how many connections have tokens that could not be stored
// yet and are only in memory.
func (k *Keeper) Unsaved() int { return int(k.unsaved.Load()) }
