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
	"bytes"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// TestMergeEnds holds that a merge is one merge, also if tables are written
// while it is under way, and that all is there after it.
func TestMergeEnds(t *testing.T) {
	dir := newDir(t)
	core, _ := observer.New(zapcore.DebugLevel)
	steps := 0
	var s *store
	writeTable := func() {
		for i := range 20 {
			value := bytes.Repeat([]byte{byte(i)}, 64<<10)
			if err := s.Apply(t.Context(), tokenstore.Change{Name: name(i), Value: value}); err != nil {
				t.Error(err)
			}
		}
	}
	hook := func(e zapcore.Entry) error {
		if strings.HasPrefix(e.Message, mergeStepText) {
			steps++
		}
		return nil
	}
	opened, err := (&Config{Path: dir}).Open(zap.New(core, zap.Hooks(hook)))
	if err != nil {
		t.Fatal(err)
	}
	s = opened.(*store)
	if err := s.space.end(0); err != nil { // so that only the test merges
		t.Fatal(err)
	}
	for range 3 {
		for range 8 {
			writeTable()
		}
		steps = 0
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for limit := 0; limit < 40; limit++ {
				select {
				case <-stop:
					return
				default:
					writeTable()
				}
			}
		}()
		err := s.merge()
		close(stop)
		<-done
		if err != nil {
			t.Fatal(err)
		}
		if steps != 1 {
			t.Errorf("the merge took %d steps (0: Badger announces them with another text)", steps)
		}
	}
	unmerged, merged := 0, 0
	for _, table := range s.db.Tables() {
		if table.Level == 0 {
			unmerged++
		} else if merged++; table.Level != s.db.Opts().MaxLevels-1 {
			t.Errorf("a table is on level %d: between the first and the last, all is written more often", table.Level)
		}
	}
	if unmerged > 30 || merged == 0 {
		t.Errorf("%d tables are not merged, %d are", unmerged, merged)
	}
	for i := range 20 {
		if got, err := s.Get(t.Context(), name(i)); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 64<<10)) {
			t.Errorf("value %d: %v", i, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
