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
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

var (
	backupTime  = time.Date(2026, 11, 23, 14, 11, 31, 123e6, time.UTC)
	restoreTime = backupTime.Add(25 * time.Hour)
)

// filled is a vault with connections, open intents and due days, and with what
// a backup leaves out.
func filled(t *testing.T, connections int) (*tokenstore.Vault, *storetest.Memory) {
	t.Helper()
	store := newStore(t)
	store.SetPlace(map[string]string{"shelf": "one"})
	v := openVault(t, store, keyA)
	for i := range connections {
		r := record(fmt.Sprint("realm-", i))
		r.DueAt = backupTime.Add(time.Duration(i) * 24 * time.Hour)
		save(t, v, r)
		if i%3 == 0 {
			if err := v.PutIntent(t.Context(), tokenstore.Intent{Key: r.Key, Epoch: 1, Generation: 1, Time: backupTime}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := v.PutOnce(t.Context(), "state", "once", []byte("value"), backupTime.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return v, store
}

func backup(t *testing.T, v *tokenstore.Vault) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := v.Backup(t.Context(), &out, backupTime); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func restore(t *testing.T, file []byte, store tokenstore.Store, keys ...string) error {
	t.Helper()
	b, err := tokenstore.OpenBackup(ring(t, keys...), bytes.NewReader(file))
	if err != nil {
		return err
	}
	return b.Restore(t.Context(), store, restoreTime)
}

// held is all that a vault can tell of what it holds, but for one-time values.
type held struct {
	StoreID string
	Derived []byte
	Records []*tokenstore.Record
	Intents []tokenstore.Intent
	Due     []string
}

func contents(t *testing.T, v *tokenstore.Vault) held {
	t.Helper()
	h := held{StoreID: v.StoreID(), Derived: v.DeriveKey("links")}
	for cursor := "first"; cursor != ""; {
		if cursor == "first" {
			cursor = ""
		}
		records, next, err := v.List(t.Context(), "", cursor, 7)
		if err != nil {
			t.Fatal(err)
		}
		h.Records, cursor = append(h.Records, records...), next
	}
	var err error
	if h.Intents, err = v.Intents(t.Context()); err != nil {
		t.Fatal(err)
	}
	due, _, err := v.Due(t.Context(), backupTime.Add(1000*24*time.Hour), nil, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range due {
		h.Due = append(h.Due, r.Connection)
	}
	return h
}

func diff(a, b held) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b *tokenstore.Record) bool {
		return a.Key == b.Key && a.Generation == b.Generation && a.Epoch == b.Epoch && a.State == b.State &&
			a.AccessToken.Equal(b.AccessToken) && a.RefreshToken.Equal(b.RefreshToken) && a.DueAt.Equal(b.DueAt)
	}))
}

func TestBackupRestored(t *testing.T) {
	v, _ := filled(t, 40)
	want := contents(t, v)
	if len(want.Records) != 40 || len(want.Intents) != 14 || len(want.Due) != 40 {
		t.Fatalf("there is not much to back up: %d, %d, %d", len(want.Records), len(want.Intents), len(want.Due))
	}
	file := backup(t, v)

	b, err := tokenstore.OpenBackup(ring(t, keyB, keyA), bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if b.StoreID != v.StoreID() || !b.CreatedAt.Equal(backupTime) || b.Connections != 40 {
		t.Errorf("the backup says of itself: %s, %s, %d connections", b.StoreID, b.CreatedAt, b.Connections)
	}
	store := newStore(t)
	store.SetPlace(map[string]string{"shelf": "two"})
	if err := b.Restore(t.Context(), store, restoreTime); err != nil {
		t.Fatal(err)
	}
	// In the order of keys that the configuration has: the active one is the second.
	restored := openVault(t, store, keyB, keyA)
	if d := diff(want, contents(t, restored)); d != "" {
		t.Errorf("what was restored is not what was backed up:\n%s", d)
	}
	hold := restored.Hold()
	if hold == nil || hold.Reason != tokenstore.HoldRestored || !hold.Since.Equal(restoreTime) || !hold.BackupAt.Equal(backupTime) {
		t.Errorf("the hold of the restored store: %+v", hold)
	}
	if _, err := restored.Take(t.Context(), "state", "once", backupTime); !errors.Is(err, tokenstore.ErrNotFound) {
		t.Errorf("a one-time value was backed up: %v", err)
	}
	if v.Hold() != nil {
		t.Error("the store that was backed up is on hold")
	}
}

// A backup holds nothing in clear that the store does not.
func TestBackupIsSealed(t *testing.T) {
	v, _ := filled(t, 5)
	file := backup(t, v)
	for _, word := range []string{"realm-", "access-", "refresh-", "quickbooks", v.StoreID(), string(v.DeriveKey("backup"))} {
		if bytes.Contains(file, []byte(word)) {
			t.Errorf("the backup holds %q", word)
		}
	}
}

// untouched is a store that fails the test when it is written to.
func untouched(t *testing.T) *storetest.Memory {
	t.Helper()
	store := newStore(t)
	t.Cleanup(func() {
		if n := store.Applies(); n != 0 {
			t.Errorf("the store was written to %d times", n)
		}
	})
	return store
}

func TestDamagedBackupIsRefused(t *testing.T) {
	v, _ := filled(t, 6)
	file := backup(t, v)
	whole := func(file []byte) error {
		_, err := tokenstore.CopyBackup(io.Discard, bytes.NewReader(file))
		return err
	}
	if err := whole(file); err != nil {
		t.Fatal(err)
	}
	t.Run("flipped", func(t *testing.T) {
		store := untouched(t)
		for i := range file {
			spoilt := bytes.Clone(file)
			spoilt[i] ^= 1 << (i % 8)
			if err := restore(t, spoilt, store, keyA); err == nil {
				t.Fatalf("a backup with byte %d changed was restored", i)
			}
		}
	})
	t.Run("truncated", func(t *testing.T) {
		store := untouched(t)
		for i := range file {
			if err := restore(t, file[:i], store, keyA); !errors.Is(err, tokenstore.ErrBackupDamaged) {
				t.Fatalf("the first %d bytes of a backup: %v", i, err)
			}
			if err := whole(file[:i]); !errors.Is(err, tokenstore.ErrBackupDamaged) {
				t.Fatalf("the first %d bytes of a backup are copied as whole: %v", i, err)
			}
		}
	})
	entries, rest := split(t, file)
	join := func(entries ...[]byte) []byte {
		spoilt := append(bytes.Clone(rest[0]), bytes.Join(entries, nil)...)
		end := bytes.Clone(rest[1])
		end[8] = byte(len(entries)) // one that counts right
		return append(spoilt, end...)
	}
	if !bytes.Equal(join(entries...), file) {
		t.Fatal("the backup was not put together again")
	}
	// What needs no key to be seen.
	for name, spoilt := range map[string][]byte{
		"two entries swapped": join(append([][]byte{entries[1], entries[0]}, entries[2:]...)...),
		"an entry twice":      join(append([][]byte{entries[0]}, entries...)...),
		"an entry missing":    bytes.Replace(file, entries[3], nil, 1),
		"another version":     bytes.Replace(file, []byte("backup 1"), []byte("backup 2"), 1),
	} {
		if err := whole(spoilt); !errors.Is(err, tokenstore.ErrBackupDamaged) {
			t.Errorf("%s: a backup is copied as whole: %v", name, err)
		}
	}
	older := v
	later, err := older.Load(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "realm-1"})
	if err != nil {
		t.Fatal(err)
	}
	later.Generation++
	save(t, older, later)
	newer, _ := split(t, backup(t, older))
	changed := -1
	for i := range entries {
		if !bytes.Equal(entries[i], newer[i]) {
			changed = i
		}
	}
	for name, spoilt := range map[string][]byte{
		"an entry dropped":              join(append(entries[:3:3], entries[4:]...)...),
		"two entries swapped":           join(append([][]byte{entries[1], entries[0]}, entries[2:]...)...),
		"an entry twice":                join(append([][]byte{entries[0]}, entries...)...),
		"an entry of a later backup":    join(append(append(entries[:changed:changed], newer[changed]), entries[changed+1:]...)...),
		"something after its end":       append(bytes.Clone(file), 0),
		"a backup after it":             append(bytes.Clone(file), file...),
		"nothing":                       nil,
		"another file":                  []byte("{\"apps\": {}}\n"),
		"no entries":                    join(),
		"everything but its own record": join(without(entries, 'm')...),
	} {
		t.Run(name, func(t *testing.T) {
			if err := restore(t, spoilt, untouched(t), keyA); !errors.Is(err, tokenstore.ErrBackupDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// split takes a backup apart: its entries, and what is before and after them.
func split(t *testing.T, file []byte) (entries [][]byte, rest [2][]byte) {
	t.Helper()
	at := len("freshbearer backup 1\n") + 8
	rest[0] = file[:at]
	for file[at] != 0 {
		n := int(file[at]) + int(file[at+1])<<24 + int(file[at+2])<<16 + int(file[at+3])<<8 + int(file[at+4])
		entries = append(entries, file[at:at+5+n])
		at += 5 + n
	}
	rest[1] = file[at:]
	return entries, rest
}

func without(entries [][]byte, kind byte) (left [][]byte) {
	for _, e := range entries {
		if e[5] != kind {
			left = append(left, e)
		}
	}
	return left
}

func TestBackupNeedsItsKey(t *testing.T) {
	v, _ := filled(t, 3)
	file := backup(t, v)
	var wrong *tokenstore.WrongKeyError
	if err := restore(t, file, untouched(t), keyB); !errors.As(err, &wrong) {
		t.Errorf("with another key: %v", err)
	}
	// Halfway through a change of keys, both are needed.
	both := ring(t, keyB, keyA)
	if err := errors.Join(v.UseKeys(t.Context(), both), v.Promote(t.Context(), both)); err != nil {
		t.Fatal(err)
	}
	file = backup(t, v)
	for _, key := range []string{keyA, keyB} {
		if err := restore(t, file, untouched(t), key); !errors.As(err, &wrong) {
			t.Errorf("with one of two keys: %v", err)
		}
	}
	store := newStore(t)
	if err := restore(t, file, store, keyA, keyB); err != nil {
		t.Fatal(err)
	}
	if d := diff(contents(t, v), contents(t, openVault(t, store, keyB, keyA))); d != "" {
		t.Errorf("restored halfway through a change of keys:\n%s", d)
	}
}

// Whatever moment of a change of keys a backup catches, the keys of that moment
// restore it.
func TestBackupWhileKeysChange(t *testing.T) {
	v, _ := filled(t, 30)
	want := contents(t, v)
	keys := []string{keyA, keyB}
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 20 {
			ring := ring(t, keys[(i+1)%2], keys[i%2])
			err = errors.Join(err, v.UseKeys(context.Background(), ring), v.Promote(context.Background(), ring), v.Reseal(context.Background(), nil))
		}
		done <- err
	}()
	caught := 0
	for running := true; running; caught++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		store := newStore(t)
		if err := restore(t, backup(t, v), store, keys...); err != nil {
			t.Fatal(err)
		}
		restored := openVault(t, store, keys...)
		if d := diff(want, contents(t, restored)); d != "" {
			t.Fatalf("backup %d:\n%s", caught, d)
		}
		// The hold is sealed anew with the rest.
		if err := restored.Reseal(t.Context(), nil); err != nil || restored.Hold() == nil {
			t.Fatalf("sealing the restored store anew: %v", err)
		}
	}
	if caught < 3 {
		t.Errorf("%d backups only", caught)
	}
}

func TestRestoreIntoAStoreInUse(t *testing.T) {
	v, store := filled(t, 3)
	file := backup(t, v)
	before := store.Applies()
	if err := restore(t, file, store, keyA); !errors.Is(err, tokenstore.ErrNotEmpty) {
		t.Errorf("restoring into the store itself: %v", err)
	}
	if store.Applies() != before {
		t.Error("a store that was not empty was written to")
	}
	empty := newStore(t)
	openVault(t, empty, keyA)
	if err := restore(t, file, empty, keyA); !errors.Is(err, tokenstore.ErrNotEmpty) {
		t.Errorf("restoring into a new store that a process has used: %v", err)
	}
}

// A restore that ends at any of its writes leaves a store that is refused, or
// one that is complete and on hold.
func TestInterruptedRestore(t *testing.T) {
	v, _ := filled(t, 40)
	file := backup(t, v)
	want := contents(t, v)
	for n := 1; ; n++ {
		for _, when := range []storetest.When{storetest.BeforeApply, storetest.AfterApply} {
			store := newStore(t)
			store.FailApply(n, when, errDisk)
			err := restore(t, file, store, keyA)
			if err == nil {
				if n < 5 {
					t.Fatalf("%d writes only", n)
				}
				return
			}
			if !errors.Is(err, errDisk) {
				t.Fatal(err)
			}
			restored, err := tokenstore.OpenVault(t.Context(), store.Copy(), ring(t, keyA))
			switch {
			case n == 1 && when == storetest.BeforeApply:
				// Nothing was written: it is still an empty store.
				if err != nil || restored.Hold() != nil {
					t.Errorf("nothing was written: %v", err)
				}
			case err == nil:
				if d := diff(want, contents(t, restored)); d != "" || restored.Hold() == nil {
					t.Errorf("interrupted at write %d (%d), the store opens, on hold: %v\n%s", n, when, restored.Hold(), d)
				}
			default:
				if !strings.Contains(err.Error(), "was not finished; nothing was changed. Remove the store and restore the backup again") {
					t.Errorf("interrupted at write %d (%d), the error is %v", n, when, err)
				}
				if again := restore(t, file, store.Copy(), keyA); !errors.Is(again, tokenstore.ErrNotEmpty) {
					t.Errorf("restoring into what an interrupted restore has left: %v", again)
				}
			}
		}
	}
}

// changing is a file that another program writes to after it was read so often.
type changing struct {
	*bytes.Reader
	seeks  int
	change func()
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if c.seeks--; c.seeks == 0 {
		c.change()
	}
	return c.Reader.Seek(offset, whence)
}

func TestBackupChangedAfterItWasVerified(t *testing.T) {
	v, _ := filled(t, 6)
	file := backup(t, v)
	r, err := v.Load(t.Context(), tokenstore.Key{Integration: "quickbooks", Connection: "realm-1"})
	if err != nil {
		t.Fatal(err)
	}
	r.Generation++
	save(t, v, r)
	other := backup(t, v) // as good as the first, and as long
	for name, change := range map[string]func(file []byte){
		"a byte":            func(file []byte) { file[len(file)-40] ^= 1 },
		"the whole of it":   func(file []byte) { copy(file, other) },
		"a byte of a value": func(file []byte) { file[60] ^= 1 },
	} {
		t.Run(name, func(t *testing.T) {
			spoilt := bytes.Clone(file)
			f := &changing{Reader: bytes.NewReader(spoilt), seeks: 3, change: func() { change(spoilt) }}
			b, err := tokenstore.OpenBackup(ring(t, keyA), f)
			if err != nil {
				t.Fatal(err)
			}
			store := newStore(t)
			if err := b.Restore(t.Context(), store, restoreTime); !errors.Is(err, tokenstore.ErrBackupDamaged) {
				t.Errorf("got %v", err)
			}
			if _, err := tokenstore.OpenVault(t.Context(), store, ring(t, keyA)); err == nil {
				t.Error("the store that came of it opens")
			}
		})
	}
}

type failingWriter struct{ left int }

func (w *failingWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestBackupFails(t *testing.T) {
	v, store := filled(t, 400)
	size := len(backup(t, v))
	for _, left := range []int{0, size / 2, size - 1} {
		if err := v.Backup(t.Context(), &failingWriter{left: left}, backupTime); !errors.Is(err, errDisk) {
			t.Errorf("a writer that fails after %d of %d bytes: %v", left, size, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Backup(ctx, io.Discard, backupTime); !errors.Is(err, context.Canceled) {
		t.Errorf("after its end was asked for: %v", err)
	}
	store.FailAll(errDisk)
	var out bytes.Buffer
	if err := v.Backup(t.Context(), &out, backupTime); !errors.Is(err, errDisk) {
		t.Errorf("a store that cannot be read: %v", err)
	}
	if _, err := tokenstore.CopyBackup(io.Discard, &out); !errors.Is(err, tokenstore.ErrBackupDamaged) {
		t.Errorf("what was written then is taken for a backup: %v", err)
	}
}
