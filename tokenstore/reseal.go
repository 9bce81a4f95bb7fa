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
	"slices"
	"time"
)

const (
	// resealPage is how many names of entries Reseal remembers at once.
	resealPage = 256
	// resealTold is how many damaged entries its error names.
	resealTold = 10
)

// Reseal seals all entries anew that are sealed with another key than the
// active one; what they hold does not change. When a pass over the store finds
// no more of them, the other keys leave the store's list, and a ring can do
// without them. progress, if it is not nil, is called with how many entries
// were sealed anew so far.
//
// An entry that cannot be read is left as it is and reported in the error, and
// the key that it names stays in the list. Entries can be read and written
// meanwhile; Reseal can be stopped by ctx, and called again, at any time.
func (v *Vault) Reseal(ctx context.Context, progress func(done int)) error {
	for done := 0; ; {
		active, settled, err := v.beginPass(ctx)
		if err != nil {
			return fmt.Errorf("sealing entries with the new encryption key: %w", err)
		}
		if settled {
			return nil
		}
		pass := resealing{vault: v, active: active, progress: progress, done: done}
		if err := pass.run(ctx); err != nil {
			return fmt.Errorf("sealing entries with the new encryption key: %w", err)
		}
		if done = pass.done; pass.found {
			continue
		}
		finished, err := v.retireKeys(ctx, &pass)
		if err != nil {
			return fmt.Errorf("sealing entries with the new encryption key: %w", err)
		}
		if finished {
			return pass.damage()
		}
	}
}

// beginPass returns the active key. settled tells that no entry can be sealed
// with another one. A ring with further keys is never believed to be settled:
// it may open what an older program has left behind, which had no list.
func (v *Vault) beginPass(ctx context.Context) (active *masterKey, settled bool, err error) {
	v.rekeying.Lock()
	defer v.rekeying.Unlock()
	m, err := v.readMeta(ctx, v.ring)
	if err != nil {
		return nil, false, err
	}
	return v.ring.first(), v.ring.Len() == 1 && len(m.Keys) == 1, nil
}

// retireKeys takes the keys out of the store's list that a pass has found no
// use for. It returns false if another key became the active one meanwhile.
func (v *Vault) retireKeys(ctx context.Context, pass *resealing) (finished bool, err error) {
	v.rekeying.Lock()
	defer v.rekeying.Unlock()
	if v.ring.first().id != pass.active.id {
		return false, nil
	}
	for {
		m, err := v.readMeta(ctx, v.ring)
		if err != nil {
			return false, err
		}
		if m.active != 0 {
			return false, fmt.Errorf("%w: another process has changed the encryption key", ErrConflict)
		}
		keys := [][]byte{slices.Clone(pass.active.id[:])}
		for _, id := range m.Keys {
			if !containsID(keys, id) && (pass.unsure || pass.needed[string(id)]) {
				keys = append(keys, id)
			}
		}
		// Only ever shorter, but for the first list of an older store.
		if len(keys) == len(m.Keys) {
			return true, nil
		}
		err = v.writeMeta(ctx, v.ring, m, keys)
		if err == nil || !errors.Is(err, ErrConflict) {
			return err == nil, err
		}
	}
}

// resealing is one pass over the store.
type resealing struct {
	vault    *Vault
	active   *masterKey
	progress func(done int)
	done     int

	// found tells that there was an entry to seal anew.
	found bool
	// needed are the ids of the keys that damaged entries name; unsure tells
	// that one names its key in a way that this program does not understand.
	needed  map[string]bool
	unsure  bool
	damaged []error
	untold  int
}

func (p *resealing) run(ctx context.Context) error {
	var after []byte
	for more := true; more; {
		var names [][]byte
		more = false
		err := p.vault.store.Scan(ctx, nil, after, func(name, value []byte) bool {
			if ctx.Err() != nil {
				return false
			}
			if bytes.Equal(name, metaName) || kind(name[0]) == kindDue || sealedBy(value, p.active) {
				return true
			}
			if len(names) == resealPage {
				more = true
				return false
			}
			names = append(names, name)
			return true
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := p.entry(ctx, name); err != nil {
				return err
			}
		}
		if more {
			after = names[len(names)-1]
		}
	}
	return nil
}

// entry seals one entry anew, as it is now.
func (p *resealing) entry(ctx context.Context, name []byte) error {
	v := p.vault
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	sealed, err := v.store.Get(ctx, name)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && sealedBy(sealed, v.ring.first()):
		return nil
	case err != nil:
		return err
	}
	opened, err := v.ring.open(name, sealed)
	if err != nil {
		p.note(name, sealed, err)
		return nil
	}
	p.found = true
	value, err := v.ring.seal(name, opened.generation, opened.plaintext)
	if err != nil {
		return err
	}
	change := Change{Name: name, Value: value, Check: true, Old: sealed}
	if kind(name[0]) == kindOnce {
		change.ExpiresAt = onceExpiry(opened.plaintext)
	}
	err = v.store.Apply(ctx, change)
	if errors.Is(err, ErrConflict) {
		return nil // the next pass looks at it again
	}
	if err != nil {
		return err
	}
	p.done++
	if p.progress != nil {
		p.progress(p.done)
	}
	return nil
}

func (p *resealing) note(name, sealed []byte, err error) {
	if errors.Is(err, ErrNewerVersion) {
		p.unsure = true
	}
	if id := sealedKeyID(sealed); id != nil {
		if p.needed == nil {
			p.needed = make(map[string]bool)
		}
		// What it names may be garbage, of which there is no end; what is in
		// the ring is little.
		if key, _ := p.vault.ring.find(id); key != nil {
			p.needed[string(id)] = true
		}
	}
	if len(p.damaged) == resealTold {
		p.untold++
		return
	}
	p.damaged = append(p.damaged, &DamagedError{Err: err, name: name})
}

// damage returns what the pass has to report.
func (p *resealing) damage() error {
	if len(p.damaged) == 0 {
		return nil
	}
	return fmt.Errorf("%d entries were left as they are, and former encryption keys that they name are still needed: %w",
		len(p.damaged)+p.untold, errors.Join(p.damaged...))
}

// onceExpiry returns when a one-time value expires, and the zero time if the
// value is not one.
func onceExpiry(payload []byte) time.Time {
	_, expiresAt, err := decodeOnce(payload)
	if err != nil {
		return time.Time{}
	}
	return expiresAt
}
