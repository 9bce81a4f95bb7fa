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

package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// readSize is that of the buffer of each connection: most answers fit in
	// and come with one system call.
	readSize = 8 << 10
	// maxHeader bounds the header of an answer, with all interim ones.
	maxHeader = 1 << 20
	// inlineBody is how long a body may be that is written before the answer is
	// read. The buffers of two sockets hold as much, so that an API which answers
	// early, and reads no more, is heard.
	inlineBody = 64 << 10
	// afterFailedWrite is how long an answer is waited for that the API may have
	// sent before it stopped reading.
	afterFailedWrite = time.Second
)

// conn is a connection. One request at a time has it.
type conn struct {
	net.Conn
	transport *Transport
	to        origin
	br        *bufio.Reader
	idleSince time.Time

	peephole

	// abort ends what is under way. It is made once, for context.AfterFunc.
	abort func()
	// mu is held to set deadlines: what was aborted remains so, and what has
	// been answered is not late.
	mu                sync.Mutex
	aborted, answered bool

	// headerLeft is what may still be read of a header; it does not count while
	// it is negative.
	headerLeft int
	// written counts the bytes of this request.
	written atomic.Int64
	// heard tells that some of the answer has come.
	heard bool
	// streams tells that the request is written while its answer is waited for.
	streams bool
}

func newConn(t *Transport, to origin, secured, raw net.Conn) *conn {
	c := &conn{Conn: secured, transport: t, to: to}
	c.br = bufio.NewReaderSize(headerLimit{c}, readSize)
	c.abort = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.aborted = true
		_ = c.SetDeadline(longAgo)
	}
	c.peephole = newPeephole(raw)
	return c
}

func (c *conn) close() { _ = c.Conn.Close() }

var longAgo = time.Unix(1, 0)

// listening is how long an idle connection is listened to if its socket cannot
// be looked at.
const listening = 2 * time.Millisecond

// quiet tells whether an idle connection can be used: the API has neither closed
// it nor said what the next request would take for its answer.
func (c *conn) quiet() bool {
	anything, could := c.look()
	if anything || could && c.to.scheme == "http" {
		return !anything
	}
	until := longAgo // read what is here, and wait for nothing
	if !could {
		until = time.Now().Add(listening)
	}
	// TLS reads ahead of the records that it has handed out: a look at the socket
	// does not show what it holds.
	_ = c.SetReadDeadline(until)
	_, err := c.br.Peek(1)
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// answerWithin sets how long the answer may take to begin.
func (c *conn) answerWithin(most time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.aborted && !c.answered {
		_ = c.SetReadDeadline(time.Now().Add(most))
	}
}

// hear notes that the answer has begun. If more of it is to come, that may take
// any time.
func (c *conn) hear(more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = true
	if more && !c.aborted {
		_ = c.SetReadDeadline(time.Time{})
	}
}

// headerLimit reads from the connection, as much as a header may have.
type headerLimit struct{ *conn }

var errLongHeader = errors.New("the header of the answer is too long")

func (r headerLimit) Read(p []byte) (int, error) {
	if r.headerLeft == 0 {
		return 0, errLongHeader
	}
	n, err := r.Conn.Read(p)
	if r.headerLeft > 0 {
		r.headerLeft = max(r.headerLeft-n, 0)
	}
	return n, err
}

// Write counts, and gives up on an API that reads no more.
func (c *conn) Write(p []byte) (int, error) {
	if c.streams {
		c.mu.Lock()
		if !c.aborted {
			_ = c.SetWriteDeadline(time.Now().Add(c.transport.ResponseTimeout))
		}
		c.mu.Unlock()
	}
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// mayRepeat tells whether a request that failed on this connection, which had
// been used before, may be sent on another one. An API that keeps silent has not
// closed it, and may be at work on the request.
func (c *conn) mayRepeat(req *http.Request, err error) bool {
	if c.heard || errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if req.Body == nil || req.Body == http.NoBody {
		return c.written.Load() == 0 || req.Method == http.MethodGet || req.Method == http.MethodHead
	}
	return c.written.Load() == 0 && req.GetBody != nil
}

// roundTrip sends a request and reads the beginning of its answer. After an
// error the connection is closed.
func (c *conn) roundTrip(req *http.Request) (*http.Response, error) {
	c.heard, c.answered = false, false
	c.written.Store(0)
	inMemory := req.GetBody != nil && req.ContentLength > 0 && req.ContentLength <= inlineBody
	inline := req.Body == nil || req.Body == http.NoBody || inMemory
	var beside chan error
	if c.streams = !inline; c.streams {
		_ = c.SetReadDeadline(time.Time{})
	} else {
		_ = c.SetDeadline(time.Now().Add(c.transport.ResponseTimeout))
	}
	// From here on the caller's leaving ends what is under way.
	stop := context.AfterFunc(req.Context(), c.abort)
	if !inline {
		beside = make(chan error, 1)
		go c.writeBeside(req, beside)
	} else if err := c.write(req); err != nil {
		beside = make(chan error, 1)
		c.unsent(err, beside)
	}
	resp, err := c.readResponse(req)
	if err != nil {
		stop()
		c.close()
		select {
		case cause := <-beside:
			if cause != nil {
				err = cause // reading failed because writing had
			}
		default:
		}
		return nil, err
	}
	b := &body{conn: c, from: resp.Body, ctx: req.Context(), stop: stop, beside: beside, last: resp.Close || unexpected(req)}
	if resp.Body == http.NoBody {
		b.end(io.EOF)
		return resp, nil
	}
	resp.Body = b
	// What is in the buffer already cannot be late.
	c.hear(resp.ContentLength < 0 || resp.ContentLength > int64(c.br.Buffered()))
	return resp, nil
}

// unexpected tells whether a request has a body where servers need not look for
// one (RFC 9110 §9.3.1): one that does not would take it for another request,
// whose answer the next caller would get.
func unexpected(req *http.Request) bool {
	return req.Body != nil && req.Body != http.NoBody &&
		(req.Method == http.MethodGet || req.Method == http.MethodHead || req.Method == http.MethodDelete)
}

// writeBeside writes a request while its answer is waited for: an API may answer
// before it has read all, and read no more.
func (c *conn) writeBeside(req *http.Request, beside chan<- error) {
	err := c.write(req)
	if err == nil {
		// Before the connection can be used again.
		c.answerWithin(c.transport.ResponseTimeout)
		beside <- nil
		return
	}
	c.unsent(err, beside)
}

// unsent deals with a request that could not be written. The API may have
// answered before it stopped reading.
func (c *conn) unsent(err error, beside chan<- error) {
	beside <- err // before reading fails because of it
	var unread *bodyReadError
	if !errors.As(err, &unread) && c.written.Load() > 0 {
		c.answerWithin(afterFailedWrite)
		return
	}
	c.mu.Lock()
	answered := c.answered
	c.mu.Unlock()
	if !answered { // or nobody needs the rest of the body
		c.abort()
	}
}

// maxInterim is how many interim answers (1xx) one request may have.
const maxInterim = 5

func (c *conn) readResponse(req *http.Request) (*http.Response, error) {
	c.headerLeft = maxHeader
	defer func() { c.headerLeft = -1 }()
	if _, err := c.br.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("waiting for the answer: %w", err)
	}
	c.heard = true
	for range maxInterim + 1 {
		resp, err := http.ReadResponse(c.br, req)
		if err != nil {
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
		switch {
		case resp.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("the answer switches protocols, which nobody has asked for")
		case resp.StatusCode < 100:
			return nil, fmt.Errorf("the answer's status %d is none", resp.StatusCode)
		case resp.StatusCode >= 200:
			return resp, nil
		}
	}
	return nil, errors.New("there are too many interim answers")
}
