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
	"context"
	"time"

	"github.com/freshbearer/freshbearer/provider"
)

// statusWait is how long somebody who looks at a page waits for the provider's.
const statusWait = 2 * time.Second

// ProviderStatus is what is known of a provider.
type ProviderStatus struct {
	// Paused is how long no refresh is tried, because the provider does not
	// answer.
	Paused time.Duration
	// Incident is the provider's own, if it admits one, and StatusPage where it
	// would.
	Incident   *provider.Incident
	StatusPage string
}

// ProviderStatus returns what is known of an integration's provider. It takes
// two seconds at most: if the status page takes longer, its last answer counts,
// and the next one is for whoever asks then.
func (k *Keeper) ProviderStatus(ctx context.Context, integration string) ProviderStatus {
	in := k.integration(integration)
	if in == nil {
		return ProviderStatus{}
	}
	s := ProviderStatus{Paused: k.breaker(in).pause(k.clock.Now()), StatusPage: in.Client.Endpoints.StatusPage}
	page := k.statusPage(in)
	if page == nil {
		return s
	}
	var fresh bool
	if s.Incident, fresh = page.Last(); fresh {
		return s
	}
	// Not with ctx: an answer that comes too late for one is good for others.
	answer := make(chan *provider.Incident, 1)
	go func() { answer <- k.incident(k.life, in) }()
	limit := time.NewTimer(statusWait)
	defer limit.Stop()
	select {
	case s.Incident = <-answer:
	case <-limit.C:
	case <-ctx.Done():
	}
	return s
}
