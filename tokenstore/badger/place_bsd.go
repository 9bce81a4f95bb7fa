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

//go:build darwin || freebsd

package badger

import (
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// inodeKeepers are the file systems that keep inode numbers.
var inodeKeepers = []string{"apfs", "hfs", "ufs", "zfs"}

func keepsInodes(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && slices.Contains(inodeKeepers, unix.ByteSliceToString(s.Fstypename[:]))
}

// identify returns the inode number of a file. Its birth is not told, because
// these systems move it back when an earlier time of change is set.
func identify(f *os.File) (inode, born string, err error) {
	var s unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &s); err != nil {
		return "", "", err
	}
	return strconv.FormatUint(s.Ino, 10), "", nil
}
