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
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshbearer/freshbearer/bench/internal/fill"
)

// client asks a Caddy, over kept connections.
type client struct {
	http.Client
	at *caddy
}

func (c *caddy) client(connections int) *client {
	return &client{at: c, Client: http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}}}
}

// get sends a request for a company through the proxy, and returns how long it
// took.
func (c *client) get(ctx context.Context, company int) (time.Duration, error) {
	id := fill.ID(company)
	return c.fetch(ctx, "http://"+c.at.address+"/v3/company/"+id+"/companyinfo/"+id, c.at.key, nil)
}

func (c *client) fetch(ctx context.Context, url, key string, body *[]byte) (time.Duration, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	began := time.Now()
	resp, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	data, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	_ = resp.Body.Close()
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", resp.Status, data)
	}
	if body != nil {
		*body = data
	}
	return took, err
}

// spread returns k numbers below n, spread over all of them, in any order.
func spread(k, n int) []int {
	k = min(k, n)
	numbers := make([]int, k)
	for i := range numbers {
		numbers[i] = int(int64(i) * int64(n) / int64(k))
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(k, func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	return numbers
}

// percentiles are of times, in microseconds.
type percentiles struct {
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
}

func of(times []time.Duration) percentiles {
	slices.Sort(times)
	at := func(share float64) float64 {
		return float64(times[int(share*float64(len(times)-1))].Nanoseconds()) / 1000
	}
	return percentiles{at(0.5), at(0.99)}
}

// each asks for companies, one after the other.
func (c *client) each(ctx context.Context, companies []int) (percentiles, error) {
	times := make([]time.Duration, 0, len(companies))
	for _, company := range companies {
		took, err := c.get(ctx, company)
		if err != nil {
			return percentiles{}, err
		}
		times = append(times, took)
	}
	return of(times), nil
}

// load asks for any of companies as often as it goes, concurrently.
func (c *client) load(ctx context.Context, companies []int, concurrency int, duration time.Duration) (requests int64, err error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	end := time.Now().Add(duration)
	for range concurrency {
		group.Go(func() {
			for time.Now().Before(end) && failed.Load() == nil {
				if _, err := c.get(ctx, companies[rand.IntN(len(companies))]); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	if failed := failed.Load(); failed != nil {
		return 0, *failed
	}
	return done.Load(), nil
}
