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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// controlAction is one address of the control API.
type controlAction struct {
	method, path, help string
	do                 func(s *Server, r *http.Request, body []byte) (any, error)
}

// controlList is the control API, in the order that GET /control lists it.
var controlList = []controlAction{
	{"GET", "/control", "this list", nil},
	{"GET", "/control/state", "clock, behaviour, companies with their tokens' state, queued faults, counters", (*Server).controlState},
	{"GET", "/control/behaviour", "how the server behaves", func(s *Server, _ *http.Request, _ []byte) (any, error) { return s.Behaviour(), nil }},
	{"POST", "/control/behaviour", `change it: a JSON object with the members to change, such as {"rotation":"always"}`, (*Server).controlBehaviour},
	{"POST", "/control/connect?realm=", "make a grant without a browser; answers its tokens", realmAction(func(s *Server, realm string) any { return s.Connect(realm) })},
	{"GET", "/control/tokens?realm=", "a company's newest tokens", (*Server).controlTokens},
	{"POST", "/control/revoke-access?realm=", "the access tokens die now; the refresh token stays good", realmAction(func(s *Server, realm string) any {
		return map[string]int{"access_tokens_revoked": s.RevokeAccess(realm)}
	})},
	{"POST", "/control/kill-grant?realm=", "the user disconnected in QuickBooks: access and refresh token die", realmAction(func(s *Server, realm string) any {
		return map[string]int{"grants_ended": s.KillGrant(realm)}
	})},
	{"POST", "/control/incident?open=true", "open or close (open=false) an incident on the status page", (*Server).controlIncident},
	{"GET", "/control/faults", "the queued faults and the kinds there are", func(s *Server, _ *http.Request, _ []byte) (any, error) { return s.faultState(), nil }},
	{"POST", "/control/faults", `queue one or a list, such as {"endpoint":"token","kind":"unavailable","times":3}; times -1 is until cleared`, (*Server).controlFault},
	{"DELETE", "/control/faults", "drop the queued faults (of ?endpoint=)", (*Server).controlClearFaults},
	{"POST", "/control/clock?advance=25h", "move the clock", (*Server).controlClock},
	{"GET", "/control/token-requests", "the newest token requests", func(s *Server, _ *http.Request, _ []byte) (any, error) { return s.TokenRequests(), nil }},
	{"GET", "/control/requests", "the newest API requests", func(s *Server, _ *http.Request, _ []byte) (any, error) { return s.APIRequests(), nil }},
	{"GET", "/control/creates", "the newest creates", func(s *Server, _ *http.Request, _ []byte) (any, error) { return s.Creates(), nil }},
	{"GET", "/control/events", "the newest events", func(s *Server, _ *http.Request, _ []byte) (any, error) { return s.Events(), nil }},
	{"POST", "/control/reset", "forget counters, requests and events", func(s *Server, _ *http.Request, _ []byte) (any, error) {
		s.ResetCounters()
		return map[string]bool{"ok": true}, nil
	}},
}

// serveControl answers JSON, but for the list, which is for people.
func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	var allow []string
	for _, a := range controlList {
		name, _, _ := strings.Cut(a.path, "?")
		if name != path {
			continue
		}
		if a.method != r.Method {
			allow = append(allow, a.method)
			continue
		}
		if a.do == nil {
			s.deliver(w, r, nil, reply{status: http.StatusOK, ctype: "text/plain;charset=UTF-8", body: controlHelp()}, nil)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
		var out any
		if err == nil {
			out, err = a.do(s, r, body)
		}
		if err != nil {
			s.deliver(w, r, nil, reply{status: http.StatusBadRequest, ctype: jsonType, data: map[string]any{"error": err.Error()}}, nil)
			return
		}
		s.deliver(w, r, nil, reply{status: http.StatusOK, ctype: jsonType, body: append(encode(out), '\n')}, nil)
		return
	}
	if allow != nil {
		s.deliver(w, r, nil, reply{status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {strings.Join(allow, ", ")}}}, nil)
		return
	}
	s.deliver(w, r, nil, reply{status: http.StatusNotFound, ctype: jsonType, data: map[string]any{"error": "there is nothing here; GET /control lists what there is"}}, nil)
}

func controlHelp() []byte {
	var b strings.Builder
	for _, a := range controlList {
		fmt.Fprintf(&b, "%-6s %-32s %s\n", a.method, a.path, a.help)
	}
	return []byte(b.String())
}

var errNoRealm = errors.New("the parameter realm is missing")

func realmAction(do func(s *Server, realm string) any) func(*Server, *http.Request, []byte) (any, error) {
	return func(s *Server, r *http.Request, _ []byte) (any, error) {
		realm := r.URL.Query().Get("realm")
		if realm == "" {
			return nil, errNoRealm
		}
		return do(s, realm), nil
	}
}

func (s *Server) controlTokens(r *http.Request, _ []byte) (any, error) {
	realm := r.URL.Query().Get("realm")
	if realm == "" {
		return nil, errNoRealm
	}
	g, ok := s.Tokens(realm)
	if !ok {
		return nil, errors.New("the company has never been connected")
	}
	return g, nil
}

func (s *Server) controlState(*http.Request, []byte) (any, error) {
	type state struct {
		Company
		Connected    bool `json:"connected"`
		AccessValid  bool `json:"access_valid"`
		RefreshValid bool `json:"refresh_valid"`
	}
	var companies []state
	for _, c := range s.Companies() {
		g, ok := s.Tokens(c.RealmID)
		companies = append(companies, state{c, ok, g.AccessValid, g.RefreshValid})
	}
	s.mu.Lock()
	clients := s.clientIDs()
	s.mu.Unlock()
	return map[string]any{
		"now": s.Now().Format(time.RFC3339), "behaviour": s.Behaviour(), "clients": clients, "companies": companies,
		"faults": s.faultState()["queued"], "counters": s.Counters(),
	}, nil
}

func (s *Server) controlBehaviour(_ *http.Request, body []byte) (any, error) {
	var err error
	s.SetBehaviour(func(b *Behaviour) { err = json.Unmarshal(body, b) })
	if err != nil {
		return nil, fmt.Errorf("changing the behaviour: %w", err)
	}
	return s.Behaviour(), nil
}

func (s *Server) controlIncident(r *http.Request, body []byte) (any, error) {
	value := r.URL.Query().Get("open")
	if value == "" && len(body) > 0 {
		in := struct {
			Open *bool `json:"open"`
		}{}
		if err := json.Unmarshal(body, &in); err != nil || in.Open == nil {
			return nil, errors.New(`the body must be {"open":true} or {"open":false}`)
		}
		value = strconv.FormatBool(*in.Open)
	}
	open, err := strconv.ParseBool(value)
	if err != nil {
		return nil, errors.New("the parameter open must be true or false")
	}
	s.SetBehaviour(func(b *Behaviour) { b.IncidentOpen = open })
	return map[string]bool{"open": open}, nil
}

func (s *Server) faultState() map[string]any {
	queued, kinds := map[Endpoint][]Fault{}, map[Endpoint][]FaultKind{}
	for _, ep := range Endpoints() {
		if faults := s.Faults(ep); len(faults) > 0 {
			queued[ep] = faults
		}
		kinds[ep] = FaultKinds(ep)
	}
	return map[string]any{"queued": queued, "kinds": kinds}
}

func (s *Server) controlFault(_ *http.Request, body []byte) (any, error) {
	body = bytes.TrimSpace(body)
	if !bytes.HasPrefix(body, []byte("[")) {
		body = append(append([]byte("["), body...), ']')
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var in []faultJSON
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("reading the faults: %w", err)
	}
	for _, j := range in {
		f, err := j.fault()
		if err != nil {
			return nil, fmt.Errorf("reading the faults: %w", err)
		}
		if err := s.QueueFault(j.Endpoint, f); err != nil {
			return nil, err
		}
	}
	return s.faultState()["queued"], nil
}

func (s *Server) controlClearFaults(r *http.Request, _ []byte) (any, error) {
	if ep := r.URL.Query().Get("endpoint"); ep != "" {
		s.ClearFaults(Endpoint(ep))
	} else {
		s.ClearFaults()
	}
	return s.faultState()["queued"], nil
}

func (s *Server) controlClock(r *http.Request, _ []byte) (any, error) {
	d, err := time.ParseDuration(r.URL.Query().Get("advance"))
	if err != nil {
		return nil, fmt.Errorf("the parameter advance: %w", err)
	}
	s.Advance(d)
	return map[string]string{"now": s.Now().Format(time.RFC3339)}, nil
}
