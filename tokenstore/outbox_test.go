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
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

func notice(r *tokenstore.Record, id string) tokenstore.Notice {
	return tokenstore.Notice{Key: r.Key, ID: id, Time: now, Body: []byte("body of " + id)}
}

// refs returns the names of all stored notices.
func refs(t *testing.T, v *tokenstore.Vault) (all []tokenstore.NoticeRef) {
	t.Helper()
	if err := v.Notices(t.Context(), func(ref tokenstore.NoticeRef) bool {
		all = append(all, ref)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// ids returns the IDs of all stored notices, in order.
func ids(t *testing.T, v *tokenstore.Vault) string {
	t.Helper()
	var all []string
	for _, ref := range refs(t, v) {
		n, err := v.ReadNotice(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n.ID)
	}
	return strings.Join(all, " ")
}

func TestOutboxKeepsTheOrderOverRestarts(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	r := record("1")
	for i := range 20 {
		if i%5 == 0 {
			v = openVault(t, store, keyA)
		}
		r.Generation++
		if err := v.Save(t.Context(), r, notice(r, fmt.Sprint(2*i)), notice(r, fmt.Sprint(2*i+1))); err != nil {
			t.Fatal(err)
		}
	}
	all := refs(t, v)
	for i, ref := range all {
		n, err := v.ReadNotice(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		if n.ID != fmt.Sprint(i) || n.Key != r.Key || !n.Time.Equal(now) || string(n.Body) != "body of "+n.ID || n.Minor {
			t.Errorf("notice %d is %+v", i, n)
		}
		if ref.Queue() != v.Queue("quickbooks") || ref.Queue() == v.Queue("other") || ref.Connection() != all[0].Connection() {
			t.Errorf("notice %d is in another queue", i)
		}
		if i > 0 && (!all[i-1].Before(ref) || ref.Before(all[i-1])) {
			t.Errorf("notice %d is not after the one before", i)
		}
	}
	if len(all) != 40 {
		t.Errorf("%d notices are stored", len(all))
	}
}

// The promise of the outbox: neither the change without its notice, nor the
// notice without its change, wherever the process dies.
func TestNoticeIsStoredWithItsChangeOrNotAtAll(t *testing.T) {
	for _, when := range []storetest.When{storetest.BeforeApply, storetest.AfterApply} {
		for _, deleting := range []bool{false, true} {
			t.Run(fmt.Sprint(when, deleting), func(t *testing.T) {
				store := newStore(t)
				v := openVault(t, store, keyA)
				r := record("1")
				save(t, v, r)
				store.FailApply(1, when, errDisk)
				r.State = tokenstore.StateNeedsReauth
				change := func() error {
					if deleting {
						return v.Delete(t.Context(), r, notice(r, "a"))
					}
					return v.Save(t.Context(), r, notice(r, "a"))
				}
				if err := change(); !errors.Is(err, errDisk) {
					t.Fatalf("the write was to fail: %v", err)
				}
				// The process dies here.
				after := openVault(t, store.Copy(), keyA)
				got, err := after.Load(t.Context(), r.Key)
				changed := errors.Is(err, tokenstore.ErrNotFound) || err == nil && got.State == tokenstore.StateNeedsReauth
				if told := ids(t, after) == "a"; told != changed || changed != (when == storetest.AfterApply) {
					t.Errorf("changed: %t, notices: %q", changed, ids(t, after))
				}
				// It lives, and repeats the write: told once, not twice.
				if err := change(); err != nil {
					t.Fatal(err)
				}
				if got := ids(t, v); got != "a" {
					t.Errorf("notices after the write was repeated: %q", got)
				}
			})
		}
	}
}

func TestStaleRecordBringsNoNotice(t *testing.T) {
	v := openVault(t, newStore(t), keyA)
	r := record("1")
	save(t, v, r)
	stale := load(t, v, r.Key)
	r.Generation++
	save(t, v, r)
	if err := v.Save(t.Context(), stale, notice(stale, "stale")); !errors.Is(err, tokenstore.ErrConflict) {
		t.Fatalf("saving a stale record: %v", err)
	}
	if got := ids(t, v); got != "" {
		t.Errorf("notices of a change that was refused: %q", got)
	}
}

func TestNoticesAreTold(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	var told []tokenstore.NoticeRef
	v.OnNotice(func(ref tokenstore.NoticeRef) { told = append(told, ref) })
	r := record("1")
	store.FailApply(1, storetest.BeforeApply, errDisk)
	if err := v.Save(t.Context(), r, notice(r, "a")); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	if len(told) != 0 {
		t.Error("told of a notice that is not stored")
	}
	if err := v.Save(t.Context(), r, notice(r, "a")); err != nil {
		t.Fatal(err)
	}
	if all := refs(t, v); len(told) != 1 || len(all) != 1 || told[0] != all[0] {
		t.Errorf("told of %v, stored are %v", told, all)
	}
}

func TestDropNotice(t *testing.T) {
	v := openVault(t, newStore(t), keyA)
	r := record("1")
	minor := notice(r, "b")
	minor.Minor = true
	if err := v.Save(t.Context(), r, notice(r, "a"), minor); err != nil {
		t.Fatal(err)
	}
	all := refs(t, v)
	first, err := v.ReadNotice(t.Context(), all[0])
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Minor() || !all[1].Minor() {
		t.Error("the names do not tell which notice is minor")
	}
	// Sealed anew meanwhile, it is still the same.
	promote(t, v, keyB, keyA)
	reseal(t, v)
	for range 2 { // once more is no error
		if err := v.DropNotice(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(t, v); got != "b" {
		t.Errorf("left are %q", got)
	}
	if err := v.DropNotices(t.Context(), all...); err != nil || ids(t, v) != "" {
		t.Errorf("left are %q: %v", ids(t, v), err)
	}
	if _, err := v.ReadNotice(t.Context(), all[0]); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("reading what is gone: %v", err)
	}
}

// What was stored in its place is another notice, and must be delivered.
func TestDropNoticeLeavesItsSuccessor(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	r := record("1")
	store.FailApply(1, storetest.AfterApply, errDisk)
	if err := v.Save(t.Context(), r, notice(r, "a")); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	read, err := v.ReadNotice(t.Context(), refs(t, v)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Save(t.Context(), r, notice(r, "b")); err != nil {
		t.Fatal(err)
	}
	if err := v.DropNotice(t.Context(), read); !errors.Is(err, tokenstore.ErrConflict) || ids(t, v) != "b" {
		t.Errorf("%v, left are %q", err, ids(t, v))
	}
}

func TestNoticesAreSealedAndBound(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	for _, id := range []string{"1", "2"} {
		r := record(id)
		if err := v.Save(t.Context(), r, notice(r, "evt-"+id)); err != nil {
			t.Fatal(err)
		}
	}
	held := image(t, store)
	var names []string
	for name, value := range held {
		if name[0] == 'n' {
			names = append(names, name)
		}
		if strings.Contains(name+value, "evt-") || strings.Contains(name+value, "quickbooks") || strings.Contains(value, "body of") {
			t.Errorf("something can be read in %q", name)
		}
	}
	if len(names) != 2 {
		t.Fatalf("%d notices", len(names))
	}
	// One in the place of the other does not open.
	if err := store.Apply(t.Context(), tokenstore.Change{Name: []byte(names[0]), Value: []byte(held[names[1]])}); err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, ref := range refs(t, v) {
		if _, err := v.ReadNotice(t.Context(), ref); errors.Is(err, tokenstore.ErrAltered) {
			damaged++
		}
	}
	if damaged != 1 {
		t.Errorf("%d notices are damaged", damaged)
	}
}

// A record of the greatest size and notices of the greatest size fit.
func TestNoticesFit(t *testing.T) {
	v := openVault(t, newStore(t), keyA)
	r := record("1")
	r.Scopes = []string{strings.Repeat("s", 60<<10)}
	r.DueAt = now
	var most []tokenstore.Notice
	for i := range tokenstore.MaxNotices {
		n := notice(r, fmt.Sprint(i))
		n.Body = bytes.Repeat([]byte("x"), tokenstore.MaxNotice)
		most = append(most, n)
	}
	if err := v.Save(t.Context(), r, most...); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]tokenstore.Notice{
		append(most, notice(r, "5")),
		{{Key: r.Key, ID: "x", Body: bytes.Repeat([]byte("x"), tokenstore.MaxNotice+1)}},
		{{Key: r.Key}},
		{notice(record("2"), "x")},
	} {
		if err := v.Save(t.Context(), r, bad...); !errors.Is(err, tokenstore.ErrInvalid) {
			t.Errorf("%d notices: %v", len(bad), err)
		}
	}
}

func TestStored(t *testing.T) {
	v := openVault(t, newStore(t), keyA)
	r := record("1")
	if r.Stored() != nil {
		t.Error("a new record is stored")
	}
	save(t, v, r)
	read := load(t, v, r.Key)
	next := *read
	next.State = tokenstore.StateSuspect
	if next.Stored().State != tokenstore.StateConnected || next.Stored().Stored() != nil {
		t.Errorf("stored is %+v", next.Stored())
	}
	save(t, v, &next)
	if next.Stored().State != tokenstore.StateSuspect || read.Stored().State != tokenstore.StateConnected {
		t.Error("the stored record is not what was saved")
	}
	if err := v.Delete(t.Context(), &next); err != nil || next.Stored() != nil {
		t.Errorf("deleted, and still stored: %v", err)
	}
}
