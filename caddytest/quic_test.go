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
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
)

// withH3 gives the first site an address for HTTP/3 beside its own.
func withH3(s *system) {
	s.quic = freeAddress(s.t)
	// Go's own certificate for tests.
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.Dir, "pair.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.More = "https://" + s.quic + " {\n\tbind 127.0.0.1\n\ttls " + path + " " + path + "\n\tfreshbearer quickbooks\n}\n"
	s.Globals = append(s.Globals, "servers {", "\tprotocols h1 h2 h3", "}")
}

// The frame types of RFC 9114 §7.2, and the stream type of §6.2.1.
const (
	h3Data     = 0x0
	h3Headers  = 0x1
	h3Settings = 0x4
	h3Control  = 0x0
)

// quicFrames is frames over HTTP/3.
func (s *system) quicFrames(fields [][2]string, body string) int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.quic, &tls.Config{NextProtos: []string{"h3"}, InsecureSkipVerify: true}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	control, err := conn.OpenUniStream()
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := control.Write(append(quicvarint.Append(nil, h3Control), frame(h3Settings, nil)...)); err != nil {
		s.t.Fatal(err)
	}
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for _, f := range fields {
		if err := encoder.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			s.t.Fatal(err)
		}
	}
	out := frame(h3Headers, block.Bytes())
	if body != "" {
		out = append(out, frame(h3Data, []byte(body))...)
	}
	// An error means that the server has closed the stream, which the answer,
	// or its lack, will tell.
	_, _ = stream.Write(out)
	_ = stream.Close()
	_ = stream.SetReadDeadline(time.Now().Add(30 * time.Second))
	in := quicvarint.NewReader(stream)
	for {
		kind, err := quicvarint.Read(in)
		if err != nil {
			return 0
		}
		length, err := quicvarint.Read(in)
		if err != nil {
			return 0
		}
		payload, err := io.ReadAll(io.LimitReader(in, int64(length)))
		if err != nil {
			return 0
		}
		if kind != h3Headers {
			continue
		}
		next := qpack.NewDecoder().Decode(payload)
		for {
			field, err := next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				s.t.Fatal(err)
			}
			if field.Name != ":status" {
				continue
			}
			if status, err := strconv.Atoi(field.Value); err == nil && status >= http.StatusOK {
				return status
			}
		}
	}
}

func frame(kind uint64, payload []byte) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload))), payload...)
}
