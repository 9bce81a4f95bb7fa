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
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/freshbearer/freshbearer/bench/internal/fill"
)

// result is what was measured with one size of the store. Times are in
// milliseconds but where they say something else.
type result struct {
	Connections int   `json:"connections"`
	Active      int   `json:"active"`
	DiskBytes   int64 `json:"disk_bytes"`

	Start  float64 `json:"start_ms"`
	AtRest memory  `json:"at_rest"`

	// Cold is a first request for a company, Warm the next one.
	Cold   percentiles `json:"cold"`
	Warm   percentiles `json:"warm"`
	InUse  memory      `json:"in_use"`
	Scrape float64     `json:"scrape_ms"`
	// The next scrape, and after it.
	ScrapeNext float64 `json:"scrape_next_ms"`
	Scraped    memory  `json:"scraped"`

	// List is the first page of all connections, ListNext the second, ListLast
	// the last one; Status the operator's page.
	List     float64 `json:"list_ms"`
	ListNext float64 `json:"list_next_ms"`
	ListLast float64 `json:"list_last_ms"`
	Status   float64 `json:"status_ms"`
	Listed   memory  `json:"listed"`

	// Due is a look for grants that are due while none is, in microseconds.
	Due float64 `json:"due_us"`
}

// store returns the directory of a store of n connections, filled if it is not
// there yet.
func (b *bench) store(ctx context.Context, api string, n int) (string, error) {
	dir := filepath.Join(b.stores, strconv.Itoa(n))
	done := filepath.Join(dir, "filled")
	if _, err := os.Stat(done); err == nil {
		return dir, nil
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	began := time.Now()
	if _, err := fill.Store(ctx, dir, "http://"+api, n); err != nil {
		return "", fmt.Errorf("filling the store: %w", err)
	}
	fmt.Fprintf(os.Stderr, "%d connections were stored in %v\n", n, time.Since(began).Round(time.Millisecond))
	return dir, os.WriteFile(done, nil, 0o600)
}

func (b *bench) measure(ctx context.Context, api string, n, active int) (*result, error) {
	r := &result{Connections: n, Active: min(active, n)}
	dir, err := b.store(ctx, api, n)
	if err != nil {
		return r, err
	}
	if r.DiskBytes, err = diskUse(filepath.Join(dir, "store")); err != nil {
		return r, err
	}
	c, err := startCaddy(ctx, filepath.Join(b.dir, "caddy"), dir, api)
	if err != nil {
		return r, err
	}
	r.Start = milliseconds(c.took)
	err = r.ask(ctx, c)
	if err2 := c.stop(); err == nil && err2 != nil {
		err = fmt.Errorf("stopping Caddy: %w", err2)
	}
	if err != nil {
		return r, err
	}
	vault, err := fill.Open(ctx, dir)
	if err != nil {
		return r, err
	}
	defer vault.Close()
	const looks = 100
	began := time.Now()
	for range looks {
		if _, _, err := vault.Due(ctx, time.Now(), nil, 100); err != nil {
			return r, err
		}
	}
	r.Due = float64(time.Since(began).Microseconds()) / looks
	return r, nil
}

// ask asks a Caddy everything. What is asked first has nothing to build upon.
func (r *result) ask(ctx context.Context, c *caddy) (err error) {
	if r.AtRest, err = c.memory(); err != nil {
		return err
	}
	client := c.client(1)
	companies := spread(r.Active, r.Connections)
	if r.Cold, err = client.each(ctx, companies); err != nil {
		return err
	}
	if r.Warm, err = client.each(ctx, companies); err != nil {
		return err
	}
	if r.InUse, err = c.memory(); err != nil {
		return err
	}
	admin := "http://" + c.admin
	fetch := func(to *float64, path string, body *[]byte) {
		if err != nil {
			return
		}
		var took time.Duration
		took, err = client.fetch(ctx, admin+path, "", body)
		*to = milliseconds(took)
	}
	fetch(&r.Scrape, "/metrics", nil)
	fetch(&r.ScrapeNext, "/metrics", nil)
	if err == nil {
		r.Scraped, err = c.memory()
	}
	var body []byte
	fetch(&r.List, "/freshbearer/connections", &body)
	if err != nil {
		return err
	}
	var page struct{ Next string }
	if err := json.Unmarshal(body, &page); err != nil {
		return err
	}
	fetch(&r.ListNext, "/freshbearer/connections"+page.Next, nil)
	fetch(&r.ListLast, "/freshbearer/connections?offset="+strconv.Itoa(max(0, r.Connections-50)), nil)
	fetch(&r.Status, "/freshbearer/", nil)
	if err == nil {
		r.Listed, err = c.memory()
	}
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func diskUse(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// turn is what one size came to in one round.
type turn struct {
	Connections int     `json:"connections"`
	Round       int     `json:"round"`
	Requests    int64   `json:"requests"`
	Seconds     float64 `json:"seconds"`
	CPUSeconds  float64 `json:"cpu_seconds"`
}

// concurrency is how many requests are under way at once.
const concurrency = 16

// race runs all sizes at once, and puts load on one after the other. The ratios
// are to the first one.
func (b *bench) race(ctx context.Context, api string, active, rounds int, duration time.Duration) (err error) {
	if rounds == 0 {
		return nil
	}
	var running []*caddy
	defer func() {
		for _, c := range running {
			if err2 := c.stop(); err == nil {
				err = err2
			}
		}
	}()
	for _, n := range b.sizes {
		dir, err := b.store(ctx, api, n)
		if err != nil {
			return err
		}
		c, err := startCaddy(ctx, filepath.Join(b.dir, "caddy"), dir, api)
		if err != nil {
			return err
		}
		running = append(running, c)
		if _, err := c.client(1).each(ctx, spread(active, n)); err != nil {
			return err
		}
	}
	for _, c := range running {
		if err := c.rest(ctx); err != nil {
			return err
		}
	}
	turns := make([][]turn, len(b.sizes))
	for round := range rounds {
		for i := range b.sizes {
			// Who goes first changes with the round.
			at := (i + round) % len(b.sizes)
			t := turn{Connections: b.sizes[at], Round: round}
			if err := t.take(ctx, running[at], active, duration); err != nil {
				return err
			}
			if err := json.NewEncoder(b.raw).Encode(t); err != nil {
				return err
			}
			turns[at] = append(turns[at], t)
		}
	}
	reportRace(os.Stdout, turns)
	return nil
}

func (t *turn) take(ctx context.Context, c *caddy, active int, duration time.Duration) error {
	client, companies := c.client(concurrency), spread(active, t.Connections)
	if _, err := client.load(ctx, companies, concurrency, duration/4); err != nil {
		return err
	}
	before, err := c.cpu()
	if err != nil {
		return err
	}
	began := time.Now()
	if t.Requests, err = client.load(ctx, companies, concurrency, duration); err != nil {
		return err
	}
	t.Seconds = time.Since(began).Seconds()
	after, err := c.cpu()
	t.CPUSeconds = (after - before).Seconds()
	return err
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func reportRace(w io.Writer, turns [][]turn) {
	each := func(of []turn, f func(turn) float64) float64 {
		var values []float64
		for _, t := range of {
			values = append(values, f(t))
		}
		return median(values)
	}
	rate := func(t turn) float64 { return float64(t.Requests) / t.Seconds }
	perCore := func(t turn) float64 { return float64(t.Requests) / max(t.CPUSeconds, 1.0/ticks) }
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "connections\tturns\treq/CPU s\tratio\treq/s\tratio")
	for _, of := range turns {
		fmt.Fprintf(table, "%d\t%d\t%.0f\t%.3f\t%.0f\t%.3f\n", of[0].Connections, len(of), each(of, perCore), each(of, perCore)/each(turns[0], perCore),
			each(of, rate), each(of, rate)/each(turns[0], rate))
	}
	_ = table.Flush()
}

// report prints a column for each size.
func report(w io.Writer, all []*result) {
	if len(all) == 0 {
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer table.Flush()
	row := func(name string, value func(*result) string) {
		fmt.Fprint(table, name)
		for _, r := range all {
			fmt.Fprint(table, "\t", value(r))
		}
		fmt.Fprintln(table)
	}
	number := func(f func(*result) float64) func(*result) string {
		return func(r *result) string { return fmt.Sprintf("%.1f", f(r)) }
	}
	size := func(f func(*result) memory) func(*result) string {
		return func(r *result) string {
			m := f(r)
			return fmt.Sprintf("%d = %d + %d", m.RSS>>10, m.Own>>10, m.Files>>10)
		}
	}
	row("connections", func(r *result) string { return strconv.Itoa(r.Connections) })
	row("on the disk, MiB", func(r *result) string { return strconv.FormatInt(r.DiskBytes>>20, 10) })
	row("start to the first answer, ms", number(func(r *result) float64 { return r.Start }))
	row("RSS at rest, MiB = own + files", size(func(r *result) memory { return r.AtRest }))
	row("first request, p50 ms", number(func(r *result) float64 { return r.Cold.P50 / 1000 }))
	row("first request, p99 ms", number(func(r *result) float64 { return r.Cold.P99 / 1000 }))
	row("next request, p50 ms", number(func(r *result) float64 { return r.Warm.P50 / 1000 }))
	row("next request, p99 ms", number(func(r *result) float64 { return r.Warm.P99 / 1000 }))
	row("RSS with active ones", size(func(r *result) memory { return r.InUse }))
	row("first scrape of the metrics, ms", number(func(r *result) float64 { return r.Scrape }))
	row("next scrape, ms", number(func(r *result) float64 { return r.ScrapeNext }))
	row("RSS after scrapes", size(func(r *result) memory { return r.Scraped }))
	row("list: first page, ms", number(func(r *result) float64 { return r.List }))
	row("list: next page, ms", number(func(r *result) float64 { return r.ListNext }))
	row("list: last page, ms", number(func(r *result) float64 { return r.ListLast }))
	row("status page, ms", number(func(r *result) float64 { return r.Status }))
	row("RSS after lists", size(func(r *result) memory { return r.Listed }))
	row("a look for due grants, µs", number(func(r *result) float64 { return r.Due }))
}
