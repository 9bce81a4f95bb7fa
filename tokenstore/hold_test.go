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
	"errors"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

func at(store *storetest.Memory, facts ...string) *storetest.Memory {
	place := make(map[string]string)
	for i := 0; i < len(facts); i += 2 {
		place[facts[i]] = facts[i+1]
	}
	store.SetPlace(place)
	return store
}

func TestCopiedStoreIsOnHold(t *testing.T) {
	for _, test := range []struct {
		name        string
		there, here []string
		hold        bool
	}{
		{"the same place", []string{"dir", "1", "lock", "2"}, []string{"dir", "1", "lock", "2"}, false},
		{"another one", []string{"dir", "1", "lock", "2"}, []string{"dir", "3", "lock", "4"}, true},
		{"one fact is another", []string{"dir", "1", "lock", "2"}, []string{"dir", "1", "lock", "4"}, true},
		{"not known any more", []string{"dir", "1"}, nil, false},
		{"not known before", nil, []string{"dir", "1"}, false},
		{"more is known", []string{"dir", "1"}, []string{"dir", "1", "born", "5"}, false},
		{"less is known", []string{"dir", "1", "born", "5"}, []string{"dir", "1"}, false},
		{"other things are known", []string{"dir", "1"}, []string{"born", "5"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := at(newStore(t), test.there...)
			if v := openVault(t, store, keyA); v.Hold() != nil {
				t.Fatal("a new store is on hold")
			}
			store = at(store.Copy(), test.here...)
			v := openVault(t, store, keyA)
			if (v.Hold() != nil) != test.hold {
				t.Fatalf("on hold: %+v", v.Hold())
			}
			if !test.hold {
				return
			}
			if v.Hold().Reason != tokenstore.HoldCopied || v.Hold().Since.IsZero() {
				t.Errorf("the hold is %+v", v.Hold())
			}
			// It stays, wherever the store is then.
			if v := openVault(t, store.Copy(), keyA); v.Hold() == nil {
				t.Error("a restart ended the hold")
			}
			if v := openVault(t, at(store.Copy(), test.there...), keyA); v.Hold() == nil {
				t.Error("moving it back ended the hold")
			}
			if hold, err := v.Release(t.Context()); err != nil || hold == nil || hold.Reason != tokenstore.HoldCopied {
				t.Fatalf("release: %+v, %v", hold, err)
			}
			if v.Hold() != nil {
				t.Error("still on hold")
			}
			if hold, err := v.Release(t.Context()); err != nil || hold != nil {
				t.Errorf("a second release: %+v, %v", hold, err)
			}
			if v := openVault(t, at(store.Copy(), test.here...), keyA); v.Hold() != nil {
				t.Error("the release was forgotten")
			}
			if v := openVault(t, at(store.Copy(), test.there...), keyA); v.Hold() == nil {
				t.Error("the store still belongs where it was before")
			}
		})
	}
}

// What was learned of a place is not forgotten when less of it can be seen.
func TestPlaceIsRemembered(t *testing.T) {
	store := at(newStore(t), "dir", "1")
	openVault(t, store, keyA)
	openVault(t, at(store, "born", "5"), keyA)
	openVault(t, at(store), keyA)
	for _, facts := range [][]string{{"dir", "2"}, {"born", "6"}} {
		if v := openVault(t, at(store.Copy(), facts...), keyA); v.Hold() == nil {
			t.Errorf("%q is taken for the same place", facts)
		}
	}
}

// A store on a full disk opens, and is on hold if it is a copy.
func TestCopyOnAFullDisk(t *testing.T) {
	store := at(newStore(t), "dir", "1")
	openVault(t, store, keyA)
	store = at(store.Copy(), "dir", "2")
	store.FailApply(1, storetest.BeforeApply, tokenstore.ErrFull)
	v := openVault(t, store, keyA)
	if v.Hold() == nil {
		t.Error("not on hold")
	}
	store.FailApply(1, storetest.BeforeApply, tokenstore.ErrFull)
	if _, err := v.Release(t.Context()); !errors.Is(err, tokenstore.ErrFull) || v.Hold() == nil {
		t.Errorf("a release that was not stored: %v, on hold: %v", err, v.Hold())
	}
	if hold, err := v.Release(t.Context()); err != nil || hold == nil {
		t.Errorf("a release with space again: %v", err)
	}
	store.FailApply(1, storetest.BeforeApply, errDisk)
	store.SetPlace(map[string]string{"dir": "3"})
	if _, err := tokenstore.OpenVault(t.Context(), store, ring(t, keyA)); !errors.Is(err, errDisk) {
		t.Errorf("a copy on a disk that fails: %v", err)
	}
}

// A hold that cannot be read is not none.
func TestDamagedHold(t *testing.T) {
	store := at(newStore(t), "dir", "1")
	openVault(t, store, keyA)
	store = at(store.Copy(), "dir", "2")
	openVault(t, store, keyA)
	for _, name := range []string{"h", "p"} {
		spoilt := at(store.Copy(), "dir", "2")
		if name == "p" {
			if _, err := openVault(t, spoilt, keyA).Release(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		spoilt.Damage(name)
		var damaged *tokenstore.DamagedError
		if _, err := tokenstore.OpenVault(t.Context(), spoilt, ring(t, keyA)); !errors.As(err, &damaged) {
			t.Errorf("with a damaged %s: %v", name, err)
		}
	}
}

// A hold that came while the store was in use is like any other.
func TestPutOnHold(t *testing.T) {
	store := storetest.NewMemory()
	v := openVault(t, store, keyA)
	store.FailApply(1, storetest.BeforeApply, tokenstore.ErrFull)
	if hold, err := v.PutOnHold(t.Context(), tokenstore.HoldExported, now); !errors.Is(err, tokenstore.ErrFull) || hold != nil || v.Hold() != nil {
		t.Fatalf("a hold that was not stored: %+v, %v", hold, err)
	}
	hold, err := v.PutOnHold(t.Context(), tokenstore.HoldExported, now)
	if err != nil || hold != v.Hold() || hold.Reason != tokenstore.HoldExported || !hold.Since.Equal(now) {
		t.Fatalf("%+v, %v", hold, err)
	}
	if again, err := v.PutOnHold(t.Context(), tokenstore.HoldCopied, now.Add(time.Hour)); err != nil || again != hold {
		t.Errorf("a second hold: %+v, %v", again, err)
	}
	reopened := openVault(t, store.Copy(), keyA)
	if found := reopened.Hold(); found == nil || found.Reason != tokenstore.HoldExported || !found.Since.Equal(now) {
		t.Fatalf("after a restart: %+v", found)
	}
	if _, err := reopened.Release(t.Context()); err != nil || reopened.Hold() != nil {
		t.Errorf("still on hold, %v", err)
	}
}
