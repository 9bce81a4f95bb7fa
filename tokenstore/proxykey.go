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
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ProxyKey is what is kept of a key that a caller proves itself with and that
// was made at run time. The key itself is not kept.
type ProxyKey struct {
	// ID names the key. It says nothing about it.
	ID string
	// Caller is the name of the caller.
	Caller string
	// Hash is the SHA-256 of the key, which has to be random: nothing slows
	// down who has the hash and guesses.
	Hash    [sha256.Size]byte
	Created time.Time
}

type wireProxyKey struct {
	Version int       `json:"v"`
	ID      string    `json:"id"`
	Caller  string    `json:"caller"`
	Hash    []byte    `json:"hash"`
	Created time.Time `json:"created"`
}

func (n namer) proxyKey(id string) []byte {
	return append([]byte{byte(kindProxyKey)}, n.mac("proxy key", id)...)
}

// PutProxyKey stores a key, durably. The error is ErrConflict if its ID is in
// use.
func (v *Vault) PutProxyKey(ctx context.Context, key ProxyKey) error {
	if key.ID == "" || key.Caller == "" {
		return fmt.Errorf("%w: a proxy key needs an ID and a caller", ErrInvalid)
	}
	// What is left of the space is for tokens.
	if err := v.CheckSpace(ctx); err != nil {
		return fmt.Errorf("storing a proxy key: %w", err)
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	change, err := sealedChange(v.ring, v.names.proxyKey(key.ID), wireProxyKey{payloadVersion, key.ID, key.Caller, key.Hash[:], key.Created.UTC()})
	if err == nil {
		change.Check = true
		err = v.store.Apply(ctx, change)
	}
	if err != nil {
		return fmt.Errorf("storing a proxy key: %w", err)
	}
	return nil
}

// DeleteProxyKey deletes a key, durably. It is no error if there is none.
func (v *Vault) DeleteProxyKey(ctx context.Context, id string) error {
	if err := v.store.Apply(ctx, Change{Name: v.names.proxyKey(id)}); err != nil {
		return fmt.Errorf("deleting a proxy key: %w", err)
	}
	return nil
}

// ProxyKeys returns all keys that can be read. For those that cannot, damaged
// has a *DamagedError each.
func (v *Vault) ProxyKeys(ctx context.Context) (keys []ProxyKey, damaged, err error) {
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	err = v.store.Scan(ctx, []byte{byte(kindProxyKey)}, nil, func(name, sealed []byte) bool {
		key, err := v.openProxyKey(name, sealed)
		if err != nil {
			damaged = errors.Join(damaged, &DamagedError{Err: err, name: name})
			return true
		}
		keys = append(keys, key)
		return true
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the proxy keys: %w", err)
	}
	return keys, damaged, nil
}

func (v *Vault) openProxyKey(name, sealed []byte) (ProxyKey, error) {
	opened, err := v.ring.open(name, sealed)
	if err != nil {
		return ProxyKey{}, err
	}
	var w wireProxyKey
	if json.Unmarshal(opened.plaintext, &w) != nil || w.Version < 1 || w.ID == "" || w.Caller == "" || len(w.Hash) != sha256.Size {
		return ProxyKey{}, ErrAltered
	}
	if w.Version > payloadVersion {
		return ProxyKey{}, ErrNewerVersion
	}
	return ProxyKey{ID: w.ID, Caller: w.Caller, Hash: [sha256.Size]byte(w.Hash), Created: w.Created}, nil
}
