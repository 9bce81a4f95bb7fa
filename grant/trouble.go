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

// What a Trouble can be.
const (
	TroubleRefused       = "refused"
	TroubleDead          = "needs_reauth"
	TroubleNoAnswer      = "no answer"
	TroubleNotNow        = "no usable answer"
	TroubleClientRefused = "client refused"
	TroubleNotStored     = "not stored"
	TroubleNotStarted    = "store not writable"
	TroubleNotRevoked    = "not revoked"
)

const mostTroubles = 50

// troubles are the last ones, the newest last.
type troubles struct {
	mu   sync.Mutex
	last []Trouble
}

// trouble takes down what went wrong with a connection. The provider's refusal
// may be nil.
func (k *Keeper) trouble(r *tokenstore.Record, what string, refusal *provider.TokenError) {
	t := Trouble{
		Time: k.clock.Now(), Integration: r.Integration, Connection: r.Connection,
		Account: clip(r.Account, maxEventAccount), What: what, Count: 1,
	}
	if refusal != nil {
		t.ProviderError, t.TraceID = clip(refusal.Code, maxEventText), clip(refusal.TraceID, maxEventText)
	}
	k.troubles.add(t)
}

func (l *troubles) add(t Trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, former := range slices.Backward(l.last) {
		if former.Integration != t.Integration || former.Connection != t.Connection {
			continue
		}
		if former.What == t.What && former.ProviderError == t.ProviderError {
			t.Count += former.Count
			l.last = slices.Delete(l.last, i, i+1)
		}
		break
	}
	if len(l.last) >= mostTroubles {
		l.evict()
	}
	l.last = append(l.last, t)
}

// evict forgets the oldest of the most frequent sort, so that an outage, which
// is the trouble of all, does not hide one that is rare.
func (l *troubles) evict() {
	count := make(map[string]int)
	for _, t := range l.last {
		count[t.What]++
	}
	oldest := 0
	for i, t := range l.last {
		if count[t.What] > count[l.last[oldest].What] {
			oldest = i
		}
	}
	l.last = slices.Delete(l.last, oldest, oldest+1)
}

// Troubles returns what went wrong of late, the newest first, at most 50. A
// trouble that a connection has again and again is one.
func (k *Keeper) Troubles() []Trouble {
	k.troubles.mu.Lock()
	defer k.troubles.mu.Unlock()
	newest := slices.Clone(k.troubles.last)
	slices.Reverse(newest)
	return newest
}

// failedRefresh counts a refresh that brought no tokens and no verdict.
func (k *Keeper) failedRefresh(r *tokenstore.Record, failure *provider.TokenError) {
	end, what := RefreshUnusable, TroubleNotNow
	switch {
	case failure.Outcome == provider.OutcomeInvalidGrant:
		end, what = RefreshRefused, TroubleRefused
	case failure.Outcome == provider.OutcomeClientRefused:
		end, what = RefreshClientRefused, TroubleClientRefused
	case failure.Status == 0:
		end, what = RefreshUnanswered, TroubleNoAnswer
	}
	k.count(r.Integration, end)
	k.trouble(r, what, failure)
}
