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
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// maxBegun bounds what people who open a link again and again can store.
	maxBegun   = 10_000
	sweepEvery = time.Minute
	// maxReconnects is how many of them may be reconnections, which anybody may
	// start: they must not keep out those who have a link.
	maxReconnects = 2_000
)

// ErrTooMany says that too many authorizations have been started: in all, or
// without a link, from one address.
var ErrTooMany = errors.New("too many authorizations are under way")

// TooManyError is an ErrTooMany that tells when to try again.
type TooManyError struct {
	// RetryAfter is how long to wait before another try.
	RetryAfter time.Duration
}

func (e *TooManyError) Error() string { return ErrTooMany.Error() }

// Is makes it an ErrTooMany.
func (e *TooManyError) Is(target error) bool { return target == ErrTooMany }

// starts bounds how many authorizations are begun.
type starts struct {
	mu sync.Mutex
	// begun is how many states are stored, at most: as many as there were at
	// sweptAt, and those of since. pending of them are being stored.
	begun, pending int
	sweptAt        time.Time
	// reconnects are the starts of late that anybody may make, and from has them
	// by address. They are in memory: a restart forgets them.
	from       map[string]*source
	reconnects []time.Time
}

// admitStart forgets what has expired, now and then, and refuses more when
// there is too much of it. The function it returns ends the storing.
func (k *Keeper) admitStart(ctx context.Context, start Start) (done func(), err error) {
	s := &k.starts
	s.mu.Lock()
	defer s.mu.Unlock()
	now := k.clock.Now()
	// First what costs nothing.
	byAnybody := start.Link.Purpose == PurposeReconnect
	name := ""
	if byAnybody {
		// Who has a link was given it: an accountant may connect fifty companies.
		name = sourceOf(start.From)
	}
	src := s.from[name]
	if src != nil {
		if d := wait(src.at, mostFrom, fromWindow, now); d > 0 {
			return nil, &TooManyError{RetryAfter: d}
		}
	}
	if byAnybody {
		if d := wait(s.reconnects, maxReconnects, onceKept, now); d > 0 {
			return nil, &TooManyError{RetryAfter: d}
		}
	}
	if now.Sub(s.sweptAt).Abs() >= sweepEvery {
		n, err := k.vault.SweepOnce(ctx, now)
		if err != nil {
			return nil, fmt.Errorf("sweeping expired authorizations: %w", err)
		}
		// Those that are being stored may have been counted, or not.
		s.sweptAt, s.begun = now, n+s.pending
	}
	if s.begun >= maxBegun {
		return nil, &TooManyError{RetryAfter: max(s.sweptAt.Add(sweepEvery).Sub(now), time.Second)}
	}
	if name != "" {
		if src == nil {
			if len(s.from) >= maxSources {
				s.forgetSource(now)
			}
			if s.from == nil {
				s.from = make(map[string]*source)
			}
			src = new(source)
			s.from[name] = src
		}
		src.at = noteStart(src.at, mostFrom, now)
	}
	if byAnybody {
		s.reconnects = noteStart(s.reconnects, maxReconnects, now)
	}
	s.begun++
	s.pending++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pending--
	}, nil
}
