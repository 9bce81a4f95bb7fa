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
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func TestKeyUse(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	want := func(what string, want tokenstore.KeyUse, done bool) {
		t.Helper()
		got, err := v.KeyUse(t.Context())
		if err != nil || got != want || got.Done() != done {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	want("one key", tokenstore.KeyUse{Configured: 1, Needed: 1, Promoted: true}, true)
	both := ring(t, keyB, keyA)
	if err := v.UseKeys(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	want("a second key", tokenstore.KeyUse{Configured: 2, Needed: 1, Promoted: false}, false)
	if err := v.Promote(t.Context(), both); err != nil {
		t.Fatal(err)
	}
	want("promoted", tokenstore.KeyUse{Configured: 2, Needed: 2, Promoted: true}, false)
	reseal(t, v)
	want("all sealed anew", tokenstore.KeyUse{Configured: 2, Needed: 1, Promoted: true}, true)

	store.FailAll(errDisk)
	if _, err := v.KeyUse(t.Context()); err == nil {
		t.Error("a disk on fire tells which keys it needs")
	}
}

func TestSameKeys(t *testing.T) {
	a := ring(t, keyA, keyB)
	for _, c := range []struct {
		other *tokenstore.Keyring
		want  bool
	}{
		{a, true}, {ring(t, keyA, keyB), true},
		{ring(t, keyB, keyA), false}, {ring(t, keyA), false}, {ring(t, keyA, keyC), false}, {nil, false},
	} {
		if got := a.Same(c.other); got != c.want {
			t.Errorf("same as %v: %v", c.other, got)
		}
	}
	if !(*tokenstore.Keyring)(nil).Same(nil) || (*tokenstore.Keyring)(nil).Same(a) {
		t.Error("no ring is only the same as no ring")
	}
}
