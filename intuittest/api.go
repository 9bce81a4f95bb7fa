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
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// hashing counts and hashes a body as it is read.
type hashing struct {
	io.ReadCloser
	sum  hash.Hash
	n    int64
	done bool
	held *bytes.Reader
}

// hold reads the whole body into memory. net/http only notices that a client
// has gone once the body is read, so this must come before waiting for it.
func (h *hashing) hold() {
	all, err := io.ReadAll(h)
	if err == nil {
		h.held = bytes.NewReader(all)
	}
}

func (h *hashing) Read(p []byte) (int, error) {
	if h.held != nil {
		return h.held.Read(p)
	}
	n, err := h.ReadCloser.Read(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	h.done = h.done || err == io.EOF
	return n, err
}

func (h *hashing) hex() string { return hex.EncodeToString(h.sum.Sum(nil)) }

// call is one API request on its way through.
type call struct {
	r     *http.Request
	body  *hashing
	realm string // in the path; empty if the API has none there
	rest  string // of the path after the realm, or the whole
	token *accessToken
	grant *grant
	tid   string
	rec   *APIRequest
}

var companyPath = regexp.MustCompile(`^/v3/company/([^/]+)(/.*)?$`)

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	l, _ := r.Context().Value(linesKey{}).(wireLines)
	now := s.Now()
	body := &hashing{ReadCloser: r.Body, sum: sha256.New()}
	r.Body = body
	rec := APIRequest{
		Time: now, Method: r.Method, Target: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Lines: l.lines, RawLines: l.raw, Header: r.Header.Clone(), TraceID: traceID(now),
	}
	c := &call{r: r, body: body, rest: r.URL.Path, tid: rec.TraceID, rec: &rec}
	if m := companyPath.FindStringSubmatch(r.URL.Path); m != nil {
		c.realm, c.rest = m[1], m[2]
	}
	s.identify(c)

	// For a fault the company is the one that is addressed, or else the one
	// that the token belongs to.
	realm := c.realm
	if realm == "" {
		realm = rec.TokenRealm
	}
	f := s.takeFault(EndpointAPI, realm)
	rec.Fault = f.kind()
	finish := func(rep reply) {
		rec.BodySHA256, rec.BodyLength, rec.BodyComplete = body.hex(), body.n, body.done
		rec.Status, rec.Code = rep.status, rep.code
		s.mu.Lock()
		s.logAPIRequest(rec)
		s.mu.Unlock()
	}

	if f.kind() == FaultTokenRefusedEarly {
		rep := s.faultReply(r, EndpointAPI, f)
		rep.tid, rep.gzip = c.tid, !s.Behaviour().NoGzip
		finish(rep)
		s.answerEarly(w, r, rep)
		return
	}
	if f != nil || s.Behaviour().Latency > 0 {
		body.hold()
	}
	if !s.before(r, f) {
		finish(reply{})
		panic(http.ErrAbortHandler)
	}
	var rep reply
	if !f.processes() {
		rep = s.faultReply(r, EndpointAPI, f)
	} else if refusal := s.checkToken(c); refusal != nil {
		// Checked only now: the token may have died while the request waited.
		rep = *refusal
	} else {
		rep = s.dispatch(c)
	}
	_, _ = io.Copy(io.Discard, body)
	b := s.Behaviour()
	rep.tid = c.tid
	rep.gzip = !b.NoGzip
	rep.chunked = !b.FixedLength && f.kind() != FaultTruncated
	if rep.header == nil {
		rep.header = http.Header{}
	}
	rep.header.Set("Cache-Control", "max-age=0, no-cache, no-store, must-revalidate, private")
	rep.header.Set("Via", "1.1 ipp-gateway-intuittest")
	rep.header.Set("Qbo-Version", "1.0-intuittest")
	finish(rep)
	s.deliver(w, r, f, rep, nil)
}

// answerEarly answers before the request's body is read, then reads it: a
// client that sends all before it listens must find the answer.
func (s *Server) answerEarly(w http.ResponseWriter, r *http.Request, rep reply) {
	rc := http.NewResponseController(w)
	// Without it net/http reads the body before it sends the answer. HTTP/2
	// needs and knows no such thing.
	_ = rc.EnableFullDuplex()
	body := s.head(w, r, &rep)
	w.WriteHeader(rep.status)
	_, _ = w.Write(body)
	_ = rc.Flush()
	_, _ = io.Copy(io.Discard, r.Body)
}

// identify finds out which access token a request has, however dead it is.
func (s *Server) identify(c *call) {
	lines := c.r.Header["Authorization"]
	if len(lines) != 1 {
		return
	}
	scheme, value, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.token = s.access[strings.TrimSpace(value)]; c.token != nil {
		c.rec.TokenRealm, c.rec.TokenID = c.token.grant.realm, c.token.id
	}
}

// checkToken returns the answer for a request whose token is no good; nil if
// it is good, and then the call has its grant.
func (s *Server) checkToken(c *call) *reply {
	a := c.token
	s.mu.Lock()
	now, b := s.now(), s.behaviour
	ok := a != nil && a.valid(now, b.EarlyExpiry)
	throttle := ok && b.EnforceLimits && s.limited(a.grant, c, now)
	s.mu.Unlock()

	var rep reply
	switch {
	case !ok && c.rest == "/graphql":
		rep = graphqlRefused()
	case a == nil:
		rep = s.tokenRefused(c.r, "Malformed bearer token: too short or too long", "")
	case !ok:
		rep = s.tokenRefused(c.r, "Token expired", a.id)
	case b.WrongEnvironment:
		rep = s.forbidden(c.r, "")
	case c.realm != "" && c.realm != a.grant.realm:
		rep = serviceFault(now, 100)
	case throttle:
		rep = s.throttled(c.r)
	case c.realm != "" && !hasScope(a.grant.scope, ScopeAccounting),
		strings.HasPrefix(c.rest, "/quickbooks/v4/payments/") && !hasScope(a.grant.scope, ScopePayment):
		rep = s.forbidden(c.r, "The access token does not have sufficient scope")
	default:
		c.grant = a.grant
		return nil
	}
	return &rep
}

// window counts requests in a span of time.
type window struct {
	start time.Time
	n     int
}

// limited counts a request and tells whether it is over a limit (Intuit,
// "Limits and throttles"). The caller holds s.mu.
func (s *Server) limited(g *grant, c *call, now time.Time) bool {
	over := func(key string, span time.Duration, most int) bool {
		w := s.limits[key]
		if w == nil || now.Sub(w.start) >= span {
			w = &window{start: now}
			s.limits[key] = w
		}
		w.n++
		return w.n > most
	}
	limited := over("minute "+g.realm, time.Minute, 500)
	limited = over("second "+g.realm+" "+g.clientID, time.Second, 10) || limited
	if strings.EqualFold(c.rest, "/batch") {
		limited = over("batch "+g.realm+" "+g.clientID, time.Minute, 40) || limited
	}
	return limited
}

// dispatch does what a request with a good token asks for.
func (s *Server) dispatch(c *call) reply {
	switch {
	case c.realm != "":
		return s.accounting(c)
	case c.rest == "/graphql":
		return s.graphql(c)
	case strings.HasPrefix(c.rest, "/quickbooks/v4/payments/"):
		return s.payments(c)
	default:
		return s.userInfo(c)
	}
}

func (s *Server) userInfo(c *call) reply {
	return reply{status: http.StatusOK, ctype: jsonType, data: map[string]any{
		"sub": subject(c.grant.realm), "email": "user@example.com", "emailVerified": true,
		"givenName": "Test", "familyName": "User", "phoneNumber": "+1 5555550100", "phoneNumberVerified": false,
	}}
}

// graphql answers every query with the company and the query itself.
func (s *Server) graphql(c *call) reply {
	body, err := io.ReadAll(io.LimitReader(c.body, maxEntity))
	in, parseErr := parseJSON(body)
	if err != nil || parseErr != nil {
		return reply{status: http.StatusBadRequest, ctype: jsonType, data: map[string]any{"errors": []any{map[string]any{"message": "the body is not JSON"}}}}
	}
	if !hasScope(c.grant.scope, ScopeAccounting) {
		return reply{status: http.StatusOK, ctype: jsonType, data: map[string]any{"data": nil, "errors": []any{map[string]any{
			"message":    "Authorization error is detected for this request. Do you have sufficient scope?",
			"extensions": map[string]any{"code": "AHZ-0010"},
		}}}}
	}
	return reply{status: http.StatusOK, ctype: jsonType, data: map[string]any{
		"data": map[string]any{"company": map[string]any{"id": c.grant.realm}, "query": in["query"]},
	}}
}

// payments stores nothing: a charge is answered as captured and counts as a
// create.
func (s *Server) payments(c *call) reply {
	kind := strings.Trim(strings.TrimPrefix(c.rest, "/quickbooks/v4/payments/"), "/")
	if c.r.Method != http.MethodPost {
		return reply{status: http.StatusOK, ctype: jsonType, data: map[string]any{"resource": kind, "status": "CAPTURED"}}
	}
	body, err := io.ReadAll(io.LimitReader(c.body, maxEntity))
	in, parseErr := parseJSON(body)
	if err != nil || parseErr != nil {
		return reply{status: http.StatusBadRequest, ctype: jsonType, data: map[string]any{"errors": []any{
			map[string]any{"code": "PMT-4000", "type": "invalid_request", "message": "The body is not JSON."},
		}}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	co := s.companies[c.grant.realm]
	id, repeated := co.requestIDs["payments "+kind+" "+c.r.Header.Get("Request-Id")]
	if !repeated || c.r.Header.Get("Request-Id") == "" {
		repeated = false
		id = "E" + strconv.Itoa(co.nextID())
		co.requestIDs["payments "+kind+" "+c.r.Header.Get("Request-Id")] = id
	}
	s.logCreate(Create{
		Realm: c.grant.realm, Entity: "payments/" + kind, ID: id, RequestID: c.r.Header.Get("Request-Id"),
		BodySHA256: c.body.hex(), Repeated: repeated,
	})
	in["id"], in["status"], in["created"] = id, "CAPTURED", s.now().UTC().Format(time.RFC3339)
	return reply{status: http.StatusCreated, ctype: jsonType, data: in}
}
