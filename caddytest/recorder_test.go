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

package caddytest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// recorder stands between a client and the proxy, and keeps every byte that
// the client gets.
type recorder struct {
	Origin string

	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	heard []*bytes.Buffer // what each connection brought the client
}

func newRecorder(t *testing.T, origin string) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{
		Origin: "http://" + l.Addr().String(), listener: l,
		target: strings.TrimPrefix(origin, "http://"), open: make(map[net.Conn]struct{}),
	}
	r.wg.Go(r.accept)
	t.Cleanup(r.close)
	return r
}

func (r *recorder) accept() {
	for {
		down, err := r.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", r.target)
		if err != nil {
			down.Close()
			continue
		}
		heard := new(bytes.Buffer)
		r.mu.Lock()
		r.open[down], r.open[up] = struct{}{}, struct{}{}
		r.heard = append(r.heard, heard)
		r.mu.Unlock()
		// When one side ends, the other does: HTTP clients do not half-close.
		pipe := func(dst, src net.Conn, tee io.Writer) {
			_, _ = io.Copy(io.MultiWriter(dst, tee), src)
			dst.Close()
			src.Close()
		}
		r.wg.Go(func() { pipe(up, down, io.Discard) })
		r.wg.Go(func() { pipe(down, up, heard) })
	}
}

// close ends all connections, so that what was heard no longer changes.
func (r *recorder) close() {
	r.listener.Close()
	r.mu.Lock()
	for c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// answers returns what the client got as text: the bytes of the wire, and
// after them the bodies that were compressed on it.
func (r *recorder) answers(t *testing.T) (wire []byte, count int) {
	t.Helper()
	r.close()
	for _, heard := range r.heard {
		wire = append(wire, heard.Bytes()...)
		reader := bufio.NewReader(heard)
		for {
			if _, err := reader.Peek(1); err != nil {
				break
			}
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Errorf("what the client got is no HTTP: %v", err)
				break
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Errorf("the client got a broken answer: %v", err)
				break
			}
			count++
			if resp.Header.Get("Content-Encoding") != "gzip" {
				wire = append(wire, body...)
				continue
			}
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Errorf("the client got what is not gzip: %v", err)
				break
			}
			plain, err := io.ReadAll(z)
			if err != nil {
				t.Errorf("the client got broken gzip: %v", err)
			}
			wire = append(wire, plain...)
		}
	}
	return wire, count
}
