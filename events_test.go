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
	"time"

	"github.com/freshbearer/freshbearer/grant"
)

// While the apps start, Caddy's events app must not be asked: its handlers are
// just being registered, without a lock. A configuration that never comes into
// force gives its events back.
func TestEventsWaitUntilTheConfigurationIsInForce(t *testing.T) {
	em := &emitter{inForce: make(chan struct{}), gone: make(chan struct{})}
	taken := make(chan bool)
	go func() {
		// Without a context and an events app, it would panic if it did not wait.
		taken <- em.emit(nil, nil, grant.Event{Type: grant.EventConnected})
	}()
	select {
	case <-taken:
		t.Fatal("the event was not held back")
	case <-time.After(50 * time.Millisecond):
	}
	close(em.gone)
	if <-taken {
		t.Error("a configuration that was given up has taken the event")
	}
}

func TestTimeText(t *testing.T) {
	for want, at := range map[string]time.Time{
		"": {}, "2026-11-23T14:11:31Z": time.Date(2026, 11, 23, 6, 11, 31, 999, time.FixedZone("", -8*3600)),
	} {
		if got := timeText(at); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
