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
	"maps"
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// A probe sees a store that can only be read, one that cannot be read and one
// that is not its own any more, and leaves nothing behind.
func TestProbe(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	before := image(t, store)
	if err := v.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, image(t, store)) {
		t.Error("a probe has left something behind")
	}
	store.FailApply(1, storetest.BeforeApply, errDisk)
	if err := v.Probe(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("a store that cannot be written: %v", err)
	}
	store.FailAll(errDisk)
	if err := v.Probe(t.Context()); !errors.Is(err, errDisk) {
		t.Errorf("a store that cannot be read: %v", err)
	}
	store.FailAll(nil)
	// Another process has changed the key.
	promote(t, openVault(t, store, keyA), keyB, keyA)
	var wrong *tokenstore.WrongKeyError
	if err := v.Probe(t.Context()); !errors.As(err, &wrong) {
		t.Errorf("a key that does not fit: %v", err)
	}
}
