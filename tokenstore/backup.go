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

package tokenstore

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/freshbearer/freshbearer/secret"
)

// A backup is
//
//	"freshbearer backup 1\n" ‖ time (8, Unix milliseconds)
//	for each entry: length of the name (1) ‖ length of the value (4) ‖ name ‖ value
//	0 (1) ‖ number of entries (8) ‖ HMAC-SHA-256 of all before it (32)
//
// with numbers in big endian and the names in ascending order. The entries are
// those of the store at one moment, as they are: sealed, under names that are
// pseudonyms. Left out are one-time values, which live for minutes, and
// what says where the store is, whether it is on hold, and where its audit log
// ends, which is another matter for the store that the backup is restored into.
//
// The seal of an entry binds it to its name, but not to the others. The HMAC
// does: an entry that is missing, or from another backup, is noticed before
// anything is written. Its key is derived from the store's own secret (see
// Vault.DeriveKey), which is in the backup, in the record metaName, sealed.
const (
	backupMagic   = "freshbearer backup 1\n"
	backupPurpose = "backup"
)

// ErrBackupDamaged says that a backup is not whole, was altered, or is none.
var ErrBackupDamaged = errors.New("not a whole and unaltered backup of a token store")

func inBackup(name []byte) bool {
	switch kind(name[0]) {
	case kindOnce, kindHold, kindPlace, kindAudit:
		return false
	}
	return true
}

// Backup writes a backup of the store as it is at one moment. now is noted in
// it. The store can be used meanwhile; it cannot be closed before Backup
// returns, so w must not block for ever.
func (v *Vault) Backup(ctx context.Context, w io.Writer, now time.Time) error {
	out := bufio.NewWriterSize(w, 64<<10)
	mac := hmac.New(sha256.New, v.DeriveKey(backupPurpose))
	covered := io.MultiWriter(out, mac)
	header := binary.BigEndian.AppendUint64([]byte(backupMagic), uint64(now.UnixMilli()))
	_, failed := covered.Write(header)
	entries, made := uint64(0), false
	err := v.store.Scan(ctx, nil, nil, func(name, value []byte) bool {
		if !inBackup(name) {
			return true
		}
		if failed == nil {
			failed = ctx.Err()
		}
		if failed != nil {
			return false
		}
		entries++
		made = made || bytes.Equal(name, metaName)
		frame := binary.BigEndian.AppendUint32([]byte{byte(len(name))}, uint32(len(value)))
		_, failed = covered.Write(append(append(frame, name...), value...))
		return failed == nil
	})
	if err = errors.Join(err, failed); err == nil && !made {
		err = errors.New("the store has lost the record that is needed to read it")
	}
	if err == nil {
		_, err = covered.Write(binary.BigEndian.AppendUint64([]byte{0}, entries))
	}
	if err == nil {
		_, err = out.Write(mac.Sum(nil))
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("backing up the token store: %w", err)
	}
	return nil
}

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	// CreatedAt is when the backup was made.
	CreatedAt time.Time
	// Connections is how many connections are in it.
	Connections int
}

// CopyBackup copies a backup to its end and looks whether it is whole; this
// needs no key, and is no proof against somebody who alters it on purpose. If
// it is not whole, the error is ErrBackupDamaged.
func CopyBackup(w io.Writer, r io.Reader) (BackupInfo, error) {
	content, err := readBackup(io.TeeReader(r, w), io.Discard, func(_, _ []byte) error { return nil })
	if err != nil {
		return BackupInfo{}, fmt.Errorf("copying a backup: %w", err)
	}
	return content.BackupInfo, nil
}

// backupContent is what is known of a backup that was read to its end.
type backupContent struct {
	BackupInfo
	mac []byte
}

// readBackup reads a backup to its end. What the HMAC covers is written to
// covered. fn is called for every entry and owns the slices.
func readBackup(r io.Reader, covered io.Writer, fn func(name, value []byte) error) (backupContent, error) {
	in := &backupReader{r: bufio.NewReaderSize(r, 64<<10), covered: covered}
	if magic := in.next(len(backupMagic)); string(magic) != backupMagic {
		if errors.Is(in.err, io.EOF) || errors.Is(in.err, io.ErrUnexpectedEOF) {
			in.err = nil // too short for a backup is no backup
		}
		return backupContent{}, in.damaged("it does not begin like one of a version that this program knows")
	}
	created := in.next(8)
	if in.err != nil {
		return backupContent{}, in.damaged("")
	}
	var content backupContent
	content.CreatedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(created))).UTC()
	var entries uint64
	for last := []byte(nil); ; entries++ {
		size := in.next(1)
		if in.err != nil || size[0] == 0 {
			break
		}
		length := in.next(4)
		if in.err != nil || size[0] > MaxName || binary.BigEndian.Uint32(length) > MaxValue {
			return backupContent{}, in.damaged("an entry is too long")
		}
		name := in.next(int(size[0]))
		value := in.next(int(binary.BigEndian.Uint32(length)))
		if in.err != nil || len(value) == 0 || bytes.Compare(name, last) <= 0 {
			return backupContent{}, in.damaged("its entries are not in order")
		}
		if kind(name[0]) == kindGrant {
			content.Connections++
		}
		if err := fn(name, value); err != nil {
			return backupContent{}, err
		}
		last = name
	}
	count := in.next(8)
	in.covered = io.Discard
	content.mac = in.next(sha256.Size)
	if in.err != nil || binary.BigEndian.Uint64(count) != entries {
		return backupContent{}, in.damaged("entries are missing")
	}
	if _, err := in.r.ReadByte(); !errors.Is(err, io.EOF) {
		in.err = err
		return backupContent{}, in.damaged("something follows its end")
	}
	return content, nil
}

// backupReader reads the parts of a backup until the first error.
type backupReader struct {
	r       *bufio.Reader
	covered io.Writer
	err     error
}

// next returns the next n bytes, nil after an error.
func (b *backupReader) next(n int) []byte {
	if b.err != nil {
		return nil
	}
	part := make([]byte, n)
	if _, b.err = io.ReadFull(b.r, part); b.err != nil {
		return nil
	}
	if _, b.err = b.covered.Write(part); b.err != nil {
		return nil
	}
	return part
}

// damaged returns the error of the reader, or what is wrong with what it read.
func (b *backupReader) damaged(what string) error {
	switch {
	case errors.Is(b.err, io.EOF), errors.Is(b.err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: its end is missing", ErrBackupDamaged)
	case b.err != nil:
		return fmt.Errorf("reading a backup: %w", b.err)
	}
	return fmt.Errorf("%w: %s", ErrBackupDamaged, what)
}

func newBackupMAC(m *sealedMeta) hash.Hash {
	return hmac.New(sha256.New, deriveKey(secret.New(string(m.Secret)), backupPurpose))
}
