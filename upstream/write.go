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
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

// writeSize is that of the buffer in which a request is put together: most go
// out with one system call.
const writeSize = 16 << 10

var writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, writeSize) }}

// bodyReadError says that the body of a request could not be read.
type bodyReadError struct{ err error }

func (e *bodyReadError) Error() string { return "reading the request body: " + e.err.Error() }
func (e *bodyReadError) Unwrap() error { return e.err }

// write writes the request, and closes its body.
func (c *conn) write(req *http.Request) error {
	defer closeBody(req)
	w := writers.Get().(*bufio.Writer)
	w.Reset(c)
	defer func() {
		w.Reset(nil)
		writers.Put(w)
	}()
	if err := writeHead(w, req); err != nil {
		return err
	}
	if err := writeBody(w, req); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	return nil
}

// framing are the fields that say where a message ends, and to whom it is: they
// are written from the request itself. Fields of hops have no place here.
var framing = [...]string{"host", "content-length", "transfer-encoding", "trailer", "connection", "te", "upgrade", "expect"}

func isFraming(name string) bool {
	for _, f := range framing {
		if len(name) == len(f) && strings.EqualFold(name, f) {
			return true
		}
	}
	return false
}

// writeHead writes the request line and the header. What could end a line, or
// be read as another field, is refused: whoever built the request should not
// have let it through (RFC 9112 §11.1).
func writeHead(w *bufio.Writer, req *http.Request) error {
	target := req.URL.RequestURI()
	if !httpguts.ValidHeaderFieldName(req.Method) || !plain(target) || !httpguts.ValidHostHeader(req.Host) || req.Host == "" {
		return errors.New("refusing to send a malformed request line")
	}
	// Errors of w come back from Flush.
	_, _ = w.WriteString(req.Method)
	_ = w.WriteByte(' ')
	_, _ = w.WriteString(target)
	_, _ = w.WriteString(" HTTP/1.1\r\nHost: ")
	_, _ = w.WriteString(req.Host)
	_, _ = w.WriteString("\r\n")
	for name, values := range req.Header {
		if isFraming(name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return errors.New("refusing to send a malformed field name")
		}
		for _, value := range values {
			if !oneLine(value) {
				return fmt.Errorf("refusing to send a field %s that holds a line break", name)
			}
			_, _ = w.WriteString(name)
			_, _ = w.WriteString(": ")
			_, _ = w.WriteString(value)
			_, _ = w.WriteString("\r\n")
		}
	}
	switch hasBody := req.Body != nil && req.Body != http.NoBody; {
	case hasBody && req.ContentLength > 0:
		var digits [20]byte
		_, _ = w.WriteString("Content-Length: ")
		_, _ = w.Write(strconv.AppendInt(digits[:0], req.ContentLength, 10))
		_, _ = w.WriteString("\r\n")
	case hasBody:
		_, _ = w.WriteString("Transfer-Encoding: chunked\r\n")
	case req.Method == http.MethodPost || req.Method == http.MethodPut || req.Method == http.MethodPatch:
		_, _ = w.WriteString("Content-Length: 0\r\n") // RFC 9110 §8.6
	}
	_, _ = w.WriteString("\r\n")
	return nil
}

// plain tells whether a target stays on its line and in its place there.
func plain(target string) bool {
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return false
		}
	}
	return target != ""
}

// oneLine tells whether a field's value ends where it should.
func oneLine(value string) bool {
	return strings.IndexByte(value, '\n') < 0 && strings.IndexByte(value, '\r') < 0 && strings.IndexByte(value, 0) < 0
}

// writeBody writes the body, exactly as long as was promised.
func writeBody(w *bufio.Writer, req *http.Request) error {
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if req.GetBody == nil {
		// The API may answer by the header alone, and the caller be slow.
		if err := w.Flush(); err != nil {
			return fmt.Errorf("sending the request: %w", err)
		}
	}
	from := bodyReader{req.Body}
	if req.ContentLength <= 0 {
		return writeChunks(w, from)
	}
	n, err := w.ReadFrom(io.LimitReader(from, req.ContentLength))
	if err != nil {
		return err
	}
	if n < req.ContentLength {
		return &bodyReadError{io.ErrUnexpectedEOF}
	}
	return nil
}

// chunkSize is how much is read before it is sent on.
const chunkSize = 16 << 10

// writeChunks sends each piece of the body on as it comes (RFC 9112 §7.1).
func writeChunks(w *bufio.Writer, from io.Reader) error {
	piece := make([]byte, chunkSize)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			_, _ = w.WriteString(strconv.FormatInt(int64(n), 16))
			_, _ = w.WriteString("\r\n")
			_, _ = w.Write(piece[:n])
			_, _ = w.WriteString("\r\n")
			if err := w.Flush(); err != nil {
				return fmt.Errorf("sending the request body: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			_, _ = w.WriteString("0\r\n\r\n")
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// bodyReader tells errors of the body from those of the connection.
type bodyReader struct{ io.Reader }

func (r bodyReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &bodyReadError{err}
	}
	return n, err
}
