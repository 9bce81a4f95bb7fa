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

package badger

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// TestNoLeak ignores what ran before it, because Badger leaves goroutines
// behind when it fails to open a database.
func TestNoLeak(t *testing.T) {
	before := goleak.IgnoreCurrent()
	dir := newDir(t)
	fill(t, dir, 20)
	wantFilled(t, dir, 20)
	goleak.VerifyNone(t, before)
}

func open(t *testing.T, dir string) tokenstore.Store {
	t.Helper()
	s, err := (&Config{Path: dir}).Open(zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newDir returns a directory that does not exist.
func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "store") }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) tokenstore.Store { return open(t, newDir(t)) })
}

func TestReopen(t *testing.T) {
	storetest.RunReopen(t, func(t *testing.T) func() tokenstore.Store {
		dir := newDir(t)
		return func() tokenstore.Store { return open(t, dir) }
	})
}
