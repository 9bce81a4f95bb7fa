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
	"context"
	"sync"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// keyLocks is a lock per connection, known or not, that can be waited for with
// a context. The zero value is ready.
type keyLocks struct {
	mu   sync.Mutex
	held map[tokenstore.Key]*keyLock
}

type keyLock struct {
	free chan struct{} // holds one value while nobody has the lock
	// users have the lock or wait for it; the last one takes it away.
	users int
}

// lock waits for the key's lock and returns what gives it back.
func (l *keyLocks) lock(ctx context.Context, key tokenstore.Key) (unlock func(), err error) {
	l.mu.Lock()
	k := l.held[key]
	if k == nil {
		k = &keyLock{free: make(chan struct{}, 1)}
		k.free <- struct{}{}
		if l.held == nil {
			l.held = make(map[tokenstore.Key]*keyLock)
		}
		l.held[key] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, key)
		}
	}
	select {
	case <-k.free:
		return func() { k.free <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
