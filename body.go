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

package freshbearer

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
)

// bodyError says that the caller's body could not be read. It is the caller's
// affair, not the API's.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "reading the request body: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// callersBody is the body of the caller's request on its way up. It is not
// closed, and nobody reads it after the handler has returned: the server reads
// what is left of it, to find the next request. Caddy wraps bodies, so that
// net/http's server does not know one that was closed early, and would take what
// is left of it for the next request.
type callersBody struct {
	mu   sync.Mutex
	from io.Reader
}

var errBodyOver = errors.New("the request is over")

// Read implements io.Reader.
func (b *callersBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from == nil {
		return 0, errBodyOver
	}
	return b.from.Read(p)
}

// Close implements io.Closer.
func (*callersBody) Close() error { return nil }

// end waits for whoever is reading; the server would, too.
func (b *callersBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.from = nil
}

// requestBody is a body that is either wholly in memory, and can be sent more
// than once, or a stream.
type requestBody struct {
	replayable bool
	held       []byte
	stream     io.ReadCloser
	length     int64
}

// readBody reads up to the replay buffer's size before anything is sent. A body must not be
// recorded while it is being sent: the API may answer before it has read it
// all, and then the recording has a hole.
func (x *exchange) readBody(req *http.Request) (requestBody, error) {
	limit, from := x.integration.ReplayBuffer, req.Body
	if x.to != nil {
		from = &x.body
	}
	// A server says of each request whether it has a body, and Caddy wraps also
	// those that are none. A client's may be of unknown length.
	if req.Body == nil || req.Body == http.NoBody || x.to != nil && req.ContentLength == 0 {
		return requestBody{replayable: true}, nil
	}
	if req.ContentLength > limit {
		return requestBody{stream: from, length: req.ContentLength}, nil
	}
	var held []byte
	var err error
	if req.ContentLength > 0 {
		held, err = readGrowing(from, int(req.ContentLength))
	} else {
		held, err = io.ReadAll(io.LimitReader(from, limit+1))
	}
	if err != nil {
		x.closeBody(req)
		return requestBody{}, &bodyError{err}
	}
	if int64(len(held)) > limit {
		return requestBody{stream: struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(held), from), from}, length: -1}, nil
	}
	x.closeBody(req)
	return requestBody{replayable: true, held: held}, nil
}

// bodyFirst is how much memory a body gets before any of it has come.
const bodyFirst = 64 << 10

// readGrowing reads n bytes. The memory grows with what has come: a caller that
// only promises long bodies must not take it.
func readGrowing(body io.Reader, n int) ([]byte, error) {
	held := make([]byte, 0, min(n, bodyFirst))
	for {
		come, err := io.ReadFull(body, held[len(held):cap(held)])
		held = held[:len(held)+come]
		if err != nil || len(held) == n {
			return held, err
		}
		larger := make([]byte, len(held), min(n, 4*len(held)))
		copy(larger, held)
		held = larger
	}
}

// attach gives the request its own reader of the body.
func (b *requestBody) attach(out *http.Request) {
	out.TransferEncoding = nil
	out.Trailer = nil
	switch {
	case !b.replayable:
		out.Body, out.ContentLength, out.GetBody = b.stream, b.length, nil
	case len(b.held) == 0:
		out.Body, out.ContentLength, out.GetBody = http.NoBody, 0, nil
	default:
		out.Body = io.NopCloser(bytes.NewReader(b.held))
		out.ContentLength = int64(len(b.held))
		held := b.held // and not b, which would have to be allocated for it
		out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(held)), nil }
	}
}

// closeBody closes the body of a request of Caddy's reverse proxy, which has its
// own of it.
func (x *exchange) closeBody(req *http.Request) {
	if x.to == nil && req.Body != nil {
		_ = req.Body.Close()
	}
}
