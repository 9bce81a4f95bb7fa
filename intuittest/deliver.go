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

package intuittest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reply is an answer before it is sent.
type reply struct {
	status int
	ctype  string
	header http.Header
	body   []byte
	data   map[string]any // rendered as JSON if body is nil
	code   string         // Intuit's error code, for observation
	tid    string         // intuit_tid; made if empty
	gzip   bool
	// chunked sends the body in chunks, as Intuit's API does.
	chunked bool
}

func traceID(now time.Time) string {
	var raw [12]byte
	_, _ = rand.Read(raw[:])
	return fmt.Sprintf("1-%08x-%x", uint32(now.Unix()), raw)
}

// before lets pass what must pass before a request is processed. It returns
// false if the client gave up or the server was closed meanwhile: then the
// request must not be processed.
func (s *Server) before(r *http.Request, f *Fault) bool {
	ctx := r.Context()
	wait := s.Behaviour().Latency
	switch {
	case f == nil:
	case f.gate != nil:
		close(f.gate.arrived)
		select {
		case <-f.gate.release:
		case <-ctx.Done():
			return false
		case <-s.closed:
			return false
		}
	case f.Kind == FaultHang:
		s.hang(ctx)
		return false
	case f.Kind == FaultDelay:
		wait += or(f.Delay, 5*time.Second)
	case f.Kind == FaultDrip || f.Kind == FaultDelayAfter:
	default:
		wait += f.Delay
	}
	return s.wait(ctx, wait)
}

// wait lets real time pass; false if the client gave up or the server was
// closed.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return !gone(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-s.closed:
	}
	return false
}

func (s *Server) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.closed:
	}
}

// deliver sends the answer, or what the fault makes of it. Ready is called
// when the first byte is about to leave: what the client does after that must
// find the request ended.
func (s *Server) deliver(w http.ResponseWriter, r *http.Request, f *Fault, rep reply, ready func()) {
	if ready == nil {
		ready = func() {}
	}
	kind := f.kind()
	switch kind {
	case FaultReset, FaultResetAfter:
		ready()
		reset(w)
		return
	case FaultHangAfter:
		s.hang(r.Context())
		ready()
		panic(http.ErrAbortHandler)
	case FaultDelayAfter:
		if !s.wait(r.Context(), or(f.Delay, 5*time.Second)) {
			ready()
			panic(http.ErrAbortHandler)
		}
	case FaultStatusAfter:
		after := *f
		after.Kind = FaultStatus
		if after.Status == 0 {
			after.Kind = FaultGatewayTimeout
		}
		tid := rep.tid
		rep = s.faultReply(r, "", &after)
		rep.tid = tid
	}
	body := s.head(w, r, &rep)
	ready()
	w.WriteHeader(rep.status)
	flush := http.NewResponseController(w).Flush
	switch kind {
	case FaultTruncated, FaultTruncatedAfter:
		_, _ = w.Write(body[:len(body)/2])
		_ = flush()
		panic(http.ErrAbortHandler)
	case FaultDrip:
		for i := range body {
			_, err := w.Write(body[i : i+1])
			if err != nil || flush() != nil || !s.wait(r.Context(), or(f.Delay, 50*time.Millisecond)) {
				panic(http.ErrAbortHandler)
			}
		}
	default:
		if rep.chunked {
			// net/http counts a short body itself unless it must send early.
			_ = flush()
		}
		_, _ = w.Write(body)
	}
}

// head sets the header fields and returns the body as it goes on the wire.
func (s *Server) head(w http.ResponseWriter, r *http.Request, rep *reply) []byte {
	now := s.Now()
	h := w.Header()
	// The simulated clock decides what a client sees of time.
	h.Set("Date", now.UTC().Format(http.TimeFormat))
	tid := rep.tid
	if tid == "" {
		tid = traceID(now)
	}
	// Intuit writes this name in lower case.
	h["intuit_tid"] = []string{tid}
	h.Set("X-Content-Type-Options", "nosniff")
	for name, values := range rep.header {
		h[name] = values
	}
	body := rep.body
	if body == nil && rep.data != nil {
		body = encode(rep.data)
	}
	if rep.ctype != "" {
		h.Set("Content-Type", rep.ctype)
	} else {
		h["Content-Type"] = nil // keeps net/http from guessing
	}
	if rep.gzip {
		h.Add("Vary", "Accept-Encoding")
		if len(body) > 0 && acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			body = compress(body)
		}
	}
	if !rep.chunked || len(body) == 0 {
		rep.chunked = false
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return body
}

func encode(data any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(data); err != nil {
		return []byte(`{"Fault":{"Error":[{"Message":"the simulated answer cannot be encoded","code":"500"}]}}`)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header["Accept-Encoding"] {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), "gzip") && strings.ReplaceAll(params, " ", "") != "q=0" {
				return true
			}
		}
	}
	return false
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}
