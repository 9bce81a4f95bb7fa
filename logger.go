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
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logs is where a keeper and its store log to: the logger of the newest
// configuration, because they outlive every one of them, and Caddy closes a
// configuration's log files with it.
type logs struct {
	mu      sync.Mutex
	current atomic.Pointer[zap.Logger]
	all     []*zap.Logger
}

// use makes a configuration's logger the newest.
func (l *logs) use(logger *zap.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, logger)
	l.current.Store(logger)
}

// drop forgets a configuration's logger. The last one stays.
func (l *logs) drop(logger *zap.Logger) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.all, logger); i >= 0 {
		l.all = slices.Delete(l.all, i, i+1)
	}
	if n := len(l.all); n > 0 {
		l.current.Store(l.all[n-1])
	}
}

// logger returns a logger that follows.
func (l *logs) logger() *zap.Logger { return zap.New(followingCore{logs: l}) }

// followingCore is a zap core that hands every entry to the current logger's.
type followingCore struct {
	logs   *logs
	fields []zapcore.Field
}

func (c followingCore) core() zapcore.Core { return c.logs.current.Load().Core() }

// Enabled implements zapcore.LevelEnabler.
func (c followingCore) Enabled(level zapcore.Level) bool { return c.core().Enabled(level) }

// With implements zapcore.Core.
func (c followingCore) With(fields []zapcore.Field) zapcore.Core {
	return followingCore{logs: c.logs, fields: slices.Concat(c.fields, fields)}
}

// Check implements zapcore.Core.
func (c followingCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) {
		return checked.AddCore(entry, c)
	}
	return checked
}

// Write implements zapcore.Core. It asks the current core again, which may
// have its own mind (sampling).
func (c followingCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	logger := c.logs.current.Load()
	entry.LoggerName = join(logger.Name(), entry.LoggerName)
	if checked := logger.Core().Check(entry, nil); checked != nil {
		checked.Write(slices.Concat(c.fields, fields)...)
	}
	return nil
}

func join(outer, inner string) string {
	if outer == "" || inner == "" {
		return outer + inner
	}
	return outer + "." + inner
}

// Sync implements zapcore.Core.
func (c followingCore) Sync() error { return c.core().Sync() }
