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
	"slices"
	"sync"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	activityStep    = 15 * time.Minute
	activityBuckets = 48
	maxTroubles     = 50
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
	// Refreshed ones brought new tokens, Refused ones an invalid_grant, whatever
	// came of that. Failed ones brought no answer, or one that tells nothing of
	// the grant, or were not begun because the store could not be written.
	Refreshed, Failed, Refused int
}

// Trouble is something that went wrong. It holds no token and nothing of a
// body, but the provider's OAuth error code.
type Trouble struct {
	// Time is when it happened last.
	Time        time.Time
	Integration string
	Connection  string
	Account     string
	// What it was, in a short plain word.
	What          string
	ProviderError string
	TraceID       string
	// Count is how often in a row it happened.
	Count int
}

// memory is what happened of late. It is for people to look at, and ends with
// the process.
type memory struct {
	mu sync.Mutex
	// counts are by integration, and then by the number of the bucket in time.
	counts   map[string]map[int64]*Bucket
	troubles []Trouble // the newest last
}

// ended notes how a refresh ended; refusal is nil if it brought tokens.
func (k *Keeper) ended(record *tokenstore.Record, refusal *provider.TokenError) {
	switch {
	case refusal == nil:
		k.count(record.Integration, func(b *Bucket) { b.Refreshed++ })
		return
	case refusal.Outcome == provider.OutcomeInvalidGrant:
		k.count(record.Integration, func(b *Bucket) { b.Refused++ })
		k.trouble(record, "refused", refusal)
		return
	case refusal.Outcome == provider.OutcomeClientRefused:
		k.trouble(record, "client refused", refusal)
	default:
		k.trouble(record, "no usable answer", refusal)
	}
	k.count(record.Integration, func(b *Bucket) { b.Failed++ })
}

// notStored notes a refresh that could not begin, or whose tokens are in memory
// only.
func (k *Keeper) notStored(record *tokenstore.Record) {
	k.count(record.Integration, func(b *Bucket) { b.Failed++ })
	k.trouble(record, "store cannot be written", new(provider.TokenError))
}

func (k *Keeper) count(integration string, add func(*Bucket)) {
	m := &k.memory
	now := bucketOf(k.clock.Now())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = make(map[string]map[int64]*Bucket)
	}
	buckets := m.counts[integration]
	if buckets == nil {
		buckets = make(map[int64]*Bucket)
		m.counts[integration] = buckets
	}
	if buckets[now] == nil {
		for at := range buckets {
			if at <= now-activityBuckets || at > now {
				delete(buckets, at)
			}
		}
		buckets[now] = new(Bucket)
	}
	add(buckets[now])
}

func bucketOf(t time.Time) int64 { return t.Unix() / int64(activityStep/time.Second) }

func (k *Keeper) trouble(record *tokenstore.Record, what string, e *provider.TokenError) {
	m := &k.memory
	t := Trouble{
		Time: k.clock.Now(), Integration: record.Integration, Connection: record.Connection,
		Account: clip(record.Account, maxEventAccount), What: what,
		ProviderError: clip(e.Code, maxEventText), TraceID: clip(e.TraceID, maxEventText), Count: 1,
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// The same again is one entry: an outage must not push out all else.
	for i, old := range m.troubles {
		if old.Integration == t.Integration && old.Connection == t.Connection && old.What == what && old.ProviderError == t.ProviderError {
			t.Count += old.Count
			m.troubles = slices.Delete(m.troubles, i, i+1)
			break
		}
	}
	if len(m.troubles) >= maxTroubles {
		m.troubles = slices.Delete(m.troubles, 0, 1)
	}
	m.troubles = append(m.troubles, t)
}

// Activity returns how the refreshes of an integration ended of late, or of
// all if integration is empty.
func (k *Keeper) Activity(integration string) Activity {
	now := k.clock.Now()
	a := Activity{Step: activityStep, Until: now.Truncate(activityStep).Add(activityStep), Buckets: make([]Bucket, activityBuckets)}
	m := &k.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, buckets := range m.counts {
		if integration != "" && name != integration {
			continue
		}
		for at, b := range buckets {
			if i := activityBuckets - 1 - (bucketOf(now) - at); i >= 0 && i < activityBuckets {
				sum := &a.Buckets[i]
				sum.Refreshed, sum.Failed, sum.Refused = sum.Refreshed+b.Refreshed, sum.Failed+b.Failed, sum.Refused+b.Refused
			}
		}
	}
	return a
}

// Troubles returns what went wrong of late, the newest first, at most 50.
func (k *Keeper) Troubles() []Trouble {
	m := &k.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	troubles := slices.Clone(m.troubles)
	slices.Reverse(troubles)
	return troubles
}
