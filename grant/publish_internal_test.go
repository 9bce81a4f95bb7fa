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
	"testing"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Two that store one after the other may publish the other way round.
func TestPublishNeverGoesBack(t *testing.T) {
	k := &Keeper{}
	k.integrations.Store(&map[string]*Integration{})
	c := new(connection)
	record := func(epoch, generation uint64, state tokenstore.State) *tokenstore.Record {
		return &tokenstore.Record{Epoch: epoch, Generation: generation, State: state}
	}
	for i, step := range []struct {
		published *tokenstore.Record
		// What is then true.
		epoch, generation uint64
		state             tokenstore.State
	}{
		{record(1, 2, tokenstore.StateConnected), 1, 2, tokenstore.StateConnected},
		{record(1, 1, tokenstore.StateConnected), 1, 2, tokenstore.StateConnected},
		{record(1, 2, tokenstore.StateNeedsReauth), 1, 2, tokenstore.StateNeedsReauth},
		{record(1, 4, tokenstore.StateDisconnected), 1, 4, tokenstore.StateDisconnected},
		{record(1, 3, tokenstore.StateConnected), 1, 4, tokenstore.StateDisconnected},
		{record(2, 1, tokenstore.StateConnected), 2, 1, tokenstore.StateConnected},
		{record(1, 9, tokenstore.StateConnected), 2, 1, tokenstore.StateConnected},
	} {
		returned := k.publish(c, step.published)
		s := c.snapshot.Load()
		if s.Epoch != step.epoch || s.Generation != step.generation || s.State != step.state || returned != s {
			t.Errorf("step %d: epoch %d, generation %d, %s", i, s.Epoch, s.Generation, s.State)
		}
	}
}
