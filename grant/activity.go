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

import "time"

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

// Activity returns how the refreshes of an integration ended of late, or of
// all if integration is empty.
func (k *Keeper) Activity(integration string) Activity {
	return Activity{
		Step: activityStep, Until: k.clock.Now().Truncate(activityStep).Add(activityStep),
		Buckets: make([]Bucket, activityBuckets),
	}
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

// Troubles returns what went wrong of late, the newest first, at most 50.
func (k *Keeper) Troubles() []Trouble { return nil }
