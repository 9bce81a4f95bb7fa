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

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildFlags are those of a release: nothing of the place, the time or the
// version control of a build is in its result.
var buildFlags = []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid="}

// reproducible builds Caddy twice, without cgo, from two copies of the source in
// directories of different names, the second time with an empty build cache, and
// compares the results.
func reproducible() error {
	temp, err := os.MkdirTemp("", "freshbearer-reproducible-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	var sums []string
	for i, name := range []string{"one", filepath.Join("another", "place")} {
		dir := filepath.Join(temp, name)
		if err := copySource(dir); err != nil {
			return fmt.Errorf("copying the source: %w", err)
		}
		env := append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if i > 0 {
			env = append(env, "GOCACHE="+filepath.Join(temp, "cache"))
		}
		sum, err := buildSum(dir, filepath.Join(temp, "caddy"), env)
		if err != nil {
			return err
		}
		fmt.Printf("check: %s  %s\n", sum, name)
		sums = append(sums, sum)
	}
	if sums[0] != sums[1] {
		return errors.New("two builds of one source differ")
	}
	return nil
}

// copySource copies what a build needs, and leaves out what is not in the
// repository.
func copySource(to string) error {
	return filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, path), 0o700)
		case !d.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, path), data, 0o600)
	})
}

func buildSum(dir, output string, env []string) (string, error) {
	cmd := exec.Command("go", append(buildFlags, "-o", output, "./cmd/caddy")...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building: %w", err)
	}
	f, err := os.Open(output)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
