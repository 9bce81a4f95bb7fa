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

package grant_test

import (
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
)

func TestActivityAndTroubles(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	key := w.many(1)[0]
	clock.Advance(2 * time.Hour)
	last := func() grant.Bucket {
		a := w.keeper.Activity(key.Integration)
		if len(a.Buckets) != 48 || a.Step != 15*time.Minute {
			t.Fatalf("%d buckets of %s", len(a.Buckets), a.Step)
		}
		return a.Buckets[47]
	}
	if got := last(); got != (grant.Bucket{}) || len(w.keeper.Troubles()) != 0 {
		t.Errorf("before anything happened: %+v, %+v", got, w.keeper.Troubles())
	}
	w.intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultThrottled})
	if _, err := w.keeper.Token(t.Context(), key); err == nil {
		t.Fatal("a throttled refresh has brought a token")
	}
	troubles := w.keeper.Troubles()
	if got := last(); got != (grant.Bucket{Failed: 1}) || len(troubles) != 1 || troubles[0].What != grant.TroubleNotNow || troubles[0].Count != 1 || troubles[0].Connection != key.Connection {
		t.Errorf("after a failure: %+v, %+v", got, troubles)
	}
	if _, err := w.keeper.Recheck(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if got := last(); got != (grant.Bucket{Refreshed: 1, Failed: 1}) {
		t.Errorf("after a refresh: %+v", got)
	}
	clock.Advance(13 * time.Hour)
	for i, b := range w.keeper.Activity("").Buckets[:40] {
		if b != (grant.Bucket{}) {
			t.Errorf("bucket %d after 13 hours: %+v", i, b)
		}
	}
	if got := w.keeper.Activity("another").Buckets[47]; got != (grant.Bucket{}) {
		t.Errorf("another integration: %+v", got)
	}
}
