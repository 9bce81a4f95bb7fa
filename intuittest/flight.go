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

package intuittest

import (
	"context"
	"sync"
	"time"
)

// patience is how long a second refresh with the same value waits to learn
// that the client of the first has given up. A client that cancels and tries
// again on a new connection must not count as two at once only because the
// news of the cancellation came second.
const patience = 250 * time.Millisecond

// flight is a refresh request under way, from its arrival until its answer
// begins to be sent.
type flight struct {
	s         *Server
	value     string
	realm     string
	processed bool // guarded by s.mu
	gone      chan struct{}
	landed    chan struct{}
	land      func() // ends the flight; may be called again
}

// takeOff registers a refresh request and tells whether another with the same
// value is under way.
func (s *Server) takeOff(ctx context.Context, value, realm string) (f *flight, overlapping bool) {
	f = &flight{s: s, value: value, realm: realm, gone: make(chan struct{}), landed: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { close(f.gone) })
	f.land = sync.OnceFunc(func() {
		// Whoever finds the flight landed must also find out if its client had
		// gone, and the news of that may still be on its way.
		if !stop() {
			<-f.gone
		} else if gone(ctx) {
			close(f.gone)
		}
		s.mu.Lock()
		delete(s.flights, f)
		s.mu.Unlock()
		close(f.landed)
	})

	s.mu.Lock()
	var others []*flight
	for other := range s.flights {
		if other.realm == realm && (realm != "" || other.value == value) {
			others = append(others, other)
		}
	}
	s.flights[f] = struct{}{}
	s.log.counters.MostRefreshes = max(s.log.counters.MostRefreshes, len(s.flights))
	s.mu.Unlock()

	atOnce := 1
	limit := time.NewTimer(patience)
	defer limit.Stop()
	expired := false
	for _, other := range others {
		if !expired {
			select {
			case <-other.gone:
			case <-other.landed:
			case <-limit.C:
				expired = true
			}
		}
		select {
		case <-other.gone:
			continue
		default:
		}
		atOnce++
		overlapping = overlapping || other.value == value
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.log.counters
	c.MaxConcurrentRefreshes[realm] = max(c.MaxConcurrentRefreshes[realm], atOnce)
	if overlapping {
		c.OverlappingRefreshes++
		s.event("overlap", realm, "")
	}
	return f, overlapping
}

// punish applies what Intuit's FAQ warns of: several refreshes at once may
// cost the grant its refresh token. The winner is still answered, so if it has
// not been processed yet, the grant dies right after. The caller holds s.mu.
func (s *Server) punish(loser *flight) {
	v := s.refresh[loser.value]
	if !s.behaviour.RevokeFamily || v == nil {
		return
	}
	for other := range s.flights {
		if other != loser && other.value == loser.value && !other.processed {
			v.grant.doomed = true
			return
		}
	}
	s.revokeFamily(v.grant)
}
