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
	"cmp"
	"container/heap"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// parallel is how many notices of an integration are under way at once.
	parallel = 4

	backoffFirst = 5 * time.Second
	backoffMost  = time.Hour

	// troubled is how many tries have to fail in a row, whatever connections
	// they were for, until the receiver itself is taken for the trouble. It is
	// then asked with one notice at a time, and seldom.
	troubled     = 2 * parallel
	troubledMost = 5 * time.Minute
)

// queue holds what is to be delivered for one integration.
type queue struct {
	lanes map[string]*lane
	// waiting are the lanes without a notice under way, the next one first.
	waiting lanes
	// count is how many notices there are, busy how many are under way.
	count, busy int
	// failures in a row, and when the next try may start.
	failures  int
	notBefore time.Time
}

// lane holds the notices of one connection, which go one at a time.
type lane struct {
	refs      []tokenstore.NoticeRef // the oldest first
	failures  int
	notBefore time.Time
	busy      bool
	// place is where it is among those that wait.
	place int
}

func newQueue() *queue { return &queue{lanes: make(map[string]*lane)} }

// add adds a notice unless it is there.
func (q *queue) add(ref tokenstore.NoticeRef) {
	l := q.lanes[ref.Connection()]
	if l == nil {
		l = new(lane)
		q.lanes[ref.Connection()] = l
		heap.Push(&q.waiting, l)
	}
	i, found := slices.BinarySearchFunc(l.refs, ref, func(a, b tokenstore.NoticeRef) int {
		switch {
		case a == b:
			return 0
		case a.Before(b):
			return -1
		}
		return 1
	})
	if found {
		return
	}
	l.refs = slices.Insert(l.refs, i, ref)
	q.count++
}

// remove removes a notice, if it is there.
func (q *queue) remove(ref tokenstore.NoticeRef) {
	l := q.lanes[ref.Connection()]
	if l == nil {
		return
	}
	if i := slices.Index(l.refs, ref); i >= 0 {
		l.refs = slices.Delete(l.refs, i, i+1)
		q.count--
	}
	if len(l.refs) == 0 && !l.busy {
		delete(q.lanes, ref.Connection())
		heap.Remove(&q.waiting, l.place)
	}
}

// take returns the next lane to try, if it may be tried now. Otherwise it
// returns when to ask again, the zero time if only something new helps.
func (q *queue) take(now time.Time) (*lane, time.Time) {
	most := parallel
	if q.failures >= troubled {
		most = 1
	}
	if q.busy >= most || len(q.waiting) == 0 {
		return nil, time.Time{}
	}
	next := q.waiting[0].notBefore
	if next.Before(q.notBefore) {
		next = q.notBefore
	}
	if now.Before(next) {
		return nil, next
	}
	l := heap.Pop(&q.waiting).(*lane)
	l.busy = true
	q.busy++
	return l, time.Time{}
}

// giveBack ends what take began.
func (q *queue) giveBack(l *lane, connection string) {
	l.busy = false
	q.busy--
	if len(l.refs) == 0 {
		delete(q.lanes, connection)
		return
	}
	heap.Push(&q.waiting, l)
}

// failed notes a failure before the lane is given back. asked is how long the
// receiver wants to be left alone.
func (q *queue) failed(l *lane, now time.Time, asked time.Duration) {
	l.failures++
	q.failures++
	l.notBefore = now.Add(backoff(l.failures, backoffMost))
	pause := asked
	if q.failures >= troubled {
		pause = max(asked, backoff(q.failures-troubled+1, troubledMost))
	}
	if until := now.Add(pause); q.notBefore.Before(until) {
		q.notBefore = until
	}
}

// succeeded notes a success before the lane is given back: a receiver that was
// in trouble is over it, and what has waited for that need not wait longer.
func (q *queue) succeeded(l *lane) {
	l.failures, l.notBefore = 0, time.Time{}
	if q.failures >= troubled {
		q.startOver()
	}
	q.failures, q.notBefore = 0, time.Time{}
}

// startOver lets all be tried at once.
func (q *queue) startOver() {
	q.failures, q.notBefore = 0, time.Time{}
	for _, l := range q.lanes {
		l.failures, l.notBefore = 0, time.Time{}
	}
	heap.Init(&q.waiting)
}

// trim takes out a tenth of what a queue may hold, if there is more in it: the
// oldest minor notices, and if there are too few of them the oldest others.
func (q *queue) trim(limit int) []tokenstore.NoticeRef {
	if q.count <= limit {
		return nil
	}
	var all []tokenstore.NoticeRef
	for _, l := range q.lanes {
		refs := l.refs
		if l.busy {
			refs = refs[min(1, len(refs)):] // the first one is under way
		}
		all = append(all, refs...)
	}
	slices.SortFunc(all, func(a, b tokenstore.NoticeRef) int {
		switch {
		case a.Minor() != b.Minor():
			return map[bool]int{true: -1, false: 1}[a.Minor()]
		case a.Before(b):
			return -1
		case b.Before(a):
			return 1
		}
		return cmp.Compare(a.Connection(), b.Connection())
	})
	victims := all[:min(len(all), q.count-limit+limit/10)]
	for _, ref := range victims {
		q.remove(ref)
	}
	return victims
}

// backoff is how long to wait after so many failures in a row: exponential,
// with full jitter, so that those who failed together do not come back
// together.
func backoff(failures int, most time.Duration) time.Duration {
	span := most
	if failures < 20 {
		span = min(most, backoffFirst<<(failures-1))
	}
	return time.Second + time.Duration(rand.Int64N(int64(span)))
}

// lanes is a heap by the time of the next try.
type lanes []*lane

func (h lanes) Len() int           { return len(h) }
func (h lanes) Less(i, j int) bool { return h[i].notBefore.Before(h[j].notBefore) }
func (h lanes) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *lanes) Push(x any) {
	l := x.(*lane)
	l.place = len(*h)
	*h = append(*h, l)
}

func (h *lanes) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}

// Interface guards
var _ heap.Interface = (*lanes)(nil)
