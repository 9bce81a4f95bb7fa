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

package tokenstore_test

import (
	"bytes"
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Where the audit log ends outlives a start and a change of the key, is sealed,
// and is not in a backup.
func TestAuditHead(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	if head, err := v.AuditHead(t.Context()); head != nil || err != nil {
		t.Errorf("a new store has the head %q, %v", head, err)
	}
	want := []byte("the end of the log")
	if err := v.SetAuditHead(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	check := func(when string, v *tokenstore.Vault) {
		t.Helper()
		if head, err := v.AuditHead(t.Context()); !bytes.Equal(head, want) || err != nil {
			t.Errorf("%s: %q, %v", when, head, err)
		}
	}
	check("stored", v)
	for name, value := range image(t, store) {
		if bytes.Contains([]byte(value), want) {
			t.Errorf("%q is not sealed", name)
		}
	}
	promote(t, v, keyB, keyA)
	reseal(t, v)
	check("with another key", openVault(t, store, keyB))

	name := nameOf(t, store, "a")
	sealed, err := store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, store, name, string(flip(sealed)))
	if head, err := openVault(t, store, keyB).AuditHead(t.Context()); err == nil {
		t.Errorf("a head that was altered: %q", head)
	}
	overwrite(t, store, name, string(sealed))

	restored := newStore(t)
	if err := restore(t, backup(t, openVault(t, store, keyB)), restored, keyB); err != nil {
		t.Fatal(err)
	}
	if head, err := openVault(t, restored, keyB).AuditHead(t.Context()); head != nil || err != nil {
		t.Errorf("a restored store has the head %q, %v", head, err)
	}
	store.FailAll(errDisk)
	if v.SetAuditHead(t.Context(), want) == nil {
		t.Error("a disk on fire keeps the head")
	}
}

func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 1
	return b
}

func TestKeyCounts(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	for _, connection := range []string{"1", "2", "3"} {
		save(t, v, record(connection))
	}
	want := func(what string, want ...tokenstore.KeyCount) {
		t.Helper()
		got, err := v.KeyCounts(t.Context())
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: %+v, %v", what, got, err)
		}
		for i := range got {
			if len(got[i].ID) != 16 {
				t.Errorf("%s: the id %q", what, got[i].ID)
			}
			got[i].ID = ""
			if got[i] != want[i] {
				t.Errorf("%s: %+v, want %+v", what, got[i], want[i])
			}
		}
	}
	// Three grants and the store's own record.
	want("one key", tokenstore.KeyCount{Position: 1, Active: true, Records: 4, Needed: true})
	promote(t, v, keyB, keyA)
	want("a new key", tokenstore.KeyCount{Position: 1, Active: true, Records: 1, Needed: true}, tokenstore.KeyCount{Position: 2, Records: 3, Needed: true})
	save(t, v, load(t, v, record("1").Key))
	want("one grant saved", tokenstore.KeyCount{Position: 1, Active: true, Records: 2, Needed: true}, tokenstore.KeyCount{Position: 2, Records: 2, Needed: true})
	reseal(t, v)
	want("all sealed anew", tokenstore.KeyCount{Position: 1, Active: true, Records: 4, Needed: true}, tokenstore.KeyCount{Position: 2})

	// What no key of the ring opens is told as well.
	for name, sealed := range image(t, store) {
		if name[0] == 'g' {
			damaged := []byte(sealed)
			damaged[1] ^= 1
			overwrite(t, store, []byte(name), string(damaged))
			break
		}
	}
	want("damaged", tokenstore.KeyCount{Position: 1, Active: true, Records: 3, Needed: true}, tokenstore.KeyCount{Position: 2}, tokenstore.KeyCount{Records: 1})
}
