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
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Counters count what happened since the start or the last ResetCounters.
type Counters struct {
	// TokenRequests counts by "grant_type outcome", for instance
	// "refresh_token ok" or "authorization_code invalid_grant"; see
	// TokenRequest.Outcome.
	TokenRequests map[string]int `json:"token_requests"`
	// Refreshes are all refresh requests, RefreshesOK those answered with a
	// token (even if a fault lost the answer), Rotations those that gave a new
	// refresh token value.
	Refreshes   int `json:"refreshes"`
	RefreshesOK int `json:"refreshes_ok"`
	Rotations   int `json:"rotations"`
	// MostRefreshes is how many refresh requests were under way at once at
	// most, over all companies.
	MostRefreshes int `json:"most_refreshes"`
	// OverlappingRefreshes are refresh requests that came while another one
	// with the same value was under way, and its client had not given up.
	OverlappingRefreshes int `json:"overlapping_refreshes"`
	// MaxConcurrentRefreshes is, by realm, how many refresh requests were
	// under way at once at most.
	MaxConcurrentRefreshes map[string]int `json:"max_concurrent_refreshes"`
	// SupersededReuses are refreshes with a value that had been replaced.
	SupersededReuses int `json:"superseded_reuses"`
	CodeExchanges    int `json:"code_exchanges"`
	CodeExchangesOK  int `json:"code_exchanges_ok"`
	CodeReuses       int `json:"code_reuses"`
	// Authorizations are requests to the authorize endpoint; Revocations are
	// successful ones.
	Authorizations     int `json:"authorizations"`
	Revocations        int `json:"revocations"`
	StatusPageRequests int `json:"status_page_requests"`
	// APIStatus counts API answers by status; 0 is no answer.
	APIRequests int         `json:"api_requests"`
	APIStatus   map[int]int `json:"api_status"`
	// DuplicateAuthorization are API requests with more than one Authorization
	// line.
	DuplicateAuthorization int `json:"duplicate_authorization"`
	// Creates are executed creates; RepeatedCreates were answered from an
	// earlier one with the same request id, without executing.
	Creates         int `json:"creates"`
	RepeatedCreates int `json:"repeated_creates"`
}

// TokenRequest is one request to the token endpoint.
type TokenRequest struct {
	Seq       int       `json:"seq"`
	Time      time.Time `json:"time"`
	GrantType string    `json:"grant_type"`
	ClientID  string    `json:"client_id"`
	// Realm is the company of the code or refresh token; empty if unknown.
	Realm string `json:"realm"`
	// RefreshToken is the value that was sent.
	RefreshToken string `json:"refresh_token,omitempty"`
	// Outcome is "ok", an OAuth error code, or for a request that was never
	// processed "fault:" and the fault's kind, or "abandoned" if its client
	// gave up.
	Outcome string `json:"outcome"`
	// Status is that of the answer before any fault spoilt it.
	Status      int  `json:"status"`
	Rotated     bool `json:"rotated"`
	Overlapping bool `json:"overlapping"`
	Superseded  bool `json:"superseded"`
	// Fault is the fault that was applied, if any.
	Fault FaultKind `json:"fault,omitempty"`
	// Lines are the header lines; see APIRequest.
	Lines []string `json:"lines"`
}

// APIRequest is one request to the API. It holds real header lines, bearer
// included: nothing here is worth protecting.
type APIRequest struct {
	Seq    int       `json:"seq"`
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	// Target is the request target as it came on the wire.
	Target string `json:"target"`
	Proto  string `json:"proto"`
	Host   string `json:"host"`
	// Lines are the header lines, "Name: value". If RawLines, they are as they
	// came: order, case and repetition. Else (HTTP/2, TLS, a Handler in another
	// server) they are sorted and in canonical case.
	Lines    []string    `json:"lines"`
	RawLines bool        `json:"raw_lines"`
	Header   http.Header `json:"header"`
	// BodySHA256 (hex) and BodyLength are of what arrived; BodyComplete tells
	// whether it arrived whole.
	BodySHA256   string `json:"body_sha256"`
	BodyLength   int64  `json:"body_length"`
	BodyComplete bool   `json:"body_complete"`
	// TokenRealm is the company that the bearer belongs to, empty if the
	// bearer is unknown; TokenID is the id that a 401 would name.
	TokenRealm string `json:"token_realm"`
	TokenID    string `json:"token_id"`
	// Status is that of the answer before any fault spoilt it, 0 for none.
	Status int `json:"status"`
	// Code is the Intuit error code of the answer, if there is one.
	Code    string    `json:"code,omitempty"`
	TraceID string    `json:"intuit_tid"`
	Fault   FaultKind `json:"fault,omitempty"`
}

// Create is one request that created something. Two with Repeated false and
// the same Realm, Entity and RequestID or DocNumber are one write executed
// twice; see Server.ExecutedTwice.
type Create struct {
	Seq        int       `json:"seq"`
	Time       time.Time `json:"time"`
	Realm      string    `json:"realm"`
	Entity     string    `json:"entity"`
	ID         string    `json:"id"`
	DocNumber  string    `json:"doc_number,omitempty"`
	RequestID  string    `json:"request_id,omitempty"`
	BodySHA256 string    `json:"body_sha256,omitempty"`
	// Repeated is true for one that was answered like an earlier one with the
	// same requestid, without executing (Intuit, "REST API features").
	Repeated bool `json:"repeated"`
}

// Event is one line of the event log: what changed, in the order it changed.
type Event struct {
	Seq  int       `json:"seq"`
	Time time.Time `json:"time"`
	// Kind is one of: authorize, code, issue, rotate, refused, overlap,
	// superseded, family_revoked, revoke, kill, access_revoked, api, create,
	// fault, incident_open, incident_closed.
	Kind   string `json:"kind"`
	Realm  string `json:"realm,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// ring keeps the newest values.
type ring[T any] struct {
	keep  int
	start int
	items []T
}

func (r *ring[T]) add(v T) {
	if len(r.items) < r.keep {
		r.items = append(r.items, v)
		return
	}
	r.items[r.start] = v
	r.start = (r.start + 1) % r.keep
}

func (r *ring[T]) all() []T {
	all := make([]T, 0, len(r.items))
	all = append(all, r.items[r.start:]...)
	return append(all, r.items[:r.start]...)
}

type observations struct {
	seq      int
	counters Counters
	tokens   ring[TokenRequest]
	api      ring[APIRequest]
	creates  ring[Create]
	events   ring[Event]
}

func (o *observations) init(keep int) {
	*o = observations{
		counters: Counters{
			TokenRequests:          map[string]int{},
			MaxConcurrentRefreshes: map[string]int{},
			APIStatus:              map[int]int{},
		},
		tokens:  ring[TokenRequest]{keep: keep},
		api:     ring[APIRequest]{keep: keep},
		creates: ring[Create]{keep: keep},
		events:  ring[Event]{keep: keep},
	}
}

// event adds to the log. The caller holds s.mu, as for all below.
func (s *Server) event(kind, realm, detail string) {
	s.log.seq++
	s.log.events.add(Event{Seq: s.log.seq, Time: s.now(), Kind: kind, Realm: realm, Detail: detail})
}

func (s *Server) logTokenRequest(t TokenRequest) {
	s.log.seq++
	t.Seq = s.log.seq
	c := &s.log.counters
	name := t.GrantType
	if name == "" {
		name = "-"
	}
	c.TokenRequests[name+" "+t.Outcome]++
	ok := t.Outcome == "ok"
	switch t.GrantType {
	case "refresh_token":
		c.Refreshes++
		if ok {
			c.RefreshesOK++
		}
	case "authorization_code":
		c.CodeExchanges++
		if ok {
			c.CodeExchangesOK++
		}
	}
	if t.Rotated {
		c.Rotations++
	}
	if t.Superseded {
		c.SupersededReuses++
	}
	s.log.tokens.add(t)
	if !ok {
		s.event("refused", t.Realm, t.Outcome)
	}
}

func (s *Server) logAPIRequest(a APIRequest) {
	s.log.seq++
	a.Seq = s.log.seq
	s.log.counters.APIRequests++
	s.log.counters.APIStatus[a.Status]++
	if len(a.Header["Authorization"]) > 1 {
		s.log.counters.DuplicateAuthorization++
	}
	s.log.api.add(a)
	s.event("api", a.TokenRealm, a.Method+" "+a.Target+" "+strconv.Itoa(a.Status))
}

func (s *Server) logCreate(c Create) {
	s.log.seq++
	c.Seq, c.Time = s.log.seq, s.now()
	if c.Repeated {
		s.log.counters.RepeatedCreates++
	} else {
		s.log.counters.Creates++
	}
	s.log.creates.add(c)
	s.event("create", c.Realm, c.Entity+" "+c.ID)
}

// Counters returns the counters.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.log.counters
	c.TokenRequests = maps.Clone(c.TokenRequests)
	c.MaxConcurrentRefreshes = maps.Clone(c.MaxConcurrentRefreshes)
	c.APIStatus = maps.Clone(c.APIStatus)
	return c
}

// MaxConcurrentRefreshes is how many refresh requests for the company were
// under way at once at most. A client with a single flight keeps it at 1.
func (s *Server) MaxConcurrentRefreshes(realm string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.counters.MaxConcurrentRefreshes[realm]
}

// OverlappingRefreshes is how many refresh requests came while another with
// the same value was under way.
func (s *Server) OverlappingRefreshes() int { return s.Counters().OverlappingRefreshes }

// TokenRequests returns the newest Config.History token requests, oldest
// first. Requests that are being answered may be missing.
func (s *Server) TokenRequests() []TokenRequest { return observe(s, &s.log.tokens) }

// APIRequests returns the newest Config.History API requests, oldest first. A
// request is listed before its answer is sent.
func (s *Server) APIRequests() []APIRequest { return observe(s, &s.log.api) }

// Creates returns the newest Config.History creates, oldest first.
func (s *Server) Creates() []Create { return observe(s, &s.log.creates) }

// Events returns the newest Config.History events, oldest first.
func (s *Server) Events() []Event { return observe(s, &s.log.events) }

func observe[T any](s *Server, r *ring[T]) []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.all()
}

// ExecutedTwice returns the creates that executed although an earlier one with
// the same request id or document number had executed in the same company.
func (s *Server) ExecutedTwice() []Create {
	var twice []Create
	seen := map[string]bool{}
	for _, c := range s.Creates() {
		if c.Repeated {
			continue
		}
		again := false
		for kind, id := range map[string]string{"r": c.RequestID, "d": c.DocNumber} {
			if id == "" {
				continue
			}
			key := kind + "\x00" + c.Realm + "\x00" + c.Entity + "\x00" + id
			again = again || seen[key]
			seen[key] = true
		}
		if again {
			twice = append(twice, c)
		}
	}
	return twice
}

// ResetCounters forgets all counters, recorded requests and events. Tokens,
// companies, faults and behaviour stay.
func (s *Server) ResetCounters() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.init(s.cfg.History)
}
