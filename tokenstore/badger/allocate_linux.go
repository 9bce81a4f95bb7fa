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
	"os"

	"golang.org/x/sys/unix"
)

// allocate gives a file blocks without writing them, and makes it larger
// unless keepSize.
func allocate(f *os.File, size int64, keepSize bool) error {
	var mode uint32
	if keepSize {
		mode = unix.FALLOC_FL_KEEP_SIZE
	}
	for {
		if err := unix.Fallocate(int(f.Fd()), mode, 0, size); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
