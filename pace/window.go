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

package pace

import "time"

const (
	// steps is into how many a span of time is divided.
	steps = 60
	// slots is one more: a request counts from the beginning of its step, and so
	// for a span and up to a step more.
	slots = steps + 1
)

// window counts the requests that began within a span of time.
type window struct {
	// counts are those of the steps up to now.
	counts [slots]uint16
	now    int64
	total  int
}

// advance forgets what began before the span that ends now.
func (w *window) advance(now, span time.Duration) {
	step := int64(now / (span / steps))
	for from := max(w.now, step-slots); from < step; from++ {
		n := &w.counts[(from+1)%slots]
		w.total -= int(*n)
		*n = 0
	}
	w.now = max(w.now, step)
}

func (w *window) take() {
	w.counts[w.now%slots]++
	w.total++
}

// room tells when n more requests may have begun, if most may in a span; 0 for
// any number. What would need more than a span is told as a span.
func (w *window) room(n, most int, now, span time.Duration) time.Duration {
	tooMany := w.total + n - most
	if most == 0 || tooMany <= 0 {
		return 0
	}
	width := span / steps
	for step := max(0, w.now+1-slots); step <= w.now; step++ {
		if tooMany -= int(w.counts[step%slots]); tooMany <= 0 {
			return time.Duration(step+slots)*width - now
		}
	}
	// The n do not fit into one span.
	return time.Duration((n+most-1)/most) * span
}
