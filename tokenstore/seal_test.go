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

package tokenstore

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/secret"
)

func testRing(t *testing.T, letters string) *Keyring {
	t.Helper()
	var keys []secret.String
	for _, l := range letters {
		keys = append(keys, secret.New(strings.Repeat(string(l), 42)+"A"))
	}
	ring, err := ParseKeyring(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestSeal(t *testing.T) {
	old, both := testRing(t, "a"), testRing(t, "ba")
	name, plaintext := []byte("gname"), []byte("a refresh token")
	for _, p := range [][]byte{plaintext, {0}, {}, bytes.Repeat([]byte("x"), MaxValue-sealOverhead)} {
		sealed, err := old.seal(name, 7, p)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(p)+sealOverhead {
			t.Errorf("%d bytes became %d", len(p), len(sealed))
		}
		got, err := old.open(name, sealed)
		if err != nil || !bytes.Equal(got.plaintext, p) || got.generation != 7 || got.key != 0 {
			t.Errorf("opened as %+v (%v)", got, err)
		}
		got, err = both.open(name, sealed)
		if err != nil || !bytes.Equal(got.plaintext, p) || got.key != 1 {
			t.Errorf("opened with the second key as %+v (%v)", got, err)
		}
	}

	one, _ := both.seal(name, 7, plaintext)
	two, _ := both.seal(name, 7, plaintext)
	if bytes.Equal(one[sealHeaderSize:], two[sealHeaderSize:]) {
		t.Error("the same value is sealed the same way twice")
	}
	if bytes.Contains(one, []byte("refresh")) {
		t.Error("the sealed value holds its plaintext")
	}
	if _, err := old.open(name, one); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("with a key that is not in the ring: %v", err)
	}
	if bytes.Contains(one, []byte(both.keys[0].secret.Reveal())[:8]) {
		t.Error("the sealed value holds its key")
	}
}

func TestSealedIsBound(t *testing.T) {
	ring := testRing(t, "a")
	name := []byte("gname")
	sealed, err := ring.seal(name, 7, []byte("value"))
	if err != nil {
		t.Fatal(err)
	}
	for at := range sealed {
		for bit := range 8 {
			damaged := bytes.Clone(sealed)
			damaged[at] ^= 1 << bit
			if _, err := ring.open(name, damaged); err == nil {
				t.Fatalf("it opens with bit %d of byte %d flipped", bit, at)
			}
		}
		if _, err := ring.open(name, sealed[:at]); !errors.Is(err, ErrAltered) {
			t.Fatalf("cut to %d bytes: %v", at, err)
		}
	}
	if _, err := ring.open(name, append(bytes.Clone(sealed), 0)); !errors.Is(err, ErrAltered) {
		t.Errorf("with a byte more: %v", err)
	}
	for _, other := range []string{"gnam", "gname\x00", "iname", "", "gnamE"} {
		if _, err := ring.open([]byte(other), sealed); !errors.Is(err, ErrAltered) {
			t.Errorf("under the name %q: %v", other, err)
		}
	}

	// An old value under the header of a newer one, and the other way round.
	newer, err := ring.seal(name, 8, []byte("newer"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pasted := range [][]byte{
		append(bytes.Clone(newer[:sealHeaderSize]), sealed[sealHeaderSize:]...),
		append(bytes.Clone(sealed[:sealHeaderSize]), newer[sealHeaderSize:]...),
	} {
		if _, err := ring.open(name, pasted); !errors.Is(err, ErrAltered) {
			t.Errorf("a value under another generation's header: %v", err)
		}
	}
}

// TestFieldsAreUnambiguous keeps ("ab", "c") apart from ("a", "bc").
func TestFieldsAreUnambiguous(t *testing.T) {
	lists := [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"", "abc"}, {"a", "b", "c"}, {"\x00\x00\x00\x01a"}, {"", "", "abc"}}
	seen := map[string][]string{}
	for _, fields := range lists {
		joined := string(joinFields(fields...))
		if other, ok := seen[joined]; ok {
			t.Errorf("%q and %q are the same", fields, other)
		}
		seen[joined] = fields
	}
	n := namer{key: secret.New("k")}
	if bytes.Equal(n.connection(kindGrant, Key{"ab", "c"}), n.connection(kindGrant, Key{"a", "bc"})) {
		t.Error("two connections have one name")
	}
	a, b := n.connection(kindGrant, Key{"q", "1"}), n.connection(kindIntent, Key{"q", "1"})
	if len(a) != 1+integrationSize+connectionSize || a[0] == b[0] || !bytes.HasPrefix(a, n.integration(kindGrant, "q")) {
		t.Error("the layout of names is not as documented")
	}
}
