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

// Package tokenstore defines where grants are kept: the Store contract that
// an engine fulfils, the Record, and the Vault that seals every record before
// an engine sees it.
//
// An engine (tokenstore/badger is the default) stores opaque bytes under
// opaque names. It never sees a token, an account or a key, and needs to know
// nothing about OAuth.
package tokenstore

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"
)

// Errors that a Store returns, matched with errors.Is. An engine wraps them
// with what it knows; it never puts a value into an error text.
var (
	// ErrNotFound says that no value is stored under the name. An engine
	// returns it only if it is sure: a value that cannot be read, or whose
	// checksum is wrong, is a different error.
	ErrNotFound = errors.New("not found")

	// ErrConflict says that a checked Change found another value than it
	// expected. Nothing of the call was applied.
	ErrConflict = errors.New("changed by someone else")

	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("token store is closed")

	// ErrFull says that there is too little space for what was asked, now.
	// Nothing was applied, and the same call can succeed later.
	ErrFull = errors.New("too little space for the token store")

	// ErrInUse says that a store cannot be opened because another process, or
	// somebody else in this one, has it open.
	ErrInUse = errors.New("token store is in use")
)

// Store is a small transactional key-value store. It holds what cannot be had
// again: a refresh token that is lost costs a human a visit to the provider's
// consent page. Its rules are therefore strict, and the storetest package
// holds a conformance suite for them.
//
// All methods must be safe for concurrent use. They should respect the
// cancellation of ctx before they begin to write; once a write has begun, it
// must be carried to its end, because the caller could not tell whether it
// happened.
//
// Names and values are arbitrary bytes within the limits of MaxName and
// MaxValue; a call beyond a limit fails and changes nothing (CheckName and
// CheckChanges are those rules, for engines to use). The caller must not
// change a slice that it handed in before the call returns, and owns every
// slice that it receives.
type Store interface {
	// Get returns the value stored under name. It returns an error that is
	// ErrNotFound if there is none.
	Get(ctx context.Context, name []byte) ([]byte, error)

	// Apply makes all changes, or none. When it returns nil, they are durable:
	// they survive the death of the process and, as far as the machine keeps
	// its promises, of the machine. If it returns an error that is ErrConflict,
	// a checked change found another value than it expected, and nothing was
	// applied; nor was it if the error is ErrFull. After any other error, the
	// changes may or may not have been applied, but never in part.
	//
	// Checks and changes are one atomic step: of two calls that check the same
	// name for the same value and change it, at most one succeeds. All checks
	// see the state before the call; a name appears at most once in a call.
	Apply(ctx context.Context, changes ...Change) error

	// Scan calls fn for every name that begins with prefix and sorts after
	// after (nil: from the first), in ascending byte order of the names, until
	// fn returns false. It sees the state of the store at one moment. fn must
	// not call the store.
	Scan(ctx context.Context, prefix, after []byte, fn func(name, value []byte) bool) error

	// Close releases the store after the calls under way have returned. Every
	// call after it returns an error that is ErrClosed.
	Close() error
}

// SpaceChecker is what a Store can implement whose space may run out.
type SpaceChecker interface {
	// CheckSpace returns an error that is ErrFull if there is too little space
	// to begin what ends with a write that must not fail: a refresh, whose
	// token may be spent before its successor is stored. The store keeps space
	// for what has begun, so Apply can still succeed when CheckSpace fails.
	CheckSpace(ctx context.Context) error
}

// Placed is what a Store can implement that knows where it is, so that a copy
// of it can be told from the original (see Hold).
type Placed interface {
	// Place returns facts about the place that the store's data is physically
	// at, by name. They must stay the same for as long as the data is not
	// copied: when the process or the machine starts again, when the data is
	// moved or renamed where it is, when its disk is attached elsewhere. A fact
	// that may change otherwise must be left out; no facts at all are an answer.
	Place() (map[string]string, error)
}

// Change is one step of Store.Apply.
type Change struct {
	// Name is the name to change.
	Name []byte

	// Value is what to store under Name. A nil Value deletes the name, which
	// is no error if there is none (unless Check says so).
	Value []byte

	// Check makes the whole Apply conditional: the value stored under Name
	// must equal Old, byte for byte, or must not exist if Old is nil.
	Check bool
	Old   []byte

	// ExpiresAt lets the engine forget the value after that time, if it is not
	// zero. It is a hint that keeps the store small: an engine may ignore it,
	// and callers check for themselves.
	ExpiresAt time.Time
}

// Opener is what an engine's configuration does. The Caddy modules in the
// namespace freshbearer.stores implement it.
type Opener interface {
	// Identity names the exclusive resource behind the configuration (for a
	// directory: its absolute path, symlinks resolved), not its options. Two
	// configurations with one identity share one open store.
	Identity() (string, error)

	// Open opens the store, and creates it if it does not exist. An error
	// names what is wrong and what the operator can do about it.
	Open(logger *zap.Logger) (Store, error)
}

// Examiner is an Opener that can be asked beforehand whether there is a place
// for the store. It leaves nothing behind.
type Examiner interface {
	Examine() error
}
