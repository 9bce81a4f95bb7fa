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

package notify

import (
	"fmt"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// filled returns a queue with one notice of each of n connections.
func filled(t *testing.T, n int) *queue {
	t.Helper()
	ring, err := tokenstore.ParseKeyring(tokenstore.GenerateKey())
	if err != nil {
		t.Fatal(err)
	}
	v, err := tokenstore.OpenVault(t.Context(), storetest.NewMemory(), ring)
	if err != nil {
		t.Fatal(err)
	}
	q := newQueue()
	v.OnNotice(q.add)
	for i := range n {
		key := tokenstore.Key{Integration: "quickbooks", Connection: fmt.Sprint(i)}
		if err := v.Save(t.Context(), &tokenstore.Record{Key: key}, tokenstore.Notice{Key: key, ID: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	return q
}

// takeAll takes as many as may be tried now.
func takeAll(q *queue, now time.Time) (taken []*lane) {
	for {
		l, _ := q.take(now)
		if l == nil {
			return taken
		}
		taken = append(taken, l)
	}
}

func TestTroubleOfTheReceiver(t *testing.T) {
	q := filled(t, 40)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for round := range troubled / parallel {
		taken := takeAll(q, now)
		if len(taken) != parallel {
			t.Fatalf("round %d: %d at once", round, len(taken))
		}
		for _, l := range taken {
			q.failed(l, now, 0)
			q.giveBack(l, l.refs[0].Connection())
		}
	}
	// In trouble: nothing for a while, and then one at a time, also long after.
	if taken := takeAll(q, now); len(taken) != 0 {
		t.Fatalf("%d at once while the receiver is left alone", len(taken))
	}
	for range 20 {
		now = now.Add(troubledMost + time.Second)
		taken := takeAll(q, now)
		if len(taken) != 1 {
			t.Fatalf("%d at once while the receiver is in trouble", len(taken))
		}
		q.failed(taken[0], now, 0)
		q.giveBack(taken[0], taken[0].refs[0].Connection())
	}
	// Over it: everybody's turn, whatever each has waited for.
	now = now.Add(troubledMost + time.Second)
	for _, l := range q.lanes {
		l.notBefore = now.Add(backoffMost)
	}
	q.waiting[0].notBefore = now
	taken := takeAll(q, now)
	if len(taken) != 1 {
		t.Fatalf("%d at once", len(taken))
	}
	q.succeeded(taken[0])
	q.remove(taken[0].refs[0])
	q.giveBack(taken[0], "")
	if taken := takeAll(q, now); len(taken) != parallel {
		t.Errorf("%d at once after the trouble", len(taken))
	}
}

func TestBackoff(t *testing.T) {
	for failures, most := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 5: 80 * time.Second, 11: time.Hour, 1000: time.Hour} {
		longest := time.Duration(0)
		for range 1000 {
			wait := backoff(failures, backoffMost)
			if wait < time.Second || wait > most+time.Second {
				t.Fatalf("%s after %d failures", wait, failures)
			}
			longest = max(longest, wait)
		}
		if longest < most/2 {
			t.Errorf("%s at most after %d failures, want up to %s", longest, failures, most)
		}
	}
}
