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
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// issuedPrefix lets scanners of repositories know a key.
	issuedPrefix = "fbk_"
	// maxIssued bounds the keys of one store.
	maxIssued = 1000
)

var (
	errTooManyKeys = fmt.Errorf("there are %d keys already; revoke some", maxIssued)
	errNoSuchKey   = errors.New("there is no such key")
)

// issuedKeys are the keys of callers that were made at run time: those of one
// store, for all configurations that use it. A request reads one snapshot and
// waits for nobody.
type issuedKeys struct {
	// changing makes a change of the store and of the snapshot one step.
	changing sync.Mutex
	// callers maps the SHA-256 of a key to its caller's name. It is nil until
	// the store is open.
	callers atomic.Pointer[map[[sha256.Size]byte]string]
}

// load reads the keys of a store that is being opened.
func (i *issuedKeys) load(ctx context.Context, vault *tokenstore.Vault, logger *zap.Logger) error {
	i.changing.Lock()
	defer i.changing.Unlock()
	keys, damaged, err := vault.ProxyKeys(ctx)
	if err != nil {
		return err
	}
	if damaged != nil {
		logger.Error("proxy keys that were made at run time cannot be read, and open nothing; create new ones", zap.Error(damaged))
	}
	i.publish(keys)
	return nil
}

func (i *issuedKeys) publish(keys []tokenstore.ProxyKey) {
	callers := make(map[[sha256.Size]byte]string, len(keys))
	for _, key := range keys {
		callers[key.Hash] = key.Caller
	}
	i.callers.Store(&callers)
}

// create makes a key for a caller. The returned text is the only copy.
func (i *issuedKeys) create(ctx context.Context, vault *tokenstore.Vault, caller string, now time.Time) (tokenstore.ProxyKey, secret.String, error) {
	i.changing.Lock()
	defer i.changing.Unlock()
	keys, _, err := vault.ProxyKeys(ctx)
	if err == nil && len(keys) >= maxIssued {
		err = errTooManyKeys
	}
	if err != nil {
		return tokenstore.ProxyKey{}, secret.String{}, err
	}
	var random [32]byte
	var id [8]byte
	// Neither fails: see crypto/rand.
	_, _ = rand.Read(random[:])
	_, _ = rand.Read(id[:])
	text := issuedPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	key := tokenstore.ProxyKey{
		ID: hex.EncodeToString(id[:]), Caller: caller, Hash: sha256.Sum256([]byte(text)), Created: now.UTC().Truncate(time.Second),
	}
	if err := vault.PutProxyKey(ctx, key); err != nil {
		return tokenstore.ProxyKey{}, secret.String{}, err
	}
	i.publish(append(keys, key))
	return key, secret.New(text), nil
}

// revoke ends a key, at once and durably. After an error it opens nothing in
// this process, but may after the next start.
func (i *issuedKeys) revoke(ctx context.Context, vault *tokenstore.Vault, id string) (tokenstore.ProxyKey, error) {
	i.changing.Lock()
	defer i.changing.Unlock()
	keys, _, err := vault.ProxyKeys(ctx)
	if err != nil {
		return tokenstore.ProxyKey{}, err
	}
	at := slices.IndexFunc(keys, func(k tokenstore.ProxyKey) bool { return k.ID == id })
	if at < 0 {
		return tokenstore.ProxyKey{}, errNoSuchKey
	}
	key := keys[at]
	i.publish(slices.Delete(keys, at, at+1))
	return key, vault.DeleteProxyKey(ctx, id)
}

// issuedTo returns the caller that a key was made for, nil if there is none or
// the configuration does not name it. Like the look-up in the configured keys,
// it is one in a map of hashes, whose timing tells nothing about keys.
func (cs *callers) issuedTo(hash [sha256.Size]byte) *Caller {
	if cs.issued == nil {
		return nil
	}
	known := cs.issued.callers.Load()
	if known == nil {
		// A request that came before the start of the app.
		if cs.open() != nil {
			return nil
		}
		if known = cs.issued.callers.Load(); known == nil {
			return nil
		}
	}
	return cs.named[(*known)[hash]]
}

// keyless returns the callers that cannot prove themselves to anybody yet, in
// order.
func (cs *callers) keyless() []string {
	var has []string
	if cs.issued != nil {
		if known := cs.issued.callers.Load(); known != nil {
			has = slices.Collect(maps.Values(*known))
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(cs.named)) {
		if c := cs.named[name]; len(c.Keys) == 0 && c.User == "" && !slices.Contains(has, name) {
			names = append(names, name)
		}
	}
	return names
}

// tellKeyless warns of callers that nobody can be.
func (a *App) tellKeyless() {
	if names := a.callers.keyless(); len(names) > 0 {
		a.logger.Warn("no request can come from these callers, which have neither a key nor a user: "+
			"create a key with `caddy freshbearer keys create <caller>`", zap.String("callers", strings.Join(names, ", ")))
	}
}
