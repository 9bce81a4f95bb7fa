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

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

func init() { caddy.RegisterModule(faultyConfig{}) }

// faultyConfig is the badger store on a disk that fails when a test says so:
// `store faulty`.
type faultyConfig struct{ badger.Config }

// faulty is what goes wrong with such stores: reads and writes end in these
// errors, and what is at another place than before is taken for a copy.
var faulty struct {
	reads, writes atomic.Pointer[error]
	place         atomic.Int64
}

// repair ends all that goes wrong.
func repairFaulty() {
	faulty.reads.Store(nil)
	faulty.writes.Store(nil)
}

func (faultyConfig) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "freshbearer.stores.faulty",
		New: func() caddy.Module { return new(faultyConfig) },
	}
}

func (c *faultyConfig) Open(logger *zap.Logger) (tokenstore.Store, error) {
	store, err := c.Config.Open(logger)
	if err != nil {
		return nil, err
	}
	return faultyStore{store}, nil
}

type faultyStore struct{ tokenstore.Store }

func (s faultyStore) Get(ctx context.Context, name []byte) ([]byte, error) {
	if err := faulty.reads.Load(); err != nil {
		return nil, *err
	}
	return s.Store.Get(ctx, name)
}

func (s faultyStore) Scan(ctx context.Context, prefix, after []byte, fn func(name, value []byte) bool) error {
	if err := faulty.reads.Load(); err != nil {
		return *err
	}
	return s.Store.Scan(ctx, prefix, after, fn)
}

func (s faultyStore) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	if err := faulty.writes.Load(); err != nil {
		return *err
	}
	return s.Store.Apply(ctx, changes...)
}

// Place implements tokenstore.Placed.
func (s faultyStore) Place() (map[string]string, error) {
	return map[string]string{"place": string(rune('A' + faulty.place.Load()))}, nil
}

// Interface guards
var (
	_ caddy.Provisioner = (*faultyConfig)(nil)
	_ tokenstore.Opener = (*faultyConfig)(nil)
	_ tokenstore.Placed = faultyStore{}
)
