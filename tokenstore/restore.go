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
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"time"
)

// ErrNotEmpty says that a backup cannot be restored into a store because there
// is something in it.
var ErrNotEmpty = errors.New("the token store is not empty")

// Backup is a backup that was read to its end and found whole and unaltered.
type Backup struct {
	BackupInfo
	// StoreID is the id of the store that it was made of.
	StoreID string

	r    io.ReadSeeker
	ring *Keyring
	meta *sealedMeta
	mac  []byte
}

// OpenBackup reads a backup and verifies all of it, in little memory. The error
// is ErrBackupDamaged if it is not what Vault.Backup wrote, and a *WrongKeyError
// if the ring does not open it and all that is in it.
func OpenBackup(ring *Keyring, r io.ReadSeeker) (*Backup, error) {
	b := &Backup{r: r, ring: ring}
	if err := b.verify(); err != nil {
		return nil, fmt.Errorf("opening the backup: %w", err)
	}
	return b, nil
}

func (b *Backup) verify() error {
	// What is looked for without its key is not believed before the second pass.
	var sealed []byte
	_, err := b.read(io.Discard, func(name, value []byte) error {
		if bytes.Equal(name, metaName) {
			sealed = value
		}
		return nil
	})
	if err != nil {
		return err
	}
	if sealed == nil {
		return fmt.Errorf("%w: the record is missing that is needed to read it", ErrBackupDamaged)
	}
	b.meta, err = openMeta(b.ring, sealed)
	if errors.Is(err, ErrAltered) {
		return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
	}
	if err != nil {
		return err
	}
	content, err := b.readVerified(func(_, _ []byte) error { return nil })
	if err != nil {
		return err
	}
	b.BackupInfo, b.mac, b.StoreID = content.BackupInfo, content.mac, b.meta.StoreID
	return nil
}

// read reads the backup from its beginning.
func (b *Backup) read(covered io.Writer, fn func(name, value []byte) error) (backupContent, error) {
	if _, err := b.r.Seek(0, io.SeekStart); err != nil {
		return backupContent{}, fmt.Errorf("reading a backup: %w", err)
	}
	return readBackup(b.r, covered, fn)
}

// readVerified returns an error after the fact, if what fn was called with is
// not what was backed up.
func (b *Backup) readVerified(fn func(name, value []byte) error) (backupContent, error) {
	mac := newBackupMAC(b.meta)
	content, err := b.read(mac, fn)
	if err != nil {
		return backupContent{}, err
	}
	if !hmac.Equal(content.mac, mac.Sum(nil)) {
		return backupContent{}, fmt.Errorf("%w: it was altered", ErrBackupDamaged)
	}
	return content, nil
}

// Restore writes the backup into a store, which must be empty: otherwise the
// error is ErrNotEmpty, and nothing was changed. Nobody else may use the store.
//
// The store that comes of it is on hold (see Hold) since now. What makes it one
// that OpenVault opens is written last: after any other error, the store is one
// that OpenVault refuses.
func (b *Backup) Restore(ctx context.Context, store Store, now time.Time) error {
	if err := b.restore(ctx, store, now); err != nil {
		return fmt.Errorf("restoring the token store: %w", err)
	}
	return nil
}

func (b *Backup) restore(ctx context.Context, store Store, now time.Time) error {
	empty := true
	err := store.Scan(ctx, nil, nil, func(_, _ []byte) bool {
		empty = false
		return false
	})
	if err != nil {
		return err
	}
	if !empty {
		return ErrNotEmpty
	}
	// So that OpenVault can say what an unfinished restore has left.
	if err := store.Apply(ctx, Change{Name: restoringName, Value: []byte{1}, Check: true}); err != nil {
		return err
	}
	batch := batch{ctx: ctx, store: store}
	content, err := b.readVerified(func(name, value []byte) error {
		if bytes.Equal(name, metaName) {
			return nil
		}
		return batch.add(Change{Name: name, Value: value})
	})
	if err == nil {
		err = batch.flush()
	}
	if err == nil && !hmac.Equal(content.mac, b.mac) {
		err = fmt.Errorf("%w: it was exchanged for another one after it was verified", ErrBackupDamaged)
	}
	if err != nil {
		return err
	}
	hold, err := holdChange(b.ring.withFirst(b.meta.active), &Hold{Reason: HoldRestored, Since: now, BackupAt: b.CreatedAt})
	if err != nil {
		return err
	}
	return store.Apply(ctx,
		Change{Name: restoringName},
		Change{Name: metaName, Value: b.meta.sealed, Check: true},
		hold)
}

// batch gathers changes until as many are there as go into one call of Apply.
type batch struct {
	ctx     context.Context
	store   Store
	changes []Change
	size    int
}

func (b *batch) add(c Change) error {
	if len(b.changes) == MaxChanges || b.size+len(c.Value) > MaxApply {
		if err := b.flush(); err != nil {
			return err
		}
	}
	b.changes = append(b.changes, c)
	b.size += len(c.Value)
	return nil
}

func (b *batch) flush() error {
	if len(b.changes) == 0 {
		return nil
	}
	err := b.store.Apply(b.ctx, b.changes...)
	b.changes, b.size = nil, 0
	return err
}
