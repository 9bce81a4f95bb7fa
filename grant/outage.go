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
	"errors"
	"time"

	"go.uber.org/zap"
)

var errProviderDown = errors.New("the provider does not answer; refreshes pause")

// breaker returns the breaker of the integration's token endpoint: whoever
// shares the endpoint shares its outage.
func (k *Keeper) breaker(in *Integration) *breaker {
	v, ok := k.breakers.Load(in.Client.Endpoints.TokenURL)
	if !ok {
		v, _ = k.breakers.LoadOrStore(in.Client.Endpoints.TokenURL, new(breaker))
	}
	return v.(*breaker)
}

// pause returns the answer while an integration's provider is known to be
// down, so that no flight is started only to be refused.
func (k *Keeper) pause(integration string, now time.Time) *UnavailableError {
	in := k.integration(integration)
	if in == nil {
		return nil
	}
	wait := k.breaker(in).pause(now)
	if wait <= 0 {
		return nil
	}
	return &UnavailableError{Reason: ReasonProvider, RetryAfter: wait, Err: errProviderDown}
}

// admit lets a refresh through the breaker, after a probe if one is due.
func (k *Keeper) admit(ctx context.Context, b *breaker, in *Integration) error {
	for {
		admission, wait := b.admit(k.clock.Now())
		switch admission {
		case admitted:
			return nil
		case refused:
			return &UnavailableError{Reason: ReasonProvider, RetryAfter: wait, Err: errProviderDown}
		}
		err := in.Client.Probe(ctx)
		b.probed(k.clock.Now(), err == nil)
		if err != nil {
			k.logger.Debug("the provider is still down", zap.String("integration", in.Name), zap.Error(err))
		}
	}
}

// report tells the breaker what came of a refresh.
func (k *Keeper) report(b *breaker, in *Integration, up bool) {
	opened, closed := b.report(k.clock.Now(), up)
	switch {
	case opened:
		k.logger.Warn("the provider does not answer; refreshes pause, and valid tokens are served", zap.String("integration", in.Name))
	case closed:
		k.logger.Info("the provider answers again", zap.String("integration", in.Name))
		k.tryAgain(ReasonProvider)
	}
}

const (
	// skewWorthTelling is what expiries can bear, and a human should repair.
	skewWorthTelling = time.Minute
	skewEvery        = time.Hour
)

// noteSkew says, once an hour, that the clocks differ.
func (k *Keeper) noteSkew(in *Integration, skew time.Duration) {
	if skew.Abs() < skewWorthTelling {
		return
	}
	now := k.clock.Now()
	last := k.skewToldAt.Load()
	if ago := now.Sub(time.Unix(0, last)); ago >= 0 && ago < skewEvery || !k.skewToldAt.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	k.logger.Warn("this machine's clock and the provider's differ; set the clock",
		zap.String("integration", in.Name), zap.Duration("provider_ahead_by", skew))
}

// tryAgain ends the backoff of all failures with a reason that is none any
// more.
func (k *Keeper) tryAgain(reason Reason) {
	k.connections.Range(func(_, value any) bool {
		c := value.(*connection)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.failure != nil && c.failure.Reason == reason {
			c.failures, c.failure = 0, nil
			c.notBefore.Store(0)
		}
		return true
	})
}
