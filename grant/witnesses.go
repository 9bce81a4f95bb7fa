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
	"sync"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// manyRefused is how many connections must be refused together for it to
	// be the provider's doing: users who revoke do not agree on a minute.
	manyRefused = 5
	// correlationWindow is what "together" means while others are accepted.
	correlationWindow = time.Minute
	// witnessAge and witnessMost bound what is remembered.
	witnessAge  = time.Hour
	witnessMost = 256

	// patienceShare is how many refreshes should normally have been heard of
	// before one refusal is believed, patienceMost the longest to wait for
	// them.
	patienceShare = 15
	patienceMost  = 5 * time.Minute
)

// witnesses are what the connections of one token endpoint have heard from it.
// One grant that is refused is dead; many at once are an outage, and if nobody
// else has been heard of since, nobody knows which it is.
type witnesses struct {
	mu sync.Mutex
	// refused has each connection's last refusal.
	refused map[tokenstore.Key]time.Time
	// accepted are the last refreshes that worked, oldest first.
	accepted []acceptance
	// suspects are the connections that wait for a better time.
	suspects map[*connection]*suspicion
	driven   bool
}

// acceptance is a refresh that worked. asked is when the request was sent:
// what happened before that it says nothing about.
type acceptance struct {
	key   tokenstore.Key
	asked time.Time
}

// refuse notes that a grant was refused for which there is no reason of its
// own.
func (w *witnesses) refuse(key tokenstore.Key, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused == nil {
		w.refused = make(map[tokenstore.Key]time.Time)
	}
	if _, known := w.refused[key]; !known && len(w.refused) >= witnessMost {
		w.prune(now)
		if len(w.refused) >= witnessMost {
			return // there are more than enough already
		}
	}
	w.refused[key] = now
}

// accept notes a refresh that worked, and returns the suspects for whom that
// is news.
func (w *witnesses) accept(key tokenstore.Key, asked, now time.Time) (released []*connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.refused, key)
	if len(w.accepted) >= witnessMost {
		w.accepted = append(w.accepted[:0], w.accepted[witnessMost/2:]...)
	}
	w.accepted = append(w.accepted, acceptance{key, asked})
	for c, s := range w.suspects {
		if c.key == key || s.alone || !asked.After(s.tried) {
			continue
		}
		s.tried = now // it is being tried
		released = append(released, c)
	}
	return released
}

// prune forgets what is too old to mean anything. The caller holds mu.
func (w *witnesses) prune(now time.Time) {
	for key, at := range w.refused {
		if now.Sub(at) > witnessAge || at.After(now) {
			delete(w.refused, key)
		}
	}
	keep := w.accepted[:0]
	for _, a := range w.accepted {
		if age := now.Sub(a.asked); age >= 0 && age <= witnessAge {
			keep = append(keep, a)
		}
	}
	w.accepted = keep
}

// together tells whether so many connections are refused at once that it must
// be the provider.
func (w *witnesses) together(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(now)
	var last time.Time
	lately := make(map[tokenstore.Key]bool)
	for _, a := range w.accepted {
		if a.asked.After(last) {
			last = a.asked
		}
		if now.Sub(a.asked) <= correlationWindow {
			lately[a.key] = true
		}
	}
	inARow, inWindow := 0, 0
	for _, at := range w.refused {
		if at.After(last) {
			inARow++
		}
		if now.Sub(at) <= correlationWindow {
			inWindow++
		}
	}
	return inARow >= manyRefused || inWindow >= manyRefused && inWindow > len(lately)
}

// othersAccepted tells whether another connection was refreshed with a request
// that was sent after a moment.
func (w *witnesses) othersAccepted(key tokenstore.Key, after time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.accepted {
		if a.key != key && a.asked.After(after) {
			return true
		}
	}
	return false
}

// patience returns how long it takes to hear from others. Who has hardly
// others hears nothing, however long.
func (w *witnesses) patience(key tokenstore.Key, now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(now)
	others, heard := make(map[tokenstore.Key]bool), 0
	first := now
	for _, a := range w.accepted {
		if a.key == key {
			continue
		}
		others[a.key] = true
		heard++
		if a.asked.Before(first) {
			first = a.asked
		}
	}
	if len(others) < manyRefused {
		return 0
	}
	return min(patienceMost, patienceShare*now.Sub(first)/time.Duration(heard))
}
