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
	"encoding/hex"
	"fmt"
)

// KeyCount tells what is sealed with one encryption key.
type KeyCount struct {
	// Position is the key's in the configured ring, from 1; 0 if it is not
	// there.
	Position int
	// ID tells keys apart and tells nothing about them.
	ID string
	// Active tells that it seals what is written.
	Active bool
	// Records is how many entries are sealed with it.
	Records int
	// Needed tells that the store does not open without it.
	Needed bool
}

// KeyCounts counts what is sealed with which encryption key, by what the
// entries say of themselves: first the keys of the ring in their order, then
// those that no key of the ring opens.
func (v *Vault) KeyCounts(ctx context.Context) ([]KeyCount, error) {
	v.rekeying.Lock()
	defer v.rekeying.Unlock()
	m, err := v.readMeta(ctx, v.configured)
	if err != nil {
		return nil, err
	}
	var counts []KeyCount
	index := make(map[string]int)
	for i, key := range v.configured.keys {
		index[string(key.id[:])] = i
		counts = append(counts, KeyCount{
			Position: i + 1, ID: hex.EncodeToString(key.id[:]), Active: i == m.active,
			Needed: i == m.active || containsID(m.Keys, key.id[:]),
		})
	}
	err = v.store.Scan(ctx, nil, nil, func(name, value []byte) bool {
		id := sealedKeyID(value)
		if kind(name[0]) == kindDue || id == nil {
			return true
		}
		i, ok := index[string(id)]
		if !ok {
			// What a damaged entry names may be anything.
			if i = len(counts); len(counts) == v.configured.Len()+maxUnknownKeys {
				i--
			} else {
				counts = append(counts, KeyCount{ID: hex.EncodeToString(id)})
			}
			index[string(id)] = i
		}
		counts[i].Records++
		return ctx.Err() == nil
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("counting what is sealed with which encryption key: %w", err)
	}
	return counts, nil
}

// maxUnknownKeys is how many keys are told apart that are not in the ring.
const maxUnknownKeys = 8
