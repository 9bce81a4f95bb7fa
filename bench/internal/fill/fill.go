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

// Package fill makes token stores for the benchmarks.
package fill

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

// First is the ID of the first company.
const First = 123140000000000

// writers is how many write at once: what comes together is written together.
const writers = 256

// Store makes a store as a proxy leaves it that has connected n companies some
// weeks ago, with tokens that live for a day and are bound to api, and returns
// the file of its encryption key.
func Store(ctx context.Context, dir, api string, n int) (string, error) {
	key := tokenstore.GenerateKey()
	file := filepath.Join(dir, "encryption-key")
	if err := os.WriteFile(file, []byte(key.Reveal()), 0o600); err != nil {
		return "", err
	}
	vault, err := Open(ctx, dir)
	if err != nil {
		return "", err
	}
	now := time.Now()
	err = Each(n, func(i int) error { return vault.Save(ctx, Company(i, api, now)) })
	if err2 := vault.Close(); err == nil {
		err = err2
	}
	return file, err
}

// Vault is an open one.
type Vault struct {
	*tokenstore.Vault
	store *together
}

// Written returns how many bytes of values were to be stored until now.
func (v *Vault) Written() int64 { return v.store.written.Load() }

// Open opens the store in a directory that Store has made, or is about to.
func Open(ctx context.Context, dir string) (*Vault, error) {
	key, err := os.ReadFile(filepath.Join(dir, "encryption-key"))
	if err != nil {
		return nil, err
	}
	ring, err := tokenstore.ParseKeyring(secret.New(string(key)))
	if err != nil {
		return nil, err
	}
	config := &badger.Config{Path: filepath.Join(dir, "store")}
	store, err := config.Open(zap.NewNop())
	if err != nil {
		return nil, err
	}
	joined := newTogether(store)
	vault, err := tokenstore.OpenVault(ctx, joined, ring)
	if err != nil {
		_ = joined.Close()
		return nil, err
	}
	return &Vault{vault, joined}, nil
}

// Each calls fn with every number below n, many at once, and returns the first
// error.
func Each(n int, fn func(i int) error) error {
	numbers, failures := make(chan int), make(chan error, 1)
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range numbers {
				if err := fn(i); err != nil {
					select {
					case failures <- err:
					default:
					}
				}
			}
		})
	}
	var err error
	for i := 0; i < n && err == nil; i++ {
		select {
		case numbers <- i:
		case err = <-failures:
		}
	}
	close(numbers)
	group.Wait()
	select {
	case err = <-failures:
	default:
	}
	return err
}

// Generation is that of the companies' tokens.
const Generation = tokenstore.HistoryLimit + 2

// ID is a company's.
func ID(i int) string { return strconv.Itoa(First + i) }

// Company is a connection that has been refreshed every day for some weeks: its
// history is as long as it gets.
func Company(i int, api string, now time.Time) *tokenstore.Record {
	const day = 24 * time.Hour
	connected := now.Add(-(tokenstore.HistoryLimit + 2) * day)
	r := &tokenstore.Record{
		Key:      tokenstore.Key{Integration: "quickbooks", Connection: ID(i)},
		Provider: "quickbooks", Environment: "sandbox", ClientID: "bench", Owner: "bench", Hosts: []string{api},
		Account: fmt.Sprintf("The Company Number %d", i), State: tokenstore.StateConnected, Since: connected,
		Epoch: 1, Generation: Generation, ConnectedAt: connected,
		// As long as Intuit's are.
		AccessToken:    secret.New(fmt.Sprintf("%0900d", i)),
		AccessIssuedAt: now, AccessExpiresAt: now.Add(day),
		RefreshToken:         secret.New(fmt.Sprintf("%050d", i)),
		PreviousRefreshToken: secret.New(fmt.Sprintf("%049d-", i)),
		RefreshIssuedAt:      now, RefreshExpiresAt: now.Add(100 * day), AuthorizationExpiresAt: connected.Add(5 * 365 * day),
		DueAt: now.Add(50 * day),
	}
	for n := range uint64(tokenstore.HistoryLimit) {
		r.Note(tokenstore.HistoryEntry{
			Time: connected.Add(time.Duration(n+2) * day), Event: "refreshed", Generation: n + 3,
			TraceID: fmt.Sprintf("1-%08x-%024x", i, n),
		})
	}
	return r
}
