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
	"net/http"
	"sync/atomic"
)

// outcome is how a request ended. From outcomeProblem on they are the kinds of
// problems.
type outcome uint8

const (
	// outcomeCut: the answer broke off, because the API or the caller did.
	outcomeCut outcome = iota
	// outcomeServed: the API answered, and did not fail.
	outcomeServed
	// outcomeReplayed: the same, after the API had refused a first token.
	outcomeReplayed
	// outcomeAPIRefused: the API's 401 or 403 was passed on.
	outcomeAPIRefused
	// outcomeAPIThrottled: the API's 429 was passed on.
	outcomeAPIThrottled
	// outcomeAPIFailed: an answer of the API's from 500 up was passed on.
	outcomeAPIFailed
	// outcomeCallerGone: the caller hung up before there was an answer.
	outcomeCallerGone
	outcomeProblem

	allOutcomes = int(outcomeProblem) + len(problemKinds)
)

var outcomeNames = [outcomeProblem]string{"cut", "served", "replayed", "api_refused", "api_throttled", "api_failed", "caller_gone"}

func (o outcome) String() string {
	if o < outcomeProblem {
		return outcomeNames[o]
	}
	return problemKinds[o-outcomeProblem].code
}

func (p *problem) outcome() outcome { return outcomeProblem + outcome(p.Kind) }

// requestMeter counts an integration's requests. Configurations share it, so
// that a reload does not begin anew.
type requestMeter struct {
	ended   [allOutcomes]atomic.Uint64
	replays atomic.Uint64
}

// meter returns an integration's.
func (s *sharedKeeper) meter(integration string) *requestMeter {
	m, _ := s.meters.LoadOrStore(integration, new(requestMeter))
	return m.(*requestMeter)
}

// answered takes down that the API answered, and how.
func (x *exchange) answered(status int) {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		x.ended = outcomeAPIRefused
	case status == http.StatusTooManyRequests:
		x.ended = outcomeAPIThrottled
	case status >= http.StatusInternalServerError:
		x.ended = outcomeAPIFailed
	case x.replayed:
		x.ended = outcomeReplayed
	default:
		x.ended = outcomeServed
	}
}
