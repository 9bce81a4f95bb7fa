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

package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Break is a place where the log is not what was recorded.
type Break struct {
	// File and Line are where it shows; without a file, it is the log as a
	// whole.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Entry is the number of the entry that was expected there.
	Entry uint64 `json:"entry"`
	What  string `json:"what"`
}

// Report is what Verify found.
type Report struct {
	// Entries is how many entries there are, First and Last the numbers, From
	// and To the times of the oldest and the newest.
	Entries int       `json:"entries"`
	First   uint64    `json:"first,omitempty"`
	Last    uint64    `json:"last,omitempty"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
	// Breaks are the first places where the log is broken, MoreBreaks how many
	// there are beyond them.
	Breaks     []Break `json:"breaks,omitempty"`
	MoreBreaks int     `json:"more_breaks,omitempty"`
}

// maxBreaks is how many are told.
const maxBreaks = 20

// Intact tells whether the log is whole and unaltered, from its first entry
// that is kept to its last.
func (r *Report) Intact() bool { return len(r.Breaks) == 0 }

func (r *Report) broken(b Break) {
	if len(r.Breaks) == maxBreaks {
		r.MoreBreaks++
		return
	}
	r.Breaks = append(r.Breaks, b)
}

// openFile is a file as it was at one moment.
type openFile struct {
	name string
	io.Reader
	close func() error
}

// snapshot opens all files, as they are at one moment, with the head that
// belongs to them. The caller closes them.
func (l *Log) snapshot(ctx context.Context) (files []openFile, stored []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	if stored, err = l.heads.AuditHead(ctx); err != nil {
		return nil, nil, fmt.Errorf("reading where the audit log ends: %w", err)
	}
	firsts, err := l.files()
	if err != nil {
		return nil, nil, err
	}
	for _, first := range firsts {
		if first < l.head.First {
			continue // a crash came before its removal
		}
		f, err := os.Open(l.path(first))
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("opening the audit log: %w", err), closeAll(files))
		}
		info, err := f.Stat()
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("opening the audit log: %w", err), f.Close(), closeAll(files))
		}
		files = append(files, openFile{fileName(first), io.LimitReader(f, info.Size()), f.Close})
	}
	return files, stored, nil
}

func closeAll(files []openFile) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// Verify reads the whole log and finds out whether it is what was recorded.
// Entries can be recorded meanwhile. The error is about reading it.
func (l *Log) Verify(ctx context.Context) (*Report, error) {
	files, stored, err := l.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeAll(files) }() // they were only read
	v := &verifying{report: new(Report), key: l.key, head: head{First: 1}}
	if stored != nil {
		if err := json.Unmarshal(stored, &v.head); err != nil {
			return nil, fmt.Errorf("reading where the audit log ends: %w", err)
		}
	} else if len(files) > 0 {
		v.report.broken(Break{Entry: 1, What: "the token store does not know where this log ends, so nobody can tell what is missing"})
	}
	v.next, v.before = v.head.First, v.head.Base
	for _, f := range files {
		v.file, v.line = f.name, 0
		_, rest, err := readLines(f, func(line []byte) bool {
			v.check(line)
			return ctx.Err() == nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
		if rest {
			v.line++
			v.broken("the line has no end")
		}
	}
	v.file, v.line = "", 0
	switch {
	case v.next <= v.head.Last:
		v.broken(fmt.Sprintf("the log ends before its last entry, %d", v.head.Last))
	case !v.ended && v.head.Last > 0:
		v.next = v.head.Last
		v.broken("the last entry is not the one that was recorded")
	}
	return v.report, nil
}

type verifying struct {
	report *Report
	key    []byte
	head   head
	// next is the number that the next line should have, before the MAC of the
	// line before it.
	next   uint64
	before mac
	// unread tells that the line before could not be read.
	unread bool
	// ended tells that the last entry of the head was there.
	ended bool

	file string
	line int
}

func (v *verifying) broken(what string) {
	v.report.broken(Break{File: v.file, Line: v.line, Entry: v.next, What: what})
}

// check looks at a line. After a break it goes on from what is written there,
// so that one break is told once: a line that follows another one which was
// forged does not fit, because that needs the key.
func (v *verifying) check(line []byte) {
	v.line++
	e, covered, claimed, err := decode(line)
	if err != nil {
		v.broken("the line cannot be read")
		// It stood for one entry, most likely; the next line tells.
		v.next++
		v.unread = true
		return
	}
	switch {
	case e.Number > v.next:
		v.broken(fmt.Sprintf("the entries %d to %d are missing", v.next, e.Number-1))
	case e.Number < v.next:
		v.broken(fmt.Sprintf("entry %d is here once more", e.Number))
	case !v.unread && chain(v.key, v.before, covered) != claimed:
		v.broken("this entry or the one before it was altered")
	}
	if e.Number == v.head.Last {
		v.ended = claimed == v.head.Sum
	}
	v.next, v.before, v.unread = e.Number+1, claimed, false
	r := v.report
	if r.Entries++; r.Entries == 1 {
		r.First, r.From = e.Number, e.Time
	}
	r.Last, r.To = e.Number, e.Time
}

// Entries returns the newest entries, the oldest of them first. What cannot be
// read is left out; nothing is verified.
func (l *Log) Entries(ctx context.Context, limit int) ([]Entry, error) {
	files, _, err := l.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = closeAll(files) }() // they were only read
	var newest []Entry
	for _, f := range files {
		_, _, err := readLines(f, func(line []byte) bool {
			if e, _, _, err := decode(line); err == nil {
				newest = append(newest, e)
			}
			if len(newest) >= 2*limit {
				newest = append(newest[:0], newest[len(newest)-limit:]...)
			}
			return ctx.Err() == nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit log: %w", err)
		}
	}
	return newest[max(0, len(newest)-limit):], nil
}
