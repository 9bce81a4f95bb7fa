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
)

const (
	activityStep    = 15 * time.Minute
	activityBuckets = 48
)

// Activity is how refreshes ended of late, since the process began.
type Activity struct {
	// Step is how long a bucket lasts, Until the end of the last one, which is
	// not over yet.
	Step  time.Duration
	Until time.Time
	// Buckets are sorted, the oldest first.
	Buckets []Bucket
}

// Bucket counts the refreshes that ended in a while.
type Bucket struct {
	// Refreshed ones brought new tokens, Refused ones an invalid_grant. Failed
	// ones brought no answer, or one that tells nothing of the grant.
	Refreshed, Failed, Refused int
}

// activity counts how refreshes end.
type activity struct {
	mu sync.Mutex
	of map[string]*[activityBuckets]numbered // by integration
}

// numbered is a bucket that knows its time, so that an old one is not taken for
// a new one when the ring comes round, nor when the clock is set back.
type numbered struct {
	number int64
	Bucket
}

// count counts an ended refresh.
func (k *Keeper) count(integration string, end RefreshEnd) {
	k.meter(integration).ends[end].Add(1)
	if end == RefreshNotStarted {
		return
	}
	a, number := &k.activity, k.clock.Now().UnixNano()/int64(activityStep)
	a.mu.Lock()
	defer a.mu.Unlock()
	ring := a.of[integration]
	if ring == nil {
		if a.of == nil {
			a.of = make(map[string]*[activityBuckets]numbered)
		}
		ring = new([activityBuckets]numbered)
		a.of[integration] = ring
	}
	b := &ring[number%activityBuckets]
	if b.number != number {
		*b = numbered{number: number}
	}
	switch end {
	case RefreshSucceeded:
		b.Refreshed++
	case RefreshRefused:
		b.Refused++
	default:
		b.Failed++
	}
}

// Activity returns how the refreshes of an integration ended of late, or of
// all if integration is empty.
func (k *Keeper) Activity(integration string) Activity {
	a, last := &k.activity, k.clock.Now().UnixNano()/int64(activityStep)
	result := Activity{
		Step: activityStep, Until: time.Unix(0, (last+1)*int64(activityStep)).UTC(), Buckets: make([]Bucket, activityBuckets),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, ring := range a.of {
		if integration != "" && name != integration {
			continue
		}
		for i := range result.Buckets {
			number := last - activityBuckets + 1 + int64(i)
			b := &ring[number%activityBuckets]
			if b.number != number {
				continue
			}
			to := &result.Buckets[i]
			to.Refreshed += b.Refreshed
			to.Failed += b.Failed
			to.Refused += b.Refused
		}
	}
	return result
}
