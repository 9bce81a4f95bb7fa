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

package provider_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
)

func TestRedirectsAreNotFollowed(t *testing.T) {
	var sunk atomic.Int64
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sunk.Add(1) }))
	defer sink.Close()
	for _, status := range []int{300, 301, 302, 303, 304, 307, 308} {
		for _, location := range []string{sink.URL + "/token", "/token", "://", ""} {
			var requests atomic.Int64
			client := newClient(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				answer(status, "", map[string]string{"Location": location})(w, r)
			})
			_, err := refresh(t, client)
			if failure := tokenError(t, err); failure.Outcome != provider.OutcomeTransient || failure.Status != status {
				t.Errorf("refresh, %d to %q: %v", status, location, err)
			}
			if err := client.Revoke(t.Context(), secret.New(sentRefresh)); err == nil || errors.Is(err, provider.ErrAlreadyRevoked) {
				t.Errorf("revoke, %d to %q: %v", status, location, err)
			}
			if _, err := client.Account(t.Context(), secret.New(newAccess), "1"); err == nil || errors.Is(err, provider.ErrAccountMismatch) {
				t.Errorf("account, %d to %q: %v", status, location, err)
			}
			if n := requests.Load(); n != 3 {
				t.Errorf("%d to %q: %d requests, want 3", status, location, n)
			}
		}
	}
	if n := sunk.Load(); n != 0 {
		t.Errorf("%d requests were redirected", n)
	}
}

func TestAnswersAreLimited(t *testing.T) {
	full := goodAnswer()
	exact := full + strings.Repeat(" ", 64<<10-len(full))
	if _, err := refresh(t, newClient(t, answer(200, exact, nil))); err != nil {
		t.Errorf("64 KiB: %v", err)
	}
	for _, status := range []int{200, 400} {
		_, err := refresh(t, newClient(t, answer(status, exact+" ", nil)))
		if failure := tokenError(t, err); failure.Outcome != provider.OutcomeUnknown || failure.Status != status {
			t.Errorf("64 KiB and a byte, status %d: %v", status, err)
		}
	}
	var sent atomic.Int64
	_, err := refresh(t, newClient(t, func(w http.ResponseWriter, r *http.Request) {
		block := bytes.Repeat([]byte(" "), 64<<10)
		for r.Context().Err() == nil {
			n, err := w.Write(block)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	if tokenError(t, err).Outcome != provider.OutcomeUnknown {
		t.Errorf("endless: %v", err)
	}
	_, err = refresh(t, newClient(t, answer(200, full, map[string]string{"X-Large": strings.Repeat("x", 80<<10)})))
	if tokenError(t, err).Outcome != provider.OutcomeUnknown {
		t.Errorf("endless header: %v", err)
	}
}

func TestGzipIsNotDecoded(t *testing.T) {
	var bomb bytes.Buffer
	writer := gzip.NewWriter(&bomb)
	_, _ = writer.Write([]byte(goodAnswer()))
	_, _ = writer.Write(bytes.Repeat([]byte(" "), 8<<20))
	if err := writer.Close(); err != nil || bomb.Len() > 64<<10 {
		t.Fatal(err, bomb.Len())
	}
	for _, coding := range []string{"gzip", ""} {
		client := newClient(t, answer(200, bomb.String(), map[string]string{"Content-Encoding": coding}))
		if _, err := refresh(t, client); tokenError(t, err).Outcome != provider.OutcomeUnknown {
			t.Errorf("%q: %v", coding, err)
		}
		// A transport that decodes by itself is told not to.
		client.HTTP = &http.Transport{DisableKeepAlives: true}
		if _, err := refresh(t, client); tokenError(t, err).Outcome != provider.OutcomeUnknown {
			t.Errorf("%q through another transport: %v", coding, err)
		}
	}
}

func TestSlowAnswers(t *testing.T) {
	drip := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(time.Millisecond)
		}
	}
	hang := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}
	for name, handler := range map[string]http.HandlerFunc{"drip": drip, "hang": hang} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := newClient(t, handler).Refresh(ctx, secret.New(sentRefresh))
		if tokenError(t, err).Outcome != provider.OutcomeUnknown || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rawServer answers each connection's first request with raw bytes, then
// closes the connection.
func rawServer(t *testing.T, reply string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 8192)
				var request []byte
				for !bytes.Contains(request, []byte(sentRefresh)) {
					n, err := conn.Read(buffer)
					if err != nil {
						return
					}
					request = append(request, buffer[:n]...)
				}
				_, _ = io.WriteString(conn, reply)
			}()
		}
	}()
	return "http://" + listener.Addr().String()
}

func TestBrokenAnswers(t *testing.T) {
	body := goodAnswer()
	length := strconv.Itoa(len(body))
	for name, reply := range map[string]string{
		"nothing":             "",
		"half a status line":  "HTTP/1.1 20",
		"not HTTP":            "SSH-2.0-OpenSSH_9.6\r\n",
		"status that is none": "HTTP/1.1 " + sentRefresh + " OK\r\n\r\n",
		"broken header":       "HTTP/1.1 200 OK\r\n" + sentRefresh + "\r\n\r\n",
		"cut body":            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + length + "\r\n\r\n" + body[:len(body)-1],
		"cut chunk":           "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
		"broken chunk":        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + sentRefresh + "\r\n",
		"cut without length":  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body[:len(body)-1],
		"cut 400":             "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"error\":\"invalid_grant\"}",
		"switch of protocols": "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
	} {
		_, err := refresh(t, clientOf(t, rawServer(t, reply)))
		if tokenError(t, err).Outcome != provider.OutcomeUnknown {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), sentRefresh) {
			t.Errorf("%s: the text holds the token: %v", name, err)
		}
	}
}

func TestNotWritten(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	_, err = refresh(t, clientOf(t, "http://"+closed))
	failure := tokenError(t, err)
	if failure.Outcome != provider.OutcomeTransient || failure.Status != 0 || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	if !strings.Contains(err.Error(), closed) {
		t.Errorf("the text does not name the address: %v", err)
	}

	var handled atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled.Add(1) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	server.StartTLS()
	defer server.Close()
	_, err = refresh(t, clientOf(t, server.URL))
	if tokenError(t, err).Outcome != provider.OutcomeTransient {
		t.Errorf("TLS 1.1: %v", err)
	}
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { handled.Add(1) }))
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	defer stranger.Close()
	_, err = refresh(t, clientOf(t, stranger.URL))
	if tokenError(t, err).Outcome != provider.OutcomeTransient {
		t.Errorf("unknown authority: %v", err)
	}
	if handled.Load() != 0 {
		t.Error("a request was sent")
	}

	const password = "pass-word-0123456789"
	client := clientOf(t, "http://user:"+password+"@does-not-exist.invalid")
	client.Endpoints.TokenURL += "?key=" + password
	_, err = refresh(t, client)
	if tokenError(t, err).Outcome != provider.OutcomeTransient || strings.Contains(err.Error(), password) ||
		!strings.Contains(err.Error(), "does-not-exist.invalid") {
		t.Errorf("unknown host: %v", err)
	}
}

// TestWriteFailed breaks the connection while the request is being written.
// net/http tells of it only if the request is longer than its buffer.
func TestWriteFailed(t *testing.T) {
	transport := provider.NewTransport()
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) { return brokenConn{}, nil }
	client := clientOf(t, "http://token.example")
	client.HTTP = transport
	for length, want := range map[int]provider.Outcome{
		10:   provider.OutcomeUnknown,
		8192: provider.OutcomeTransient,
	} {
		_, err := client.Refresh(t.Context(), secret.New(strings.Repeat("r", length)))
		if failure := tokenError(t, err); failure.Outcome != want || !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

// brokenConn accepts no byte, and its other direction hangs.
type brokenConn struct{ net.Conn }

func (brokenConn) Read([]byte) (int, error) {
	time.Sleep(time.Second)
	return 0, io.EOF
}
func (brokenConn) Write([]byte) (int, error) { return 0, syscall.EPIPE }
func (brokenConn) Close() error              { return nil }

func TestIdleConnectionThatDied(t *testing.T) {
	var connections, requests atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer(200, goodAnswer(), nil)(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	client := clientOf(t, server.URL)
	for range 3 {
		if _, err := refresh(t, client); err != nil {
			t.Fatal(err)
		}
		server.CloseClientConnections()
		time.Sleep(20 * time.Millisecond)
	}
	if connections.Load() != 3 || requests.Load() != 3 {
		t.Errorf("%d connections, %d requests, want 3 and 3", connections.Load(), requests.Load())
	}
}

func TestNewTransport(t *testing.T) {
	transport := provider.NewTransport()
	if transport.Proxy != nil {
		t.Error("there is a proxy")
	}
	if transport.TLSClientConfig.MinVersion != tls.VersionTLS12 || transport.TLSClientConfig.InsecureSkipVerify {
		t.Error("TLS is weak")
	}
	if !transport.DisableCompression || transport.MaxIdleConns == 0 || transport.IdleConnTimeout == 0 ||
		transport.TLSHandshakeTimeout == 0 || transport.ResponseHeaderTimeout == 0 || transport.MaxResponseHeaderBytes == 0 {
		t.Error("something has no bounds")
	}
}
