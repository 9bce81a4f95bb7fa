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
	"reflect"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// A survey finds what a list finds, whatever the texts are.
func TestSurvey(t *testing.T) {
	store := storetest.NewMemory()
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	vault, err := tokenstore.OpenVault(t.Context(), store, ring)
	if err != nil {
		t.Fatal(err)
	}
	want := make(map[tokenstore.Key]tokenstore.Brief)
	for i, hostile := range []string{"", `,"history":[`, `x","history":[],"y":"`, "\\", `\`, "Ä\u2028", `{}]`} {
		r := &tokenstore.Record{
			Key:   tokenstore.Key{Integration: "quickbooks", Connection: string(rune('a' + i))},
			Owner: hostile, Account: hostile, Epoch: 1, Generation: uint64(i + 1), ProviderError: hostile,
			State: tokenstore.StateSuspect, Cause: tokenstore.CauseWrongClient, Since: time.Unix(int64(i), 7).UTC(),
			ConnectedAt: time.Unix(1, 0).UTC(), AccessIssuedAt: time.Unix(2, 0).UTC(), AccessExpiresAt: time.Unix(3, 0).UTC(),
			RefreshExpiresAt: time.Unix(4, 0).UTC(), AuthorizationExpiresAt: time.Unix(5, 0).UTC(),
		}
		if i%2 == 0 {
			r.RefreshToken = secret.New(hostile + "t")
			r.Note(tokenstore.HistoryEntry{Event: hostile, Description: hostile})
		}
		if err := vault.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		loaded, err := vault.Load(t.Context(), r.Key)
		if err != nil {
			t.Fatal(err)
		}
		want[r.Key] = loaded.Brief()
	}
	got := make(map[tokenstore.Key]tokenstore.Brief)
	for cursor := ""; ; {
		briefs, next, damaged, err := vault.Survey(t.Context(), cursor, 2)
		if err != nil || damaged != 0 || len(briefs) > 2 {
			t.Fatalf("%d, %d damaged, %v", len(briefs), damaged, err)
		}
		for _, b := range briefs {
			got[b.Key] = b
		}
		if cursor = next; next == "" {
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	store.Damage("g")
	if briefs, _, damaged, err := vault.Survey(t.Context(), "", 0); err != nil || len(briefs) != 0 || damaged != len(want) {
		t.Errorf("damaged: %d and %d, %v", len(briefs), damaged, err)
	}
}
