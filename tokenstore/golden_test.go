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
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

var update = flag.Bool("update", false, "write testdata/store-v1.json anew, for a new version of the format")

const goldenFile = "testdata/store-v1.json"

// goldenRecord is what the stored image of version 1 holds for connection 1.
func goldenRecord() *tokenstore.Record {
	at := func(hour int) time.Time { return time.Date(2026, 11, 23, hour, 0, 0, 0, time.UTC) }
	return &tokenstore.Record{
		Key:      tokenstore.Key{Integration: "quickbooks", Connection: "1"},
		Provider: "quickbooks", Environment: "sandbox", ClientID: "client", Owner: "billing-app", Account: "Sandbox Company", Scopes: []string{"accounting"},
		Epoch: 2, Generation: 3,
		AccessToken: secret.New("access-3"), AccessIssuedAt: at(1), AccessExpiresAt: at(2),
		RefreshToken: secret.New("refresh-3"), RefreshIssuedAt: at(1), RefreshExpiresAt: at(3), AuthorizationExpiresAt: at(4),
		PreviousRefreshToken: secret.New("refresh-2"),
		State:                tokenstore.StateSuspect, Cause: tokenstore.CauseRevokedOrReplaced, Since: at(5), ProviderError: "invalid_grant", TraceID: "1-abc",
		UnansweredSince: at(6), ConnectedAt: at(7),
		History: []tokenstore.HistoryEntry{{Time: at(8), Event: "refreshed", Generation: 3, Error: "e", Description: "d", TraceID: "t"}},
	}
}

// golden returns a store as version 1 of the format has written it, under keyA.
func golden(t testing.TB) *storetest.Memory {
	t.Helper()
	text, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var entries map[string]string
	if err := json.Unmarshal(text, &entries); err != nil {
		t.Fatal(err)
	}
	m := storetest.NewMemory()
	for name, value := range entries {
		n, err1 := hex.DecodeString(name)
		v, err2 := hex.DecodeString(value)
		if err := errors.Join(err1, err2, m.Apply(t.Context(), tokenstore.Change{Name: n, Value: v})); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// TestGolden opens a store of version 1: what one release has written, all
// later ones can read.
func TestGolden(t *testing.T) {
	ctx := t.Context()
	want := goldenRecord()
	intent := tokenstore.Intent{Key: want.Key, Epoch: 2, Generation: 3, Time: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	if *update {
		writeGolden(t, intent)
	}

	v := openVault(t, golden(t), keyA)
	got := load(t, v, want.Key)
	sameSecret := cmp.Comparer(func(a, b secret.String) bool { return a.Equal(b) })
	if diff := cmp.Diff(want, got, sameSecret, cmpopts.IgnoreUnexported(tokenstore.Record{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	intents, err := v.Intents(ctx)
	if err != nil || len(intents) != 1 || !cmp.Equal(intents[0], intent) {
		t.Errorf("intents: %+v (%v)", intents, err)
	}
	if value, err := v.Take(ctx, "state", "id", now); err != nil || string(value) != "value" {
		t.Errorf("one-time value: %q (%v)", value, err)
	}
	text, err := os.ReadFile("testdata/store-v1.derived")
	if err != nil || hex.EncodeToString(v.DeriveKey("links"))+" "+v.StoreID()+"\n" != string(text) {
		t.Errorf("a derived key or the store id changed (%v)", err)
	}
}

// writeGolden writes the image, and seeds for FuzzOpen.
func writeGolden(t *testing.T, intent tokenstore.Intent) {
	t.Helper()
	m := storetest.NewMemory()
	v := openVault(t, m, keyA)
	second := goldenRecord()
	second.Connection = "2"
	save(t, v, goldenRecord())
	save(t, v, second)
	putOnce(t, v, "state", "id", "value", now.Add(100*365*24*time.Hour))
	if err := v.PutIntent(t.Context(), intent); err != nil {
		t.Fatal(err)
	}
	entries := map[string]string{}
	seeds := filepath.Join("testdata", "fuzz", "FuzzOpen")
	if err := os.MkdirAll(seeds, 0o755); err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, value := range image(t, m) {
		entries[hex.EncodeToString([]byte(name))] = hex.EncodeToString([]byte(value))
		n++
		seed := "go test fuzz v1\n[]byte(" + strconv.Quote(value) + ")\n"
		if err := os.WriteFile(filepath.Join(seeds, string(name[0])+strconv.Itoa(n)), []byte(seed), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := json.MarshalIndent(entries, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	derived := hex.EncodeToString(v.DeriveKey("links")) + " " + v.StoreID() + "\n"
	err = errors.Join(
		os.WriteFile(goldenFile, append(text, '\n'), 0o644),
		os.WriteFile("testdata/store-v1.derived", []byte(derived), 0o644))
	if err != nil {
		t.Fatal(err)
	}
}
