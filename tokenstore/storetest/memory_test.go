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

package storetest_test

import (
	"errors"
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) tokenstore.Store { return storetest.NewMemory() })
}

func TestMemoryReopen(t *testing.T) {
	storetest.RunReopen(t, func(*testing.T) func() tokenstore.Store {
		m := storetest.NewMemory()
		return func() tokenstore.Store {
			m = m.Copy()
			return m
		}
	})
}

func TestMemoryFailures(t *testing.T) {
	ctx := t.Context()
	errDisk := errors.New("disk on fire")
	m := storetest.NewMemory()
	apply := func(value string) error {
		return m.Apply(ctx, tokenstore.Change{Name: []byte("a"), Value: []byte(value)})
	}
	read := func() string {
		value, err := m.Get(ctx, []byte("a"))
		if err != nil {
			t.Fatal(err)
		}
		return string(value)
	}

	if err := apply("1"); err != nil {
		t.Fatal(err)
	}
	m.FailApply(2, storetest.BeforeApply, errDisk)
	m.FailApply(3, storetest.AfterApply, errDisk)
	for i, want := range []struct {
		fails bool
		value string
	}{{false, "2"}, {true, "2"}, {true, "4"}, {false, "5"}} {
		err := apply(string(rune('2' + i)))
		if errors.Is(err, errDisk) != want.fails || read() != want.value {
			t.Errorf("call %d: error %v and value %q, want %+v", i+1, err, read(), want)
		}
	}
	if n := m.Applies(); n != 5 {
		t.Errorf("%d calls were counted, want 5", n)
	}

	m.FailAll(errDisk)
	if _, err := m.Get(ctx, []byte("a")); !errors.Is(err, errDisk) {
		t.Errorf("get: %v", err)
	}
	if err := apply("6"); !errors.Is(err, errDisk) {
		t.Errorf("apply: %v", err)
	}
	m.FailAll(nil)
	if read() != "5" || m.Len() != 1 {
		t.Error("a call that failed had an effect")
	}
}
