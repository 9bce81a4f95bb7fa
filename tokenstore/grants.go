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
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// DefaultPage is how many records List returns if no limit is given, MaxPage
// how many at most.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// maxTries is how often a write is tried that Reseal gets in the way of. It
// seals an entry once for each new key, so the second try is the last but for
// miracles.
const maxTries = 16

// digest stands for what an entry holds under its seal, which is unique to the
// write (see wireRecord.Write); the zero digest for no entry.
type digest [sha256.Size]byte

func digestOf(payload []byte) digest {
	if payload == nil {
		return digest{}
	}
	return sha256.Sum256(payload)
}

// Load returns the record of a connection. The error is ErrNotFound if there
// is none, and a *DamagedError if there is one that cannot be read.
func (v *Vault) Load(ctx context.Context, key Key) (*Record, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	name := v.names.connection(kindGrant, key)
	sealed, err := v.store.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("reading the record of a connection of %q: %w", key.Integration, err)
	}
	r, err := v.openRecord(name, sealed)
	if err == nil && r.Key != key {
		err = ErrAltered
	}
	if err != nil {
		return nil, &DamagedError{Key: key, Err: err, name: name}
	}
	return r, nil
}

// Save stores a record, and in the same step clears the intent of its
// connection. It succeeds only if the stored record is still what r was read
// from or last saved as (or if there is none, for a record that never was
// stored); otherwise the error is ErrConflict and nothing was changed.
//
// After any other error it is not known whether r was stored. Save may then
// be called again with r, changed or not: the value of a call that had taken
// effect after all is no conflict.
//
// A history that would make the record too large is stored without its oldest
// entries. The notices, at most MaxNotices, are put into the outbox in the same
// step; a call that is repeated should bring the same ones.
func (v *Vault) Save(ctx context.Context, r *Record, notices ...Notice) error {
	if err := checkKey(r.Key); err != nil {
		return err
	}
	payload, err := encodeRecord(r)
	if err != nil {
		return err
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	sealed, err := v.ring.seal(v.names.connection(kindGrant, r.Key), r.Generation, payload)
	if err != nil {
		return err
	}
	if err := v.replace(ctx, r, sealed, digestOf(payload), dayOf(r.DueAt), notices); err != nil {
		return fmt.Errorf("saving the record of a connection of %q: %w", r.Integration, err)
	}
	r.wasStored()
	return nil
}

// Delete deletes a record and the intent of its connection, under the same
// condition as Save and with its notices. The record can be saved again, as a
// new one.
func (v *Vault) Delete(ctx context.Context, r *Record, notices ...Notice) error {
	if err := checkKey(r.Key); err != nil {
		return err
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	if err := v.replace(ctx, r, nil, digest{}, 0, notices); err != nil {
		return fmt.Errorf("deleting the record of a connection of %q: %w", r.Integration, err)
	}
	r.stored = nil
	return nil
}

// replace stores a value with its content, or deletes the record if both are
// zero, moves it to its day in the due index, and puts the notices into the
// outbox. The caller holds ringMu.
func (v *Vault) replace(ctx context.Context, r *Record, value []byte, content digest, day uint32, notices []Notice) error {
	name := v.names.connection(kindGrant, r.Key)
	told, refs, err := v.noticeChanges(r, notices)
	if err != nil {
		return err
	}
	if r.unsure {
		if err := v.catchUp(ctx, r, name); err != nil {
			return err
		}
	}
	for try := 1; ; try++ {
		changes := append(append(v.dueChanges(r, name, day), told...),
			Change{Name: name, Value: value, Check: true, Old: r.sealed},
			Change{Name: v.names.connection(kindIntent, r.Key)})
		err := v.store.Apply(ctx, changes...)
		switch {
		case err == nil:
			r.sealed, r.content, r.dueOn, r.sequence = value, content, day, 0
			v.outbox.tell(refs)
			return nil
		case errors.Is(err, ErrConflict) && try < maxTries:
			// The record may only have been sealed anew.
			if v.catchUp(ctx, r, name) != nil {
				return err
			}
		case errors.Is(err, ErrConflict), errors.Is(err, ErrInvalid), errors.Is(err, ErrClosed), errors.Is(err, ErrFull):
			return err // nothing was applied
		default:
			r.unsure, r.attempt, r.attemptDue = true, content, day
			return err
		}
	}
}

// catchUp takes the stored value for the one that r was read from or last saved
// as, if it holds the same, or what the last write of r was to store, if it is
// not known whether that was applied. Otherwise the error is ErrConflict. Until
// the last write is known, nothing is written, so that there is never more than
// one such write.
func (v *Vault) catchUp(ctx context.Context, r *Record, name []byte) error {
	current, err := v.store.Get(ctx, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	var content digest
	if err != nil {
		current = nil
	} else {
		opened, err := v.ring.open(name, current)
		if err != nil {
			return ErrConflict // whatever it is, it is not what r was
		}
		content = digestOf(opened.plaintext)
	}
	if content != r.content && !(r.unsure && content == r.attempt) {
		return ErrConflict
	}
	if r.unsure && content == r.attempt && content != r.content {
		r.dueOn = r.attemptDue
	}
	r.sealed, r.content, r.unsure = current, content, false
	return nil
}

// List returns a page of the records of an integration, or of all if
// integration is empty, in an order that stays the same but means nothing.
// cursor is empty for the first page, and then the next of the page before;
// next is empty after the last page. limit is at most MaxPage; DefaultPage is
// used if it is not positive.
//
// Records that cannot be read do not hide the others: they are left out of
// records, and err joins a *DamagedError for each. records and next are valid
// in that case, and only in that case, although err is not nil.
func (v *Vault) List(ctx context.Context, integration, cursor string, limit int) (records []*Record, next string, err error) {
	if limit <= 0 {
		limit = DefaultPage
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	entries, next, err := v.page(ctx, integration, cursor, min(limit, MaxPage))
	if err != nil {
		return nil, "", err
	}
	var damaged []error
	for _, e := range entries {
		r, err := v.openRecord(e.name, e.value)
		if err == nil && integration != "" && r.Integration != integration {
			err = ErrAltered
		}
		if err != nil {
			damaged = append(damaged, &DamagedError{Key: Key{Integration: integration}, Err: err, name: e.name})
			continue
		}
		records = append(records, r)
	}
	return records, next, errors.Join(damaged...)
}

// entry is a stored value and its name.
type entry struct{ name, value []byte }

// page reads a page of records, as List does, without opening them. The caller
// holds ringMu.
func (v *Vault) page(ctx context.Context, integration, cursor string, limit int) (entries []entry, next string, err error) {
	prefix := []byte{byte(kindGrant)}
	if integration != "" {
		prefix = v.names.integration(kindGrant, integration)
	}
	after, err := decodeCursor(cursor, prefix)
	if err != nil {
		return nil, "", err
	}
	more := false
	err = v.store.Scan(ctx, prefix, after, func(name, value []byte) bool {
		if len(entries) == limit {
			more = true
			return false
		}
		entries = append(entries, entry{name, value})
		return true
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing the records of %q: %w", integration, err)
	}
	if more {
		next = base64.RawURLEncoding.EncodeToString(entries[len(entries)-1].name)
	}
	return entries, next, nil
}

func decodeCursor(cursor string, prefix []byte) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	after, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(after) != 1+integrationSize+connectionSize || !bytes.HasPrefix(after, prefix) {
		return nil, fmt.Errorf("%w: the cursor does not belong to this list", ErrInvalid)
	}
	return after, nil
}

// openRecord opens the record under a name. It must be the record that the
// name was made from, so that a record is never served as another one even by
// a fault of our own. The caller holds ringMu.
func (v *Vault) openRecord(name, sealed []byte) (*Record, error) {
	opened, err := v.ring.open(name, sealed)
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(opened.plaintext)
	if err != nil {
		return nil, err
	}
	if r.Generation != opened.generation || !bytes.Equal(v.names.connection(kindGrant, r.Key), name) {
		return nil, ErrAltered
	}
	r.sealed, r.content = sealed, digestOf(opened.plaintext)
	r.wasStored()
	return r, nil
}
