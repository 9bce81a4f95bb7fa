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
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// toolHints say how to get what the tests run.
var toolHints = map[string]string{
	"node":     "install Node.js 20 or newer, which brings npm with it",
	"npm":      "install Node.js 20 or newer, which brings npm with it",
	"chromium": "install Debian's package chromium, or let go run ./cmd/check do it",
}

// tool finds a program that the tests cannot do without.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not in PATH, and the tests need it: %s (%v)", name, toolHints[name], err)
	}
	return path
}

// installModules installs what the package-lock.json of a folder pins, once for
// each version of it, into the user's cache, and returns the directory.
func installModules(t *testing.T, folder string) string {
	t.Helper()
	tool(t, "node")
	hash := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(hash, "%d\n%s", len(content), content)
	}
	cache := userCache
	if cache == "" {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "freshbearer-test")
	dir := filepath.Join(cache, hex.EncodeToString(hash.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	t.Logf("installing what %s/package-lock.json pins with npm into %s", folder, dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	// Made whole and then named, so that what an interrupted run left is never
	// taken for an installation.
	fresh, err := os.MkdirTemp(cache, "installing-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(fresh)
	for _, name := range []string{"package.json", "package-lock.json"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(fresh, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), tool(t, "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = fresh
	cmd.Env = append(os.Environ(), "HOME="+userHome)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v; is the npm registry within reach?\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, statErr := os.Stat(dir); statErr != nil {
			t.Fatal(err)
		}
	}
	return dir
}
