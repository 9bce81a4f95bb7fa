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
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"google.golang.org/protobuf/proto"
)

// manifestHeader is how a MANIFEST begins: its format is version 8.
var manifestHeader = []byte("Bdgr\x00\x00\x00\x08")

// manifest is what a MANIFEST says, without what it says and was not done.
//
// If Badger cannot sync the MANIFEST, it deletes the tables that it has just
// entered, and leaves the entries. After a flush, it writes the table again,
// under another number. After a merge, it goes on with the tables that were to
// be merged, which the MANIFEST no longer lists. With either, it would not open
// the store again, or delete those tables.
type manifest struct {
	tables map[uint64]*pb.ManifestChange
	// cut tells that the last record is not whole: it was being written.
	cut bool
	// unmade are tables that were entered after a flush and do not exist. If
	// they were lost, and never failed to be made, the versions tell (whole.go).
	unmade []uint64
	// undone are tables that do not exist, of merges that did not take place.
	undone []uint64
}

func (m manifest) has(id uint64) bool { _, ok := m.tables[id]; return ok }

// readManifest reads the MANIFEST.
func readManifest(dir string) (manifest, error) {
	m := manifest{tables: make(map[uint64]*pb.ManifestChange)}
	data, err := os.ReadFile(filepath.Join(dir, badgerdb.ManifestFilename))
	if err != nil {
		return m, err
	}
	if !bytes.HasPrefix(data, manifestHeader) {
		return m, errors.New("its beginning is not what was written")
	}
	var records []*pb.ManifestChangeSet
	deleted := make(map[uint64]bool)
	for rest := data[len(manifestHeader):]; len(rest) > 0; {
		record, size, err := readManifestRecord(rest)
		if record == nil {
			m.cut = err == nil
			if err != nil {
				return m, err
			}
			break
		}
		rest = rest[size:]
		records = append(records, record)
		for _, c := range record.Changes {
			if c.Op == pb.ManifestChange_DELETE {
				deleted[c.Id] = true
			}
		}
	}
	for _, record := range records {
		if err := m.apply(dir, record, deleted); err != nil {
			return m, err
		}
	}
	return m, nil
}

// readManifestRecord returns no record if it is the last and not whole.
func readManifestRecord(b []byte) (record *pb.ManifestChangeSet, size int, err error) {
	if len(b) < 8 {
		return nil, 0, nil
	}
	size = 8 + int(binary.BigEndian.Uint32(b))
	if size > len(b) {
		return nil, 0, nil
	}
	record = new(pb.ManifestChangeSet)
	if crc32.Checksum(b[8:size], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		err = errors.New("the checksum of a record is wrong")
	} else {
		err = proto.Unmarshal(b[8:size], record)
	}
	if err != nil && size == len(b) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	return record, size, nil
}

// apply applies a record, as far as it took place. A table that does not exist,
// and that no record deletes, was never used.
func (m *manifest) apply(dir string, record *pb.ManifestChangeSet, deleted map[uint64]bool) error {
	merge, missing := false, make(map[uint64]bool)
	for _, c := range record.Changes {
		if c.Op == pb.ManifestChange_DELETE {
			merge = true
		} else if _, err := os.Lstat(table.NewFilename(c.Id, dir)); err != nil && !deleted[c.Id] {
			missing[c.Id] = true
		}
	}
	if merge && len(missing) > 0 {
		m.undone = slices.AppendSeq(m.undone, maps.Keys(missing))
		return nil
	}
	for _, c := range record.Changes {
		switch {
		case c.Op == pb.ManifestChange_DELETE:
			delete(m.tables, c.Id)
		case m.has(c.Id):
			return fmt.Errorf("it lists table %d twice", c.Id)
		case missing[c.Id] && c.Level == 0:
			m.unmade = append(m.unmade, c.Id)
		default:
			m.tables[c.Id] = c
		}
	}
	return nil
}

// repair makes the MANIFEST say what this one says. It is called only if
// nothing of the store is missing.
func (m manifest) repair(dir string) error {
	if !m.cut && len(m.undone)+len(m.unmade) == 0 {
		return nil
	}
	var all pb.ManifestChangeSet
	for _, c := range m.tables {
		all.Changes = append(all.Changes, c)
	}
	data, err := manifestRecord(&all)
	if err == nil {
		err = replaceFile(dir, badgerdb.ManifestFilename, append(bytes.Clone(manifestHeader), data...))
	}
	if err != nil {
		return fmt.Errorf("repairing the %s file of the token store: %w", badgerdb.ManifestFilename, err)
	}
	return nil
}

// manifestRecord puts length and checksum before a record.
func manifestRecord(record *pb.ManifestChangeSet) ([]byte, error) {
	set, err := proto.Marshal(record)
	b := binary.BigEndian.AppendUint32(nil, uint32(len(set)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(set, castagnoli))
	return append(b, set...), err
}

// replaceFile replaces a file of a directory, durably and as a whole.
func replaceFile(dir, name string, data []byte) error {
	temp := filepath.Join(dir, "freshbearer.tmp")
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, filepath.Join(dir, name))
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temp)))
	}
	return syncDir(dir)
}
