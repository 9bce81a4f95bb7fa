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
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// logger hands Badger's messages to zap. What Badger calls information is
// about its tables and logs: debugging, for anybody else.
type logger struct {
	sugar *zap.SugaredLogger
	steps *mergeSteps
}

func newLogger(l *zap.Logger, steps *mergeSteps) logger {
	return logger{sugar: l.Named("badger").WithOptions(zap.AddCallerSkip(2)).Sugar(), steps: steps}
}

func (l logger) Errorf(format string, args ...any) {
	l.sugar.Errorf(strings.TrimSpace(format), args...)
}

func (l logger) Warningf(format string, args ...any) {
	l.sugar.Warnf(strings.TrimSpace(format), args...)
}

func (l logger) Infof(format string, args ...any) {
	if strings.HasPrefix(format, mergeStepText) {
		l.steps.begin()
	}
	l.sugar.Debugf(strings.TrimSpace(format), args...)
}

func (l logger) Debugf(format string, args ...any) {
	l.sugar.Debugf(strings.TrimSpace(format), args...)
}

// Interface guards
var _ badgerdb.Logger = logger{}
