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

package fill

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// together is a store that makes the changes of calls that come together in one
// call, so that they share a synced write. Nobody may change a name in two
// calls at once. If one cannot be made, none of them is.
type together struct {
	tokenstore.Store
	calls chan call
	done  chan struct{}
	// written are the bytes of the values that were to be stored.
	written atomic.Int64
}

type call struct {
	changes []tokenstore.Change
	result  chan error
}

func newTogether(s tokenstore.Store) *together {
	t := &together{Store: s, calls: make(chan call, writers), done: make(chan struct{})}
	go t.work()
	return t
}

// Apply implements tokenstore.Store.
func (t *together) Apply(_ context.Context, changes ...tokenstore.Change) error {
	for _, change := range changes {
		t.written.Add(int64(len(change.Value)))
	}
	c := call{changes, make(chan error, 1)}
	t.calls <- c
	return <-c.result
}

// Close implements tokenstore.Store.
func (t *together) Close() error {
	close(t.calls)
	<-t.done
	return t.Store.Close()
}

func (t *together) work() {
	defer close(t.done)
	var held *call
	for {
		var batch []call
		var changes []tokenstore.Change
		size := 0
		add := func(c call) bool {
			sum := 0
			for _, change := range c.changes {
				sum += len(change.Value)
			}
			if len(batch) > 0 && (len(changes)+len(c.changes) > tokenstore.MaxChanges || size+sum > tokenstore.MaxApply) {
				held = &c
				return false
			}
			batch, changes, size = append(batch, c), append(changes, c.changes...), size+sum
			return true
		}
		if held != nil {
			c := *held
			held = nil
			add(c)
		} else if c, ok := <-t.calls; ok {
			add(c)
		} else {
			return
		}
	gather:
		for {
			select {
			case c, ok := <-t.calls:
				if !ok || !add(c) {
					break gather
				}
			default:
				break gather
			}
		}
		t.apply(batch, changes)
	}
}

func (t *together) apply(batch []call, changes []tokenstore.Change) {
	err := t.Store.Apply(context.Background(), changes...)
	if errors.Is(err, tokenstore.ErrConflict) && len(batch) > 1 {
		// One of them is not what it was thought to be.
		for _, c := range batch {
			c.result <- t.Store.Apply(context.Background(), c.changes...)
		}
		return
	}
	for _, c := range batch {
		c.result <- err
	}
}
