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

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/freshbearer/freshbearer/bench/internal/fill"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// rotation is what a day came to on which all tokens were replaced.
type rotation struct {
	Connections int `json:"connections"`
	Day         int `json:"day"`
	// Seconds is how long it took, Saved the bytes of all values that were
	// stored, nearly all of them records, each once: what is live. Made is the size of
	// all tables that were made for them, Most the most that the store took on
	// the disk, End what it took in the end.
	Seconds float64 `json:"seconds"`
	Saved   int64   `json:"saved_bytes"`
	Made    int64   `json:"made_bytes"`
	Most    int64   `json:"most_bytes"`
	End     int64   `json:"end_bytes"`
}

// rotate replaces all tokens of a store day after day, in another order each
// day, with all that a refresh writes.
func (b *bench) rotate(ctx context.Context, days int) error {
	table := tabwriter.NewWriter(os.Stdout, 10, 0, 2, ' ', tabwriter.AlignRight)
	defer table.Flush()
	fmt.Fprintln(table, "connections\tday\ts\tlive MiB\tmost MiB\tmost/live\tend MiB\ttables made/saved\t")
	for _, n := range b.sizes {
		dir := filepath.Join(b.dir, "rotated-"+strconv.Itoa(n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if _, err := fill.Store(ctx, dir, "http://127.0.0.1:1", n); err != nil {
			return err
		}
		vault, err := fill.Open(ctx, dir)
		if err != nil {
			return err
		}
		for day := range days {
			r, err := rotateDay(ctx, vault, filepath.Join(dir, "store"), n, day)
			if err != nil {
				return err
			}
			if err := json.NewEncoder(b.raw).Encode(r); err != nil {
				return err
			}
			fmt.Fprintf(table, "%d\t%d\t%.1f\t%d\t%d\t%.2f\t%d\t%.1f\t\n", n, day+1, r.Seconds, r.Saved>>20, r.Most>>20,
				float64(r.Most)/float64(r.Saved), r.End>>20, float64(r.Made)/float64(r.Saved))
			_ = table.Flush()
		}
		if err := vault.Close(); err != nil {
			return err
		}
		if err := checkRotated(ctx, dir, n, days); err != nil {
			return err
		}
	}
	return nil
}

func rotateDay(ctx context.Context, vault *fill.Vault, store string, n, day int) (rotation, error) {
	r := rotation{Connections: n, Day: day + 1}
	watch := watchStore(store)
	order := rand.New(rand.NewPCG(1, uint64(day))).Perm(n)
	now := time.Now().Add(time.Duration(day+1) * 24 * time.Hour)
	began, written := time.Now(), vault.Written()
	err := fill.Each(n, func(i int) error { return refresh(ctx, vault, order[i], now) })
	r.Seconds = time.Since(began).Seconds()
	r.Made, r.Most, r.End = watch.end()
	if err != nil {
		return r, err
	}
	r.Saved = vault.Written() - written
	return r, nil
}

// refresh writes what a refresh does.
func refresh(ctx context.Context, vault *fill.Vault, i int, now time.Time) error {
	key := tokenstore.Key{Integration: "quickbooks", Connection: fill.ID(i)}
	record, err := vault.Load(ctx, key)
	if err != nil {
		return err
	}
	if err := vault.PutIntent(ctx, tokenstore.Intent{Key: key, Epoch: record.Epoch, Generation: record.Generation, Time: now}); err != nil {
		return err
	}
	record.PreviousRefreshToken = record.RefreshToken
	record.Generation++
	record.AccessToken = secret.New(fmt.Sprintf("%0900d", rand.Uint64()))
	record.RefreshToken = secret.New(fmt.Sprintf("%050d", rand.Uint64()))
	record.AccessIssuedAt, record.RefreshIssuedAt = now, now
	record.AccessExpiresAt, record.RefreshExpiresAt = now.Add(time.Hour), now.Add(100*24*time.Hour)
	record.DueAt = now.Add(50 * 24 * time.Hour)
	record.Note(tokenstore.HistoryEntry{
		Time: now, Event: "refreshed", Generation: record.Generation, TraceID: fmt.Sprintf("1-%08x-%024x", i, rand.Uint64()),
	})
	return vault.Save(ctx, record)
}

// checkRotated opens a store again, and looks whether it holds the last tokens.
func checkRotated(ctx context.Context, dir string, n, days int) error {
	began := time.Now()
	vault, err := fill.Open(ctx, dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d connections: opened again in %v\n", n, time.Since(began).Round(time.Millisecond))
	defer vault.Close()
	for _, i := range spread(1000, n) {
		record, err := vault.Load(ctx, tokenstore.Key{Integration: "quickbooks", Connection: fill.ID(i)})
		if err != nil {
			return err
		}
		if want := uint64(fill.Generation + days); record.Generation != want {
			return fmt.Errorf("company %d has generation %d; expected %d", i, record.Generation, want)
		}
	}
	return nil
}

// watched is what is seen of a store's directory.
type watched struct {
	dir        string
	seen       map[string]bool
	made, most int64
	stop, done chan struct{}
}

// watchStore looks at a store from time to time. A table that lives shorter
// than that is not seen.
func watchStore(dir string) *watched {
	w := &watched{dir: dir, seen: make(map[string]bool), stop: make(chan struct{}), done: make(chan struct{})}
	w.look()
	w.made = 0
	go func() {
		defer close(w.done)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.look()
			case <-w.stop:
				return
			}
		}
	}()
	return w
}

func (w *watched) look() (sum int64) {
	entries, _ := os.ReadDir(w.dir)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // merged meanwhile
		}
		sum += info.Size()
		if filepath.Ext(e.Name()) == ".sst" && !w.seen[e.Name()] {
			w.seen[e.Name()] = true
			w.made += info.Size()
		}
	}
	w.most = max(w.most, sum)
	return sum
}

func (w *watched) end() (made, most, end int64) {
	close(w.stop)
	<-w.done
	end = w.look()
	return w.made, w.most, end
}
