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
	"fmt"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

func TestDue(t *testing.T) {
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	store := storetest.NewMemory()
	v, err := tokenstore.OpenVault(t.Context(), store, ring)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const n = 30
	records := make([]*tokenstore.Record, n)
	for i := range records {
		records[i] = &tokenstore.Record{
			Key:   tokenstore.Key{Integration: "quickbooks", Connection: fmt.Sprint(i)},
			Epoch: 1, Generation: 1, RefreshToken: secret.New("r"), State: tokenstore.StateConnected,
			DueAt: start.AddDate(0, 0, i),
		}
		if err := v.Save(t.Context(), records[i]); err != nil {
			t.Fatal(err)
		}
	}
	due := func(now time.Time) (ids []string) {
		t.Helper()
		for after := []byte(nil); ; {
			page, next, err := v.Due(t.Context(), now, after, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page {
				ids = append(ids, r.Connection)
			}
			if after = next; after == nil {
				return ids
			}
		}
	}
	if ids := due(start.AddDate(0, 0, -1)); len(ids) != 0 {
		t.Errorf("due before their time: %v", ids)
	}
	if ids := due(start.AddDate(0, 0, 9)); fmt.Sprint(ids) != "[0 1 2 3 4 5 6 7 8 9]" {
		t.Errorf("due after ten days: %v", ids)
	}

	// One that is moved, one that is due never, one that is deleted, and one
	// whose write was applied although it was reported as failed.
	records[0].DueAt = start.AddDate(0, 0, 20)
	records[1].DueAt = time.Time{}
	for _, r := range records[:2] {
		if err := v.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Delete(t.Context(), records[2]); err != nil {
		t.Fatal(err)
	}
	records[3].DueAt = start.AddDate(0, 0, 21)
	store.FailApply(1, storetest.AfterApply, fmt.Errorf("input/output error"))
	if err := v.Save(t.Context(), records[3]); err == nil {
		t.Fatal("the store did not fail")
	}
	records[3].DueAt = start.AddDate(0, 0, 22)
	if err := v.Save(t.Context(), records[3]); err != nil {
		t.Fatal(err)
	}
	if ids := due(start.AddDate(0, 0, 9)); fmt.Sprint(ids) != "[4 5 6 7 8 9]" {
		t.Errorf("due after ten days: %v", ids)
	}
	entries := 0
	if err := store.Scan(t.Context(), []byte("d"), nil, func(_, _ []byte) bool { entries++; return true }); err != nil {
		t.Fatal(err)
	}
	if entries != n-2 {
		t.Errorf("%d entries for %d records that are due some day", entries, n-2)
	}
}
