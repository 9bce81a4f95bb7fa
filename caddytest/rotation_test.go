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

package caddytest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

// heldConfig is the badger store, in which grants cannot be sealed anew before
// that is allowed: `store held`.
type heldConfig struct{ badger.Config }

func init() {
	caddy.RegisterModule(heldConfig{})
	caddy.RegisterModule(refusingLoader{})
}

var held struct {
	// free tells that grants may be sealed anew.
	free atomic.Bool
	// tried is how many tries failed before.
	tried atomic.Int64
}

func (heldConfig) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "freshbearer.stores.held",
		New: func() caddy.Module { return new(heldConfig) },
	}
}

func (c *heldConfig) Open(logger *zap.Logger) (tokenstore.Store, error) {
	store, err := c.Config.Open(logger)
	if err != nil {
		return nil, err
	}
	return heldStore{store}, nil
}

type heldStore struct{ tokenstore.Store }

// Apply knows the sealing anew by its single change: a save of a grant also
// clears the intent.
func (s heldStore) Apply(ctx context.Context, changes ...tokenstore.Change) error {
	if len(changes) == 1 && changes[0].Name[0] == 'g' {
		if !held.free.Load() {
			held.tried.Add(1)
			return errors.New("the store is held")
		}
	}
	return s.Store.Apply(ctx, changes...)
}

// serves checks that connections work with the tokens that are stored.
func (s *system) serves(c *http.Client, when string, realms ...string) {
	s.t.Helper()
	for _, realm := range realms {
		if a := s.get(c, realm); a.Status != http.StatusOK {
			s.t.Errorf("%s, %s: %d %s", when, realm, a.Status, a.Body)
		}
	}
}

// refreshes checks that connections work with tokens that have to be stored.
func (s *system) refreshes(c *http.Client, when string, realms ...string) {
	s.t.Helper()
	for _, realm := range realms {
		s.Intuit.RevokeAccess(realm)
	}
	s.serves(c, when, realms...)
}

// waitSealed waits until the log has said so many times that former keys may
// be removed.
func (s *system) waitSealed(times int) {
	s.t.Helper()
	err := eventually(10*time.Second, func() error {
		log, err := os.ReadFile(filepath.Join(s.Dir, "caddy.log"))
		if err != nil {
			return err
		}
		if n := bytes.Count(log, []byte("all records are sealed with the first encryption key")); n != times {
			return fmt.Errorf("the log says %d times that all records are sealed, want %d", n, times)
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// loadEdited loads the configuration after a change of its JSON.
func (s *system) loadEdited(edit func(config map[string]any)) error {
	s.t.Helper()
	text, err := s.config()
	if err != nil {
		s.t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		s.t.Fatal(err)
	}
	edit(config)
	if text, err = json.Marshal(config); err != nil {
		s.t.Fatal(err)
	}
	return caddy.Load(text, true)
}

func at(config map[string]any, path ...string) map[string]any {
	for _, name := range path {
		config = config[name].(map[string]any)
	}
	return config
}

// refusingLoader is a configuration loader that fails. It is asked last of all,
// when every app was started and Caddy has said so.
type refusingLoader struct{}

func (refusingLoader) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "caddy.config_loaders.refusing",
		New: func() caddy.Module { return new(refusingLoader) },
	}
}

// LoadConfig leaves time to take the configuration for one that stays.
func (refusingLoader) LoadConfig(caddy.Context) ([]byte, error) {
	time.Sleep(200 * time.Millisecond)
	return nil, errors.New("there is no configuration")
}

func loaderFails(config map[string]any) {
	// Caddy stops no app in this case, so there is none that listens.
	delete(at(config, "apps"), "http")
	at(config, "admin")["config"] = map[string]any{"persist": false, "load": map[string]any{"module": "refusing"}}
}

// A reload that is rejected leaves nothing behind: the new key may be thrown
// away, although tokens were stored meanwhile.
func TestRejectedReloadWithNewKey(t *testing.T) {
	rejections := map[string]func(config map[string]any){
		"another app does not start": func(config map[string]any) {
			// TEST-NET-1, which no interface has.
			at(config, "apps", "http", "servers")["elsewhere"] = map[string]any{"listen": []string{"192.0.2.1:1"}}
		},
		"the configuration loader fails": loaderFails,
	}
	for name, edit := range rejections {
		t.Run(name, func(t *testing.T) {
			s := start(t)
			s.connect(realmOne)
			s.connect(realmTwo)
			c := client(t)
			s.addKey("new")
			former, fresh := s.Keys[0], s.Keys[1]
			for range 4 { // apps are started in any order
				s.Keys = []string{fresh, former}
				if err := s.loadEdited(edit); err == nil {
					t.Fatal("the configuration was not rejected")
				}
			}
			s.refreshes(c, "after the rejected reload", realmOne)
			s.Keys = []string{former}
			if err := s.restart(); err != nil {
				t.Fatalf("restarting with the former key alone: %v", err)
			}
			s.serves(c, "restarted", realmOne, realmTwo)
			s.waitSealed(0)
		})
	}
}

// While a rejected configuration is tried, the one in force waits with its new
// key, and then goes on with its own.
func TestRejectedReloadDuringRotation(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	c := client(t)
	s.addKey("new")
	s.addKey("third")
	former, fresh, third := s.Keys[0], s.Keys[1], s.Keys[2]
	s.Keys = []string{fresh, former}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	s.Keys = []string{third, fresh, former}
	if err := s.loadEdited(loaderFails); err == nil {
		t.Fatal("the configuration was not rejected")
	}
	s.waitSealed(1)
	s.refreshes(c, "after the rejected reload", realmOne)
	s.Keys = []string{fresh}
	if err := s.restart(); err != nil {
		t.Fatalf("restarting with the new key alone: %v", err)
	}
	s.serves(c, "restarted with the new key alone", realmOne)
}

// A key is replaced: a new one is put before it, and it is removed when the log
// says so. Sooner is refused, and harms nothing.
func TestReplaceKey(t *testing.T) {
	held.free.Store(false)
	held.tried.Store(0)
	s := start(t, func(s *system) { s.Store = "held" })
	s.connect(realmOne)
	s.connect(realmTwo)
	c := client(t)
	s.addKey("new")
	former, fresh := s.Keys[0], s.Keys[1]
	refused := func(when string, load func() error, why string, keys ...string) {
		t.Helper()
		s.Keys = keys
		if err := load(); err == nil || !strings.Contains(err.Error(), why) {
			t.Fatalf("%s: %v", when, err)
		}
	}
	const tooEarly = "still sealed with a former encryption key that is not configured"
	waitTried := func(times int64) {
		t.Helper()
		err := eventually(10*time.Second, func() error {
			if n := held.tried.Load(); n != times {
				return fmt.Errorf("sealing anew was tried %d times, want %d", n, times)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}

	s.Keys = []string{fresh, former}
	if err := s.load(); err != nil {
		t.Fatalf("reloading with a new key before the old: %v", err)
	}
	waitTried(1)
	s.refreshes(c, "before all is sealed anew", realmOne)

	refused("reloading with the new key alone, too early", s.load, tooEarly, fresh)
	refused("reloading with the former key alone", s.load, "does not open", former)
	s.serves(c, "after the rejected reloads", realmOne, realmTwo)
	s.refreshes(c, "after the rejected reloads", realmOne)
	refused("restarting with the new key alone, too early", s.restart, tooEarly, fresh)

	// A restart tries again, and so does a reload.
	s.Keys = []string{fresh, former}
	if err := s.restart(); err != nil {
		t.Fatalf("restarting with both keys: %v", err)
	}
	waitTried(2)
	s.serves(c, "restarted with both keys", realmOne, realmTwo)
	held.free.Store(true)
	s.waitSealed(0)
	if err := s.load(); err != nil {
		t.Fatalf("reloading with both keys: %v", err)
	}
	s.waitSealed(1)

	s.Keys = []string{fresh}
	if err := s.load(); err != nil {
		t.Fatalf("reloading with the new key alone: %v", err)
	}
	s.serves(c, "reloaded with the new key alone", realmOne, realmTwo)
	refused("restarting with the former key alone", s.restart, "does not open", former)
	s.Keys = []string{fresh}
	if err := s.restart(); err != nil {
		t.Fatalf("restarting with the new key alone: %v", err)
	}
	s.serves(c, "restarted with the new key alone", realmOne, realmTwo)
	s.refreshes(c, "restarted with the new key alone", realmOne, realmTwo)
	s.waitSealed(1)
}

// Without encryption_key, a reload takes the key file of the default, and never
// makes one: a new key opens nothing.
func TestReloadWithoutKeySetting(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	c := client(t)
	path := filepath.Join(caddy.AppConfigDir(), "freshbearer", "encryption.key")
	remove := func(config map[string]any) { delete(at(config, "apps", "freshbearer"), "encryption_keys") }

	err := s.loadEdited(remove)
	if err == nil || !strings.Contains(err.Error(), "put encryption_key back") || !strings.Contains(err.Error(), path) {
		t.Errorf("reloading without a key: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); len(entries) > 0 || err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("beside the default key file there is now %v (%v)", entries, err)
	}
	s.refreshes(c, "after the rejected reload", realmOne)

	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.Dir, "key"), path); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(filepath.Dir(path))
	if err := s.loadEdited(remove); err != nil {
		t.Errorf("reloading without a key, with the same one in the default file: %v", err)
	}
	s.refreshes(c, "after the reload", realmOne)
}

// Interface guards
var (
	_ caddy.Provisioner  = (*heldConfig)(nil)
	_ tokenstore.Opener  = (*heldConfig)(nil)
	_ caddy.ConfigLoader = (*refusingLoader)(nil)
)

// restart ends the process's hold on the store and takes it up anew.
func (s *system) restart() error {
	s.t.Helper()
	if err := caddy.Stop(); err != nil {
		s.t.Fatal(err)
	}
	return s.load()
}
