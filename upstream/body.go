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
	"context"
	"errors"
	"io"
	"net/http"
)

// body is that of an answer. When it has been read to its end, and all was as
// it should be, the connection can be used again.
type body struct {
	*conn
	from io.ReadCloser
	ctx  context.Context
	stop func() bool
	// beside gets the error of writing the request, if that goes on meanwhile.
	beside <-chan error
	// last tells that the API wants no other request on the connection.
	last bool
	// err is what Read has come to, nil while the connection is held.
	err error
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if err != nil {
		if !errors.Is(err, io.EOF) && b.ctx.Err() != nil {
			err = b.ctx.Err()
		}
		b.end(err)
	}
	return n, err
}

// Close implements io.Closer. A body that was not read to its end costs the
// connection: what is left of it may be long.
func (b *body) Close() error {
	if b.err == nil {
		b.end(http.ErrBodyReadAfterClose)
	}
	return nil
}

// end lets go of the connection.
func (b *body) end(err error) {
	b.err = err
	// In this order: after stop has succeeded nothing can be aborted any more.
	if !b.stop() || !errors.Is(err, io.EOF) || b.last || !b.sent() || b.br.Buffered() > 0 {
		b.close()
		return
	}
	b.transport.pool.put(b.conn)
}

// sent tells whether the request was written, all of it and by now.
func (b *body) sent() bool {
	if b.beside == nil {
		return true
	}
	select {
	case err := <-b.beside:
		return err == nil
	default:
		return false
	}
}
