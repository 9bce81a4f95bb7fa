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

//go:build unix

package upstream

import (
	"bufio"
	"net"
	"syscall"
	"testing"
)

// A signal, such as the runtime sends its threads, costs no connection.
func TestSignals(t *testing.T) {
	w := listen(t, func(_ int, _ net.Conn, r *bufio.Reader) { gone(r) })
	raw, err := net.Dial("tcp", w.url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	p := newPeephole(raw)
	ended := make(chan struct{})
	signals := make(chan struct{})
	go func() {
		defer close(signals)
		for {
			select {
			case <-ended:
				return
			default:
				_ = syscall.Kill(syscall.Getpid(), syscall.SIGURG)
			}
		}
	}()
	for range 50_000 {
		if anything, could := p.look(); anything || !could {
			t.Errorf("saw %v", p.seen[0])
			break
		}
	}
	close(ended)
	<-signals
}
