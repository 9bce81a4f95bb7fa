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
	"fmt"
	"os"
)

// Place implements tokenstore.Placed: the inodes of the directory and of its
// lock file, and where that is known when the latter was made. All of them go
// with the files when the directory is moved within its file system, or the
// disk to another machine, and none of them goes with a copy of the files.
//
// A copy of the whole file system, below it (a snapshot of a volume or of a
// virtual machine), has them too, and cannot be told from the original. The
// device's number, which would tell some of those, changes when a machine
// starts.
//
// There are no facts on Windows, and on file systems that may give a file
// another inode number one day, as those in user space and network file
// systems do: only those are looked at that are known to keep it (see
// keepsInodes).
func (s *store) Place() (map[string]string, error) {
	if !keepsInodes(s.dir) || s.lock == nil {
		return nil, nil
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	directory, _, err := identify(dir)
	if err != nil {
		return nil, fmt.Errorf("inode of %s: %w", s.dir, err)
	}
	lock, born, err := identify(s.lock)
	if err != nil {
		return nil, fmt.Errorf("inode of %s: %w", s.lock.Name(), err)
	}
	facts := map[string]string{"directory_inode": directory, "lock_inode": lock}
	if born != "" {
		facts["lock_born"] = born
	}
	return facts, nil
}
