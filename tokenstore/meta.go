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
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// meta is the store's own record. It is made once, with the store; a change of
// the encryption keys only changes the list of them and seals it again.
//
// It is always sealed with the active key: the one that seals all that is
// written. A ring that does not open it is therefore no ring for this store.
type meta struct {
	Version int       `json:"v"`
	StoreID string    `json:"store_id"`
	NameKey []byte    `json:"name_key"`
	Secret  []byte    `json:"secret"`
	Created time.Time `json:"created"`
	// Keys are the ids of all keys that entries may be sealed with, the active
	// one among them. A store from before this list has none, and is taken to
	// be sealed with the active key alone.
	Keys [][]byte `json:"keys,omitempty"`
}

// sealedMeta is meta as it was found in the store.
type sealedMeta struct {
	meta
	sealed     []byte
	generation uint64
	// active is the position in the ring of the key that sealed it.
	active int
}

// missing returns how many keys of the list a ring lacks.
func (m *meta) missing(ring *Keyring) int {
	n := 0
	for _, id := range m.Keys {
		if key, _ := ring.find(id); key == nil {
			n++
		}
	}
	return n
}

// openMeta opens the meta record. It returns a *WrongKeyError if it was sealed
// with a key that is not in the ring or names one, and a *DamagedError if it
// was altered.
func openMeta(ring *Keyring, sealed []byte) (*sealedMeta, error) {
	opened, err := ring.open(metaName, sealed)
	if errors.Is(err, ErrUnknownKey) {
		return nil, &WrongKeyError{Keys: ring.Len()}
	}
	m := &sealedMeta{sealed: sealed, generation: opened.generation, active: opened.key}
	if err == nil {
		switch json.Unmarshal(opened.plaintext, &m.meta) {
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
		return nil, &DamagedError{Err: err, name: metaName}
	}
	if former := m.missing(ring); former > 0 {
		return nil, &WrongKeyError{Keys: ring.Len(), Former: former}
	}
	return m, nil
}

// readMeta reads and opens the meta record of the vault's store.
func (v *Vault) readMeta(ctx context.Context, ring *Keyring) (*sealedMeta, error) {
	sealed, err := v.store.Get(ctx, metaName)
	if err != nil {
		return nil, fmt.Errorf("reading the token store's own record: %w", err)
	}
	m, err := openMeta(ring, sealed)
	if err != nil {
		return nil, err
	}
	if m.StoreID != v.storeID {
		return nil, fmt.Errorf("the token store was exchanged for another one while it was open (%s is now %s)", v.storeID, m.StoreID)
	}
	return m, nil
}

// writeMeta stores the list of keys, sealed with the ring's first key. The
// error is ErrConflict if former is not what the store holds.
func (v *Vault) writeMeta(ctx context.Context, ring *Keyring, former *sealedMeta, keys [][]byte) error {
	m := former.meta
	m.Keys = keys
	payload, err := json.Marshal(m)
	if err != nil {
		return err
	}
	sealed, err := ring.seal(metaName, former.generation+1, payload)
	if err != nil {
		return err
	}
	err = v.store.Apply(ctx, Change{Name: metaName, Value: sealed, Check: true, Old: former.sealed})
	if err != nil {
		return fmt.Errorf("writing the token store's list of encryption keys: %w", err)
	}
	return nil
}

func createMeta(ctx context.Context, store Store, ring *Keyring) ([]byte, error) {
	entries, made, restoring := 0, false, false
	err := store.Scan(ctx, nil, nil, func(name, _ []byte) bool {
		entries++
		made = made || bytes.Equal(name, metaName)
		restoring = restoring || bytes.Equal(name, restoringName)
		return true
	})
	if err != nil {
		return nil, err
	}
	if made { // by somebody else, since it was looked for
		return store.Get(ctx, metaName)
	}
	if restoring {
		return nil, errors.New("a backup was being restored into it, and that was not finished; nothing was changed. " +
			"Remove the store and restore the backup again")
	}
	if entries > 0 {
		return nil, fmt.Errorf("it holds %d entries, but not the record that is needed to read them; "+
			"nothing was changed. Move the store away, and restore a backup or begin with an empty one", entries)
	}

	m := meta{
		Version: payloadVersion,
		StoreID: hex.EncodeToString(randomBytes(16)),
		NameKey: randomBytes(32),
		Secret:  randomBytes(32),
		Created: time.Now().UTC().Truncate(time.Second),
		Keys:    [][]byte{slices.Clone(ring.first().id[:])},
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
