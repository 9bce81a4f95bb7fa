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

package badger

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

func TestModule(t *testing.T) {
	info := Config{}.CaddyModule()
	if info.ID != "freshbearer.stores.badger" {
		t.Errorf("id is %s", info.ID)
	}
	if _, ok := info.New().(*Config); !ok {
		t.Error("new does not return a *Config")
	}
}

func TestCaddyfile(t *testing.T) {
	for _, test := range []struct {
		name, input, path string
		minFree           int64
		err               string
	}{
		{name: "bare", input: "badger"},
		{name: "empty block", input: "badger {\n}"},
		{name: "path", input: "badger {\n\tpath /var/lib/freshbearer\n}", path: "/var/lib/freshbearer"},
		{name: "both", input: "badger {\n\tpath /a\n\tmin_free 100MiB\n}", path: "/a", minFree: 100 << 20},
		{name: "no size", input: "badger {\n\tmin_free\n}", err: "Testfile:2"},
		{name: "two sizes", input: "badger {\n\tmin_free 1MiB 2MiB\n}", err: "Testfile:2"},
		{name: "size of nothing", input: "badger {\n\tmin_free 0\n}", err: "min_free must be a size, like 64MiB, up to 1TiB: 0, at Testfile:2"},
		{name: "wrong size", input: "badger {\n\tmin_free much\n}", err: "min_free must be a size"},
		{name: "too large", input: "badger {\n\tmin_free 2TiB\n}", err: "min_free must be a size"},
		{name: "size twice", input: "badger {\n\tmin_free 1MiB\n\tmin_free 1MiB\n}", err: "min_free is already set, at Testfile:3"},
		{name: "placeholder stays", input: "badger {\n\tpath {env.DATA}/tokens\n}", path: "{env.DATA}/tokens"},
		{name: "argument", input: "badger /var/lib/freshbearer", err: "Testfile:1"},
		{name: "no path", input: "badger {\n\tpath\n}", err: "Testfile:2"},
		{name: "empty path", input: "badger {\n\tpath \"\"\n}", err: "Testfile:2"},
		{name: "two paths in one", input: "badger {\n\tpath /a /b\n}", err: "Testfile:2"},
		{name: "path twice", input: "badger {\n\tpath /a\n\tpath /b\n}", err: "path is already set, at Testfile:3"},
		{name: "unknown", input: "badger {\n\tpath /a\n\tsync off\n}", err: "unrecognized option 'sync' of the badger store; its options are: path, min_free, at Testfile:3"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c Config
			err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(test.input))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error is %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil || c.Path != test.path || c.MinFree != test.minFree {
				t.Errorf("path is %q and min_free %d (%v), want %q and %d", c.Path, c.MinFree, err, test.path, test.minFree)
			}
		})
	}
}

func TestMinFree(t *testing.T) {
	for minFree, want := range map[int64]int64{0: 64 << 20, 1: 1, 1 << 40: 1 << 40} {
		c := Config{MinFree: minFree}
		if err := c.Provision(caddy.Context{}); err != nil || c.minFree() != want {
			t.Errorf("%d becomes %d (%v), want %d", minFree, c.minFree(), err, want)
		}
	}
	for _, minFree := range []int64{-1, 1<<40 + 1} {
		if err := (&Config{MinFree: minFree}).Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), "min_free of the badger store") {
			t.Errorf("%d: %v", minFree, err)
		}
	}
}

func TestProvision(t *testing.T) {
	dir := t.TempDir()
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved // a temporary directory can be behind a link itself
	}
	file := filepath.Join(dir, "file")
	link := filepath.Join(dir, "link")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "real"), link); err != nil {
		t.Skip(err)
	}
	t.Chdir(dir)
	t.Setenv("TEST_DATA", dir)
	t.Setenv("TEST_EMPTY", "")
	t.Setenv("XDG_DATA_HOME", dir)

	for _, test := range []struct {
		name, path, identity, err string
	}{
		{name: "default", identity: filepath.Join(caddy.AppDataDir(), "freshbearer")},
		{name: "placeholder", path: "{env.TEST_DATA}/tokens", identity: filepath.Join(dir, "tokens")},
		{name: "relative", path: "tokens/../tokens2", identity: filepath.Join(dir, "tokens2")},
		{name: "link", path: "link", identity: filepath.Join(dir, "real")},
		{name: "below a link", path: "link/a/b", identity: filepath.Join(dir, "real", "a", "b")},
		{name: "empty variable", path: "{env.TEST_EMPTY}", err: "path of the badger store"},
		{name: "unknown placeholder", path: "/srv/{nonsense}", err: "path of the badger store"},
		{name: "file", path: "file", err: "is not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var c Config
			raw, _ := json.Marshal(map[string]string{"path": test.path})
			if err := caddy.StrictUnmarshalJSON(raw, &c); err != nil {
				t.Fatal(err)
			}
			err := c.Provision(caddy.Context{})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error is %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			identity, err := c.Identity()
			if err != nil || identity != test.identity {
				t.Errorf("identity is %q (%v), want %q", identity, err, test.identity)
			}
			if c.Path != test.path {
				t.Errorf("the configured path became %q", c.Path)
			}
			if entries, _ := os.ReadDir(filepath.Join(dir, "real")); len(entries) > 0 {
				t.Error("provisioning made something")
			}
		})
	}
}
