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

// Package badger keeps grants in a Badger database in a local directory. It is
// the default engine of freshbearer.
package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// Config is where a Badger database is kept. The grants in it are encrypted
// before Badger sees them. One process at a time can use a directory.
type Config struct {
	// The directory of the database. It is created, with mode 0700, if it does
	// not exist, and should be used for nothing else. Placeholders are
	// replaced. Default: `freshbearer` in Caddy's
	// [data directory](/docs/conventions#data-directory).
	Path string `json:"path,omitempty"`

	// How much of the directory's disk must be free, in bytes, for a token to
	// be refreshed. Below it, tokens that are valid are still used, and those
	// of a refresh under way are still stored, until half of it is left, or 7 MiB,
	// which the database may need for itself. The least that takes effect is 9 MiB
	// and the size of what is stored. The store keeps a part of
	// this space in a file of its own, freshbearer.ballast (half of it, at
	// most 16 MiB), which it gives up when the disk is full. Default: 64 MiB.
	MinFree int64 `json:"min_free,omitempty"`

	// path is Path with its placeholders replaced.
	path string
}

// CaddyModule returns the Caddy module information.
func (Config) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "freshbearer.stores.badger",
		New: func() caddy.Module { return new(Config) },
	}
}

// UnmarshalCaddyfile sets up the store from Caddyfile tokens. Syntax:
//
//	store badger {
//		path     <dir>
//		min_free <size>
//	}
//
// The block and its options may be left out. A size is like 64MiB.
func (c *Config) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the name of the store
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "path":
			if c.Path != "" {
				return d.Err("path is already set")
			}
			if !d.AllArgs(&c.Path) {
				return d.ArgErr()
			}
			if c.Path == "" {
				return d.Err("path is empty; leave it out to use the default")
			}
		case "min_free":
			if c.MinFree != 0 {
				return d.Err("min_free is already set")
			}
			var text string
			if !d.AllArgs(&text) {
				return d.ArgErr()
			}
			size, err := humanize.ParseBytes(text)
			if err != nil || size == 0 || size > maxMinFree {
				return d.Errf("min_free must be a size, like 64MiB, up to 1TiB: %s", text)
			}
			c.MinFree = int64(size)
		default:
			return d.Errf("unrecognized option '%s' of the badger store; its options are: path, min_free", d.Val())
		}
	}
	return nil
}

// Provision replaces the placeholders. It does not open the database, so that
// a configuration can be validated beside the process that uses it.
func (c *Config) Provision(_ caddy.Context) error {
	if c.MinFree < 0 || c.MinFree > maxMinFree {
		return fmt.Errorf("min_free of the badger store must be 0 to 1 TiB, in bytes: %d", c.MinFree)
	}
	if c.Path == "" {
		return nil
	}
	path, err := caddy.NewReplacer().ReplaceOrErr(c.Path, true, true)
	if err != nil {
		return fmt.Errorf("path of the badger store: %w", err)
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return fmt.Errorf("path of the badger store: %s is not a directory", path)
	}
	c.path = path
	return nil
}

// maxMinFree is the most that makes sense for a store of some megabytes.
const maxMinFree = 1 << 40

func (c *Config) minFree() int64 {
	if c.MinFree == 0 {
		return defaultMinFree
	}
	return c.MinFree
}

// Identity implements tokenstore.Opener: it returns the absolute path of the
// directory, with symbolic links resolved as far as it exists.
func (c *Config) Identity() (string, error) {
	path := c.path
	if path == "" {
		path = c.Path
	}
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "freshbearer")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("path of the badger store: %w", err)
	}
	path, err = resolve(path)
	if err != nil {
		return "", fmt.Errorf("path of the badger store: %w", err)
	}
	return path, nil
}

// Examine implements tokenstore.Examiner: it tries to write where the directory
// is, or would be made.
func (c *Config) Examine() error {
	dir, err := c.Identity()
	if err != nil {
		return err
	}
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".freshbearer-examined-")
	if err != nil {
		return fmt.Errorf("the token store cannot be made: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// resolve resolves the symbolic links of an absolute path, whose last elements
// need not exist.
func resolve(path string) (string, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return resolved, err
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path, nil
	}
	parent, err = resolve(parent)
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}

// Interface guards
var (
	_ caddy.Module          = (*Config)(nil)
	_ caddy.Provisioner     = (*Config)(nil)
	_ caddyfile.Unmarshaler = (*Config)(nil)
	_ tokenstore.Opener     = (*Config)(nil)
)
