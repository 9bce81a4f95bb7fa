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
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
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
	ring    atomic.Pointer[Keyring]

	// rekeying makes a change of keys one step.
	rekeying sync.Mutex
}

// meta is the store's own record. It is made once, with the store; a change of
// the encryption keys only seals it again.
type meta struct {
	Version int       `json:"v"`
	StoreID string    `json:"store_id"`
	NameKey []byte    `json:"name_key"`
	Secret  []byte    `json:"secret"`
	Created time.Time `json:"created"`
}

// OpenVault opens the vault in a store, and makes one if the store is empty.
//
// If the ring does not open the store, the error is a *WrongKeyError and
// nothing was changed. A store that holds entries but not the record that
// makes it a vault is refused. The vault owns the store from then on; after an
// error, the caller does.
func OpenVault(ctx context.Context, store Store, ring *Keyring) (*Vault, error) {
	sealed, err := store.Get(ctx, metaName)
	if errors.Is(err, ErrNotFound) {
		sealed, err = createMeta(ctx, store, ring)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the token store: %w", err)
	}
	m, _, err := openMeta(ring, sealed)
	if err != nil {
		return nil, err
	}
	v := &Vault{
		store:   store,
		storeID: m.StoreID,
		names:   namer{key: secret.New(string(m.NameKey))},
		derive:  secret.New(string(m.Secret)),
	}
	if err := v.UseKeys(ctx, ring); err != nil {
		return nil, err
	}
	return v, nil
}

// UseKeys makes the vault use another ring, for calls that begin after it
// returns. A ring that does not open the store is refused with a
// *WrongKeyError, and the vault goes on with the one it has. The store's own
// record is sealed again if the first key is a new one.
//
// Records are sealed with the new key as they are saved. Until all are, the
// former key must stay in the ring, or they read as *DamagedError.
func (v *Vault) UseKeys(ctx context.Context, ring *Keyring) error {
	v.rekeying.Lock()
	defer v.rekeying.Unlock()
	for {
		sealed, err := v.store.Get(ctx, metaName)
		if err != nil {
			return fmt.Errorf("reading the token store's own record: %w", err)
		}
		m, opened, err := openMeta(ring, sealed)
		if err != nil {
			return err
		}
		if m.StoreID != v.storeID {
			return fmt.Errorf("the token store was exchanged for another one while it was open (%s is now %s)", v.storeID, m.StoreID)
		}
		if opened.key == 0 {
			break
		}
		resealed, err := ring.seal(metaName, opened.generation+1, opened.plaintext)
		if err != nil {
			return err
		}
		err = v.store.Apply(ctx, Change{Name: metaName, Value: resealed, Check: true, Old: sealed})
		if err == nil {
			break
		}
		// Another process that shares the store may be doing the same.
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("sealing the token store's own record with the new encryption key: %w", err)
		}
	}
	v.ring.Store(ring)
	return nil
}

// StoreID returns the store's id: 32 hexadecimal digits, made with the store.
// A copy of a store has the same one.
func (v *Vault) StoreID() string { return v.storeID }

// DeriveKey returns 32 secret bytes for a purpose: always the same ones in one
// store, whatever its encryption keys are, and unrelated ones for another
// purpose or store.
func (v *Vault) DeriveKey(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(v.derive.Reveal()), nil, string(joinFields("freshbearer derived key v1", purpose)), 32)
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

func createMeta(ctx context.Context, store Store, ring *Keyring) ([]byte, error) {
	entries, made := 0, false
	err := store.Scan(ctx, nil, nil, func(name, _ []byte) bool {
		entries++
		made = made || bytes.Equal(name, metaName)
		return true
	})
	if err != nil {
		return nil, err
	}
	if made { // by somebody else, since it was looked for
		return store.Get(ctx, metaName)
	}
	if entries > 0 {
		return nil, fmt.Errorf("it holds %d entries, but not the record that is needed to read them; "+
			"nothing was changed. Restore the whole store from a backup, or set another path to begin with an empty one", entries)
	}

	m := meta{
		Version: payloadVersion,
		StoreID: hex.EncodeToString(randomBytes(16)),
		NameKey: randomBytes(32),
		Secret:  randomBytes(32),
		Created: time.Now().UTC().Truncate(time.Second),
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	sealed, err := ring.seal(metaName, 1, payload)
	if err != nil {
		return nil, err
	}
	err = store.Apply(ctx, Change{Name: metaName, Value: sealed, Check: true})
	if errors.Is(err, ErrConflict) {
		return store.Get(ctx, metaName)
	}
	return sealed, err
}

// openMeta opens the meta record. It returns a *WrongKeyError if it was sealed
// with another key, and a *DamagedError if it was altered.
func openMeta(ring *Keyring, sealed []byte) (*meta, unsealed, error) {
	opened, err := ring.open(metaName, sealed)
	if errors.Is(err, ErrUnknownKey) {
		return nil, opened, &WrongKeyError{Keys: ring.Len()}
	}
	m := new(meta)
	if err == nil {
		switch json.Unmarshal(opened.plaintext, m) {
		case nil:
			if m.Version > payloadVersion {
				err = ErrNewerVersion
			} else if m.Version < 1 || m.StoreID == "" || len(m.NameKey) == 0 || len(m.Secret) == 0 {
				err = ErrAltered
			}
		default:
			err = ErrAltered
		}
	}
	if err != nil {
		return nil, opened, &DamagedError{Err: err, name: metaName}
	}
	return m, opened, nil
}

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
