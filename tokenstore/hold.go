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
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Hold says that a store may not be the only one of its kind: another process
// may keep the same grants alive in the store that this one was copied from, or
// elsewhere. Each refresh of the one may end the grant of the other. Nothing is
// refreshed until a human has made sure that there is no other, and says so: see
// Vault.Release.
type Hold struct {
	Reason HoldReason
	// Since is when the store was put on hold.
	Since time.Time
	// BackupAt is when the backup was made that was restored, zero for other
	// reasons.
	BackupAt time.Time
}

// HoldReason says why a store is on hold.
type HoldReason string

// The reasons.
const (
	// HoldRestored: the store was restored from a backup.
	HoldRestored HoldReason = "restored"
	// HoldCopied: the store is not where it was when it was last in use.
	HoldCopied HoldReason = "copied"
	// HoldExported: its grants were exported, for use elsewhere.
	HoldExported HoldReason = "exported"
)

// Advice says what a human has to make sure of before the hold may end.
func (h *Hold) Advice() string {
	if h.Reason == HoldExported {
		return "make sure that nobody uses the grants that were exported"
	}
	return "make sure that no other process uses the store that it comes from"
}

// Hold returns why the store is on hold, nil if it is not.
func (v *Vault) Hold() *Hold { return v.hold.Load() }

// PutOnHold puts the store on hold, durably. It returns the hold: the one that
// there was, if it was on hold before. After an error the vault is not on hold,
// but what opens the store next may find it so.
func (v *Vault) PutOnHold(ctx context.Context, reason HoldReason, now time.Time) (*Hold, error) {
	if hold := v.hold.Load(); hold != nil {
		return hold, nil
	}
	hold := &Hold{Reason: reason, Since: now.UTC()}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	change, err := holdChange(v.ring, hold)
	if err == nil {
		err = v.store.Apply(ctx, change)
	}
	if err != nil {
		return nil, fmt.Errorf("putting the token store on hold: %w", err)
	}
	v.hold.Store(hold)
	return hold, nil
}

// Release ends the hold, durably, and from then on the store belongs where it
// is now. It returns the hold that it ended, nil if there was none. After an
// error the store is still on hold.
func (v *Vault) Release(ctx context.Context) (*Hold, error) {
	hold := v.hold.Load()
	if hold == nil {
		return nil, nil
	}
	here, err := v.here()
	if err != nil {
		return nil, fmt.Errorf("releasing the token store from its hold: %w", err)
	}
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	changes := []Change{{Name: holdName}}
	if len(here) > 0 {
		change, err := v.placeChange(here)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	if err := v.store.Apply(ctx, changes...); err != nil {
		return nil, fmt.Errorf("releasing the token store from its hold: %w", err)
	}
	v.hold.Store(nil)
	return hold, nil
}

// findHold finds out whether the store is on hold, and puts it on hold if it is
// a copy. It is called before anybody else uses the vault.
func (v *Vault) findHold(ctx context.Context) error {
	hold, err := v.readHold(ctx)
	if err != nil {
		return err
	}
	v.hold.Store(hold)
	if hold != nil {
		return nil
	}
	here, err := v.here()
	if err != nil || len(here) == 0 {
		return err
	}
	there, err := v.readPlace(ctx)
	if err != nil {
		return err
	}
	var change Change
	if there.contradicts(here) {
		hold = &Hold{Reason: HoldCopied, Since: time.Now().UTC()}
		change, err = holdChange(v.ring, hold)
	} else {
		if there.covers(here) {
			return nil
		}
		// An engine may know more than it did, and has not forgotten the rest.
		known := maps.Clone(here)
		maps.Copy(known, there)
		change, err = v.placeChange(known)
	}
	if err != nil {
		return err
	}
	v.hold.Store(hold)
	err = v.store.Apply(ctx, change)
	if errors.Is(err, ErrFull) {
		// A full disk must not keep valid tokens from being served. The next
		// start finds what this one has found.
		return nil
	}
	if err != nil {
		return fmt.Errorf("noting where the token store is: %w", err)
	}
	return nil
}

// place are facts about where a store is. Facts that only one of two places
// knows say nothing about whether they are the same.
type place map[string]string

func (p place) contradicts(other place) bool {
	for name, value := range p {
		if there, ok := other[name]; ok && there != value {
			return true
		}
	}
	return false
}

func (p place) covers(other place) bool {
	for name := range other {
		if _, ok := p[name]; !ok {
			return false
		}
	}
	return true
}

// here returns where the store is, without facts if that is not known.
func (v *Vault) here() (place, error) {
	placed, ok := v.store.(Placed)
	if !ok {
		return nil, nil
	}
	here, err := placed.Place()
	if err != nil {
		return nil, fmt.Errorf("finding out where the token store is: %w", err)
	}
	return here, nil
}

// wireHold and wirePlace are the forms under the seal.
type wireHold struct {
	Version  int        `json:"v"`
	Reason   HoldReason `json:"reason"`
	Since    time.Time  `json:"since"`
	BackupAt time.Time  `json:"backup_at,omitzero"`
}

type wirePlace struct {
	Version int   `json:"v"`
	Facts   place `json:"facts"`
}

// holdChange returns the change that puts a store on hold, sealed with the
// ring's first key.
func holdChange(ring *Keyring, hold *Hold) (Change, error) {
	return sealedChange(ring, holdName, wireHold{payloadVersion, hold.Reason, hold.Since.UTC(), hold.BackupAt.UTC()})
}

// placeChange returns the change that says where the store is. The caller holds
// ringMu, or is alone.
func (v *Vault) placeChange(here place) (Change, error) {
	return sealedChange(v.ring, placeName, wirePlace{payloadVersion, here})
}

func sealedChange(ring *Keyring, name []byte, payload any) (Change, error) {
	text, err := json.Marshal(payload)
	if err != nil {
		return Change{}, fmt.Errorf("encoding an entry of the token store: %w", err)
	}
	sealed, err := ring.seal(name, 0, text)
	return Change{Name: name, Value: sealed}, err
}

// readHold returns the hold that is stored, nil if there is none. One that
// cannot be read is an error, and not none.
func (v *Vault) readHold(ctx context.Context) (*Hold, error) {
	var w wireHold
	found, err := v.readItem(ctx, holdName, &w, &w.Version)
	if err != nil || !found {
		return nil, err
	}
	return &Hold{Reason: w.Reason, Since: w.Since, BackupAt: w.BackupAt}, nil
}

func (v *Vault) readPlace(ctx context.Context) (place, error) {
	var w wirePlace
	_, err := v.readItem(ctx, placeName, &w, &w.Version)
	return w.Facts, err
}

// readItem reads an entry that there is at most one of. version is the field of
// the payload that holds its version.
func (v *Vault) readItem(ctx context.Context, name []byte, payload any, version *int) (found bool, err error) {
	sealed, err := v.store.Get(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	opened, err := v.ring.open(name, sealed)
	if err == nil {
		switch {
		case json.Unmarshal(opened.plaintext, payload) != nil || *version < 1:
			err = ErrAltered
		case *version > payloadVersion:
			err = ErrNewerVersion
		}
	}
	if err != nil {
		return false, &DamagedError{Err: err, name: name}
	}
	return true, nil
}
