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

// Command growth measures freshbearer with stores of different sizes: what
// they take on the disk and in memory, how long a start takes, what a request
// for a company costs that nobody asked for before, and whether the others
// become slower. See docs/performance.md.
//
//	go run ./bench/growth
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	var (
		sizes    = flag.String("connections", "1000,100000,1000000", "how many connections are stored, separated by commas")
		active   = flag.Int("active", 10_000, "how many of them are called, at most")
		rounds   = flag.Int("rounds", 5, "how often each size has its turn to be fast")
		duration = flag.Duration("duration", 3*time.Second, "how long a turn takes")
		speed    = flag.Bool("speed", false, "only compare how fast they are")
		keep     = flag.String("stores", "", "a directory that the stores are kept in; they can be used again for some hours")
		days     = flag.Int("days", 0, "instead, have all tokens replaced once a day for so many days, as fast as it goes")
		out      = flag.String("out", "", "a file that raw results are added to, a JSON object a line")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, *sizes, *keep, *out, func(b *bench) error {
		if *days > 0 {
			return b.rotate(ctx, *days)
		}
		return b.grow(ctx, *active, *rounds, *duration, *speed)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

// bench is one run of the program.
type bench struct {
	sizes []int
	// dir is for what is made anew each time, stores for the stores.
	dir, stores string
	raw         io.Writer
}

func run(ctx context.Context, sizes, keep, out string, measure func(*bench) error) (err error) {
	b := &bench{raw: io.Discard, stores: keep}
	for text := range strings.SplitSeq(sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number of connections", text)
		}
		b.sizes = append(b.sizes, n)
	}
	if b.dir, err = os.MkdirTemp("", "freshbearer-growth-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if keep == "" {
		b.stores = filepath.Join(b.dir, "stores")
	} else if b.stores, err = filepath.Abs(keep); err != nil {
		return err
	}
	if out != "" {
		f, err := os.OpenFile(filepath.Clean(out), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		b.raw = f
	}
	if err := measure(b); err != nil {
		return err
	}
	return ctx.Err()
}

// grow measures each size by itself, and then their speed, in turns.
func (b *bench) grow(ctx context.Context, active, rounds int, duration time.Duration, speed bool) error {
	if err := build(ctx, b.dir); err != nil {
		return err
	}
	api, err := startAPI(b.stores)
	if err != nil {
		return err
	}
	defer api.Close()
	var all []*result
	for _, n := range b.sizes {
		if speed {
			break
		}
		r, err := b.measure(ctx, api.address, n, active)
		if err != nil {
			return fmt.Errorf("with %d connections: %w", n, err)
		}
		if err := json.NewEncoder(b.raw).Encode(r); err != nil {
			return err
		}
		all = append(all, r)
	}
	report(os.Stdout, all)
	return b.race(ctx, api.address, active, rounds, duration)
}
