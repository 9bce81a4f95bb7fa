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
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// PutOnce stores a value that can be taken once, until expiresAt (to the
// millisecond). kind keeps different uses apart; id should be an unguessable
// text. Neither is stored, only a keyed hash of both. The error is ErrConflict
// if the id is in use.
func (v *Vault) PutOnce(ctx context.Context, kind, id string, value []byte, expiresAt time.Time) error {
	if kind == "" || id == "" || expiresAt.UnixMilli() <= 0 {
		return fmt.Errorf("%w: a one-time value needs a kind, an id and a time when it expires", ErrInvalid)
	}
	name := v.names.once(kind, id)
	payload := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(value)), uint64(expiresAt.UnixMilli()))
	payload = append(payload, value...)
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	sealed, err := v.ring.seal(name, 0, payload)
	if err != nil {
		return err
	}
	err = v.store.Apply(ctx, Change{Name: name, Value: sealed, Check: true, ExpiresAt: expiresAt})
	if err != nil {
		return fmt.Errorf("storing a one-time value of kind %q: %w", kind, err)
	}
	return nil
}

// Take returns a one-time value and deletes it, durably and before it returns:
// of any number of calls for one id, at most one gets the value. The error is
// ErrNotFound if there is none, if it was taken, or if it expired at or before
// now.
func (v *Vault) Take(ctx context.Context, kind, id string, now time.Time) ([]byte, error) {
	if kind == "" || id == "" {
		return nil, fmt.Errorf("one-time value of kind %q: %w", kind, ErrNotFound)
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	name := v.names.once(kind, id)
	var value []byte
	var expiresAt time.Time
	var content digest
	for try := 1; ; try++ {
		sealed, err := v.store.Get(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("one-time value of kind %q: %w", kind, err)
		}
		opened, err := v.ring.open(name, sealed)
		if err == nil {
			value, expiresAt, err = decodeOnce(opened.plaintext)
		}
		if err != nil {
			return nil, &DamagedError{Err: err, name: name}
		}
		if now := digestOf(opened.plaintext); try == 1 {
			content = now
		} else if now != content {
			return nil, fmt.Errorf("one-time value of kind %q: %w: it was just taken", kind, ErrNotFound)
		}
		err = v.store.Apply(ctx, Change{Name: name, Check: true, Old: sealed})
		if err == nil {
			break
		}
		// A conflict is either another Take, which has left nothing to find, or
		// Reseal, which has left the same value.
		if !errors.Is(err, ErrConflict) || try == maxTries {
			// It may be gone, or not. Giving it out could give it out twice.
			return nil, fmt.Errorf("taking a one-time value of kind %q: %w", kind, err)
		}
	}
	if !now.Before(expiresAt) {
		return nil, fmt.Errorf("one-time value of kind %q: %w: it has expired", kind, ErrNotFound)
	}
	return value, nil
}

// SweepOnce deletes the one-time values that expired at or before now, and
// those that nobody can take because they cannot be read. It returns how many
// remain.
func (v *Vault) SweepOnce(ctx context.Context, now time.Time) (remaining int, err error) {
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	var dead []Change
	err = v.store.Scan(ctx, []byte{byte(kindOnce)}, nil, func(name, sealed []byte) bool {
		_, expiresAt, err := v.openOnce(name, sealed)
		if err == nil && now.Before(expiresAt) {
			remaining++
		} else {
			// Unchecked: one Take of any of them in between would make a
			// conflict of the whole batch, and an id is not used again.
			dead = append(dead, Change{Name: name})
		}
		return true
	})
	for err == nil && len(dead) > 0 {
		n := min(len(dead), MaxChanges)
		if err = v.store.Apply(ctx, dead[:n]...); err == nil {
			dead = dead[n:]
		}
	}
	if err != nil {
		return remaining + len(dead), fmt.Errorf("sweeping expired one-time values: %w", err)
	}
	return remaining, nil
}

// openOnce opens the one-time value under a name. The caller holds ringMu.
func (v *Vault) openOnce(name, sealed []byte) (value []byte, expiresAt time.Time, err error) {
	opened, err := v.ring.open(name, sealed)
	if err != nil {
		return nil, time.Time{}, err
	}
	return decodeOnce(opened.plaintext)
}

func decodeOnce(payload []byte) (value []byte, expiresAt time.Time, err error) {
	if len(payload) < 8 {
		return nil, time.Time{}, ErrAltered
	}
	return payload[8:], time.UnixMilli(int64(binary.BigEndian.Uint64(payload))), nil
}
