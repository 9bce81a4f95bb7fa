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
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// suspectEvery is how often one of the suspects asks whether the trouble
	// is over. The first answer that is good releases all of them.
	suspectEvery = 30 * time.Second
	// suspectMost is how long a grant can be suspect: no outage of a provider
	// lasts longer, and an incident that is never closed must not keep a dead
	// grant from a human for ever.
	suspectMost = 24 * time.Hour
	// restartPatience is the patience with a grant that was suspect when the
	// process began, which has heard of nobody yet.
	restartPatience = time.Hour

	aloneFirst = time.Minute
	aloneMost  = 15 * time.Minute
)

// doubt is the reason not to believe an invalid_grant yet.
type doubt struct {
	// event is what the history says.
	event string
	// incident is the provider's own, if it admits one.
	incident *provider.Incident
	// until is when patience ends; zero if that is not what it is about.
	until time.Time
	// alone says that the provider accepts others meanwhile.
	alone bool
}

const (
	eventIncident = "suspect: the provider has an incident"
	eventTogether = "suspect: many connections are refused at once"
	eventPatience = "suspect: no other connection was heard of since"
)

// suspicion is a suspect's place among the witnesses.
type suspicion struct {
	doubt
	tried, next time.Time
	tries       int
}

// witnesses returns what is known of the integration's token endpoint.
func (k *Keeper) witnesses(in *Integration) *witnesses {
	v, ok := k.heard.Load(in.Client.Endpoints.TokenURL)
	if !ok {
		v, _ = k.heard.LoadOrStore(in.Client.Endpoints.TokenURL, &witnesses{suspects: make(map[*connection]*suspicion)})
	}
	return v.(*witnesses)
}

// doubts returns the reason not to believe that a grant is dead which has been
// refused since a moment; nil if there is none.
func (k *Keeper) doubts(ctx context.Context, in *Integration, record *tokenstore.Record, since time.Time) *doubt {
	now := k.clock.Now()
	if now.Sub(since) >= suspectMost {
		return nil
	}
	w := k.witnesses(in)
	othersAccepted := w.othersAccepted(record.Key, since)
	if incident := k.incident(ctx, in); incident != nil {
		return &doubt{event: eventIncident, incident: incident, alone: othersAccepted}
	}
	if k.cause(record) != tokenstore.CauseRevokedOrReplaced {
		return nil // it has a reason of its own to be refused
	}
	if w.together(now) {
		return &doubt{event: eventTogether}
	}
	if othersAccepted {
		return nil
	}
	patience := w.patience(record.Key, now)
	// While its token is good, nobody is hurt by more of it.
	if left := record.AccessExpiresAt.Sub(since); left > patience && k.company(record.Key) {
		patience = min(left, patienceMost)
	}
	if record.State == tokenstore.StateSuspect && since.Before(k.began) {
		patience = max(patience, restartPatience)
	}
	if until := since.Add(patience); now.Before(until) {
		return &doubt{event: eventPatience, until: until}
	}
	return nil
}

// company tells whether many other connections of the integration are in use.
func (k *Keeper) company(key tokenstore.Key) bool {
	others := 0
	k.connections.Range(func(other, value any) bool {
		if o := other.(tokenstore.Key); o.Integration != key.Integration || o == key {
			return true
		}
		if s := value.(*connection).snapshot.Load(); s != nil && s.State == tokenstore.StateConnected {
			others++
		}
		return others < manyRefused
	})
	return others >= manyRefused
}

// incident asks the provider's status page. That it cannot be read is no
// reason to doubt anything.
func (k *Keeper) incident(ctx context.Context, in *Integration) *provider.Incident {
	page := k.statusPage(in)
	if page == nil {
		return nil
	}
	incident, err := page.Incident(ctx)
	if err != nil {
		k.logger.Debug("the provider's status is not known", zap.String("integration", in.Name), zap.Error(err))
	}
	return incident
}

// statusPage returns the provider's status page, nil if it has none.
func (k *Keeper) statusPage(in *Integration) *provider.StatusPage {
	address, named := in.Client.Endpoints.StatusPage, in.Client.Endpoints.Named
	if address == "" {
		return nil
	}
	key := address + " " + strings.Join(named, " ")
	v, ok := k.statusPages.Load(key)
	if !ok {
		v, _ = k.statusPages.LoadOrStore(key, &provider.StatusPage{URL: address, Named: named, Clock: k.clock})
	}
	return v.(*provider.StatusPage)
}

// suspect sets a refused grant aside until the doubt is resolved.
func (k *Keeper) suspect(ctx context.Context, c *connection, in *Integration, record *tokenstore.Record, refusal *provider.TokenError, d *doubt) (*Snapshot, error) {
	// An authorization that is being redeemed may have ended this grant, and
	// brings another one.
	unlock, err := k.ends.lock(ctx, c.key)
	if err != nil {
		return nil, k.setAside(c, record, refusal)
	}
	unlock()
	now := k.clock.Now()
	k.count(record.Integration, RefreshRefused)
	k.trouble(record, TroubleRefused, refusal)
	isNew := record.State != tokenstore.StateSuspect
	w := newWrite(record, func(next *tokenstore.Record) {
		if next.State != tokenstore.StateSuspect {
			next.State, next.Since = tokenstore.StateSuspect, now
		}
		next.ProviderError, next.TraceID = refusal.Code, refusal.TraceID
		next.UnansweredSince = record.UnansweredSince
		next.NoteAgain(k.step(d.event, record, refusal))
	}, samePair(record))
	snap, err := k.settle(context.WithoutCancel(ctx), c, w)
	if err != nil {
		return nil, err
	}
	if snap.State != tokenstore.StateSuspect || snap.Generation != record.Generation || snap.Epoch != record.Epoch {
		if snap.usable(now) {
			return snap, nil // somebody else was faster
		}
		return nil, c.failed(now, ReasonProvider, backoffFirst, refusal)
	}
	log := k.logger.Debug
	if isNew {
		log = k.logger.Warn
	}
	fields := k.fields(w.next, zap.String("why", d.event), zap.String("provider_error", refusal.Code), zap.String("trace_id", refusal.TraceID))
	if d.incident != nil {
		fields = append(fields, zap.String("incident", d.incident.Name), zap.String("incident_url", d.incident.URL))
	}
	log("a grant is refused, but that is not believed yet", fields...)
	k.keepSuspect(c, in, d, now)
	return nil, c.suspended(now, d.incident, refusal)
}

// keepSuspect lets the connection wait among the suspects.
func (k *Keeper) keepSuspect(c *connection, in *Integration, d *doubt, now time.Time) {
	w := k.witnesses(in)
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &suspicion{doubt: *d, tried: now, next: now}
	switch {
	case !d.until.IsZero():
		s.next = d.until
	case d.alone:
		if former := w.suspects[c]; former != nil {
			s.tries = former.tries + 1
		}
		s.next = now.Add(min(aloneMost, aloneFirst<<min(s.tries, 8)))
	}
	w.suspects[c] = s
	if !w.driven {
		w.driven = true
		go k.driveSuspects(w)
	}
}

// wasPatient tells whether the connection was only waiting to hear from others.
func (w *witnesses) wasPatient(c *connection) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.suspects[c]
	return s != nil && !s.until.IsZero()
}

// leave takes a connection from the suspects.
func (w *witnesses) leave(c *connection) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.suspects, c)
}

// driveSuspects tries one suspect at a time, whoever asks for it, until there
// are none.
func (k *Keeper) driveSuspects(w *witnesses) {
	ticker := k.clock.NewTicker(suspectEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.Chan():
		case <-k.accepting.Done():
			return
		}
		c, left := w.nextSuspect(k.clock.Now())
		if !left {
			return
		}
		if c != nil {
			k.trySuspect(c)
		}
	}
}

// nextSuspect returns the suspect that was not tried for the longest time, of
// those that may be. If none is left, it says so, and nobody drives them.
func (w *witnesses) nextSuspect(now time.Time) (next *connection, left bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var tried time.Time
	for c, s := range w.suspects {
		if snap := c.snapshot.Load(); snap == nil || snap.State != tokenstore.StateSuspect {
			delete(w.suspects, c) // reconnected, or gone
			continue
		}
		if !s.next.After(now) && (next == nil || s.tried.Before(tried)) {
			next, tried = c, s.tried
		}
	}
	if next != nil {
		w.suspects[next].tried = now
	}
	w.driven = len(w.suspects) > 0
	return next, w.driven
}

// trySuspect starts a refresh of a suspect.
func (k *Keeper) trySuspect(c *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	snap := c.snapshot.Load()
	if c.removed || c.flight.Load() != nil || snap == nil || snap.State != tokenstore.StateSuspect {
		return
	}
	c.notBefore.Store(0)
	// An error means that the process is stopping.
	_, _ = k.launch(context.Background(), c, false)
}

// heardGood tells the suspects that the provider accepts somebody.
func (k *Keeper) heardGood(in *Integration, key tokenstore.Key, asked time.Time) {
	for _, c := range k.witnesses(in).accept(key, asked, k.clock.Now()) {
		k.trySuspect(c)
	}
}
