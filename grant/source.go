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
	"net/netip"
	"time"
)

const (
	// mostFrom authorizations may be begun from one address within fromWindow:
	// enough for an office behind one address, and little for a program.
	mostFrom   = 30
	fromWindow = 10 * time.Minute
	// maxSources is how many addresses are remembered.
	maxSources = 4096
)

// source is the last starts from an address, the oldest first.
type source struct {
	at []time.Time
}

// wait returns how long the next of most starts in a window must wait. A start
// in the future tells that the clock was set back, and counts no more.
func wait(at []time.Time, most int, window time.Duration, now time.Time) time.Duration {
	if len(at) < most {
		return 0
	}
	ago := now.Sub(at[len(at)-most])
	if ago < 0 || ago >= window {
		return 0
	}
	return window - ago
}

// noteStart appends a start and forgets what counts no more.
func noteStart(at []time.Time, most int, now time.Time) []time.Time {
	if len(at) >= most {
		at = append(at[:0], at[len(at)-most+1:]...)
	}
	return append(at, now)
}

// sourceOf names what one client can choose its addresses from: an IPv6
// network of 64 bits, or one IPv4 address (RFC 6177).
func sourceOf(from string) string {
	address, err := netip.ParseAddr(from)
	if err != nil {
		port, err := netip.ParseAddrPort(from)
		if err != nil {
			return clip(from, 64)
		}
		address = port.Addr()
	}
	if address = address.Unmap().WithZone(""); address.Is6() {
		return netip.PrefixFrom(address, 64).Masked().String()
	}
	return address.String()
}

// forgetSource makes place for another address: those that count no more go,
// or else the one that has not begun anything for the longest time.
func (s *starts) forgetSource(now time.Time) {
	oldest, at := "", now
	for name, src := range s.from {
		last := src.at[len(src.at)-1]
		if ago := now.Sub(last); ago < 0 || ago >= fromWindow {
			delete(s.from, name)
		} else if !last.After(at) {
			oldest, at = name, last
		}
	}
	if len(s.from) >= maxSources {
		delete(s.from, oldest)
	}
}
