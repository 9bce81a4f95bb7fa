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

// The due index finds the grants that want attention although nobody uses
// them, without a look at all the others: one entry for each, sorted by the
// day. A day is all that it tells in clear.

const (
	kindDue kind = 'd'
	dueDay       = 24 * time.Hour
	daySize      = 4
)

// dueValue is what an entry holds; its name says all.
var dueValue = []byte{1}

// dayOf returns the day of a time, 0 for none.
func dayOf(t time.Time) uint32 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint32(t.Unix() / int64(dueDay/time.Second))
}

// dueName is the name of the entry of a grant on a day. grantName is the
// grant's own name.
func dueName(day uint32, grantName []byte) []byte {
	name := binary.BigEndian.AppendUint32([]byte{byte(kindDue)}, day)
	return append(name, grantName[1:]...)
}

// dueChanges moves the entry of a record. A record that is deleted is due on
// no day.
func (v *Vault) dueChanges(r *Record, grantName []byte, day uint32) []Change {
	if day == r.dueOn {
		return nil
	}
	var changes []Change
	if r.dueOn != 0 {
		changes = append(changes, Change{Name: dueName(r.dueOn, grantName)})
	}
	if day != 0 {
		changes = append(changes, Change{Name: dueName(day, grantName), Value: dueValue})
	}
	return changes
}

// Due returns a page of the records whose DueAt is on the day of now or before,
// those that have waited longest first. after is nil for the first page, and
// then the next of the page before; next is nil after the last one. Records
// that cannot be read are left out, and err is as with List.
func (v *Vault) Due(ctx context.Context, now time.Time, after []byte, limit int) (records []*Record, next []byte, err error) {
	last := dayOf(now)
	var names [][]byte
	err = v.store.Scan(ctx, []byte{byte(kindDue)}, after, func(name, _ []byte) bool {
		if len(name) != 1+daySize+integrationSize+connectionSize || binary.BigEndian.Uint32(name[1:]) > last || len(names) == limit {
			return false
		}
		names = append(names, name)
		return true
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading which grants are due: %w", err)
	}
	var damaged []error
	for _, due := range names {
		name := append([]byte{byte(kindGrant)}, due[1+daySize:]...)
		sealed, err := v.store.Get(ctx, name)
		if errors.Is(err, ErrNotFound) {
			continue // deleted since
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading a grant that is due: %w", err)
		}
		v.ringMu.RLock()
		r, err := v.openRecord(name, sealed)
		v.ringMu.RUnlock()
		switch {
		case err != nil:
			damaged = append(damaged, &DamagedError{Err: err, name: name})
		case r.dueOn == binary.BigEndian.Uint32(due[1:]):
			records = append(records, r)
		}
	}
	if len(names) == limit {
		next = names[len(names)-1]
	}
	return records, next, errors.Join(damaged...)
}
