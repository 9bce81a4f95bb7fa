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
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
)

// childEnv makes this test binary a program that uses a store and can be
// killed, or die: what it is to do, and its arguments.
const childEnv = "FRESHBEARER_TEST_BADGER_CHILD"

var children = map[string]func(args []string) error{
	"write": childWrite,
	"check": childCheck,
}

func TestMain(m *testing.M) {
	if task := os.Getenv(childEnv); task != "" {
		args := strings.Split(task, "|")
		if err := children[args[0]](args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, task string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(append([]string{task}, args...), "|"), "GOTRACEBACK=single")
	return cmd
}

// A writer writes numbers, ever larger, under names of its own, with as much
// after them as makes the logs and tables change often.
const (
	writers     = 4
	writerNames = 20
)

func writerName(writer, n int) []byte { return fmt.Appendf(nil, "w%d-%02d", writer, n) }

// childWrite writes, with a pause after each write, until the process ends or,
// if there is a fourth argument, that many values per writer; with a fifth, it
// then kills itself. It prints "ack WRITER NAME NUMBER" or "err WRITER NAME
// NUMBER" after each write.
func childWrite(args []string) error {
	minFree, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	pause, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	most := -1
	if len(args) > 3 {
		if most, err = strconv.Atoi(args[3]); err != nil {
			return err
		}
	}
	s, err := (&Config{Path: args[0], MinFree: minFree}).Open(zap.NewNop())
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	fmt.Println("open")
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := 0; n != most; n++ {
				value := fmt.Appendf(nil, "%d ", n+1)
				value = append(value, bytes.Repeat([]byte{byte(n)}, rand.IntN(16<<10))...)
				change := tokenstore.Change{Name: writerName(w, n%writerNames), Value: value}
				gone := tokenstore.Change{Name: fmt.Appendf(nil, "gone-%d", w)} // as an intent is cleared
				word := "ack"
				if err := s.Apply(context.Background(), change, gone); err != nil {
					word = "err"
					if errors.Is(err, tokenstore.ErrFull) {
						word = "full"
					}
				}
				fmt.Printf("%s %d %d %d\n", word, w, n%writerNames, n+1)
				time.Sleep(pause)
			}
		})
	}
	group.Wait()
	if len(args) > 4 {
		fmt.Println("closed") // as far as the test is concerned
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		return errors.Join(self.Kill(), errors.New("still alive"))
	}
	if err := s.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	fmt.Println("closed")
	return nil
}

// written is what a writer's output says about each name: the last number that
// was acknowledged, and what may be stored instead.
type written struct {
	acked   [writers][writerNames]int
	maybe   [writers][writerNames]map[int]bool
	last    [writers]int // the last number that was answered
	acks    int
	failed  int
	full    int
	opened  bool
	closed  bool
	strange []string
}

func (w *written) line(text string) {
	switch text {
	case "open":
		*w = written{opened: true, acked: w.acked, maybe: w.maybe, acks: w.acks}
		return
	case "closed":
		w.closed = true
		return
	}
	var word string
	var writer, n, number int
	if _, err := fmt.Sscanf(text, "%s %d %d %d", &word, &writer, &n, &number); err != nil {
		w.strange = append(w.strange, text)
		return
	}
	w.last[writer] = number
	switch word {
	case "ack":
		w.acks++
		w.acked[writer][n] = number
		w.maybe[writer][n] = nil
	case "full":
		w.full++
	case "err":
		w.failed++
		w.allow(writer, n, number)
	}
}

func (w *written) allow(writer, n, number int) {
	if w.maybe[writer][n] == nil {
		w.maybe[writer][n] = make(map[int]bool)
	}
	w.maybe[writer][n][number] = true
}

// died notes that each writer may have been in a write that nobody answered.
func (w *written) died() {
	for writer, last := range w.last {
		w.allow(writer, last%writerNames, last+1)
	}
}

// read follows the output of a writer until it ends or until enough says so.
func (w *written) read(out *bufio.Scanner, enough func() bool) {
	for !enough() && out.Scan() {
		w.line(out.Text())
	}
}

// verify looks whether everything acknowledged is there.
func (w *written) verify(t *testing.T, s tokenstore.Store) {
	t.Helper()
	for writer := range writers {
		for n := range writerNames {
			value, err := s.Get(t.Context(), writerName(writer, n))
			if errors.Is(err, tokenstore.ErrNotFound) && w.acked[writer][n] == 0 {
				continue
			}
			if err != nil {
				t.Errorf("writer %d, name %d: %v, want %d", writer, n, err, w.acked[writer][n])
				continue
			}
			head, _, _ := bytes.Cut(value, []byte(" "))
			number, _ := strconv.Atoi(string(head))
			if number != w.acked[writer][n] && !w.maybe[writer][n][number] {
				t.Errorf("writer %d, name %d: %d is stored, acknowledged was %d (or, without answer, %v)",
					writer, n, number, w.acked[writer][n], w.maybe[writer][n])
			}
			w.acked[writer][n] = number // whatever it is, now it is settled
			w.maybe[writer][n] = nil
		}
	}
}
