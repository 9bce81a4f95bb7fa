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
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

// Strangers of one address soon have to wait; those who have links do not.
func TestStartsOfOneAddress(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	start := func(purpose grant.Purpose, from string) error {
		_, err := w.keeper.BeginAuthorization(t.Context(), grant.Start{
			Link: grant.Link{Integration: key.Integration, Purpose: purpose, Connection: key.Connection}, From: from,
		})
		return err
	}
	for i := range 100 {
		if err := start(grant.PurposeConnect, "192.0.2.1"); err != nil {
			t.Fatalf("link %d: %v", i, err)
		}
	}
	for i := range 30 {
		if err := start(grant.PurposeReconnect, "192.0.2.1"); err != nil {
			t.Fatalf("stranger %d: %v", i, err)
		}
	}
	var tooMany *grant.TooManyError
	if err := start(grant.PurposeReconnect, "192.0.2.1"); !errors.As(err, &tooMany) || !errors.Is(err, grant.ErrTooMany) || tooMany.RetryAfter <= 0 {
		t.Errorf("one too many: %v", err)
	}
	if err := errors.Join(start(grant.PurposeReconnect, "192.0.2.2"), start(grant.PurposeConnect, "192.0.2.1")); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

// However often links are opened, what is kept of that is bounded, and goes
// away: a million starts in an hour with -storm.
func TestFloodOfStarts(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	n, step := 30_000, time.Duration(0)
	dir, before := t.TempDir(), 0.0
	if *storm {
		n, step = 1_000_000, 3600*time.Microsecond
		store, err := (&badger.Config{Path: dir}).Open(zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		w.openOn(store)
		before = sizeOf(t, dir)
	}
	stored := 0
	for i := range n {
		_, err := w.keeper.BeginAuthorization(t.Context(), grant.Start{Link: grant.Link{Integration: "quickbooks"}, From: "192.0.2.1"})
		switch {
		case err == nil:
			stored++
		case !errors.Is(err, grant.ErrTooMany):
			t.Fatalf("start %d: %v", i, err)
		}
		clock.Advance(step)
	}
	if at := int(time.Duration(n) * step / (20 * time.Minute)); stored < 10_000 || stored > 10_000*(at+2) {
		t.Errorf("%d starts are stored", stored)
	}
	if *storm {
		t.Logf("%d of %d starts were stored; the store's files have %.1f MiB, before it %.1f MiB", stored, n, sizeOf(t, dir), before)
	}
	clock.Advance(21 * time.Minute)
	if left, err := w.keeper.Vault().SweepOnce(t.Context(), clock.Now()); err != nil || left != 0 {
		t.Errorf("%d are left after their time: %v", left, err)
	}
	if _, err := w.keeper.BeginAuthorization(t.Context(), grant.Start{Link: grant.Link{Integration: "quickbooks"}}); err != nil {
		t.Errorf("after the flood: %v", err)
	}
}

// sizeOf returns the size of all files in a directory, in MiB.
func sizeOf(t *testing.T, dir string) float64 {
	t.Helper()
	var size int64
	if err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		size += info.Size()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return float64(size) / (1 << 20)
}
