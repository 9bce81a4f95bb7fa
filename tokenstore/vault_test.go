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
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

var (
	keyA = strings.Repeat("a", 42) + "A"
	keyB = strings.Repeat("b", 42) + "A"
	keyC = strings.Repeat("c", 42) + "A"

	errDisk = errors.New("disk on fire")
)

func newStore(t *testing.T) *storetest.Memory {
	t.Helper()
	return storetest.NewMemory()
}

func ring(t *testing.T, keys ...string) *tokenstore.Keyring {
	t.Helper()
	var secrets []secret.String
	for _, k := range keys {
		secrets = append(secrets, secret.New(k))
	}
	r, err := tokenstore.ParseKeyring(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func openVault(t *testing.T, store tokenstore.Store, keys ...string) *tokenstore.Vault {
	t.Helper()
	v, err := tokenstore.OpenVault(t.Context(), store, ring(t, keys...))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func record(connection string) *tokenstore.Record {
	return &tokenstore.Record{
		Key:          tokenstore.Key{Integration: "quickbooks", Connection: connection},
		Generation:   1,
		Epoch:        1,
		AccessToken:  secret.New("access-" + connection),
		RefreshToken: secret.New("refresh-" + connection),
		State:        tokenstore.StateConnected,
	}
}

func save(t *testing.T, v *tokenstore.Vault, r *tokenstore.Record) {
	t.Helper()
	if err := v.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, v *tokenstore.Vault, key tokenstore.Key) *tokenstore.Record {
	t.Helper()
	r, err := v.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// image returns all that a store holds.
func image(t *testing.T, store tokenstore.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := store.Scan(t.Context(), nil, nil, func(name, value []byte) bool {
		all[string(name)] = string(value)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func equalImages(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// nameOf returns the only name that begins with a kind.
func nameOf(t *testing.T, store tokenstore.Store, kind string) []byte {
	t.Helper()
	var found []byte
	for name := range image(t, store) {
		if strings.HasPrefix(name, kind) {
			if found != nil {
				t.Fatalf("more than one name begins with %s", kind)
			}
			found = []byte(name)
		}
	}
	if found == nil {
		t.Fatalf("no name begins with %s", kind)
	}
	return found
}

func overwrite(t *testing.T, store tokenstore.Store, name []byte, value string) {
	t.Helper()
	if err := store.Apply(t.Context(), tokenstore.Change{Name: name, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

func TestOpenVault(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	if store.Len() != 1 || len(v.StoreID()) != 32 {
		t.Fatalf("a new store holds %d values and has the id %q", store.Len(), v.StoreID())
	}
	save(t, v, record("1"))
	before := image(t, store)

	again := openVault(t, store, keyA)
	if again.StoreID() != v.StoreID() || !bytes.Equal(again.DeriveKey("links"), v.DeriveKey("links")) {
		t.Error("the same store has another identity when it is opened again")
	}
	load(t, again, record("1").Key)
	if !equalImages(before, image(t, store)) {
		t.Error("opening a store changed it")
	}

	other := openVault(t, newStore(t), keyA)
	keys := [][]byte{v.DeriveKey("links"), v.DeriveKey("cookies"), v.DeriveKey(""), other.DeriveKey("links")}
	for i := range keys {
		if len(keys[i]) != 32 {
			t.Errorf("a derived key has %d bytes", len(keys[i]))
		}
		for j := range i {
			if bytes.Equal(keys[i], keys[j]) {
				t.Errorf("derived keys %d and %d are the same", j, i)
			}
		}
	}
	if other.StoreID() == v.StoreID() {
		t.Error("two stores have one id")
	}
}

func TestOpenVaultAtOnce(t *testing.T) {
	store := newStore(t)
	keys := ring(t, keyA)
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			v, err := tokenstore.OpenVault(context.Background(), store, keys)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = v.StoreID()
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("one store has the ids %q", ids)
		}
	}
}

func TestOpenVaultWithoutMeta(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	save(t, v, record("2"))
	if err := store.Apply(t.Context(), tokenstore.Change{Name: []byte("m")}); err != nil {
		t.Fatal(err)
	}
	before := image(t, store)
	_, err := tokenstore.OpenVault(t.Context(), store, ring(t, keyA))
	if err == nil || !strings.Contains(err.Error(), "2 entries") || !strings.Contains(err.Error(), "backup") {
		t.Errorf("error is %v", err)
	}
	if !equalImages(before, image(t, store)) {
		t.Error("the refused store was changed")
	}
}

func TestWrongKey(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	before, applies := image(t, store), store.Applies()
	for _, keys := range [][]string{{keyB}, {keyB, keyC}} {
		_, err := tokenstore.OpenVault(t.Context(), store, ring(t, keys...))
		var wrong *tokenstore.WrongKeyError
		if !errors.As(err, &wrong) || wrong.Keys != len(keys) {
			t.Fatalf("error is %v", err)
		}
		for _, part := range []string{"nothing was changed", "Put back the key", "second"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q does not say %q", err, part)
			}
		}
	}
	if !strings.Contains((&tokenstore.WrongKeyError{Keys: 2}).Error(), "none of the 2 configured encryption keys") {
		t.Error("the error does not say how many keys were tried")
	}
	if !equalImages(before, image(t, store)) || store.Applies() != applies {
		t.Error("the refused store was written to")
	}
	openVault(t, store, keyA)
}

func TestDamagedMeta(t *testing.T) {
	store := newStore(t)
	openVault(t, store, keyA)
	meta := image(t, store)["m"]
	for at := range len(meta) {
		damaged := []byte(meta)
		damaged[at] ^= 1
		overwrite(t, store, []byte("m"), string(damaged))
		_, err := tokenstore.OpenVault(t.Context(), store, ring(t, keyA))
		var wrong *tokenstore.WrongKeyError
		var damage *tokenstore.DamagedError
		if !errors.As(err, &wrong) && !errors.As(err, &damage) {
			t.Fatalf("with byte %d flipped: %v", at, err)
		}
		if got := image(t, store)["m"]; got != string(damaged) {
			t.Fatal("a store that does not open was changed")
		}
	}
}

func TestOpenVaultFails(t *testing.T) {
	store := newStore(t)
	store.FailAll(errDisk)
	if _, err := tokenstore.OpenVault(t.Context(), store, ring(t, keyA)); !errors.Is(err, errDisk) {
		t.Errorf("unreadable: %v", err)
	}
	store.FailAll(nil)
	store.FailApply(1, storetest.BeforeApply, errDisk)
	if _, err := tokenstore.OpenVault(t.Context(), store, ring(t, keyA)); !errors.Is(err, errDisk) {
		t.Errorf("not writable: %v", err)
	}
	openVault(t, store, keyA)
}

func TestRotation(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	save(t, v, record("2"))
	derived := v.DeriveKey("links")

	if err := v.UseKeys(t.Context(), ring(t, keyB, keyA)); err != nil {
		t.Fatal(err)
	}
	names := store.Len()
	one := load(t, v, record("1").Key) // by the second key
	one.Generation++
	save(t, v, one) // with the first
	load(t, v, record("1").Key)
	if store.Len() != names {
		t.Error("the rotation changed a name")
	}

	// The first key alone: what was saved since opens, the rest is damaged,
	// not missing.
	for _, v := range []*tokenstore.Vault{openVault(t, store, keyB), openVault(t, store, keyB, keyC)} {
		if got := load(t, v, record("1").Key); got.Generation != 2 {
			t.Errorf("generation is %d", got.Generation)
		}
		_, err := v.Load(t.Context(), record("2").Key)
		var damage *tokenstore.DamagedError
		if !errors.As(err, &damage) || !errors.Is(err, tokenstore.ErrUnknownKey) || errors.Is(err, tokenstore.ErrNotFound) {
			t.Errorf("a record of the old key: %v", err)
		}
		if !bytes.Equal(v.DeriveKey("links"), derived) {
			t.Error("a derived key did not outlive the encryption key")
		}
	}
	if _, err := tokenstore.OpenVault(t.Context(), store, ring(t, keyA)); err == nil {
		t.Error("the old key alone still opens the store")
	}
	// The old key comes back as the second one.
	load(t, openVault(t, store, keyB, keyA), record("2").Key)
	// Or as the first.
	load(t, openVault(t, store, keyA, keyB), record("2").Key)
	openVault(t, store, keyA)
}

func TestUseKeysRefused(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	save(t, v, record("1"))
	var wrong *tokenstore.WrongKeyError
	if err := v.UseKeys(t.Context(), ring(t, keyB, keyC)); !errors.As(err, &wrong) {
		t.Fatalf("error is %v", err)
	}
	store.FailApply(1, storetest.BeforeApply, errDisk)
	if err := v.UseKeys(t.Context(), ring(t, keyB, keyA)); !errors.Is(err, errDisk) {
		t.Fatalf("error is %v", err)
	}
	// The vault goes on with the ring it had.
	save(t, v, load(t, v, record("1").Key))
	load(t, openVault(t, store, keyA), record("1").Key)

	if err := v.UseKeys(t.Context(), ring(t, keyB, keyA)); err != nil {
		t.Fatal(err)
	}
	applies := store.Applies()
	if err := v.UseKeys(t.Context(), ring(t, keyB)); err != nil {
		t.Fatal(err)
	}
	if store.Applies() != applies {
		t.Error("the meta record was sealed again with the key it was sealed with")
	}

	for name, value := range image(t, newVaultStore(t, keyB)) {
		overwrite(t, store, []byte(name), value)
	}
	if err := v.UseKeys(t.Context(), ring(t, keyB)); err == nil {
		t.Error("another store's meta record was accepted")
	}
}

func newVaultStore(t *testing.T, keys ...string) *storetest.Memory {
	store := newStore(t)
	openVault(t, store, keys...)
	return store
}

func TestUseKeysUnderLoad(t *testing.T) {
	store := newStore(t)
	v := openVault(t, store, keyA)
	rings := []*tokenstore.Keyring{ring(t, keyB, keyA, keyC), ring(t, keyC, keyB, keyA), ring(t, keyA, keyB, keyC)}
	ctx := context.Background()
	done := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		r := record(fmt.Sprint(w))
		wg.Go(func() {
			for {
				err := v.Save(ctx, r)
				if err == nil {
					_, err = v.Load(ctx, r.Key)
				}
				if err != nil {
					t.Error(err)
					return
				}
				r.Generation++
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	var rotators sync.WaitGroup
	for range 2 {
		rotators.Go(func() {
			for i := range 60 {
				if err := v.UseKeys(ctx, rings[i%len(rings)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	rotators.Wait()
	close(done)
	wg.Wait()
}

func TestVaultCloses(t *testing.T) {
	v := openVault(t, newStore(t), keyA)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, r := t.Context(), record("1")
	_, loadErr := v.Load(ctx, r.Key)
	_, _, listErr := v.List(ctx, "", "", 0)
	_, intentsErr := v.Intents(ctx)
	_, takeErr := v.Take(ctx, "state", "id", time.Now())
	_, sweepErr := v.SweepOnce(ctx, time.Now())
	for what, err := range map[string]error{
		"load": loadErr, "list": listErr, "intents": intentsErr, "take": takeErr, "sweep": sweepErr,
		"save": v.Save(ctx, r), "delete": v.Delete(ctx, r), "put intent": v.PutIntent(ctx, tokenstore.Intent{Key: r.Key}),
		"clear intent": v.ClearIntent(ctx, r.Key), "put once": v.PutOnce(ctx, "state", "id", nil, time.Now()),
		"use keys": v.UseKeys(ctx, ring(t, keyA)), "close": v.Close(),
	} {
		if !errors.Is(err, tokenstore.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// manyBytes is how fmt prints a key.
var manyBytes = regexp.MustCompile(`(\d+,? ){8}|(0x[0-9a-f]{2}, ){8}|[0-9a-f]{64}`)

func TestVaultDoesNotPrint(t *testing.T) {
	v := openVault(t, newStore(t), keyA)
	holder := struct{ inner *tokenstore.Vault }{v}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if got := fmt.Sprintf(verb, v); got != "Vault" {
			t.Errorf("%s gives %s", verb, got)
		}
		if got := fmt.Sprintf(verb, holder); manyBytes.MatchString(got) {
			t.Errorf("%s inside a struct gives %s", verb, got)
		}
	}
}
