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

package badger

import (
	"errors"
	"runtime/debug"
	"sync/atomic"
)

// mergeShare is the share of the merged tables, 1/mergeShare, that the new ones
// must have before all are merged.
const mergeShare = 4

// due implements merger. Badger would merge by itself, whenever it finds many
// tables that never were: on a full disk too.
func (s *store) due() (size int64, due bool, err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	s.logs.retry()
	unmerged := 0
	var added, merged int64
	for _, t := range s.db.Tables() {
		if t.Level == 0 {
			unmerged++
			added += int64(t.OnDiskSize)
		} else {
			merged += int64(t.OnDiskSize)
		}
	}
	// A merge writes all that is live. Waiting until a share of it is new keeps
	// what merging writes a small multiple of what callers do.
	return added + merged, unmerged > s.db.Opts().NumLevelZeroTables && added >= merged/mergeShare, nil
}

// merge implements merger. Flatten would go on for as long as there are tables
// that are not merged, and rewrite all for each that is written meanwhile: while
// the store is written fast, without end.
func (s *store) merge() (err error) {
	defer recoverInto(&err)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if v := recover(); v != nil && v != errMergedOnce {
			panic(v)
		}
	}()
	s.steps.left.Store(1)
	return s.db.Flatten(1)
}

// mergeSteps ends a Flatten after a number of steps. Badger announces each step
// to its logger, in the goroutine that called Flatten and with nothing locked;
// a panic out of there is the only way to leave it.
type mergeSteps struct{ left atomic.Int32 }

// mergeStepText is what the announcement begins with.
const mergeStepText = "Attempting to compact"

var errMergedOnce = errors.New("merged once")

func (m *mergeSteps) begin() {
	if m.left.Add(-1) < 0 {
		panic(errMergedOnce)
	}
}
