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
	"os"
	"path/filepath"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// lockName is the file that is locked while a store is in use. Badger has a
// lock of its own, but takes and leaves it inside Open and Close: what is
// checked before, and written after, would be done to a store in use.
const lockName = "freshbearer.lock"

var errLocked = errors.New("locked")

// lockDir takes the lock of a directory. Closing the file, or the death of the
// process, leaves it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the token store %s: %w", dir, err)
	}
	if err := lockFile(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, inUse(dir, err)
		}
		return nil, fmt.Errorf("locking the token store %s: %w", dir, err)
	}
	return f, nil
}

func inUse(dir string, err error) error {
	return fmt.Errorf("%w by another process: %s; "+
		"this is usually a running Caddy, in which case use 'caddy reload' to apply config changes to it: %w", tokenstore.ErrInUse, dir, err)
}
