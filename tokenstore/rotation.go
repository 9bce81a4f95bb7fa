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

package tokenstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// A change of the encryption key takes three steps, so that none of them can
// lock a grant away:
//
//  1. UseKeys: the vault opens with the new ring too. Nothing is written, so
//     this can be taken back.
//  2. Promote: the new key is entered in the store's list of keys and becomes
//     the active one. From here on the store does not open without it.
//  3. Reseal: all that is still sealed with another key is sealed anew. Then
//     the other keys leave the list, and only then can a ring do without them.

// ErrKeysReplaced is what Promote returns if the vault uses another ring by
// now.
var ErrKeysReplaced = errors.New("other encryption keys are in use")

// UseKeys makes the vault use another ring, for calls that begin after it
// returns. It writes nothing, and the key that seals stays the same: see
// Promote. A ring that lacks a key that entries may be sealed with is refused
// with a *WrongKeyError, and the vault goes on with the one it has.
func (v *Vault) UseKeys(ctx context.Context, ring *Keyring) error {
	v.rekeying.Lock()
	defer v.rekeying.Unlock()
	m, err := v.readMeta(ctx, ring)
	if err != nil {
		return err
	}
	v.configured = ring
	v.swap(ring.withFirst(m.active))
	return nil
}

// Promote makes the first key of the ring, which must be the one that UseKeys
// was last called with, the active one. It is the point of no return: the
// store needs that key from then on, and the former ones until Reseal is done.
// It does nothing if that key is the active one.
func (v *Vault) Promote(ctx context.Context, ring *Keyring) error {
	v.rekeying.Lock()
	defer v.rekeying.Unlock()
	if v.configured != ring {
		return ErrKeysReplaced
	}
	for {
		m, err := v.readMeta(ctx, ring)
		if err != nil {
			return err
		}
		if m.active == 0 {
			break
		}
		keys := m.Keys
		for _, key := range []*masterKey{ring.keys[m.active], ring.first()} {
			if !containsID(keys, key.id[:]) {
				keys = append(slices.Clip(keys), slices.Clone(key.id[:]))
			}
		}
		err = v.writeMeta(ctx, ring, m, keys)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("sealing with the first encryption key from now on: %w", err)
		}
	}
	v.swap(ring)
	return nil
}

// swap waits for the calls under way, so that nothing is sealed with a key
// that was the active one before, or read with a ring that has gone.
func (v *Vault) swap(ring *Keyring) {
	v.ringMu.Lock()
	defer v.ringMu.Unlock()
	v.ring = ring
}

func containsID(ids [][]byte, id []byte) bool {
	return slices.ContainsFunc(ids, func(other []byte) bool { return bytes.Equal(other, id) })
}
