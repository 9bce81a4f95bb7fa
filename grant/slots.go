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
	"slices"
	"sync"
)

// slots bounds how many refreshes are under way at once, over all connections:
// a herd of expiries must not become an attack on the provider. Refreshes that
// a caller waits for go first.
type slots struct {
	mu   sync.Mutex
	free int
	// Those in line, the next one first.
	urgent, patient []*turn
}

// turn is one refresh's place in the line.
type turn struct {
	granted chan struct{}
}

func newSlots(n int) *slots { return &slots{free: n} }

// enter takes a slot or a place in the line. Every turn must be given back
// with leave, whether it was granted or not.
func (s *slots) enter(urgent bool) *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &turn{granted: make(chan struct{})}
	switch {
	case s.free > 0:
		s.free--
		close(t.granted)
	case urgent:
		s.urgent = append(s.urgent, t)
	default:
		s.patient = append(s.patient, t)
	}
	return t
}

// hurry moves a turn before those that nobody waits for.
func (s *slots) hurry(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.patient, t); i >= 0 {
		s.patient = slices.Delete(s.patient, i, i+1)
		s.urgent = append(s.urgent, t)
	}
}

// wait waits for the turn.
func (s *slots) wait(ctx context.Context, t *turn) error {
	select {
	case <-t.granted:
		return nil
	default:
	}
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives back the slot, or the place in the line.
func (s *slots) leave(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-t.granted:
	default:
		for _, line := range []*[]*turn{&s.urgent, &s.patient} {
			if i := slices.Index(*line, t); i >= 0 {
				*line = slices.Delete(*line, i, i+1)
			}
		}
		return
	}
	for _, line := range []*[]*turn{&s.urgent, &s.patient} {
		if len(*line) > 0 {
			next := (*line)[0]
			*line = (*line)[1:]
			close(next.granted)
			return
		}
	}
	s.free++
}
