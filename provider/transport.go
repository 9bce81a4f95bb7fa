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

package provider

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// requestTimeout is the limit of a whole request, the body of its answer
	// included.
	requestTimeout = 60 * time.Second
	// maxAnswer is the most that an answer may hold, in bytes.
	maxAnswer = 64 << 10
	// maxRetryAfter is the longest pause a provider can ask for.
	maxRetryAfter = time.Hour
)

var errTooLong = errors.New("the answer is longer than 64 KiB")

// NewTransport makes the transport for token endpoints: TLS 1.2 or newer, no
// proxy from the environment, no transparent decompression, bounded in time,
// header size and idle connections. named are the hosts that the operator has
// named: see Dialer.
//
// It speaks HTTP/1.1 only. A connection then carries one request at a time,
// and its failure is a statement about this request.
func NewTransport(named ...string) *http.Transport {
	dialer := &Dialer{Dialer: net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}, Named: named}
	return &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  requestTimeout,
		MaxResponseHeaderBytes: maxAnswer,
		DisableCompression:     true,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    16,
		// Short, because a POST on a connection that the server closes at the
		// same moment has an unknown outcome.
		IdleConnTimeout: 30 * time.Second,
	}
}

// sharedTransports outlive every config, and with them the connections: one
// for each list of named hosts, so that no connection serves who may not dial
// it.
var sharedTransports sync.Map // string to *http.Transport

func sharedTransport(named []string) *http.Transport {
	key := strings.Join(named, " ")
	v, ok := sharedTransports.Load(key)
	if !ok {
		v, _ = sharedTransports.LoadOrStore(key, NewTransport(named...))
	}
	return v.(*http.Transport)
}

// carrier carries one request and keeps what became of it. It never follows a
// redirect.
type carrier struct {
	base   http.RoundTripper
	header http.Header
	now    func() time.Time

	progress atomic.Int32
	answer   *answer
	err      error
}

// How far a request has come, in carrier.progress. net/http calls a request
// written when the last of it is in its buffer: the error is on the safe side.
const (
	// atHome: no connection holds it, or writing it failed. A request whose
	// last byte was not written is incomplete and cannot be acted on
	// (RFC 9112 §8).
	atHome int32 = iota
	// onConnection: it is being written, and may be whole before we learn it.
	onConnection
	written
)

// answer is a read HTTP answer.
type answer struct {
	status     int
	header     http.Header
	body       []byte
	receivedAt time.Time
	// tls is the connection's state, nil without TLS.
	tls *tls.ConnectionState
	// err says why body is not whole; body is then nil.
	err error
}

// RoundTrip implements http.RoundTripper. If it returns an error, so that no
// answer exists or its body is not whole, c.answer and c.err tell which.
func (c *carrier) RoundTrip(original *http.Request) (*http.Response, error) {
	trace := &httptrace.ClientTrace{
		// net/http takes a second connection only if nothing at all was
		// written on the first, or never again.
		GetConn: func(string) { c.progress.CompareAndSwap(onConnection, atHome) },
		GotConn: func(httptrace.GotConnInfo) { c.progress.CompareAndSwap(atHome, onConnection) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				c.progress.Store(written)
				return
			}
			c.progress.CompareAndSwap(onConnection, atHome)
		},
	}
	request := original.Clone(httptrace.WithClientTrace(original.Context(), trace))
	for name, values := range c.header {
		request.Header[http.CanonicalHeaderKey(name)] = values
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "freshbearer")

	response, err := c.base.RoundTrip(request)
	if err != nil {
		c.err = err
		return nil, err
	}
	defer response.Body.Close()
	c.answer = &answer{status: response.StatusCode, header: response.Header, receivedAt: c.now(), tls: response.TLS}
	c.answer.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case err != nil:
		c.answer.err = &transportError{
			text: "the answer broke off",
			is:   func(target error) bool { return errors.Is(err, target) },
		}
	case len(c.answer.body) > maxAnswer:
		c.answer.err = errTooLong
	}
	if c.answer.err != nil {
		c.answer.body = nil
		return nil, c.answer.err
	}
	response.Body = io.NopCloser(bytes.NewReader(c.answer.body))
	return response, nil
}

// maybeWritten tells whether the server may have received the whole request.
func (c *carrier) maybeWritten() bool { return c.progress.Load() != atHome }

// skew is how far the server's clock is ahead of ours; zero if it did not say.
func (a *answer) skew() time.Duration {
	date, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return 0
	}
	return date.Sub(a.receivedAt)
}

// retryAfter reads Retry-After, seconds or a date (RFC 9110 §10.2.3), and
// limits it to 0 to 1 hour. A date counts from the answer's own Date, so that
// a wrong clock on either side does not matter.
func (a *answer) retryAfter() (wait time.Duration, given bool) {
	field := strings.TrimSpace(a.header.Get("Retry-After"))
	if field == "" {
		return 0, false
	}
	if strings.Trim(field, "0123456789") == "" {
		seconds, err := strconv.ParseInt(field, 10, 32)
		if err != nil {
			return maxRetryAfter, true
		}
		return min(time.Duration(seconds)*time.Second, maxRetryAfter), true
	}
	until, err := http.ParseTime(field)
	if err != nil {
		return 0, false
	}
	return min(max(until.Sub(a.receivedAt)-a.skew(), 0), maxRetryAfter), true
}
