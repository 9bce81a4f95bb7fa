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

package storetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Memory is a tokenstore.Store in memory: the reference engine, which passes
// the conformance suite, and a store for tests that can be made to fail. It
// ignores Change.ExpiresAt.
type Memory struct {
	// life is held for reading by every call under way, and for writing by
	// Close.
	life   sync.RWMutex
	closed bool

	mu       sync.Mutex
	values   map[string][]byte
	applies  int
	failures map[int]failure
	failing  error
	full     bool
	place    map[string]string
}

// When says at which point of a call of Apply a failure strikes.
type When int

// The points of a call of Apply.
const (
	// BeforeApply: the call fails and nothing was applied.
	BeforeApply When = iota
	// AfterApply: the call fails although all was applied.
	AfterApply
)

type failure struct {
	when When
	err  error
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{values: make(map[string][]byte), failures: make(map[int]failure)}
}

// FailApply makes the n-th call of Apply from now fail with err; the next one
// is the first. A call that fails a check of its own is counted, but keeps its
// own error if the failure is to strike after it.
func (m *Memory) FailApply(n int, when When, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures[m.applies+n] = failure{when, err}
}

// FailAll makes every call of Get, Apply and Scan fail with err and without
// effect, until it is called with nil.
func (m *Memory) FailAll(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failing = err
}

// Full makes CheckSpace say that there is too little space, or enough again.
func (m *Memory) Full(full bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full = full
}

// CheckSpace implements tokenstore.SpaceChecker.
func (m *Memory) CheckSpace(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return fmt.Errorf("memory store: %w", tokenstore.ErrFull)
	}
	return nil
}

// SetPlace says where the store is, for Place; nil if that is not known, as it
// is of a new store and of a Copy.
func (m *Memory) SetPlace(place map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.place = place
}

// Place implements tokenstore.Placed.
func (m *Memory) Place() (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.place), nil
}

// Damage changes one byte of every value whose name begins with prefix.
func (m *Memory) Damage(prefix string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, value := range m.values {
		if strings.HasPrefix(name, prefix) {
			value[len(value)-1] ^= 1
		}
	}
}

// Applies returns how many calls of Apply there have been.
func (m *Memory) Applies() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applies
}

// Len returns how many values the store holds.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.values)
}

// Copy returns a new open store with the same values, whether m is open or
// not: what a restart, or a restored backup, would find.
func (m *Memory) Copy() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemory()
	for name, value := range m.values {
		c.values[name] = bytes.Clone(value)
	}
	return c
}

// Get implements tokenstore.Store.
func (m *Memory) Get(ctx context.Context, name []byte) ([]byte, error) {
	if err := tokenstore.CheckName(name); err != nil {
		return nil, err
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.life.RUnlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[string(name)]
	if !ok {
		return nil, fmt.Errorf("memory store: %w", tokenstore.ErrNotFound)
	}
	return bytes.Clone(value), nil
}

// Apply implements tokenstore.Store.
func (m *Memory) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	if err := tokenstore.CheckChanges(changes); err != nil {
		return err
	}
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.life.RUnlock()
	m.mu.Lock()
	defer m.mu.Unlock()

	m.applies++
	fail := m.failures[m.applies]
	delete(m.failures, m.applies)
	if fail.err != nil && fail.when == BeforeApply {
		return fmt.Errorf("memory store: %w", fail.err)
	}
	for _, c := range changes {
		value, ok := m.values[string(c.Name)]
		if c.Check && (ok != (c.Old != nil) || !bytes.Equal(value, c.Old)) {
			return fmt.Errorf("memory store: %w", tokenstore.ErrConflict)
		}
	}
	for _, c := range changes {
		if c.Value == nil {
			delete(m.values, string(c.Name))
		} else {
			m.values[string(c.Name)] = bytes.Clone(c.Value)
		}
	}
	if fail.err != nil {
		return fmt.Errorf("memory store: %w", fail.err)
	}
	return nil
}

// Scan implements tokenstore.Store.
func (m *Memory) Scan(ctx context.Context, prefix, after []byte, fn func(name, value []byte) bool) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.life.RUnlock()
	m.mu.Lock()
	values := maps.Clone(m.values) // a stored value is never written to again
	m.mu.Unlock()

	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !strings.HasPrefix(name, string(prefix)) || after != nil && name <= string(after) {
			continue
		}
		if !fn([]byte(name), bytes.Clone(values[name])) {
			return nil
		}
	}
	return nil
}

// Close implements tokenstore.Store.
func (m *Memory) Close() error {
	m.life.Lock()
	defer m.life.Unlock()
	if m.closed {
		return fmt.Errorf("memory store: %w", tokenstore.ErrClosed)
	}
	m.closed = true
	return nil
}

// begin holds the store open for one call. The caller releases life if it
// returns nil.
func (m *Memory) begin(ctx context.Context) error {
	m.life.RLock()
	m.mu.Lock()
	failing := m.failing
	m.mu.Unlock()
	err := failing
	switch {
	case m.closed:
		err = tokenstore.ErrClosed
	case ctx.Err() != nil:
		err = ctx.Err()
	}
	if err != nil {
		m.life.RUnlock()
		return fmt.Errorf("memory store: %w", err)
	}
	return nil
}

// Interface guards
var (
	_ tokenstore.Store        = (*Memory)(nil)
	_ tokenstore.SpaceChecker = (*Memory)(nil)
	_ tokenstore.Placed       = (*Memory)(nil)
)
