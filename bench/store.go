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

// companies is how many there are.
const companies = 1000

// fillStore makes a store as a proxy leaves it that has connected n companies,
// with tokens that live for a day and are bound to api, and returns the file of its encryption key.
func fillStore(ctx context.Context, dir, api string, n int) (string, error) {
	key := tokenstore.GenerateKey()
	file := filepath.Join(dir, "encryption-key")
	if err := os.WriteFile(file, []byte(key.Reveal()), 0o600); err != nil {
		return "", err
	}
	ring, err := tokenstore.ParseKeyring(key)
	if err != nil {
		return "", err
	}
	config := &badger.Config{Path: filepath.Join(dir, "store")}
	store, err := config.Open(zap.NewNop())
	if err != nil {
		return "", err
	}
	vault, err := tokenstore.OpenVault(ctx, store, ring)
	if err != nil {
		_ = store.Close()
		return "", err
	}
	// Writes that come together share a sync.
	numbers, failures := make(chan int), make(chan error, 1)
	var writers sync.WaitGroup
	for range 64 {
		writers.Go(func() {
			for i := range numbers {
				if err := vault.Save(ctx, company(i, api)); err != nil {
					select {
					case failures <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	writers.Wait()
	select {
	case err = <-failures:
	default:
	}
	if err2 := vault.Close(); err == nil {
		err = err2
	}
	return file, err
}

// company is a connection as it is after its first refresh.
func company(i int, api string) *tokenstore.Record {
	now := time.Now()
	return &tokenstore.Record{
		Key:      tokenstore.Key{Integration: "quickbooks", Connection: strconv.Itoa(123140000000000 + i)},
		Provider: "quickbooks", Environment: "sandbox", ClientID: "bench", Owner: "bench", Hosts: []string{api},
		Account: fmt.Sprintf("The Company Number %d", i), State: tokenstore.StateConnected, Since: now,
		Epoch: 1, Generation: 2, ConnectedAt: now,
		// As long as Intuit's are.
		AccessToken:    secret.New(fmt.Sprintf("%0900d", i)),
		AccessIssuedAt: now, AccessExpiresAt: now.Add(24 * time.Hour),
		RefreshToken:    secret.New(fmt.Sprintf("%050d", i)),
		RefreshIssuedAt: now, RefreshExpiresAt: now.Add(100 * 24 * time.Hour),
	}
}
