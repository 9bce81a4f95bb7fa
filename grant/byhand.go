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
	"fmt"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// byHandInterval is how often a human, or an app, can have a good token
// replaced. Who does it more often has another trouble.
const byHandInterval = time.Minute

// Refresh refreshes a connection now, although its token may be good. It goes
// the way of every refresh: one under way is joined, and a hold, a pause of the
// provider's or a backoff is kept. Errors are those of Token, and an
// *UnavailableError with ReasonTooSoon. A dead grant is not asked about; Recheck
// does that.
func (k *Keeper) Refresh(ctx context.Context, key tokenstore.Key) (*Snapshot, error) {
	timer := k.clock.NewTimer(k.opts.CallerWait)
	defer timer.Stop()
	f, err := k.refreshByHand(ctx, key)
	if err != nil {
		return nil, err
	}
	return waitFor(ctx, f, timer.Chan())
}

func (k *Keeper) refreshByHand(ctx context.Context, key tokenstore.Key) (*flight, error) {
	c, err := k.lockLoaded(ctx, key)
	if err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	if f := c.flight.Load(); f != nil {
		k.slots.hurry(f.turn)
		return f, nil
	}
	now := k.clock.Now()
	if snap := c.snapshot.Load(); k.dead(snap) {
		return nil, reauthorization(snap)
	}
	if e := c.backingOff(now); e != nil {
		return nil, e
	}
	if e := k.pause(c.key.Integration, now); e != nil {
		return nil, e
	}
	if ago := now.Sub(c.lastByHand); !c.lastByHand.IsZero() && ago >= 0 && ago < byHandInterval {
		return nil, &UnavailableError{
			Reason: ReasonTooSoon, RetryAfter: byHandInterval - ago,
			Err: fmt.Errorf("it was refreshed by hand %s ago", ago.Round(time.Second)),
		}
	}
	f, err := k.launch(ctx, c, true)
	if err != nil {
		return nil, unavailable(err)
	}
	c.lastByHand = now
	return f, nil
}
