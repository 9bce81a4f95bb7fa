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
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The outbox holds what is to be told to others about connections. A notice is
// stored in the same step as the change that it tells of, so that neither is
// ever there without the other, and stays until it has been delivered.

const (
	// MaxNotice is the longest body of a notice, in bytes, and MaxNotices how
	// many one change of a record can have. With a record they fit into one
	// call of Store.Apply.
	MaxNotice  = 8 << 10
	MaxNotices = 4
)

// Notice is what is to be told about one change of a connection.
type Notice struct {
	Key
	// ID tells notices apart. It is the same for every try to deliver one.
	ID string
	// Time is when it happened.
	Time time.Time
	// Minor tells that it is among the first to be given up if the outbox
	// grows too long.
	Minor bool
	// Body is what to tell. The store seals it and does not look into it.
	Body []byte

	ref     NoticeRef
	sealed  []byte
	content digest
}

// NoticeRef names a stored notice. It can be compared, and tells nothing about
// the connection but which notices are of the same one.
type NoticeRef struct{ name string }

// The parts of a notice's name: the kind, the integration, a number that grows
// with every change, the notice's place among those of its change, whether it
// is minor, and the connection.
const (
	noticeSequence   = 1 + integrationSize
	noticePlace      = noticeSequence + 8
	noticeMinor      = noticePlace + 1
	noticeConnection = noticeMinor + 1
	noticeSize       = noticeConnection + connectionSize
)

// Queue stands for the integration: see Vault.Queue.
func (r NoticeRef) Queue() string { return r.name[1:noticeSequence] }

// Connection stands for the connection, among all of its integration.
func (r NoticeRef) Connection() string { return r.name[noticeConnection:] }

// Minor is that of the notice.
func (r NoticeRef) Minor() bool { return r.name[noticeMinor] != 0 }

// Before tells whether a notice is older than another one of its connection.
func (r NoticeRef) Before(other NoticeRef) bool {
	return r.name[noticeSequence:noticeMinor] < other.name[noticeSequence:noticeMinor]
}

// outbox numbers the notices and says that there are new ones.
type outbox struct {
	mu   sync.Mutex
	last uint64
	told func(NoticeRef)
}

func (o *outbox) next() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last++
	return o.last
}

func (o *outbox) tell(refs []NoticeRef) {
	o.mu.Lock()
	told := o.told
	o.mu.Unlock()
	if told == nil {
		return
	}
	for _, ref := range refs {
		told(ref)
	}
}

// continueOutbox makes the numbers go on after those that are stored.
func (v *Vault) continueOutbox(ctx context.Context) error {
	return v.Notices(ctx, func(ref NoticeRef) bool {
		v.outbox.last = max(v.outbox.last, binary.BigEndian.Uint64([]byte(ref.name[noticeSequence:])))
		return true
	})
}

// OnNotice has fn called for every notice that is stored from now on. fn must
// return at once and not call the vault. There is one such function.
func (v *Vault) OnNotice(fn func(NoticeRef)) {
	v.outbox.mu.Lock()
	defer v.outbox.mu.Unlock()
	v.outbox.told = fn
}

// Queue returns what NoticeRef.Queue returns for the notices of an integration.
func (v *Vault) Queue(integration string) string {
	return string(v.names.integration(kindNotice, integration)[1:])
}

// Notices calls fn for all stored notices until it returns false, those of one
// integration in the order in which they were stored. fn must not call the
// vault.
func (v *Vault) Notices(ctx context.Context, fn func(NoticeRef) bool) error {
	err := v.store.Scan(ctx, []byte{byte(kindNotice)}, nil, func(name, _ []byte) bool {
		return len(name) != noticeSize || fn(NoticeRef{string(name)})
	})
	if err != nil {
		return fmt.Errorf("reading the outbox: %w", err)
	}
	return nil
}

// ReadNotice reads a notice. The error is ErrNotFound if it is gone, and a
// *DamagedError if it cannot be read.
func (v *Vault) ReadNotice(ctx context.Context, ref NoticeRef) (*Notice, error) {
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	sealed, err := v.store.Get(ctx, []byte(ref.name))
	if err != nil {
		return nil, fmt.Errorf("reading a notice: %w", err)
	}
	n, err := v.openNotice(ref, sealed)
	if err != nil {
		return nil, &DamagedError{Err: err, name: []byte(ref.name)}
	}
	return n, nil
}

// DropNotice deletes a notice that was read. The error is ErrConflict if
// another one was stored in its place meanwhile.
func (v *Vault) DropNotice(ctx context.Context, n *Notice) error {
	v.ringMu.RLock()
	defer v.ringMu.RUnlock()
	name, sealed := []byte(n.ref.name), n.sealed
	for try := 1; ; try++ {
		err := v.store.Apply(ctx, Change{Name: name, Check: true, Old: sealed})
		if !errors.Is(err, ErrConflict) || try == maxTries {
			return err
		}
		// It may only have been sealed anew.
		sealed, err = v.store.Get(ctx, name)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("dropping a notice: %w", err)
		}
		if now, err := v.openNotice(n.ref, sealed); err != nil || now.content != n.content {
			return fmt.Errorf("dropping a notice: %w", ErrConflict)
		}
	}
}

// DropNotices deletes notices unread.
func (v *Vault) DropNotices(ctx context.Context, refs ...NoticeRef) error {
	for len(refs) > 0 {
		n := min(len(refs), MaxChanges)
		changes := make([]Change, n)
		for i, ref := range refs[:n] {
			changes[i].Name = []byte(ref.name)
		}
		if err := v.store.Apply(ctx, changes...); err != nil {
			return fmt.Errorf("dropping notices: %w", err)
		}
		refs = refs[n:]
	}
	return nil
}

// noticeChanges returns what stores notices along with a write of r. The names
// are the same when a write is repeated whose outcome is unknown: what it has
// stored is stored over, not twice. The caller holds ringMu.
func (v *Vault) noticeChanges(r *Record, notices []Notice) (changes []Change, refs []NoticeRef, err error) {
	if len(notices) == 0 {
		return nil, nil, nil
	}
	if len(notices) > MaxNotices {
		return nil, nil, fmt.Errorf("%w: %d notices of one change, at most %d are allowed", ErrInvalid, len(notices), MaxNotices)
	}
	if r.sequence == 0 {
		r.sequence = v.outbox.next()
	}
	for i, n := range notices {
		if n.Key != r.Key || n.ID == "" || len(n.Body) > MaxNotice {
			return nil, nil, fmt.Errorf("%w: a notice is of another connection, has no ID, or is longer than %d bytes", ErrInvalid, MaxNotice)
		}
		ref := v.noticeRef(n, r.sequence, i)
		payload, err := json.Marshal(wireNotice{
			Version: payloadVersion, Integration: n.Integration, Connection: n.Connection,
			ID: n.ID, Time: n.Time.UTC(), Minor: n.Minor, Body: n.Body,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("%w: a notice's time is out of range", ErrInvalid)
		}
		sealed, err := v.ring.seal([]byte(ref.name), 0, payload)
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, Change{Name: []byte(ref.name), Value: sealed})
		refs = append(refs, ref)
	}
	return changes, refs, nil
}

func (v *Vault) noticeRef(n Notice, sequence uint64, place int) NoticeRef {
	connection := v.names.connection(kindNotice, n.Key)
	name := append(make([]byte, 0, noticeSize), connection[:noticeSequence]...)
	name = binary.BigEndian.AppendUint64(name, sequence)
	name = append(name, byte(place), 0)
	if n.Minor {
		name[noticeMinor] = 1
	}
	return NoticeRef{string(append(name, connection[noticeSequence:]...))}
}

// wireNotice is the form of a Notice under its seal.
type wireNotice struct {
	Version     int       `json:"v"`
	Integration string    `json:"integration"`
	Connection  string    `json:"connection"`
	ID          string    `json:"id"`
	Time        time.Time `json:"time,omitzero"`
	Minor       bool      `json:"minor,omitempty"`
	Body        []byte    `json:"body,omitempty"`
}

// openNotice opens the notice under a name. The caller holds ringMu.
func (v *Vault) openNotice(ref NoticeRef, sealed []byte) (*Notice, error) {
	opened, err := v.ring.open([]byte(ref.name), sealed)
	if err != nil {
		return nil, err
	}
	var w wireNotice
	// The decoder's error is dropped because it may quote from the payload.
	if err := json.Unmarshal(opened.plaintext, &w); err != nil || w.Version < 1 {
		return nil, ErrAltered
	}
	if w.Version > payloadVersion {
		return nil, ErrNewerVersion
	}
	n := &Notice{
		Key: Key{Integration: w.Integration, Connection: w.Connection}, ID: w.ID, Time: w.Time, Minor: w.Minor, Body: w.Body,
		ref: ref, sealed: sealed, content: digestOf(opened.plaintext),
	}
	connection := v.names.connection(kindNotice, n.Key)
	if n.Minor != ref.Minor() || !bytes.Equal(connection[1:noticeSequence], []byte(ref.Queue())) ||
		!bytes.Equal(connection[noticeSequence:], []byte(ref.Connection())) {
		return nil, ErrAltered
	}
	return n, nil
}
