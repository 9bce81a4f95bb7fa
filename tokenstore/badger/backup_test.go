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

package badger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// TestBackupUnderLoad backs up a store that is being written to as keepers
// write: an intent, then a new generation that clears it and moves the due day.
// In every backup, each connection must be as it was at one moment.
func TestBackupUnderLoad(t *testing.T) {
	const connections = 20
	backups := 12
	if testing.Short() {
		backups = 3
	}
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	vault, err := tokenstore.OpenVault(t.Context(), open(t, newDir(t)), ring)
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dueOf := func(generation uint64) time.Time { return begin.Add(time.Duration(generation) * 24 * time.Hour) }
	tokenOf := func(key tokenstore.Key, generation uint64) string { return fmt.Sprint(key.Connection, "/", generation) }

	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer stop()
	records := make([]*tokenstore.Record, connections)
	for i := range records {
		key := tokenstore.Key{Integration: "quickbooks", Connection: fmt.Sprint(i)}
		records[i] = &tokenstore.Record{Key: key, Epoch: 1, State: tokenstore.StateConnected}
	}
	next := func(r *tokenstore.Record) error {
		intent := tokenstore.Intent{Key: r.Key, Epoch: 1, Generation: r.Generation}
		if err := vault.PutIntent(context.Background(), intent); err != nil {
			return err
		}
		r.Generation++
		r.RefreshToken, r.DueAt = secret.New(tokenOf(r.Key, r.Generation)), dueOf(r.Generation)
		return vault.Save(context.Background(), r)
	}
	for _, r := range records {
		if err := next(r); err != nil {
			t.Fatal(err)
		}
	}
	failed := make(chan error, 4)
	for w := range 4 {
		writers.Go(func() {
			for ctx.Err() == nil {
				for i := w; i < connections; i += 4 {
					if err := next(records[i]); err != nil {
						failed <- err
						return
					}
				}
			}
		})
	}
	generations, intents := make(map[uint64]bool), 0
	for n := 0; n < backups || (len(generations) < 10 || intents == 0) && n < 100; n++ {
		var file bytes.Buffer
		if err := vault.Backup(t.Context(), &file, time.Now()); err != nil {
			t.Fatal(err)
		}
		b, err := tokenstore.OpenBackup(ring, bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		store := open(t, newDir(t))
		if err := b.Restore(t.Context(), store, time.Now()); err != nil {
			t.Fatal(err)
		}
		restored, err := tokenstore.OpenVault(t.Context(), store, ring)
		if err != nil {
			t.Fatal(err)
		}
		listed, _, err := restored.List(t.Context(), "", "", connections+1)
		if err != nil || len(listed) != connections || b.Connections != connections {
			t.Fatalf("backup %d: %d connections (%d), %v", n, len(listed), b.Connections, err)
		}
		generation := make(map[tokenstore.Key]uint64)
		for _, r := range listed {
			generation[r.Key] = r.Generation
			generations[r.Generation] = true
			if got := r.RefreshToken.Reveal(); got != tokenOf(r.Key, r.Generation) || !r.DueAt.Equal(dueOf(r.Generation)) {
				t.Errorf("backup %d: generation %d holds %s and is due %s", n, r.Generation, got, r.DueAt)
			}
		}
		open, err := restored.Intents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, intent := range open {
			if intents++; intent.Generation != generation[intent.Key] {
				t.Errorf("backup %d: an intent of generation %d beside a record of generation %d", n, intent.Generation, generation[intent.Key])
			}
		}
		// Due finds a record by exactly one day, its own.
		due, _, err := restored.Due(t.Context(), dueOf(1<<15), nil, 100*connections)
		if err != nil || len(due) != connections {
			t.Errorf("backup %d: %d of %d connections are found by their day (%v)", n, len(due), connections, err)
		}
		if hold := restored.Hold(); hold == nil || hold.Reason != tokenstore.HoldRestored {
			t.Errorf("backup %d: %+v", n, hold)
		}
		if err := restored.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	writers.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	if len(generations) < 10 || intents == 0 {
		t.Errorf("%d generations and %d intents were seen: nothing was written meanwhile", len(generations), intents)
	}
}

// A store cannot be restored into while somebody has it open.
func TestErrInUse(t *testing.T) {
	dir := newDir(t)
	s := open(t, dir)
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := openError(t, dir); !errors.Is(err, tokenstore.ErrInUse) {
		t.Errorf("got %v", err)
	}
}
