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
		"use keys": v.UseKeys(ctx, ring(t, keyA)), "reseal": v.Reseal(ctx, nil), "close": v.Close(),
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
