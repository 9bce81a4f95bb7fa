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

// Package grant keeps grants alive. It is what freshbearer exists for: a
// Keeper hands out access tokens that work, refreshes each connection in a
// single flight that no caller can cancel, stores what comes back before
// anybody relies on it, and tells a dead grant from an outage.
//
// The package is plain Go and knows nothing of Caddy or HTTP serving.
package grant

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jonboulle/clockwork"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Integration is one client registration at a provider, as the keeper uses it.
type Integration struct {
	// Name is the integration's name, Provider the provider's.
	Name     string
	Provider string
	// Environment is the provider's environment the client is registered in.
	Environment string
	// Client talks to the provider in the name of the registration.
	Client *provider.Client
	// Hosts are the origins, beside the provider's own in that environment, that
	// the configuration sends tokens to.
	Hosts []string
	// RefreshBefore is how long before its end an access token is refreshed in
	// the background. It is bounded to a sixth of the token's life.
	RefreshBefore time.Duration
	// Observe, if not nil, is told what happens to the integration's grants,
	// after it is stored and in order. Only events wait for it. It returns
	// false to have the event handed to the configuration in force, if that
	// has become another one meanwhile.
	Observe func(Event) bool
	// Notices are the events that are put into the outbox.
	Notices map[EventType]bool
}

// Options are what a Keeper needs to know for its whole life. The zero value
// of a field means its default.
type Options struct {
	Clock  clockwork.Clock
	Logger *zap.Logger
	// CallerWait bounds how long Token and Reject wait for a refresh.
	// Default: 15s.
	CallerWait time.Duration
	// FlightLimit bounds one refresh with all its tries. With what Close needs
	// after it, it stays below the 90s that service managers grant. Default: 70s.
	FlightLimit time.Duration
	// MaxRefreshes is how many refreshes may be under way at once.
	// Default: 16.
	MaxRefreshes int
	// ConfirmAfter is the pause before an invalid_grant is asked for again.
	// Default: 2s.
	ConfirmAfter time.Duration
}

// Keeper is the process-wide owner of all grants in one store. It is safe for
// concurrent use and outlives configurations.
type Keeper struct {
	vault  *tokenstore.Vault
	clock  clockwork.Clock
	logger *zap.Logger
	opts   Options

	linkKey      []byte
	pseudonymKey []byte
	eventKey     []byte
	formKey      []byte
	// supersededKey is for what a record remembers of former refresh tokens.
	supersededKey []byte

	connections sync.Map // tokenstore.Key to *connection
	residents   residents
	unsaved     atomic.Int64 // connections with something pending

	attachMu     sync.Mutex
	attachments  []*Attachment
	integrations atomic.Pointer[map[string]*Integration]

	starts    starts
	directory directory
	activity  activity
	troubles  troubles

	// meters count for the integrations, stored and notStored for the store.
	meters    sync.Map // string to *meter
	stored    histogram
	notStored atomic.Uint64

	// arrivals are the callbacks of late, by the hash of their state.
	arrivals    sync.Map // [sha256.Size]byte to *arrival
	arrivalsNow atomic.Int64

	// skewToldAt is when a difference of clocks was last told, in Unix nanoseconds.
	skewToldAt atomic.Int64

	telling telling

	slots       *slots
	revocations *slots
	ends        keyLocks
	breakers    sync.Map // token URL to *breaker
	heard       sync.Map // token URL to *witnesses
	// statusPages are the providers', by URL and named hosts.
	statusPages sync.Map // string to *provider.StatusPage
	// began is when this keeper began: it has seen nothing before.
	began time.Time

	// releasing makes Release one step, and PutOnHold's; released is closed
	// when there is no hold any more.
	releasing sync.Mutex
	released  atomic.Pointer[chan struct{}]

	// accepting is cancelled when Close begins: what has not started need not.
	accepting context.Context
	shut      context.CancelFunc
	// life is cancelled when Close gives up waiting for flights.
	life context.Context
	end  context.CancelFunc

	closeMu sync.Mutex
	closed  bool
	work    sync.WaitGroup
}

// NewKeeper returns the keeper of the grants in vault, which it owns from then
// on.
func NewKeeper(vault *tokenstore.Vault, opts Options) *Keeper {
	if opts.Clock == nil {
		opts.Clock = clockwork.NewRealClock()
	}
	if opts.Logger == nil {
		opts.Logger = zap.NewNop()
	}
	if opts.CallerWait == 0 {
		opts.CallerWait = 15 * time.Second
	}
	if opts.FlightLimit == 0 {
		opts.FlightLimit = 70 * time.Second
	}
	if opts.MaxRefreshes == 0 {
		opts.MaxRefreshes = 16
	}
	if opts.ConfirmAfter == 0 {
		opts.ConfirmAfter = 2 * time.Second
	}
	k := &Keeper{
		vault: vault, clock: opts.Clock, logger: opts.Logger, opts: opts,
		linkKey:      vault.DeriveKey("link"),
		pseudonymKey: vault.DeriveKey("pseudonym"),
		eventKey:     vault.DeriveKey("event"),
		formKey:      vault.DeriveKey("form"),

		supersededKey: vault.DeriveKey("superseded"),
	}
	k.began = k.clock.Now()
	k.telling.init()
	k.slots, k.revocations = newSlots(opts.MaxRefreshes), newSlots(maxRevocations)
	released := make(chan struct{})
	if k.Hold() == nil {
		close(released)
	}
	k.released.Store(&released)
	k.accepting, k.shut = context.WithCancel(context.Background())
	k.life, k.end = context.WithCancel(context.Background())
	k.integrations.Store(&map[string]*Integration{})
	return k
}

// Watch looks after the grants that nobody uses, until the keeper closes: they
// are refreshed in time, unless the store is on hold, and need not stay in
// memory. Call it once, after the first Attach.
func (k *Keeper) Watch() {
	go k.watch()
	go k.sweep()
}

// Vault returns the vault, for listing and for a change of keys.
func (k *Keeper) Vault() *tokenstore.Vault { return k.vault }

// Attachment is one configuration's hold on the keeper.
type Attachment struct {
	keeper       *Keeper
	integrations map[string]*Integration
}

// Attach makes the integrations of a configuration known. The newest
// attachment that is not detached is in force, so that a configuration that is
// rolled back gives way to the one before it.
func (k *Keeper) Attach(integrations map[string]*Integration) *Attachment {
	a := &Attachment{keeper: k, integrations: integrations}
	k.attachMu.Lock()
	defer k.attachMu.Unlock()
	k.attachments = append(k.attachments, a)
	k.mergeIntegrations()
	k.telling.start.Do(func() { go k.observe() })
	return a
}

// Detach ends the hold. It may be called more than once.
func (a *Attachment) Detach() {
	k := a.keeper
	k.attachMu.Lock()
	defer k.attachMu.Unlock()
	for i, other := range k.attachments {
		if other == a {
			k.attachments = append(k.attachments[:i:i], k.attachments[i+1:]...)
			break
		}
	}
	if len(k.attachments) > 0 {
		k.mergeIntegrations()
	}
	// After the last one has gone, its integrations stay until Close, for the
	// flights under way.
}

// mergeIntegrations lets newer attachments override older ones by name: while
// a reload is under way, requests of the old configuration may still name an
// integration that the new one has dropped.
func (k *Keeper) mergeIntegrations() {
	merged := make(map[string]*Integration)
	for _, a := range k.attachments {
		for name, in := range a.integrations {
			merged[name] = in
		}
	}
	k.integrations.Store(&merged)
	// What the provider refused the former client may not be refused this one.
	k.tryAgain(ReasonClientRefused)
	k.tryAgain(ReasonHosts)
}

func (k *Keeper) integration(name string) *Integration {
	return (*k.integrations.Load())[name]
}

// Token returns a snapshot whose access token can be used now. In the steady
// state it reads memory only. A token inside its refresh window is returned as
// it is and refreshed in the background; without a usable one the call waits
// for a refresh, at most Options.CallerWait and as long as ctx lives.
//
// The error is a *ReauthorizationError if only a human can help, and an
// *UnavailableError if time will.
func (k *Keeper) Token(ctx context.Context, key tokenstore.Key) (*Snapshot, error) {
	return k.TokenFor(ctx, key, 0)
}

// TokenFor is Token for a request that cannot be repeated: the token has at
// least the given time left, or half of its life if that is shorter. If the
// refresh that this needs fails, a token that is still valid is returned.
func (k *Keeper) TokenFor(ctx context.Context, key tokenstore.Key, least time.Duration) (*Snapshot, error) {
	c, err := k.connection(ctx, key)
	if err != nil {
		return nil, err
	}
	snap := c.snapshot.Load()
	now := k.clock.Now()
	switch {
	case !snap.usable(now):
		return k.await(ctx, c, snap)
	case least > 0 && snap.State == tokenstore.StateConnected && snap.left(now) < min(least, snap.life/2):
		if newer, err := k.await(ctx, c, snap); err == nil {
			return newer, nil
		}
		return snap, nil
	case now.Before(snap.refreshAt):
		return snap, nil
	}
	k.refreshInBackground(ctx, c, snap, now)
	return snap, nil
}

// ErrNoNewerToken is what Reject returns when it does not pay to ask for
// another token: the answer of the API is then the caller's to see.
var ErrNoNewerToken = errors.New("no newer token to try")

// forcedInterval is how often a token that the API has never accepted may
// drive a refresh: an API that refuses every token must not exhaust the
// provider's patience with this client.
const forcedInterval = time.Minute

// Reject reports that the API refused the access token of a generation, and
// returns a newer one: another flight's, or its own. Errors are those of
// Token, and ErrNoNewerToken.
func (k *Keeper) Reject(ctx context.Context, refused *Snapshot) (*Snapshot, error) {
	c, err := k.connection(ctx, refused.Key)
	if err != nil {
		return nil, err
	}
	snap := c.snapshot.Load()
	now := k.clock.Now()
	if !snap.is(refused) {
		if snap.usable(now) {
			return snap, nil
		}
		return k.await(ctx, c, snap)
	}
	c, err = k.lockLoaded(ctx, refused.Key)
	if err != nil {
		return nil, err
	}
	forced := c.mayForce(refused, now)
	c.mu.Unlock()
	if !forced {
		return nil, ErrNoNewerToken
	}
	return k.await(ctx, c, snap)
}

// RejectAgain reports that the API also refused the token that Reject
// returned. Refreshes that refusals of this connection drive are then rare for
// a while, whatever other requests achieve.
func (k *Keeper) RejectAgain(refused *Snapshot) {
	c, err := k.lockLoaded(context.Background(), refused.Key)
	if err != nil {
		return
	}
	defer c.mu.Unlock()
	c.lastFruitless = k.clock.Now()
}

// Peek returns what is known of a connection, whatever its state.
func (k *Keeper) Peek(ctx context.Context, key tokenstore.Key) (*Snapshot, error) {
	c, err := k.connection(ctx, key)
	if err != nil {
		return nil, err
	}
	return c.snapshot.Load(), nil
}

// LookInVain takes as long as Peek does for a connection that does not exist.
// Who may not use one that does must not learn of it by the time that the
// answer takes.
func (k *Keeper) LookInVain(ctx context.Context, key tokenstore.Key) {
	key.Connection += " "
	_, _ = k.connection(ctx, key)
}

// begin takes a lease on the store for work that must not find it closed.
func (k *Keeper) begin() error {
	k.closeMu.Lock()
	defer k.closeMu.Unlock()
	if k.closed {
		return tokenstore.ErrClosed
	}
	k.work.Add(1)
	return nil
}

// Close waits for the flights under way, makes what they brought durable, and
// closes the vault. It takes at most the time of one flight.
func (k *Keeper) Close() error {
	k.closeMu.Lock()
	if k.closed {
		k.closeMu.Unlock()
		return nil
	}
	k.closed = true
	k.closeMu.Unlock()
	k.shut()

	idle := make(chan struct{})
	go func() {
		k.work.Wait()
		close(idle)
	}()
	limit := time.AfterFunc(k.opts.FlightLimit, k.end)
	<-idle
	limit.Stop()
	k.end()

	if err := k.saveAllPending(); err != nil {
		k.logger.Error("closing with tokens that could not be stored; their connections may have to be authorized again", zap.Error(err))
	}
	k.stopTelling()
	if err := k.vault.Close(); err != nil {
		return fmt.Errorf("closing the token store: %w", err)
	}
	return nil
}
