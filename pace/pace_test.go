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

package pace_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/pace"
)

var limits = pace.Limits{PerMinute: 500, AtOnce: 10, Queue: 1000, Wait: 2 * time.Minute}

// simulate runs in a bubble, where time passes when all wait.
func simulate(t *testing.T, run func(t *testing.T, p *pace.Pacer)) {
	synctest.Test(t, func(t *testing.T) { run(t, pace.New(clockwork.NewRealClock())) })
}

// In no 60 seconds more requests begin than may, and never more are under way;
// and what may go does not wait.
func TestLimits(t *testing.T) {
	simulate(t, func(t *testing.T, p *pace.Pacer) {
		const perSecond = 50
		var (
			mu            sync.Mutex
			began         []time.Time
			running, most int
			wg            sync.WaitGroup
		)
		start := time.Now()
		for i := range 1500 {
			time.Sleep(time.Duration(i%7) * time.Millisecond)
			wg.Go(func() {
				// A pacer that lets nobody wait long enough would have to refuse some.
				slot, _, err := p.Enter(t.Context(), "one", pace.Limits{PerMinute: 500, PerSecond: perSecond, AtOnce: 10, Queue: 2000, Wait: time.Hour})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				began = append(began, time.Now())
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
				mu.Lock()
				running--
				mu.Unlock()
				slot.Leave()
			})
		}
		wg.Wait()
		if most != 10 {
			t.Errorf("%d were under way at once", most)
		}
		for i := range began[500:] {
			if d := began[i+500].Sub(began[i]); d < time.Minute {
				t.Fatalf("501 requests within %s", d)
			}
		}
		for i := range began[perSecond:] {
			if d := began[i+perSecond].Sub(began[i]); d < time.Second {
				t.Fatalf("%d requests within %s", perSecond+1, d)
			}
		}
		if took := time.Since(start); took > 3*time.Minute {
			t.Errorf("1500 requests took %s", took)
		}
		if s := p.Stats(); s.Waiting != 0 || s.Waits < 900 || s.Waited < time.Minute {
			t.Errorf("%+v", s)
		}
	})
}

// Companies do not wait for each other.
func TestFair(t *testing.T) {
	simulate(t, func(t *testing.T, p *pace.Pacer) {
		for range 10 {
			if _, _, err := p.Enter(t.Context(), "greedy", limits); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { _, _, _ = p.Enter(ctx, "greedy", limits) })
		}
		synctest.Wait()
		for i := range 1000 {
			slot, waited, err := p.Enter(t.Context(), "modest"+strconv.Itoa(i), limits)
			if waited || err != nil {
				t.Fatalf("waited: %t, %v", waited, err)
			}
			slot.Leave()
		}
		cancel()
		wg.Wait()
	})
}

// Turns come in the order of the requests; who hangs up loses his.
func TestOrder(t *testing.T) {
	simulate(t, func(t *testing.T, p *pace.Pacer) {
		one := pace.Limits{AtOnce: 1, Queue: 100, Wait: time.Minute}
		first, _, _ := p.Enter(t.Context(), "one", one)
		var order []int
		var gone atomic.Int32
		var wg sync.WaitGroup
		for i := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				slot, waited, err := p.Enter(ctx, "one", one)
				if errors.Is(err, context.Canceled) {
					gone.Add(1)
					return
				}
				if !waited || err != nil {
					t.Errorf("waited: %t, %v", waited, err)
					return
				}
				order = append(order, i) // one at a time
				slot.Leave()
			})
			synctest.Wait()
			if i%3 == 0 {
				cancel()
			}
			defer cancel()
		}
		synctest.Wait()
		first.Leave()
		wg.Wait()
		if gone.Load() != 7 || len(order) != 13 {
			t.Errorf("%d hung up, %v went", gone.Load(), order)
		}
		for i := range order[1:] {
			if order[i+1] < order[i] {
				t.Errorf("the order is %v", order)
			}
		}
		if slot, waited, err := p.Enter(t.Context(), "one", one); waited || err != nil || !slot.Held() {
			t.Errorf("a slot was lost: %t, %v", waited, err)
		}
	})
}

// A queue has an end, and a wait too. Who is refused learns when there is room.
func TestRefused(t *testing.T) {
	simulate(t, func(t *testing.T, p *pace.Pacer) {
		few := pace.Limits{AtOnce: 1, Queue: 2, Wait: 10 * time.Second}
		_, _, _ = p.Enter(t.Context(), "one", few)
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, _, err := p.Enter(t.Context(), "one", few)
				errs <- err
			}()
		}
		synctest.Wait()
		if p.Stats().Waiting != 2 {
			t.Errorf("%+v", p.Stats())
		}
		var limit *pace.LimitError
		before := time.Now()
		if _, _, err := p.Enter(t.Context(), "one", few); !errors.As(err, &limit) || limit.RetryAfter != time.Second || time.Since(before) > 0 {
			t.Errorf("with a full queue: %v after %s", err, time.Since(before))
		}
		for range 2 {
			if err := <-errs; !errors.As(err, &limit) || time.Since(before) != 10*time.Second {
				t.Errorf("%v after %s", err, time.Since(before))
			}
		}

		minute := pace.Limits{PerMinute: 5, Queue: 100, Wait: 10 * time.Second}
		time.Sleep(500 * time.Millisecond)
		for range 5 {
			_, _, _ = p.Enter(t.Context(), "two", minute)
		}
		time.Sleep(20 * time.Second)
		before = time.Now()
		if _, _, err := p.Enter(t.Context(), "two", minute); !errors.As(err, &limit) || time.Since(before) > 0 {
			t.Fatalf("when no wait is enough: %v after %s", err, time.Since(before))
		}
		if limit.RetryAfter < 40*time.Second || limit.RetryAfter > 41*time.Second {
			t.Errorf("there is said to be room in %s", limit.RetryAfter)
		}
		time.Sleep(limit.RetryAfter)
		if _, waited, err := p.Enter(t.Context(), "two", minute); waited || err != nil {
			t.Errorf("when there should be room: %t, %v", waited, err)
		}
	})
}

// What is sent again counts, needs no second slot, and goes before the others.
func TestAgain(t *testing.T) {
	simulate(t, func(t *testing.T, p *pace.Pacer) {
		two := pace.Limits{PerMinute: 2, AtOnce: 1, Queue: 10, Wait: 3 * time.Minute}
		slot, _, _ := p.Enter(t.Context(), "one", two)
		if waited, err := slot.Again(t.Context()); waited || err != nil {
			t.Fatalf("%t, %v", waited, err)
		}
		var order []string
		var wg sync.WaitGroup
		wg.Go(func() {
			other, _, err := p.Enter(t.Context(), "one", two)
			if err != nil {
				t.Error(err)
				return
			}
			order = append(order, "other")
			other.Leave()
		})
		synctest.Wait()
		if waited, err := slot.Again(t.Context()); !waited || err != nil {
			t.Fatalf("the third within a minute: %t, %v", waited, err)
		}
		order = append(order, "again")
		slot.Leave()
		wg.Wait()
		if len(order) != 2 || order[0] != "again" {
			t.Errorf("the order was %v", order)
		}
	})
}

// A clock that is set does not matter, and companies that send no more are
// forgotten.
func TestForgotten(t *testing.T) {
	clock := clockwork.NewFakeClock()
	p := pace.New(clock)
	for i := range 10_000 {
		slot, _, err := p.Enter(t.Context(), strconv.Itoa(i), limits)
		if err != nil {
			t.Fatal(err)
		}
		slot.Leave()
	}
	if n := p.Companies(); n != 10_000 {
		t.Fatalf("%d companies are known", n)
	}
	held, _, _ := p.Enter(t.Context(), "held", limits)
	clock.Advance(5 * time.Minute)
	for i := range 1000 {
		slot, _, _ := p.Enter(t.Context(), "new"+strconv.Itoa(i), limits)
		slot.Leave()
	}
	if n := p.Companies(); n < 1001 || n > 1101 {
		t.Errorf("%d companies are known, of 1001 that have sent of late", n)
	}
	held.Leave()
}

// What does not wait costs next to nothing.
func TestAllocations(t *testing.T) {
	p, ctx := pace.New(clockwork.NewRealClock()), t.Context()
	free := pace.Limits{PerMinute: 60_000, AtOnce: 10}
	if n := testing.AllocsPerRun(1000, func() {
		slot, _, _ := p.Enter(ctx, "9130347957983546", free)
		slot.Leave()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkEnter(b *testing.B) {
	p, ctx := pace.New(clockwork.NewRealClock()), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		slot, _, _ := p.Enter(ctx, "9130347957983546", pace.Limits{AtOnce: 10})
		slot.Leave()
	}
}
