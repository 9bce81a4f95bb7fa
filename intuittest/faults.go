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
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Endpoint is a group of addresses that faults are queued for.
type Endpoint string

// The endpoints.
const (
	EndpointToken  Endpoint = "token"
	EndpointRevoke Endpoint = "revoke"
	// EndpointAPI is everything that takes a bearer: accounting, payments,
	// GraphQL and user info.
	EndpointAPI        Endpoint = "api"
	EndpointStatusPage Endpoint = "status"
)

// Endpoints lists the endpoints.
func Endpoints() []Endpoint {
	return []Endpoint{EndpointToken, EndpointRevoke, EndpointAPI, EndpointStatusPage}
}

// FaultKind says what goes wrong.
type FaultKind string

// Faults of every endpoint that keep the request from being processed.
const (
	// FaultStatus answers Fault.Status and Fault.Body.
	FaultStatus FaultKind = "status"
	// FaultUnavailable and FaultGatewayTimeout are 503 and 504 with HTML.
	FaultUnavailable    FaultKind = "unavailable"
	FaultGatewayTimeout FaultKind = "gateway_timeout"
	// FaultServerError is 500: JSON at the API, else empty.
	FaultServerError FaultKind = "server_error"
	// FaultThrottled is 429: at the API code 3001 in XML without Retry-After,
	// else an empty body.
	FaultThrottled FaultKind = "throttled"
	// FaultRetryAfter is 429 with Retry-After: Fault.RetryAfter (default 60 s).
	FaultRetryAfter FaultKind = "retry_after"
	// FaultGarbage is 200 with HTML.
	FaultGarbage FaultKind = "garbage"
	// FaultTruncated is 200 whose body ends before its Content-Length.
	FaultTruncated FaultKind = "truncated"
	// FaultHuge is 200 with Fault.Size bytes of JSON (default 8 MiB).
	FaultHuge FaultKind = "huge"
	// FaultRedirect is 307 to Fault.Location (default another origin that does
	// not exist).
	FaultRedirect FaultKind = "redirect"
	// FaultReset resets the connection.
	FaultReset FaultKind = "reset"
	// FaultHang never answers: it waits until the client gives up.
	FaultHang FaultKind = "hang"
)

// Faults of every endpoint that process the request: a token is rotated, an
// invoice is created.
const (
	// FaultDelay waits Fault.Delay (default 5 s) and then processes, unless
	// the client has given up.
	FaultDelay FaultKind = "delay"
	// FaultDrip sends the answer a byte every Fault.Delay (default 50 ms).
	FaultDrip FaultKind = "drip"
	// FaultResetAfter resets the connection instead of answering.
	FaultResetAfter FaultKind = "reset_after"
	// FaultStatusAfter answers Fault.Status (default 504 with HTML) instead.
	FaultStatusAfter FaultKind = "status_after"
	// FaultTruncatedAfter sends half the answer.
	FaultTruncatedAfter FaultKind = "truncated_after"
	// FaultDelayAfter waits Fault.Delay (default 5 s) before it answers.
	FaultDelayAfter FaultKind = "delay_after"
	// FaultHangAfter never answers.
	FaultHangAfter FaultKind = "hang_after"
)

// Faults of the token endpoint; none of them processes the request.
const (
	// FaultInvalidRequest, FaultInvalidGrant and FaultInvalidClient are the
	// OAuth errors, as Intuit has sent them in incidents.
	FaultInvalidRequest FaultKind = "invalid_request"
	FaultInvalidGrant   FaultKind = "invalid_grant"
	FaultInvalidClient  FaultKind = "invalid_client"
	// FaultNoAccessToken is 200 with JSON that lacks access_token.
	FaultNoAccessToken FaultKind = "no_access_token"
)

// Faults of the API; none of them processes the request.
const (
	// FaultTokenRefused is the gateway's 401 with code 3200 for a good token.
	FaultTokenRefused FaultKind = "token_refused"
	// FaultTokenRefusedEarly is the same, sent before the request's body is
	// read.
	FaultTokenRefusedEarly FaultKind = "token_refused_early"
	// FaultRealmMismatch, FaultAccessLost and FaultWrongCluster are the
	// service's 401 with code 100, 120 and 130, always XML. A fresh token does
	// not help against them.
	FaultRealmMismatch FaultKind = "realm_mismatch"
	FaultAccessLost    FaultKind = "access_lost"
	FaultWrongCluster  FaultKind = "wrong_cluster"
	// FaultForbidden is 403 with code 3100.
	FaultForbidden FaultKind = "forbidden"
)

var (
	anywhere = []FaultKind{
		FaultStatus, FaultUnavailable, FaultGatewayTimeout, FaultServerError, FaultThrottled, FaultRetryAfter,
		FaultGarbage, FaultTruncated, FaultHuge, FaultRedirect, FaultReset, FaultHang,
		FaultDelay, FaultDrip, FaultResetAfter, FaultStatusAfter, FaultTruncatedAfter, FaultDelayAfter, FaultHangAfter,
	}
	onlyToken = []FaultKind{FaultInvalidRequest, FaultInvalidGrant, FaultInvalidClient, FaultNoAccessToken}
	onlyAPI   = []FaultKind{
		FaultTokenRefused, FaultTokenRefusedEarly, FaultRealmMismatch, FaultAccessLost, FaultWrongCluster, FaultForbidden,
	}
	processing = []FaultKind{
		FaultDelay, FaultDrip, FaultResetAfter, FaultStatusAfter, FaultTruncatedAfter, FaultDelayAfter, FaultHangAfter,
	}
)

// FaultKinds lists the kinds that an endpoint can have.
func FaultKinds(ep Endpoint) []FaultKind {
	switch ep {
	case EndpointToken:
		return slices.Concat(anywhere, onlyToken)
	case EndpointAPI:
		return slices.Concat(anywhere, onlyAPI)
	default:
		return slices.Clone(anywhere)
	}
}

// Fault is something that goes wrong with the next requests of an endpoint.
type Fault struct {
	Kind FaultKind
	// Times is how many requests it is for: 0 is one, negative is all until
	// ClearFaults.
	Times int
	// Realm limits it to the requests of one company; empty is any.
	Realm string
	// Delay is real time; see the kinds. For kinds that do not name it, it
	// passes before the request is dealt with.
	Delay time.Duration
	// Status, Body and ContentType (default text/html) are for FaultStatus and
	// FaultStatusAfter.
	Status      int
	Body        string
	ContentType string
	RetryAfter  time.Duration
	Location    string
	Size        int

	gate *Gate
}

func (f *Fault) processes() bool {
	return f == nil || f.gate != nil || slices.Contains(processing, f.Kind)
}

// kind is the kind as observations name it.
func (f *Fault) kind() FaultKind {
	if f == nil {
		return ""
	}
	return f.Kind
}

// QueueFault makes a fault apply to coming requests; the faults of an endpoint
// apply one to a request, in the order they were queued. It fails if the
// endpoint does not have that kind.
func (s *Server) QueueFault(ep Endpoint, faults ...Fault) error {
	if !slices.Contains(Endpoints(), ep) {
		return fmt.Errorf("there is no endpoint %q", ep)
	}
	for _, f := range faults {
		if !slices.Contains(FaultKinds(ep), f.Kind) {
			return fmt.Errorf("the endpoint %s has no fault %q", ep, f.Kind)
		}
		if f.Kind == FaultStatus && (f.Status < 200 || f.Status > 999) {
			return errors.New("a status fault needs a status of 200 or more")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range faults {
		if f.Times == 0 {
			f.Times = 1
		}
		s.faults[ep] = append(s.faults[ep], &f)
	}
	return nil
}

// FailToken queues faults for the token endpoint. It panics on a kind that the
// endpoint does not have.
func (s *Server) FailToken(faults ...Fault) { s.mustQueue(EndpointToken, faults) }

// FailAPI queues faults for the API. It panics on a kind that the API does not
// have.
func (s *Server) FailAPI(faults ...Fault) { s.mustQueue(EndpointAPI, faults) }

func (s *Server) mustQueue(ep Endpoint, faults []Fault) {
	if err := s.QueueFault(ep, faults...); err != nil {
		panic("intuittest: " + err.Error())
	}
}

// ClearFaults drops the queued faults of the endpoints; of all if none is
// named. Faults that already act on a request are not undone.
func (s *Server) ClearFaults(eps ...Endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(eps) == 0 {
		eps = Endpoints()
	}
	for _, ep := range eps {
		delete(s.faults, ep)
	}
}

// Faults returns the queued faults of an endpoint with the requests they are
// still for.
func (s *Server) Faults(ep Endpoint) []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Fault
	for _, f := range s.faults[ep] {
		if f.gate == nil {
			all = append(all, *f)
		}
	}
	return all
}

// Gate holds one request, so that a test can be sure of what happens
// meanwhile.
type Gate struct {
	arrived chan struct{}
	release chan struct{}
}

// Arrived is closed when a request is held.
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Release lets the request go on. It must be called once.
func (g *Gate) Release() { close(g.release) }

// Hold holds the next request of an endpoint before it is processed, until it
// is released, its client gives up (it is then not processed), or the server
// is closed. Realm may limit it to a company; empty is any.
func (s *Server) Hold(ep Endpoint, realm string) *Gate {
	g := &Gate{arrived: make(chan struct{}), release: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[ep] = append(s.faults[ep], &Fault{Times: 1, Realm: realm, gate: g})
	return g
}

// takeFault takes the first queued fault that is for this request; nil if
// there is none.
func (s *Server) takeFault(ep Endpoint, realm string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.faults[ep] {
		if f.Realm != "" && f.Realm != realm {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		if f.Times == 0 {
			s.faults[ep] = slices.Delete(s.faults[ep], i, i+1)
		}
		taken := *f
		if f.gate == nil {
			s.event("fault", realm, string(ep)+" "+string(f.Kind))
		}
		return &taken
	}
	return nil
}

// faultJSON is a Fault on the control API.
type faultJSON struct {
	Endpoint    Endpoint        `json:"endpoint,omitempty"`
	Kind        FaultKind       `json:"kind"`
	Times       int             `json:"times,omitempty"`
	Realm       string          `json:"realm,omitempty"`
	Delay       json.RawMessage `json:"delay,omitempty"`
	Status      int             `json:"status,omitempty"`
	Body        string          `json:"body,omitempty"`
	ContentType string          `json:"content_type,omitempty"`
	RetryAfter  json.RawMessage `json:"retry_after,omitempty"`
	Location    string          `json:"location,omitempty"`
	Size        int             `json:"size,omitempty"`
}

// MarshalJSON writes durations as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	text := func(d time.Duration) json.RawMessage {
		if d == 0 {
			return nil
		}
		return json.RawMessage(`"` + d.String() + `"`)
	}
	return json.Marshal(faultJSON{
		Kind: f.Kind, Times: f.Times, Realm: f.Realm, Delay: text(f.Delay), Status: f.Status, Body: f.Body,
		ContentType: f.ContentType, RetryAfter: text(f.RetryAfter), Location: f.Location, Size: f.Size,
	})
}

func (j faultJSON) fault() (Fault, error) {
	f := Fault{
		Kind: j.Kind, Times: j.Times, Realm: j.Realm, Status: j.Status, Body: j.Body,
		ContentType: j.ContentType, Location: j.Location, Size: j.Size,
	}
	for _, d := range []struct {
		raw json.RawMessage
		to  *time.Duration
	}{{j.Delay, &f.Delay}, {j.RetryAfter, &f.RetryAfter}} {
		if d.raw == nil {
			continue
		}
		v, err := parseDuration(d.raw)
		if err != nil {
			return Fault{}, err
		}
		*d.to = v
	}
	return f, nil
}
