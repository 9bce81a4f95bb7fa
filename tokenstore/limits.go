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
	"errors"
	"fmt"
)

// The limits of a Store.
const (
	// MaxName is the longest name in bytes; the shortest is 1.
	MaxName = 64
	// MaxValue is the longest value in bytes; the shortest is 1.
	MaxValue = 64 << 10
	// MaxChanges is the most changes in one call of Apply.
	MaxChanges = 16
	// MaxApply is the most bytes that the values of one call of Apply hold
	// together.
	MaxApply = 128 << 10
)

// ErrInvalid says that a call breaks a rule of the Store contract. It had no
// effect.
var ErrInvalid = errors.New("invalid use of the token store")

// CheckName returns an error that is ErrInvalid if name is outside the limits.
func CheckName(name []byte) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("%w: a name of %d bytes, not 1 to %d", ErrInvalid, len(name), MaxName)
	}
	return nil
}

// CheckChanges returns an error that is ErrInvalid if Apply must refuse the
// changes whatever the store holds.
func CheckChanges(changes []Change) error {
	if len(changes) > MaxChanges {
		return fmt.Errorf("%w: %d changes at once, at most %d are allowed", ErrInvalid, len(changes), MaxChanges)
	}
	seen := make(map[string]struct{}, len(changes))
	sum := 0
	for _, c := range changes {
		if err := CheckName(c.Name); err != nil {
			return err
		}
		if _, ok := seen[string(c.Name)]; ok {
			return fmt.Errorf("%w: a name is changed twice in one call", ErrInvalid)
		}
		seen[string(c.Name)] = struct{}{}
		if c.Value != nil && (len(c.Value) == 0 || len(c.Value) > MaxValue) {
			return fmt.Errorf("%w: a value of %d bytes, not 1 to %d", ErrInvalid, len(c.Value), MaxValue)
		}
		sum += len(c.Value)
	}
	if sum > MaxApply {
		return fmt.Errorf("%w: %d bytes of values at once, at most %d are allowed", ErrInvalid, sum, MaxApply)
	}
	return nil
}
