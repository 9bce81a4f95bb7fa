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

package caddytest_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

func init() { caddy.RegisterModule(countedConfig{}) }

// countedConfig is the badger store, with its calls counted: `store counted`.
// Only one is open at a time, so there is one set of counters.
type countedConfig struct{ badger.Config }

var counted struct{ opens, closes, reads, writes atomic.Int64 }

func resetCounted() {
	counted.opens.Store(0)
	counted.closes.Store(0)
	counted.reads.Store(0)
	counted.writes.Store(0)
}

// atRest waits until the store has not been called for a while: a start is
// followed by work in the background.
func atRest() {
	calls := func() int64 { return counted.reads.Load() + counted.writes.Load() }
	for last, since := calls(), time.Now(); time.Since(since) < 500*time.Millisecond; time.Sleep(20 * time.Millisecond) {
		if now := calls(); now != last {
			last, since = now, time.Now()
		}
	}
}

func (countedConfig) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "freshbearer.stores.counted",
		New: func() caddy.Module { return new(countedConfig) },
	}
}

func (c *countedConfig) Open(logger *zap.Logger) (tokenstore.Store, error) {
	store, err := c.Config.Open(logger)
	if err != nil {
		return nil, err
	}
	counted.opens.Add(1)
	return countedStore{store}, nil
}

type countedStore struct{ tokenstore.Store }

func (s countedStore) Get(ctx context.Context, name []byte) ([]byte, error) {
	counted.reads.Add(1)
	return s.Store.Get(ctx, name)
}

func (s countedStore) Scan(ctx context.Context, prefix, after []byte, fn func(name, value []byte) bool) error {
	counted.reads.Add(1)
	return s.Store.Scan(ctx, prefix, after, fn)
}

func (s countedStore) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	counted.writes.Add(1)
	return s.Store.Apply(ctx, changes...)
}

func (s countedStore) Close() error {
	counted.closes.Add(1)
	return s.Store.Close()
}

// Interface guards
var (
	_ caddy.Provisioner = (*countedConfig)(nil)
	_ tokenstore.Opener = (*countedConfig)(nil)
)
