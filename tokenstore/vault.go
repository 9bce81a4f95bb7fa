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
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/freshbearer/freshbearer/secret"
)

// Vault keeps records in a Store, sealed. It is safe for concurrent use.
//
// An engine below a vault sees neither tokens nor accounts: values are sealed
// and bound to their entry, names are pseudonyms. It can withhold an entry or
// bring back an old one as a whole; nothing else it does stays unnoticed.
type Vault struct {
	store   Store
	storeID string
	names   namer
	derive  secret.String
	outbox  outbox

	// ring is the ring in use with the active key first, wherever that stands
	// in the ring that was configured. ringMu is held for reading for as long
	// as a call works with it, so that a key which leaves the ring is used by
	// nobody any more.
	ringMu sync.RWMutex
	ring   *Keyring

	// rekeying makes a change of keys one step.
	rekeying   sync.Mutex
	configured *Keyring

	hold atomic.Pointer[Hold]
}

// OpenVault opens the vault in a store, and makes one if the store is empty.
//
// If the ring does not open the store and all that it may hold, the error is a
// *WrongKeyError and nothing was changed. A new store is sealed with the ring's
// first key, an existing one goes on with the key that is active: see Promote.
// A store that holds entries but not the record that
// makes it a vault is refused. A store that is somewhere else than it was, and
// so is a copy, is put on hold: see Hold. The vault owns the store from then
// on; after an error, the caller does.
func OpenVault(ctx context.Context, store Store, ring *Keyring) (*Vault, error) {
	sealed, err := store.Get(ctx, metaName)
	if errors.Is(err, ErrNotFound) {
		sealed, err = createMeta(ctx, store, ring)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	m, err := openMeta(ring, sealed)
	if err != nil {
		return nil, err
	}
	v := &Vault{
		store:      store,
		storeID:    m.StoreID,
		names:      namer{key: secret.New(string(m.NameKey))},
		derive:     secret.New(string(m.Secret)),
		ring:       ring.withFirst(m.active),
		configured: ring,
	}
	if err := v.findHold(ctx); err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	if err := v.continueOutbox(ctx); err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	return v, nil
}

// StoreID returns the store's id: 32 hexadecimal digits, made with the store.
// A copy of a store has the same one.
func (v *Vault) StoreID() string { return v.storeID }

// DeriveKey returns 32 secret bytes for a purpose: always the same ones in one
// store, whatever its encryption keys are, and unrelated ones for another
// purpose or store.
func (v *Vault) DeriveKey(purpose string) []byte { return deriveKey(v.derive, purpose) }

func deriveKey(from secret.String, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(from.Reveal()), nil, string(joinFields("freshbearer derived key v1", purpose)), 32)
	if err != nil {
		// Only a length beyond 255 hashes makes it fail (RFC 5869 §2.3).
		panic(err)
	}
	return key
}

// Close closes the store.
func (v *Vault) Close() error { return v.store.Close() }

// Format implements fmt.Formatter, so that no verb reaches the secrets.
func (v *Vault) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Vault") }

// checkKey refuses what could not be told apart once it is stored.
func checkKey(key Key) error {
	for _, s := range []string{key.Integration, key.Connection} {
		if s == "" || len(s) > maxKeyField || !utf8.ValidString(s) {
			return fmt.Errorf("%w: an integration or connection is empty, longer than %d bytes, or not UTF-8", ErrInvalid, maxKeyField)
		}
	}
	return nil
}

// maxKeyField is the longest integration name and connection id, in bytes.
const maxKeyField = 256

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see its documentation
	return b
}

// Interface guards
var _ fmt.Formatter = (*Vault)(nil)

// CheckSpace returns an error that is ErrFull if the store says that there is
// too little space to begin what ends with a write that must not fail.
func (v *Vault) CheckSpace(ctx context.Context) error {
	if checker, ok := v.store.(SpaceChecker); ok {
		return checker.CheckSpace(ctx)
	}
	return nil
}
