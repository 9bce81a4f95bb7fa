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

// Package caddytest_test runs the whole of freshbearer: a real Caddy with a
// real Caddyfile and a real Badger store, against a simulated Intuit, with
// HTTP clients, browsers and QuickBooks SDKs in front.
//
// A process can run one Caddy configuration, so no test here is parallel.
package caddytest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// userCache and userHome are the developer's own, from before TestMain hid
// them: npm needs its cache and its settings.
var userCache, userHome string

func TestMain(m *testing.M) { os.Exit(run(m)) }

// run gives Caddy a home that is thrown away. Caddy reads the variables when
// its packages are initialized, so what it derived from them is set again, in
// the way of its own main function when it has loaded an environment file.
func run(m *testing.M) int {
	userCache, _ = os.UserCacheDir()
	userHome = os.Getenv("HOME")
	home, err := os.MkdirTemp("", "freshbearer-test-home-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a home for the tests:", err)
		return 1
	}
	defer os.RemoveAll(home)
	for name, dir := range map[string]string{
		"HOME": home, "XDG_DATA_HOME": filepath.Join(home, "data"), "XDG_CONFIG_HOME": filepath.Join(home, "config"),
	} {
		if err := os.Setenv(name, dir); err != nil {
			fmt.Fprintln(os.Stderr, "hiding the developer's home:", err)
			return 1
		}
	}
	caddy.ConfigAutosavePath = filepath.Join(caddy.AppConfigDir(), "autosave.json")
	caddy.DefaultStorage = &certmagic.FileStorage{Path: caddy.AppDataDir()}
	code := m.Run()
	if _, err := os.Stat(caddy.ConfigAutosavePath); err == nil {
		fmt.Fprintln(os.Stderr, "a configuration was saved to", caddy.ConfigAutosavePath, "although persist_config is off")
		return 1
	}
	return code
}
