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
	"sync/atomic"
	"testing"
	"time"
)

func granted(t *turn) bool {
	select {
	case <-t.granted:
		return true
	default:
		return false
	}
}

func TestSlotsServeThoseWhoWaitFirst(t *testing.T) {
	s := newSlots(2)
	a, b := s.enter(false), s.enter(true)
	if !granted(a) || !granted(b) {
		t.Fatal("free slots are not given")
	}
	patient, later, urgent := s.enter(false), s.enter(false), s.enter(true)
	if granted(patient) || granted(later) || granted(urgent) {
		t.Fatal("more slots than there are")
	}
	s.leave(a)
	if !granted(urgent) || granted(patient) {
		t.Fatal("a refresh that nobody waits for went before one that somebody waits for")
	}
	s.hurry(later)
	s.leave(b)
	if !granted(later) || granted(patient) {
		t.Fatal("a refresh that became urgent stayed behind")
	}
	// Whoever gives up frees its place, not a slot.
	gone := s.enter(true)
	s.leave(gone)
	s.leave(later)
	if !granted(patient) {
		t.Fatal("the slot went to one that had left")
	}
	s.leave(patient)
	s.leave(urgent)
	if s.free != 2 {
		t.Errorf("%d slots are free, want 2", s.free)
	}
}

func TestSlotsWait(t *testing.T) {
	s := newSlots(1)
	holder := s.enter(true)
	waiting := s.enter(true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.wait(ctx, waiting); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting without hope: %v", err)
	}
	s.leave(holder)
	// Granted counts for more than cancelled: the slot is held now.
	if err := s.wait(ctx, waiting); err != nil {
		t.Errorf("a granted turn: %v", err)
	}
}

func TestBreaker(t *testing.T) {
	now := time.Now()
	b := new(breaker)
	want := func(what string, want admission) {
		t.Helper()
		if got, _ := b.admit(now); got != want {
			t.Fatalf("%s: %d, want %d", what, got, want)
		}
	}
	// Failures in a row open it; a success in between starts the count again.
	for range breakerLimit - 1 {
		want("closed", admitted)
		b.report(now, false)
	}
	b.report(now, true)
	for i := range breakerLimit {
		want("closed", admitted)
		if opened, _ := b.report(now, false); opened != (i == breakerLimit-1) {
			t.Fatalf("failure %d: opened %t", i+1, opened)
		}
	}
	want("open", refused)
	if b.pause(now) != breakerPause {
		t.Errorf("pause %s", b.pause(now))
	}
	// What began before tells nothing about now.
	b.report(now, true)
	want("open", refused)

	now = now.Add(breakerPause)
	want("the pause is over", probeFirst)
	want("while a probe is under way", refused)
	b.probed(now, false)
	want("the probe failed", refused)

	now = now.Add(breakerPause)
	want("the second pause is over", probeFirst)
	b.probed(now, true)
	want("the probe got through", admitted)
	want("the first refresh is under way", refused)
	if opened, _ := b.report(now, false); !opened {
		t.Fatal("a failure on trial does not open")
	}
	want("failed on trial", refused)

	now = now.Add(breakerPause)
	want("the third pause is over", probeFirst)
	b.probed(now, true)
	for width := 1; width <= breakerWidth; width *= 2 {
		for range width {
			want("on trial", admitted)
		}
		want("beyond the width", refused)
		var closed bool
		for range width {
			if _, c := b.report(now, true); c {
				closed = true
				break
			}
			// Successes double the width; drain to the next step.
		}
		if closed {
			want("closed again", admitted)
			return
		}
		b.limit, b.running = width*2, 0
	}
	t.Fatal("never closed")
}

func TestBreakerClosesWithFewConnections(t *testing.T) {
	now := time.Now()
	b := new(breaker)
	for range breakerLimit {
		b.report(now, false)
	}
	now = now.Add(breakerPause)
	b.admit(now)
	b.probed(now, true)
	b.admit(now)
	if _, closed := b.report(now.Add(breakerTrial), true); !closed {
		t.Error("still on trial after a minute without a failure")
	}
}

// A refusal that comes when the next generation is there already must not cost
// it its good name.
func TestRefusalOfAFormerGenerationHarmsNobody(t *testing.T) {
	now := time.Now()
	former := &Snapshot{Epoch: 1, Generation: 1, accepted: new(atomic.Bool), expiresAt: now.Add(time.Hour), issuedAt: now}
	current := &Snapshot{Epoch: 1, Generation: 2, accepted: new(atomic.Bool), expiresAt: now.Add(time.Hour), issuedAt: now}
	c := new(connection)
	c.snapshot.Store(current)
	if !c.mayForce(former, now) {
		t.Error("the newer token is not offered")
	}
	if c.snapshot.Load() != current {
		t.Error("the refusal of a former token marked the current one as dead")
	}
}
