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
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// TestStuck keeps Badger from writing any table, which it tries for ever: calls
// fail in time, all of them, and so does Close, and when it can be written
// again, the store works.
func TestStuck(t *testing.T) {
	defer func(d time.Duration) { commitTimeout = d }(commitTimeout)
	commitTimeout = time.Second
	dir := newDir(t)
	opened, err := (&Config{Path: dir}).Open(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	s := opened.(*store)
	var block []string
	for id := range 2000 {
		path := filepath.Join(dir, fmt.Sprintf("%06d.sst", id+1))
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		block = append(block, path)
	}
	value := bytes.Repeat([]byte("v"), 64<<10)
	var group sync.WaitGroup
	ended := make(chan struct{})
	var acked [4]int
	for w := range 4 {
		group.Go(func() {
			for i := range 40 {
				if err := s.Apply(t.Context(), tokenstore.Change{Name: fmt.Appendf(nil, "%d-%d", w, i), Value: value}); err != nil {
					t.Log(err)
					return
				}
				acked[w] = i + 1
			}
			t.Error("all was written")
		})
	}
	go func() { group.Wait(); close(ended) }()
	most := commitTimeout + 8*time.Second
	within := func(what string, limit time.Duration, fn func() error) error {
		t.Helper()
		done, start := make(chan error, 1), time.Now()
		go func() { done <- fn() }()
		select {
		case err := <-done:
			t.Logf("%s after %v: %v", what, time.Since(start).Round(time.Millisecond), err)
			return err
		case <-time.After(limit):
			t.Fatalf("%s does not return", what)
			return nil
		}
	}
	within("the writers", 2*most, func() error { <-ended; return nil })
	if err := within("a write", most, func() error {
		return s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: value})
	}); err == nil {
		t.Error("it was written")
	}
	within("a read", time.Second/2, func() error { _, err := s.Get(t.Context(), []byte("0-0")); return err })
	within("a scan", time.Second/2, func() error {
		return s.Scan(t.Context(), nil, nil, func(_, _ []byte) bool { return true })
	})
	for _, path := range block {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for s.Apply(t.Context(), tokenstore.Change{Name: name(1), Value: value}) != nil {
		if time.Now().After(deadline) {
			t.Fatal("it does not work again")
		}
		time.Sleep(50 * time.Millisecond)
	}
	for w := range acked {
		for i := range acked[w] {
			if _, err := s.Get(t.Context(), fmt.Appendf(nil, "%d-%d", w, i)); err != nil {
				t.Error(err)
			}
		}
	}
	if err := within("closing", closeTimeout, s.Close); err != nil {
		t.Error(err)
	}
	if err := open(t, dir).Close(); err != nil {
		t.Error(err)
	}
}
