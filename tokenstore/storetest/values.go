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
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func testNotFound(t *testing.T, store tokenstore.Store) {
	wantNone(t, store, "a")
	mustApply(t, store, put("ab", "1"), put("b", "1"))
	wantNone(t, store, "a")
	wantNone(t, store, "abc")
	wantNone(t, store, "ab\x00")
}

func testAnyBytes(t *testing.T, store tokenstore.Store) {
	want := map[string]string{}
	for i := range 256 {
		want[string([]byte{byte(i)})] = string([]byte{byte(255 - i)})
	}
	for _, name := range []string{
		"\x00\x00", "\xff\xff", "\xff\xff\xff", "a\x00b", "a\xffb", "../x", "a/b", "%00", "é", "\xc3\x28",
		"!badger!", "!badger!banned", "_", "\n", "\x00meta",
	} {
		want[name] = "\x00" + name + "\xff"
	}
	for name, value := range want {
		mustApply(t, store, put(name, value))
	}
	wantContents(t, store, want)
}

func testOverwrite(t *testing.T, store tokenstore.Store) {
	for _, value := range []string{"1", "22", strings.Repeat("3", 5000), "4"} {
		mustApply(t, store, put("a", value))
		wantContents(t, store, map[string]string{"a": value})
	}
}

func testDelete(t *testing.T, store tokenstore.Store) {
	del := func(name string) tokenstore.Change { return tokenstore.Change{Name: []byte(name)} }
	mustApply(t, store, del("a")) // no error if there is none
	mustApply(t, store, put("a", "1"), put("b", "2"))
	mustApply(t, store, del("a"))
	wantNone(t, store, "a")
	wantContents(t, store, map[string]string{"b": "2"})
	mustApply(t, store, del("a"))
	mustApply(t, store, put("a", "3"))
	wantContents(t, store, map[string]string{"a": "3", "b": "2"})
}

func testNoChanges(t *testing.T, store tokenstore.Store) {
	mustApply(t, store)
	wantContents(t, store, nil)
}

func testLimits(t *testing.T, store tokenstore.Store) {
	longName := strings.Repeat("n", tokenstore.MaxName)
	longValue := strings.Repeat("v", tokenstore.MaxValue)
	want := map[string]string{"n": "v", longName: longValue, longName[1:] + "x": longValue}
	mustApply(t, store, put("n", "v"))
	mustApply(t, store, put(longName, longValue), put(longName[1:]+"x", longValue)) // MaxApply
	wantContents(t, store, want)

	var many []tokenstore.Change
	for i := range tokenstore.MaxChanges {
		name := longName[2:] + string(rune('a'+i)) + "y"
		value := strings.Repeat(string(rune('a'+i)), tokenstore.MaxApply/tokenstore.MaxChanges)
		many = append(many, insert(name, value))
		want[name] = value
	}
	mustApply(t, store, many...)
	wantContents(t, store, want)
}

func testBeyondLimits(t *testing.T, store tokenstore.Store) {
	mustApply(t, store, put("kept", "1"))
	tooLong := strings.Repeat("n", tokenstore.MaxName+1)
	many := []tokenstore.Change{put("kept", "2")}
	for i := range tokenstore.MaxChanges {
		many = append(many, put(strings.Repeat("m", i+1), "1"))
	}
	half := strings.Repeat("v", tokenstore.MaxApply/2)
	for what, changes := range map[string][]tokenstore.Change{
		"empty name":         {put("kept", "2"), put("", "1")},
		"name too long":      {put("kept", "2"), put(tooLong, "1")},
		"deleted empty name": {put("kept", "2"), {}},
		"empty value":        {put("kept", "2"), {Name: []byte("a"), Value: []byte{}}},
		"value too long":     {put("kept", "2"), put("a", strings.Repeat("v", tokenstore.MaxValue+1))},
		"values too long":    {put("kept", "2"), put("a", half), put("b", half)},
		"too many changes":   many,
		"a name twice":       {put("kept", "2"), put("kept", "3")},
	} {
		wantError(t, what, store.Apply(t.Context(), changes...), tokenstore.ErrInvalid)
	}
	for _, name := range []string{"", tooLong} {
		_, err := store.Get(t.Context(), []byte(name))
		wantError(t, "get", err, tokenstore.ErrInvalid)
	}
	if names := scanNames(t, store, []byte(tooLong), nil); len(names) > 0 {
		t.Errorf("a scan with a prefix that no name can have found %q", names)
	}
	wantContents(t, store, map[string]string{"kept": "1"})
}

func testSliceOwnership(t *testing.T, store tokenstore.Store) {
	name, value := []byte("name"), []byte("value")
	mustApply(t, store, tokenstore.Change{Name: name, Value: value, Check: true})
	old := bytes.Clone(value)
	mustApply(t, store, tokenstore.Change{Name: name, Value: value, Check: true, Old: old})
	copy(name, "XXXX")
	copy(value, "XXXXX")
	copy(old, "XXXXX")
	wantContents(t, store, map[string]string{"name": "value"})

	got, err := store.Get(t.Context(), []byte("name"))
	if err != nil {
		t.Fatal(err)
	}
	copy(got, "XXXXX")
	_ = append(got, "tail"...)
	wantContents(t, store, map[string]string{"name": "value"})

	mustApply(t, store, put("name2", "value2"))
	var names, values [][]byte
	err = store.Scan(t.Context(), nil, nil, func(name, value []byte) bool {
		names, values = append(names, name), append(values, value)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	// Each slice must still hold what it held inside the call.
	if string(names[0]) != "name" || string(names[1]) != "name2" || string(values[0]) != "value" || string(values[1]) != "value2" {
		t.Errorf("slices of a scan changed after it: %q, %q", names, values)
	}
	copy(names[0], "XXXX")
	copy(values[0], "XXXXX")
	wantContents(t, store, map[string]string{"name": "value", "name2": "value2"})
}

func testExpiryNeverEarly(t *testing.T, store tokenstore.Store) {
	mustApply(t, store,
		tokenstore.Change{Name: []byte("never"), Value: []byte("1")},
		tokenstore.Change{Name: []byte("late"), Value: []byte("1"), ExpiresAt: time.Now().Add(time.Hour)},
		tokenstore.Change{Name: []byte("past"), Value: []byte("1"), ExpiresAt: time.Unix(1, 0)},
		tokenstore.Change{Name: []byte("far past"), Value: []byte("1"), ExpiresAt: time.Unix(-1e9, 0)})
	expiresAt := time.Now().Add(1500 * time.Millisecond)
	soon := tokenstore.Change{Name: []byte("soon"), Value: []byte("1"), Check: true, ExpiresAt: expiresAt}
	mustApply(t, store, soon)
	for {
		got, err := store.Get(t.Context(), soon.Name)
		found := false
		scanErr := store.Scan(t.Context(), soon.Name, nil, func(_, _ []byte) bool { found = true; return true })
		if !time.Now().Before(expiresAt) {
			break
		}
		if err != nil || string(got) != "1" || scanErr != nil || !found {
			t.Fatalf("a value was forgotten %v before its time: %q, %v, %t, %v", time.Until(expiresAt), got, err, found, scanErr)
		}
		time.Sleep(50 * time.Millisecond)
	}
	wantValue(t, store, "never", "1")
	wantValue(t, store, "late", "1")

	// A value that is stored again without the hint stays.
	mustApply(t, store, cas("late", "1", "2"), put("past", "2"), put("soon", "2"))
	time.Sleep(50 * time.Millisecond)
	for _, name := range []string{"late", "past", "soon"} {
		wantValue(t, store, name, "2")
	}
}

func testCancelledContext(t *testing.T, store tokenstore.Store) {
	mustApply(t, store, put("a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.Get(ctx, []byte("a"))
	wantError(t, "get", err, context.Canceled)
	wantError(t, "apply", store.Apply(ctx, put("a", "2"), put("b", "2")), context.Canceled)
	wantError(t, "scan", store.Scan(ctx, nil, nil, func(_, _ []byte) bool {
		t.Error("a scan went on although its context was cancelled")
		return false
	}), context.Canceled)
	wantContents(t, store, map[string]string{"a": "1"})
}
