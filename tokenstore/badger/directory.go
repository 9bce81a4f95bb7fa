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
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	badgerdb "github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

const dirMode fs.FileMode = 0o700

// prepareDir makes sure that dir exists, that nobody else can read it, and that
// nobody else uses it. Closing the returned file lets others use it.
func prepareDir(dir string, logger *zap.Logger) (lock *os.File, err error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("creating the directory of the token store, %s: %w; let the user that runs Caddy make it, or name another one: store badger { path <dir> }", dir, err)
	}
	content, err := inspect(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the directory of the token store: %w", err)
	}
	if err := tighten(dir, content, logger); err != nil {
		return nil, err
	}
	return lockDir(dir)
}

// makeDir creates a directory and its parents, durably: Badger syncs what is
// in its directory, but not the entry of the directory itself.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir makes the entries of a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil // a parent that may be passed but not read
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

// tighten takes a directory away from group and others. Badger's files are
// readable for all who can enter it.
func tighten(dir string, content content, logger *zap.Logger) error {
	if runtime.GOOS == "windows" {
		return nil // its modes say nothing about who can read
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("directory of the token store: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	// A path like /var/lib is a mistake; closing that directory would break
	// whoever else uses it.
	if content.foreign != "" && !content.manifest {
		return fmt.Errorf("the directory of the token store %s has mode %04o and holds other things (%s); give the store a directory of its own",
			dir, info.Mode().Perm(), content.foreign)
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return fmt.Errorf("the directory of the token store has mode %04o, so others can read it, and this cannot be changed: %w. "+
			"Set its mode to 0700, or set the path to a directory inside it", info.Mode().Perm(), err)
	}
	logger.Warn("took the directory of the token store away from group and others",
		zap.String("path", dir),
		zap.String("old_mode", fmt.Sprintf("%04o", info.Mode().Perm())),
		zap.String("new_mode", fmt.Sprintf("%04o", dirMode)))
	return nil
}

// content is what a directory holds.
type content struct {
	manifest bool
	mark     bool
	data     []string // Badger's data files
	foreign  string   // the first thing that is not Badger's, if any
}

func (c content) logs() []string {
	return slices.DeleteFunc(slices.Clone(c.data), func(name string) bool { return filepath.Ext(name) != ".mem" })
}

// size returns the size of the data files with an ending.
func (c content) size(dir, ending string) (size int64) {
	for _, name := range c.data {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && filepath.Ext(name) == ending {
			size += info.Size()
		}
	}
	return size
}

func inspect(dir string) (content, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return content{}, err
	}
	var c content
	for _, e := range entries {
		switch name := e.Name(); {
		case name == badgerdb.ManifestFilename:
			c.manifest = e.Type().IsRegular()
		case name == "MANIFEST-REWRITE", name == "KEYREGISTRY", name == "REWRITE-KEYREGISTRY", name == "DISCARD", name == "LOCK":
		case name == markName:
			c.mark = true
		case strings.HasPrefix(name, "freshbearer."):
		case name == "lost+found": // of a volume of its own
		default:
			switch filepath.Ext(name) {
			case ".sst", ".vlog", ".mem":
				c.data = append(c.data, name)
			default:
				if c.foreign == "" {
					c.foreign = name
				}
			}
		}
	}
	return c, nil
}
