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
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/notify"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// keepers holds the process's one keeper for each store, because a reload
// provisions the new configuration before it stops the old one, and requests
// of the old one go on after its Cleanup.
var keepers = caddy.NewUsagePool()

// sharedKeeper is what configurations share. It is cheap until it is opened.
type sharedKeeper struct {
	opener tokenstore.Opener
	// identity is the opener's.
	identity string
	logs     logs

	mu        sync.Mutex
	keeper    *grant.Keeper
	recovered bool
	// rings are those of the configurations, the newest last, which is in use.
	rings []heldRing
	// deliverer delivers notices from when the keeper is there.
	deliverer *notify.Deliverer
	targets   []heldTargets

	meters sync.Map // an integration's name to its *requestMeter
	// issued are the keys of callers that were made at run time.
	issued issuedKeys

	pacers sync.Map // an integration's name to its *pace.Pacer
}

// acquire takes a reference to the keeper of the store that opener names.
func (a *App) acquire(opener tokenstore.Opener) error {
	identity, err := opener.Identity()
	if err != nil {
		return fmt.Errorf("naming the token store: %w", err)
	}
	value, _, err := keepers.LoadOrNew(identity, func() (caddy.Destructor, error) {
		return &sharedKeeper{opener: opener, identity: identity}, nil
	})
	if err != nil {
		return err
	}
	a.sharedAs, a.shared = identity, value.(*sharedKeeper)
	a.callers.issued = &a.shared.issued
	a.callers.open = func() error {
		_, err := a.keeper()
		return err
	}
	for name, in := range a.Integrations {
		in.requests, in.pacer = a.shared.meter(name), a.shared.pacer(name)
	}
	return nil
}

// release gives the reference back, if there is one.
func (a *App) release() error {
	if a.shared == nil {
		return nil
	}
	a.shared = nil
	_, err := keepers.Delete(a.sharedAs)
	return err
}

// open opens the store once; after a failure it can be called again. With the
// store open already, it only takes over the keys.
func (s *sharedKeeper) open(a *App) (*grant.Keeper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeper != nil {
		if err := s.useKeys(a); err != nil {
			return nil, err
		}
		return s.keeper, nil
	}
	ctx := context.Background()
	keys, generated := a.keys, ""
	if keys == nil {
		var err error
		if keys, generated, err = defaultKeys(true); err != nil {
			return nil, err
		}
	}
	logger := s.logs.logger()
	store, err := s.opener.Open(logger.Named("store"))
	if err != nil {
		return nil, errors.Join(err, removeGenerated(generated))
	}
	vault, err := tokenstore.OpenVault(ctx, store, keys)
	if err != nil {
		return nil, errors.Join(err, store.Close(), removeGenerated(generated))
	}
	if err := s.issued.load(ctx, vault, logger); err != nil {
		return nil, errors.Join(err, vault.Close(), removeGenerated(generated))
	}
	if generated != "" {
		logger.Warn("no encryption_key is configured: one was generated; "+
			"back it up apart from the data, without it every connection must be authorized again",
			zap.String("file", generated))
	}
	logger.Info("token store opened", zap.String("store", s.identity))
	s.keeper = grant.NewKeeper(vault, grant.Options{Logger: logger.Named("grant")})
	s.openAudit(ctx, vault)
	s.rings = []heldRing{{a, keys}}
	s.deliverer = notify.Start(vault, notify.Options{Logger: logger.Named("notify")})
	return s.keeper, nil
}

// recover resolves, once, what a crash left.
func (s *sharedKeeper) recover(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recovered {
		return nil
	}
	if err := s.keeper.Recover(ctx); err != nil {
		return err
	}
	s.recovered = true
	s.keeper.Watch()
	return nil
}

// openKeepers returns the keepers of all stores that are open, by the stores'
// identities. Any of them may be closed at any time, and then says so.
func openKeepers() map[string]*grant.Keeper {
	var shared []*sharedKeeper
	keepers.Range(func(_, value any) bool {
		shared = append(shared, value.(*sharedKeeper))
		return true
	})
	open := make(map[string]*grant.Keeper)
	for _, s := range shared {
		// Not inside Range: opening a store takes its time under this lock, and
		// the pool must go on.
		s.mu.Lock()
		if s.keeper != nil {
			open[s.identity] = s.keeper
		}
		s.mu.Unlock()
	}
	return open
}

// Destruct implements caddy.Destructor: it waits for the flights under way.
func (s *sharedKeeper) Destruct() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keeper == nil {
		return nil
	}
	// What the last flights have to tell is delivered after the next start.
	s.deliverer.Close()
	s.closeAudit()
	return s.keeper.Close()
}

func expandKeys(repl *caddy.Replacer, placeholders []string) (*tokenstore.Keyring, error) {
	if len(placeholders) == 0 {
		return nil, nil
	}
	keys := make([]secret.String, 0, len(placeholders))
	for _, placeholder := range placeholders {
		key, err := expandSecret(repl, "encryption_key", placeholder)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	ring, err := tokenstore.ParseKeyring(keys...)
	if err != nil {
		return nil, fmt.Errorf("encryption_key: %w", err)
	}
	return ring, nil
}

func defaultKeyPath() string {
	return filepath.Join(caddy.AppConfigDir(), "freshbearer", "encryption.key")
}

// defaultKeys reads the key of an installation that names none, from Caddy's
// configuration directory: apart from the data that it seals. If there is no
// key file, one is made, and its path is returned; but not for a store that is
// open, which a new key cannot open.
func defaultKeys(generate bool) (keys *tokenstore.Keyring, generated string, err error) {
	path := defaultKeyPath()
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && !generate {
		return nil, "", fmt.Errorf("encryption_key is not configured any more, but the open token store is sealed with the key that it named, "+
			"and there is no %s; put encryption_key back", path)
	}
	if errors.Is(err, os.ErrNotExist) {
		key := tokenstore.GenerateKey()
		if err := writeKey(path, key); err != nil {
			return nil, "", fmt.Errorf("writing a generated encryption key: %w", err)
		}
		keys, err := tokenstore.ParseKeyring(key)
		return keys, path, err
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the encryption key: %w", err)
	}
	keys, err = tokenstore.ParseKeyring(secret.New(string(text)))
	if err != nil {
		return nil, "", fmt.Errorf("encryption key in %s: %w", path, err)
	}
	return keys, "", nil
}

// writeKey writes a key that nobody else can read, whole or not at all; an
// existing file is never overwritten.
func writeKey(path string, key secret.String) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".key-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(key.Reveal() + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// A link, unlike a rename, fails if there is a file.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	// Before anything is sealed with it, the key must be sure to be there. Not
	// every system can sync a directory.
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}

// removeGenerated takes a generated key back that has sealed nothing.
func removeGenerated(path string) error {
	if path == "" {
		return nil
	}
	return os.Remove(path)
}
