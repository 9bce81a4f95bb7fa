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

package freshbearer

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func TestLogsFollowTheConfiguration(t *testing.T) {
	core1, first := observer.New(zap.InfoLevel)
	core2, second := observer.New(zap.DebugLevel)
	one, two := zap.New(core1).Named("freshbearer"), zap.New(core2).Named("freshbearer")
	var l logs
	l.use(one)
	keeper := l.logger().Named("grant").With(zap.String("store", "x"))
	keeper.Debug("too detailed for the first")
	keeper.Info("to the first")

	l.use(two)
	keeper.Debug("to the second")
	if first.Len() != 1 || second.Len() != 1 {
		t.Fatalf("%d and %d entries", first.Len(), second.Len())
	}
	entry := second.All()[0]
	if entry.LoggerName != "freshbearer.grant" || entry.ContextMap()["store"] != "x" {
		t.Errorf("%q, %v", entry.LoggerName, entry.ContextMap())
	}
	// A configuration that is rolled back takes its log files with it.
	l.drop(two)
	keeper.Info("to the first again")
	l.drop(one)
	keeper.Info("and to the last there was")
	if first.Len() != 3 || second.Len() != 1 {
		t.Errorf("%d and %d entries", first.Len(), second.Len())
	}
}
