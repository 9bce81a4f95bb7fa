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
)

// PutIntent stores an intent durably, in place of the connection's former one.
// Save and Delete clear it together with what they do.
func (v *Vault) PutIntent(ctx context.Context, intent Intent) error {
	if err := checkKey(intent.Key); err != nil {
		return err
	}
	payload, err := encodeIntent(intent)
	if err != nil {
		return err
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	name := v.names.connection(kindIntent, intent.Key)
	sealed, err := v.ring.seal(name, intent.Generation, payload)
	if err != nil {
		return err
	}
	if err := v.store.Apply(ctx, Change{Name: name, Value: sealed}); err != nil {
		return fmt.Errorf("noting a token request for a connection of %q: %w", intent.Integration, err)
	}
	return nil
}

// Intents returns all intents. Like List, it leaves out those that cannot be
// read, and err then joins a *DamagedError for each; intents is valid in that
// case although err is not nil.
func (v *Vault) Intents(ctx context.Context) (intents []Intent, err error) {
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	var damaged []error
	err = v.store.Scan(ctx, []byte{byte(kindIntent)}, nil, func(name, sealed []byte) bool {
		intent, err := v.openIntent(name, sealed)
		if err != nil {
			damaged = append(damaged, &DamagedError{Err: err, name: name})
			return true
		}
		intents = append(intents, intent)
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("reading the noted token requests: %w", err)
	}
	return intents, errors.Join(damaged...)
}

// ClearIntent deletes the intent of a connection. It is no error if there is
// none.
func (v *Vault) ClearIntent(ctx context.Context, key Key) error {
	if err := checkKey(key); err != nil {
		return err
	}
	if err := v.store.Apply(ctx, Change{Name: v.names.connection(kindIntent, key)}); err != nil {
		return fmt.Errorf("clearing the noted token request for a connection of %q: %w", key.Integration, err)
	}
	return nil
}

// openIntent opens the intent under a name. The caller holds ringMu.
func (v *Vault) openIntent(name, sealed []byte) (Intent, error) {
	opened, err := v.ring.open(name, sealed)
	if err != nil {
		return Intent{}, err
	}
	intent, err := decodeIntent(opened.plaintext)
	if err != nil {
		return Intent{}, err
	}
	if intent.Generation != opened.generation || !bytes.Equal(v.names.connection(kindIntent, intent.Key), name) {
		return Intent{}, ErrAltered
	}
	return intent, nil
}
