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

package grant_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

func TestInspect(t *testing.T) {
	w := newWorld(t, clockwork.NewFakeClockAt(time.Now()), intuittest.Behaviour{})
	const more = 450 // more than two pages
	for i := range more {
		w.seed(func(r *tokenstore.Record) { r.Connection = strconv.Itoa(i + 1) })
	}
	w.intuit.ResetCounters()
	seen := make(map[string]int)
	damaged, err := w.keeper.Inspect(t.Context(), func(r *tokenstore.Record) { seen[r.Connection]++ })
	if err != nil || damaged != 0 || len(seen) != more+1 {
		t.Fatalf("%d connections seen, %d damaged, %v", len(seen), damaged, err)
	}
	for connection, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", connection, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	if _, err := w.keeper.Inspect(ctx, func(*tokenstore.Record) { n++; cancel() }); !errors.Is(err, context.Canceled) || n > 200 {
		t.Errorf("%d were seen after the end, %v", n, err)
	}
	if c := w.intuit.Counters(); len(c.TokenRequests)+c.APIRequests != 0 {
		t.Errorf("the provider was asked: %+v", c)
	}

	// What cannot be read is counted, and hides nothing.
	w.store.Damage("g")
	n = 0
	damaged, err = w.keeper.Inspect(t.Context(), func(*tokenstore.Record) { n++ })
	if err != nil || damaged != more+1 || n != 0 {
		t.Errorf("%d damaged, %d seen, %v", damaged, n, err)
	}
	w.store.FailAll(errors.New("disk on fire"))
	if _, err := w.keeper.Inspect(t.Context(), func(*tokenstore.Record) {}); err == nil {
		t.Error("a disk on fire can be read")
	}
	w.store.FailAll(nil)
	if err := w.keeper.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.keeper.Inspect(t.Context(), func(*tokenstore.Record) {}); !errors.Is(err, tokenstore.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestUnsaved(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.token()
	if n := w.keeper.Unsaved(); n != 0 {
		t.Errorf("%d unsaved at first", n)
	}
	clock.Advance(2 * time.Hour)
	// The intent is written, the tokens are not.
	w.store.FailApply(2, storetest.BeforeApply, errors.New("disk on fire"))
	w.store.FailApply(3, storetest.BeforeApply, errors.New("disk on fire"))
	w.token()
	if n := w.keeper.Unsaved(); n != 1 {
		t.Errorf("%d unsaved", n)
	}
}
