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
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Keys outlive a start, a change of the encryption key, and a backup; what
// cannot be read is told of and hides no other.
func TestProxyKeys(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	one := tokenstore.ProxyKey{ID: "one", Caller: "billing-app", Hash: sha256.Sum256([]byte("key one")), Created: time.Unix(1e9, 0).UTC()}
	two := tokenstore.ProxyKey{ID: "two", Caller: "reports", Hash: sha256.Sum256([]byte("key two")), Created: time.Unix(2e9, 0).UTC()}
	for _, key := range []tokenstore.ProxyKey{one, two} {
		if err := v.PutProxyKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.PutProxyKey(t.Context(), one); !errors.Is(err, tokenstore.ErrConflict) {
		t.Errorf("an ID that is in use: %v", err)
	}
	if err := v.PutProxyKey(t.Context(), tokenstore.ProxyKey{ID: "x"}); !errors.Is(err, tokenstore.ErrInvalid) {
		t.Errorf("without a caller: %v", err)
	}
	check := func(when string, v *tokenstore.Vault, want ...tokenstore.ProxyKey) {
		t.Helper()
		keys, damaged, err := v.ProxyKeys(t.Context())
		if err != nil || damaged != nil || len(keys) != len(want) {
			t.Fatalf("%s: %v %v %v", when, keys, damaged, err)
		}
		found := make(map[tokenstore.ProxyKey]bool)
		for _, key := range keys {
			found[key] = true
		}
		for _, key := range want {
			if !found[key] {
				t.Errorf("%s: %v is not in %v", when, key, keys)
			}
		}
	}
	check("stored", v, one, two)
	for name, value := range image(t, store) {
		if bytes.Contains([]byte(value), []byte("billing-app")) || bytes.Contains([]byte(value), one.Hash[:]) {
			t.Errorf("%q is not sealed", name)
		}
	}
	promote(t, v, keyB, keyA)
	reseal(t, v)
	check("with another encryption key", openVault(t, store, keyB), one, two)
	restored := newStore(t)
	if err := restore(t, backup(t, openVault(t, store, keyB)), restored, keyB); err != nil {
		t.Fatal(err)
	}
	check("restored", openVault(t, restored, keyB), one, two)

	if err := errors.Join(v.DeleteProxyKey(t.Context(), "one"), v.DeleteProxyKey(t.Context(), "one")); err != nil {
		t.Error(err)
	}
	check("deleted", v, two)
	name := nameOf(t, store, "k")
	sealed, err := store.Get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.PutProxyKey(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	overwrite(t, store, name, string(flip(sealed)))
	keys, damaged, err := v.ProxyKeys(t.Context())
	var unreadable *tokenstore.DamagedError
	if err != nil || len(keys) != 1 || keys[0] != one || !errors.As(damaged, &unreadable) {
		t.Errorf("one of them damaged: %v %v %v", keys, damaged, err)
	}
	store.FailAll(errDisk)
	if _, _, err := v.ProxyKeys(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("a disk on fire: %v", err)
	}
}
