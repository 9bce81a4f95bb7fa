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

import "context"

// KeyUse tells how far a change of encryption keys is.
type KeyUse struct {
	// Configured is how many keys the ring holds, Needed how many of them
	// entries may be sealed with.
	Configured, Needed int
	// Promoted tells whether the ring's first key is the one that seals.
	Promoted bool
}

// Done tells whether the ring's first key is all that the store needs.
func (u KeyUse) Done() bool { return u.Promoted && u.Needed == 1 }

// KeyUse reads which encryption keys the store needs.
func (v *Vault) KeyUse(ctx context.Context) (KeyUse, error) {
	v.rekeying.Lock()
	defer v.rekeying.Unlock()
	m, err := v.readMeta(ctx, v.configured)
	if err != nil {
		return KeyUse{}, err
	}
	// A store from before the list of keys is sealed with the active one.
	return KeyUse{Configured: v.configured.Len(), Needed: max(len(m.Keys), 1), Promoted: m.active == 0}, nil
}

// Same tells whether two rings hold the same keys in the same order.
func (r *Keyring) Same(other *Keyring) bool {
	if r == nil || other == nil || len(r.keys) != len(other.keys) {
		return r == other
	}
	for i, key := range r.keys {
		if !key.secret.Equal(other.keys[i].secret) {
			return false
		}
	}
	return true
}
