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
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// A sealed value is
//
//	version (1) ‖ key id (8) ‖ generation (8, big endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//
// by AES-256-GCM with a random nonce. Each entry of the store has its own AES
// key, derived from the master key and the entry's name, so that the number of
// values sealed under one AES key stays far below the 2^32 that NIST SP
// 800-38D §8.3 allows for random nonces, however many connections there are.
//
// The header and the name are authenticated along with the value. A name
// stands for a kind and a connection (see namer), so a value that is copied to
// another entry does not open there; neither does an older one that gets the
// header of a newer one.
const (
	sealVersion    = 1
	sealHeaderSize = 1 + keyIDSize + 8
	sealOverhead   = sealHeaderSize + 12 + 16
)

// joinFields joins fields so that different lists of fields never give the
// same bytes: every field has its length in front of it.
func joinFields(fields ...string) []byte {
	size := 0
	for _, f := range fields {
		size += 4 + len(f)
	}
	out := make([]byte, 0, size)
	for _, f := range fields {
		out = binary.BigEndian.AppendUint32(out, uint32(len(f)))
		out = append(out, f...)
	}
	return out
}

// aead returns the cipher of one entry under one master key.
func (k *masterKey) aead(name []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(k.secret.Reveal()), nil, string(joinFields("freshbearer sealing key v1", string(name))), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// associated returns what is authenticated along with the ciphertext.
func associated(header, name []byte) []byte {
	return joinFields("freshbearer sealed value v1", string(header), string(name))
}

// seal seals plaintext for the entry with that name, with the ring's first
// key.
func (r *Keyring) seal(name []byte, generation uint64, plaintext []byte) ([]byte, error) {
	key := r.first()
	aead, err := key.aead(name)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	out := make([]byte, 0, sealOverhead+len(plaintext))
	out = append(out, sealVersion)
	out = append(out, key.id[:]...)
	out = binary.BigEndian.AppendUint64(out, generation)
	return aead.Seal(out, nil, plaintext, associated(out[:sealHeaderSize], name)), nil
}

// unsealed is a value that was opened.
type unsealed struct {
	plaintext  []byte
	generation uint64
	// key is the position in the ring of the key that opened it.
	key int
}

// sealedKeyID returns the id of the key that a sealed value names, nil if it is
// too short to name one. It may be any bytes if the value is damaged.
func sealedKeyID(sealed []byte) []byte {
	if len(sealed) < 1+keyIDSize {
		return nil
	}
	return sealed[1 : 1+keyIDSize]
}

// sealedBy tells whether a value claims to be sealed with a key.
func sealedBy(sealed []byte, key *masterKey) bool {
	return len(sealed) >= sealOverhead && sealed[0] == sealVersion && string(sealedKeyID(sealed)) == string(key.id[:])
}

// open opens the sealed value of the entry with that name. Its errors are
// ErrUnknownKey, ErrAltered and ErrNewerVersion.
func (r *Keyring) open(name []byte, sealed []byte) (unsealed, error) {
	if len(sealed) < sealOverhead {
		return unsealed{}, ErrAltered
	}
	if sealed[0] != sealVersion {
		// Versions count up from 1; any other number cannot be ours.
		if sealed[0] > sealVersion {
			return unsealed{}, ErrNewerVersion
		}
		return unsealed{}, ErrAltered
	}
	header := sealed[:sealHeaderSize]
	key, position := r.find(sealedKeyID(sealed))
	if key == nil {
		return unsealed{}, ErrUnknownKey
	}
	aead, err := key.aead(name)
	if err != nil {
		return unsealed{}, fmt.Errorf("opening: %w", err)
	}
	plaintext, err := aead.Open(nil, nil, sealed[sealHeaderSize:], associated(header, name))
	if err != nil {
		return unsealed{}, ErrAltered
	}
	return unsealed{
		plaintext:  plaintext,
		generation: binary.BigEndian.Uint64(header[1+keyIDSize:]),
		key:        position,
	}, nil
}
