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
	"encoding/hex"
	"errors"
	"fmt"
)

// Why a sealed value does not open. A DamagedError wraps one of them.
var (
	// ErrUnknownKey says that the value was sealed with an encryption key that
	// is not configured.
	ErrUnknownKey = errors.New("it was sealed with an encryption key that is not configured")

	// ErrAltered says that the value is not what was sealed for this entry: it
	// was changed, cut off, or belongs to another entry.
	ErrAltered = errors.New("it was altered, or belongs to another entry")

	// ErrNewerVersion says that a newer version of this program wrote the
	// value.
	ErrNewerVersion = errors.New("a newer version of freshbearer wrote it")
)

// WrongKeyError says that the store cannot be opened with the configured
// encryption keys. Nothing was changed.
type WrongKeyError struct {
	// Keys is how many keys were tried.
	Keys int
	// Former is how many keys are missing that entries may still be sealed
	// with; 0 if the one is missing that is in use.
	Former int
}

// Error implements error.
func (e *WrongKeyError) Error() string {
	if e.Former > 0 {
		return "connections are still sealed with a former encryption key that is not configured; nothing was changed. " +
			"Keep it as a further key, after the first one, until the log says that all records are sealed with the first encryption key"
	}
	none := fmt.Sprintf("none of the %d configured encryption keys opens", e.Keys)
	if e.Keys == 1 {
		none = "the configured encryption key does not open"
	}
	return none + " this token store; nothing was changed. Put back the key that the store was written with: " +
		"as the first key, or as the second one if the first is to replace it"
}

// DamagedError says that an entry of the store exists but cannot be read. It
// is never ErrNotFound: a grant that cannot be read is not a grant that was
// never given.
type DamagedError struct {
	// Key names the connection. Its Connection is empty if the entry was found
	// by a scan, because names are not stored in clear; both fields are empty
	// if the entry belongs to no connection.
	Key Key

	// Err says why: ErrUnknownKey, ErrAltered or ErrNewerVersion.
	Err error

	// name is the entry's name, to tell apart entries without a Key.
	name []byte
}

// Error implements error.
func (e *DamagedError) Error() string {
	what := "entry"
	switch {
	case e.Key.Connection != "":
		// Not the connection's own name: errors end in logs, and a customer's
		// identity should not.
		what = fmt.Sprintf("record of a connection of %q (entry %s)", e.Key.Integration, hex.EncodeToString(e.name))
	case len(e.name) > 0:
		what = "entry " + hex.EncodeToString(e.name)
	}
	return fmt.Sprintf("the token store's %s cannot be read: %v", what, e.Err)
}

// Unwrap returns the reason.
func (e *DamagedError) Unwrap() error { return e.Err }
