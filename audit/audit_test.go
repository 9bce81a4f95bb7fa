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
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

// memoryHeads is a Heads that can fail.
type memoryHeads struct {
	mu     sync.Mutex
	head   []byte
	failed error
	sets   int
}

func (h *memoryHeads) AuditHead(context.Context) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head, h.failed
}

func (h *memoryHeads) SetAuditHead(_ context.Context, head []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil {
		h.head, h.sets = head, h.sets+1
	}
	return h.failed
}

func (h *memoryHeads) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = err
}

// world is a log and what it is made of.
type world struct {
	t     *testing.T
	dir   string
	heads *memoryHeads
	clock *clockwork.FakeClock
	opts  Options
	log   *Log
}

func newWorld(t *testing.T, change ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "audit"), heads: new(memoryHeads),
		clock: clockwork.NewFakeClockAt(time.Date(2026, 11, 23, 6, 11, 31, 0, time.UTC))}
	w.opts = Options{Dir: w.dir, Key: testKey, Heads: w.heads, Clock: w.clock}
	for _, c := range change {
		c(&w.opts)
	}
	w.open()
	t.Cleanup(func() {
		if err := w.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.log, err = Open(w.t.Context(), w.opts); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reopen() {
	w.t.Helper()
	if err := w.log.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) record(n int) {
	w.t.Helper()
	for i := range n {
		e := Entry{What: Refreshed, By: ByCaller, Who: fmt.Sprintf("app-%d", i), Integration: "quickbooks", Connection: "abcdef0123456789"}
		if err := w.log.Record(w.t.Context(), e); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) verify() *Report {
	w.t.Helper()
	r, err := w.log.Verify(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// intact checks that the log verifies and has so many entries.
func (w *world) intact(entries int) {
	w.t.Helper()
	if r := w.verify(); !r.Intact() || r.Entries != entries {
		w.t.Fatalf("got %+v, want %d entries and no break", r, entries)
	}
}

func (w *world) paths() []string {
	w.t.Helper()
	paths, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil || len(paths) == 0 {
		w.t.Fatalf("no files in %s: %v", w.dir, err)
	}
	return paths
}

func (w *world) read(path string) []byte {
	w.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

func (w *world) write(path string, data []byte) {
	w.t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestRecordAndVerify(t *testing.T) {
	w := newWorld(t)
	w.intact(0)
	w.record(3)
	w.intact(3)
	w.reopen()
	w.clock.Advance(time.Hour)
	w.record(2)
	w.intact(5)
	entries, err := w.log.Entries(t.Context(), 2)
	if err != nil || len(entries) != 2 || entries[0].Number != 4 || entries[1].Number != 5 || entries[1].Who != "app-1" ||
		!entries[1].Time.Equal(w.clock.Now()) {
		t.Errorf("got %+v, %v", entries, err)
	}
	for path, mode := range map[string]os.FileMode{w.dir: 0o700, w.paths()[0]: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v", path, info.Mode().Perm(), err)
		}
	}
}

// Whoever writes the files without the key is found out, whatever they do, in
// the running program and after its next start.
func TestTampering(t *testing.T) {
	lines := func(data []byte) [][]byte { return bytes.SplitAfter(data, []byte("\n")) }
	for name, tamper := range map[string]func(data []byte) []byte{
		"altered":        func(d []byte) []byte { return bytes.Replace(d, []byte("app-3"), []byte("app-X"), 1) },
		"time altered":   func(d []byte) []byte { return bytes.Replace(d, []byte("06:11:31"), []byte("06:11:32"), 1) },
		"first removed":  func(d []byte) []byte { return bytes.Join(lines(d)[1:], nil) },
		"middle removed": func(d []byte) []byte { l := lines(d); return bytes.Join(append(l[:3:3], l[4:]...), nil) },
		"last removed":   func(d []byte) []byte { return bytes.Join(lines(d)[:7], nil) },
		"half a line":    func(d []byte) []byte { return d[:len(d)-40] },
		"no line feed":   func(d []byte) []byte { return d[:len(d)-1] },
		"swapped":        func(d []byte) []byte { l := lines(d); l[2], l[3] = l[3], l[2]; return bytes.Join(l, nil) },
		"repeated": func(d []byte) []byte {
			l := lines(d)
			l[5] = append(l[5][:len(l[5]):len(l[5])], l[5]...)
			return bytes.Join(l, nil)
		},
		"emptied":     func([]byte) []byte { return nil },
		"junk inside": func(d []byte) []byte { l := lines(d); l[4] = []byte("junk\n"); return bytes.Join(l, nil) },
		"junk after":  func(d []byte) []byte { return append(d, "junk\n"...) },
		"long junk":   func(d []byte) []byte { return append(d, strings.Repeat("x", 3*maxLine)+"\n"...) },
		"renumbered and shortened": func(d []byte) []byte {
			l := lines(d)
			return bytes.Join(append(l[:6:6], bytes.Replace(l[7], []byte(`"n":8`), []byte(`"n":7`), 1)), nil)
		},
		"forged with another key": func(d []byte) []byte {
			before := mac{}
			var out []byte
			for _, line := range lines(d) {
				e, _, claimed, err := decode(bytes.TrimSuffix(line, []byte("\n")))
				if err != nil {
					break
				}
				if e.Number < 8 {
					out, before = append(out, line...), claimed
					continue
				}
				e.Who = "somebody else"
				forged, _, _ := e.encode([]byte("a key that is not the one"), before)
				out = append(out, forged...)
			}
			return out
		},
		"appended without the key": func(d []byte) []byte {
			_, _, before, _ := decode(lines(d)[7][:len(lines(d)[7])-1])
			e := Entry{Number: 9, What: Refreshed, By: ByCaller}
			forged, _, _ := e.encode([]byte("a key that is not the one"), before)
			return append(d, forged...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.record(8)
			path := w.paths()[0]
			whole := w.read(path)
			w.intact(8)
			tampered := tamper(bytes.Clone(whole))
			if bytes.Equal(tampered, whole) {
				t.Fatal("nothing was tampered with")
			}
			w.write(path, tampered)
			if w.verify().Intact() {
				t.Error("not noticed by the program that wrote it")
			}
			w.reopen()
			w.record(3)
			if w.verify().Intact() {
				t.Error("not noticed after a restart")
			}
			t.Logf("%+v", w.verify().Breaks)
		})
	}
}

// Every byte counts.
func TestEveryByteCounts(t *testing.T) {
	w := newWorld(t)
	w.record(4)
	path := w.paths()[0]
	whole := w.read(path)
	for i := range whole {
		for _, flip := range []byte{0x01, 0x20, 0x80} {
			altered := bytes.Clone(whole)
			altered[i] ^= flip
			w.write(path, altered)
			if w.verify().Intact() {
				t.Fatalf("byte %d (%q) with bits %#x flipped was not noticed", i, whole[i], flip)
			}
		}
	}
	w.write(path, whole)
	w.intact(4)
}

func TestBreakIsNamed(t *testing.T) {
	w := newWorld(t)
	w.record(8)
	path := w.paths()[0]
	w.write(path, bytes.Replace(w.read(path), []byte("app-3"), []byte("app-X"), 1))
	r := w.verify()
	want := Break{File: filepath.Base(path), Line: 4, Entry: 4, What: "this entry or the one before it was altered"}
	if len(r.Breaks) != 1 || r.Breaks[0] != want {
		t.Errorf("got %+v, want %+v alone", r.Breaks, want)
	}
}

// The head tells of a log that was shortened or is gone, also after a restart,
// which goes on after the number that it had.
func TestShortened(t *testing.T) {
	w := newWorld(t)
	w.record(8)
	path := w.paths()[0]
	data := w.read(path)
	kept := bytes.Join(bytes.SplitAfter(data, []byte("\n"))[:5], nil)
	w.write(path, kept)
	w.reopen()
	w.record(1)
	r := w.verify()
	if len(r.Breaks) != 1 || r.Breaks[0].What != "the entries 6 to 8 are missing" || r.Last != 10 {
		t.Errorf("got %+v", r)
	}
	entries, err := w.log.Entries(t.Context(), 2)
	if err != nil || entries[0].What != LogDamaged || entries[0].Outcome != "shortened" {
		t.Errorf("got %+v, %v", entries, err)
	}
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if r := w.verify(); r.Intact() || r.Breaks[0].What != "the entries 1 to 10 are missing" {
		t.Errorf("got %+v", r)
	}
}

// Two copies of a log go on apart, as a restored machine and its original do. A
// line of the one is none of the other, though it has the key and the number.
func TestLineOfAnotherHistory(t *testing.T) {
	w := newWorld(t)
	w.record(5)
	path := w.paths()[0]
	common, head := w.read(path), w.heads.head
	w.record(3)
	ours := w.read(path)
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	ourHead := w.heads.head
	w.write(path, common)
	w.heads.head = head
	w.open()
	w.clock.Advance(time.Hour)
	w.record(3)
	w.intact(8)
	theirs := bytes.SplitAfter(w.read(path), []byte("\n"))
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	mixed := bytes.SplitAfter(ours, []byte("\n"))
	mixed[6] = theirs[6]
	w.write(path, bytes.Join(mixed, nil))
	w.heads.head = ourHead
	w.open()
	if w.verify().Intact() {
		t.Error("a line of another history was not noticed")
	}
}

func TestWithoutHead(t *testing.T) {
	w := newWorld(t)
	w.record(3)
	w.heads.head = nil
	if w.verify().Intact() {
		t.Error("a missing head was not noticed")
	}
	w.reopen()
	if r := w.verify(); r.Intact() || r.Last != 4 {
		t.Errorf("a missing head was not noticed after a restart: %+v", r)
	}
}

// A crash leaves a line that nobody was told of, or one that the head does not
// know yet.
func TestCrash(t *testing.T) {
	w := newWorld(t)
	w.record(3)
	head := w.heads.head
	w.record(2)
	path := w.paths()[0]
	data := w.read(path)
	w.heads.head = head
	w.reopen()
	w.intact(5)
	// Cut at every byte of what follows the head.
	lines := bytes.SplitAfter(data, []byte("\n"))
	safe := len(bytes.Join(lines[:3], nil))
	for cut := safe; cut < len(data); cut++ {
		if err := w.log.Close(); err != nil {
			t.Fatal(err)
		}
		w.write(path, data[:cut])
		w.heads.head = head
		w.open()
		whole := bytes.Count(data[:cut], []byte("\n"))
		w.intact(whole)
		w.record(1)
		w.intact(whole + 1)
		w.write(path, data)
	}
}

func TestRotation(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxFile, o.MaxFiles = 700, 3 })
	for range 40 {
		w.record(1)
		w.reopen()
	}
	paths := w.paths()
	if len(paths) != 3 {
		t.Fatalf("got %d files, want 3", len(paths))
	}
	for _, p := range paths {
		if n := len(w.read(p)); n > 700 {
			t.Errorf("%s has %d bytes", p, n)
		}
	}
	r := w.verify()
	if !r.Intact() || r.Last != 40 || r.First < 20 {
		t.Errorf("got %+v", r)
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if w.verify().Intact() {
		t.Error("a missing file in the middle was not noticed")
	}
}

func TestOldestFileMissing(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxFile, o.MaxFiles = 700, 3 })
	w.record(12)
	if err := os.Remove(w.paths()[0]); err != nil {
		t.Fatal(err)
	}
	if w.verify().Intact() {
		t.Error("the oldest file is missing, and that was not noticed")
	}
}

// A head that cannot be written costs no entry; a file that cannot be written
// is told of later.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	w.record(1)
	w.heads.fail(errors.New("the store is closed"))
	w.record(2)
	w.heads.fail(nil)
	w.intact(3)
	w.reopen()
	w.intact(3)
	file := w.log.file
	broken, err := os.Open(os.DevNull) // not for writing
	if err != nil {
		t.Fatal(err)
	}
	w.log.file = broken
	for range 2 {
		if w.log.Record(t.Context(), Entry{What: Refreshed, By: ByCaller}) == nil {
			t.Fatal("an entry that was not written was recorded")
		}
	}
	w.log.file = file
	if err := broken.Close(); err != nil {
		t.Fatal(err)
	}
	w.record(1)
	w.intact(5)
	entries, err := w.log.Entries(t.Context(), 2)
	if err != nil || entries[0].What != EntriesLost || entries[0].Count != 2 {
		t.Errorf("got %+v, %v", entries, err)
	}
}

func TestClosed(t *testing.T) {
	w := newWorld(t)
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.log.Record(t.Context(), Entry{What: Refreshed}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	w.log.Refuse(ByStranger, "", "quickbooks", "caller_unknown") // without effect
	if _, err := w.log.Verify(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Strangers cannot fill the disk: however many are refused, few entries come of
// it, and they hold the number.
func TestRefusalsAreCounted(t *testing.T) {
	w := newWorld(t)
	const refusals = 100_000
	for i := range refusals {
		w.log.Refuse(ByStranger, "", "quickbooks", "caller_unknown")
		if i%1000 == 0 {
			w.log.Refuse(ByCaller, "billing-app", "quickbooks", "connection_forbidden")
		}
	}
	if err := w.log.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	entries, err := w.log.Entries(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for _, e := range entries {
		counts[e.Outcome] += e.Count
	}
	if len(entries) > 4 || counts["caller_unknown"] != refusals || counts["connection_forbidden"] != refusals/1000 {
		t.Errorf("%d entries with %v", len(entries), counts)
	}
}

func TestRefusalInterval(t *testing.T) {
	w := newWorld(t)
	wait := func(entries int) {
		t.Helper()
		deadline := time.Now().Add(10 * time.Second)
		for w.verify().Entries != entries {
			if time.Now().After(deadline) {
				t.Fatalf("got %d entries, want %d", w.verify().Entries, entries)
			}
			time.Sleep(time.Millisecond)
		}
	}
	refuse := func() { w.log.Refuse(ByStranger, "", "quickbooks", "caller_unknown") }
	refuse()
	wait(1)
	refuse()
	refuse()
	// As the worker does when it is woken.
	w.log.refusals.flush(w.log, false)
	if n := w.verify().Entries; n != 1 {
		t.Errorf("%d entries in one minute", n)
	}
	// It may have to notice the refusals before it waits for the right time.
	deadline := time.Now().Add(10 * time.Second)
	for w.verify().Entries < 2 && time.Now().Before(deadline) {
		w.clock.Advance(refusalInterval)
		time.Sleep(time.Millisecond)
	}
	entries, err := w.log.Entries(t.Context(), 1)
	if err != nil || entries[0].Count != 2 {
		t.Errorf("got %+v, %v", entries, err)
	}
}

func TestManyKindsOfRefusals(t *testing.T) {
	w := newWorld(t)
	for i := range 10 * maxRefusals {
		w.log.Refuse(ByCaller, fmt.Sprint("app", i), "quickbooks", "connection_forbidden")
	}
	w.log.refusals.mu.Lock()
	kinds := len(w.log.refusals.waiting)
	w.log.refusals.mu.Unlock()
	if kinds > maxRefusals+1 {
		t.Errorf("%d kinds are told apart", kinds)
	}
}

// What somebody can choose has a bound, and cannot end a line.
func TestTextsAreBounded(t *testing.T) {
	w := newWorld(t)
	err := w.log.Record(t.Context(), Entry{What: Refreshed, By: ByStatusPage, Who: strings.Repeat("ö\n\"}", 100_000)})
	if err != nil {
		t.Fatal(err)
	}
	w.intact(1)
	if n := len(w.read(w.paths()[0])); n > 1000 {
		t.Errorf("the line has %d bytes", n)
	}
}

func TestConcurrently(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxFile, o.MaxFiles = 4000, 100 })
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 10 {
				if err := w.log.Record(t.Context(), Entry{What: Refreshed, By: ByCaller}); err != nil {
					t.Error(err)
				}
				if r, err := w.log.Verify(t.Context()); err != nil || !r.Intact() {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
	group.Wait()
	w.intact(80)
}
