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
	"testing"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func fuzzRing(f *testing.F) *tokenstore.Keyring {
	f.Helper()
	ring, err := tokenstore.ParseKeyring(secret.New(keyA))
	if err != nil {
		f.Fatal(err)
	}
	return ring
}

// FuzzOpen puts arbitrary bytes where a record, an intent, a one-time value
// and the meta record should be. Nothing but the very bytes that were sealed
// for an entry may be read from it; everything else is an error that does not
// say "not found".
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0})
	f.Add(bytes.Repeat([]byte{1}, 45))
	ctx := f.Context()
	image := golden(f)
	genuine := map[byte][]byte{}
	names := map[byte][]byte{}
	v, err := tokenstore.OpenVault(ctx, image, fuzzRing(f))
	if err != nil {
		f.Fatal(err)
	}
	want := goldenRecord()
	err = image.Scan(ctx, nil, nil, func(name, value []byte) bool {
		// Of the two records, take the one of connection 1.
		if _, seen := names[name[0]]; !seen || name[0] != 'g' {
			names[name[0]], genuine[name[0]] = name, value
		}
		return true
	})
	if err != nil {
		f.Fatal(err)
	}
	if err := image.Apply(ctx, tokenstore.Change{Name: names['g']}); err != nil {
		f.Fatal(err)
	}
	if _, err := v.Load(ctx, want.Key); !errors.Is(err, tokenstore.ErrNotFound) {
		want.Connection = "2" // it was that one's
	}
	keys := fuzzRing(f)

	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > tokenstore.MaxValue {
			t.Skip()
		}
		store := image.Copy()
		w, err := tokenstore.OpenVault(ctx, store, keys)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := store.Apply(ctx, tokenstore.Change{Name: name, Value: data}); err != nil {
				t.Fatal(err)
			}
		}
		check := func(kind byte, found bool, err error) {
			t.Helper()
			if bytes.Equal(data, genuine[kind]) {
				if err != nil || !found {
					t.Errorf("what was sealed for an entry does not open: %v", err)
				}
				return
			}
			var damage *tokenstore.DamagedError
			var wrong *tokenstore.WrongKeyError
			if found || !errors.As(err, &damage) && !errors.As(err, &wrong) {
				t.Errorf("something else opens, or the error is wrong: %v", err)
			}
		}
		r, err := w.Load(ctx, want.Key)
		check('g', r != nil, err)
		if r != nil && r.RefreshToken.Reveal() != want.RefreshToken.Reveal() {
			t.Error("a wrong value was read")
		}
		intents, err := w.Intents(ctx)
		check('i', len(intents) > 0, err)
		value, err := w.Take(ctx, "state", "id", now)
		check('o', value != nil, err)
		_, err = tokenstore.OpenVault(ctx, store, keys)
		check('m', err == nil, err)
		if err == nil {
			return // the ring was not refused, because the meta record is intact
		}
		if got, _ := store.Get(ctx, []byte("m")); !bytes.Equal(got, data) {
			t.Error("a meta record that does not open was replaced")
		}
	})
}
