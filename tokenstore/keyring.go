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
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/freshbearer/freshbearer/secret"
)

const (
	masterKeySize = 32
	keyIDSize     = 8

	keyHint = "make one with: openssl rand -base64 32"
)

// Keyring holds the encryption keys of a store. All of them open; the first
// one is the one to seal with (see Vault.Promote): to replace a key, put the
// new one before it. A Keyring does not change and does not print its keys.
type Keyring struct {
	keys []*masterKey
}

type masterKey struct {
	id [keyIDSize]byte
	// secret holds the bytes of the key.
	secret secret.String
}

// ParseKeyring reads encryption keys. A key is 32 random bytes, written as 64
// hexadecimal digits or in base64 (the standard or the URL alphabet, padded or
// not); white space around it is ignored. An error says which key is wrong
// (the first, the second, …) and how to make a good one, never the key.
func ParseKeyring(keys ...secret.String) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("there is no encryption key; %s", keyHint)
	}
	ring := &Keyring{keys: make([]*masterKey, 0, len(keys))}
	for i, text := range keys {
		key, err := parseKey(text)
		if err != nil {
			return nil, fmt.Errorf("the %s encryption key %w; %s", ordinal(i), err, keyHint)
		}
		for j, other := range ring.keys {
			if key.secret.Equal(other.secret) {
				return nil, fmt.Errorf("the %s encryption key is the same as the %s; to replace a key, make a new one with: openssl rand -base64 32",
					ordinal(i), ordinal(j))
			}
		}
		ring.keys = append(ring.keys, key)
	}
	return ring, nil
}

// GenerateKey returns a new random key in a form that ParseKeyring reads.
func GenerateKey() secret.String {
	var key [masterKeySize]byte
	_, _ = rand.Read(key[:]) // never fails, see its documentation
	return secret.New(base64.StdEncoding.EncodeToString(key[:]))
}

// Len returns how many keys the ring holds.
func (r *Keyring) Len() int { return len(r.keys) }

// Format implements fmt.Formatter, so that no verb reaches the keys.
func (r *Keyring) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "Keyring(")
	if r != nil {
		_, _ = io.WriteString(f, strconv.Itoa(len(r.keys)))
	}
	_, _ = io.WriteString(f, ")")
}

// first returns the key that seals.
func (r *Keyring) first() *masterKey { return r.keys[0] }

// withFirst returns the ring with the key at a position moved to the front.
func (r *Keyring) withFirst(position int) *Keyring {
	if position == 0 {
		return r
	}
	keys := append([]*masterKey{r.keys[position]}, r.keys[:position]...)
	return &Keyring{keys: append(keys, r.keys[position+1:]...)}
}

// find returns the key with the id and its position, or nil.
func (r *Keyring) find(id []byte) (*masterKey, int) {
	for i, key := range r.keys {
		if string(key.id[:]) == string(id) {
			return key, i
		}
	}
	return nil, -1
}

func parseKey(text secret.String) (*masterKey, error) {
	s := strings.TrimSpace(text.Reveal())
	if s == "" {
		return nil, errors.New("is empty")
	}
	raw, err := decodeKey(s)
	if err != nil {
		return nil, err
	}
	if len(raw) != masterKeySize {
		return nil, fmt.Errorf("has %d bytes, not %d", len(raw), masterKeySize)
	}
	key := &masterKey{secret: secret.New(string(raw))}
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("freshbearer encryption key id v1"))
	copy(key.id[:], mac.Sum(nil))
	return key, nil
}

func decodeKey(s string) ([]byte, error) {
	// 64 hexadecimal digits are base64, too; no key of 32 bytes is that long
	// in base64, so hexadecimal is meant.
	if len(s) == hex.EncodedLen(masterKeySize) {
		if raw, err := hex.DecodeString(s); err == nil {
			return raw, nil
		}
	}
	s = strings.TrimRight(s, "=")
	alphabet := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		alphabet = base64.RawURLEncoding
	}
	// Strict: a lax decoder takes a key with a mistyped last letter for the
	// same key. Its error is dropped because it quotes from the input.
	raw, err := alphabet.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("is neither base64 nor 64 hexadecimal digits")
	}
	return raw, nil
}

func ordinal(i int) string {
	words := [...]string{"first", "second", "third", "fourth", "fifth"}
	if i < len(words) {
		return words[i]
	}
	return strconv.Itoa(i+1) + "th"
}

// Interface guards
var _ fmt.Formatter = (*Keyring)(nil)
