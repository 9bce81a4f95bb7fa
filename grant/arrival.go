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

package grant

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
)

// arrival is the first callback that came with a state, and what came of it.
//
// Browsers send a callback twice: on a reload while it is being worked on, when
// pages are restored or fetched ahead, or because a program in between looks at
// every link. Who is the same browser with the same callback is told the same
// thing, so that a human whose company is connected does not read of a failure.
type arrival struct {
	id    [sha256.Size]byte
	query []byte // its hash: it holds the code

	// done is closed when the rest is set.
	done chan struct{}
	// begun is nil if the state was nobody's, or could not be read.
	begun  *begun
	result Result
	err    error
}

// arrive registers a callback, and tells whether it is the first of its state.
func (k *Keeper) arrive(cb Callback, state string) (*arrival, bool) {
	a := &arrival{id: sha256.Sum256([]byte(state)), query: hash(cb.Query.Encode()), done: make(chan struct{})}
	v, former := k.arrivals.LoadOrStore(a.id, a)
	return v.(*arrival), !former
}

// remember ends an arrival and keeps it for as long as the browser keeps the
// cookie.
func (k *Keeper) remember(a *arrival) {
	defer close(a.done)
	// Strangers can make up as many states as they like, and who has a link can
	// begin as often as they like.
	if a.begun == nil || k.arrivalsNow.Load() >= maxBegun {
		k.arrivals.Delete(a.id)
		return
	}
	k.arrivalsNow.Add(1)
	k.clock.AfterFunc(authorizationLife, func() {
		k.arrivals.Delete(a.id)
		k.arrivalsNow.Add(-1)
	})
}

// again answers a callback with a state that another one has come with.
func (a *arrival) again(ctx context.Context, cb Callback) (Result, error) {
	select {
	case <-a.done:
	case <-ctx.Done():
		return Result{}, &AuthorizationError{Failure: FailureUnavailable, Err: ctx.Err()}
	}
	var first *AuthorizationError
	errors.As(a.err, &first)
	switch {
	case a.begun == nil, first != nil && first.Failure == FailureExpired:
		return Result{}, a.err
	case !a.begun.sameBrowser(cb.Cookie):
		return Result{}, &AuthorizationError{Failure: FailureUsed}
	case !bytes.Equal(a.query, hash(cb.Query.Encode())), first != nil && first.Failure == FailureState:
		// Another browser, or another choice at the provider's page, was first.
		return Result{}, &AuthorizationError{Failure: FailureUsed, ReturnURL: a.begun.Link.ReturnURL, Popup: a.begun.Popup}
	}
	return a.result, a.err
}
