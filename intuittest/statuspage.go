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
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The status page imitates Statuspage's public API, which
// status.developer.intuit.com is read by.

const pageID = "intuittest00"

type incident struct {
	id       string
	openedAt time.Time
	closedAt time.Time // zero while it is open
}

// OpenIncident opens an incident on the status page, if none is open.
func (s *Server) OpenIncident() { s.SetBehaviour(func(b *Behaviour) { b.IncidentOpen = true }) }

// CloseIncident resolves the open incident.
func (s *Server) CloseIncident() { s.SetBehaviour(func(b *Behaviour) { b.IncidentOpen = false }) }

// followIncident keeps the list of incidents in step with the switch. The
// caller holds s.mu or is New.
func (s *Server) followIncident(was, is bool) {
	switch {
	case is && !was:
		s.incidents = append(s.incidents, incident{id: fmt.Sprintf("incident%04d", len(s.incidents)+1), openedAt: s.now()})
		s.event("incident_open", "", "")
	case was && !is:
		s.incidents[len(s.incidents)-1].closedAt = s.now()
		s.event("incident_closed", "", "")
	}
}

func (s *Server) serveStatusPage(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.log.counters.StatusPageRequests++
	s.mu.Unlock()
	f := s.takeFault(EndpointStatusPage, "")
	if !s.beforeStatus(r, f) {
		panic(http.ErrAbortHandler)
	}
	var rep reply
	if f.processes() {
		rep = s.statusPage(r)
	} else {
		rep = s.faultReply(r, EndpointStatusPage, f)
	}
	s.deliver(w, r, f, rep, nil)
}

// beforeStatus is before without Behaviour.Latency: the status page is on
// other machines than the outage.
func (s *Server) beforeStatus(r *http.Request, f *Fault) bool {
	if f == nil {
		return true
	}
	return s.before(r, f)
}

func (s *Server) statusPage(r *http.Request) reply {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return reply{status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {"GET"}}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	open := s.behaviour.IncidentOpen
	page := map[string]any{
		"id": pageID, "name": "Intuit Developer", "url": "https://status.developer.intuit.com",
		"time_zone": "America/Los_Angeles", "updated_at": stamp(now),
	}
	status := map[string]any{"indicator": "none", "description": "All Systems Operational"}
	component := "operational"
	if open {
		status = map[string]any{"indicator": "major", "description": "Partial System Outage"}
		component = "partial_outage"
	}
	all, unresolved := []any{}, []any{}
	for _, in := range slices.Backward(s.incidents) {
		shown := in.show(component)
		all = append(all, shown)
		if in.closedAt.IsZero() {
			unresolved = append(unresolved, shown)
		}
	}
	var data map[string]any
	switch strings.TrimPrefix(r.URL.Path, "/api/v2/") {
	case "status.json":
		data = map[string]any{"page": page, "status": status}
	case "summary.json":
		data = map[string]any{
			"page": page, "status": status, "incidents": unresolved, "scheduled_maintenances": []any{},
			"components": []any{map[string]any{
				"id": "oauth0000001", "name": "OAuth 2.0", "status": component, "created_at": stamp(now), "updated_at": stamp(now),
				"position": 1, "description": nil, "showcase": false, "group_id": nil, "page_id": pageID, "group": false,
				"only_show_if_degraded": false,
			}},
		}
	case "incidents.json":
		data = map[string]any{"page": page, "incidents": all}
	case "incidents/unresolved.json":
		data = map[string]any{"page": page, "incidents": unresolved}
	default:
		return reply{status: http.StatusNotFound, ctype: jsonType, body: []byte(`{"error":"Not found"}`)}
	}
	return reply{status: http.StatusOK, ctype: jsonType, body: encode(data), header: http.Header{"Access-Control-Allow-Origin": {"*"}}}
}

func (in incident) show(component string) map[string]any {
	status, updated := "investigating", in.openedAt
	var resolved any
	if !in.closedAt.IsZero() {
		status, updated, resolved, component = "resolved", in.closedAt, stamp(in.closedAt), "operational"
	}
	return map[string]any{
		"id": in.id, "name": "Elevated OAuth errors", "status": status, "impact": "major",
		"created_at": stamp(in.openedAt), "started_at": stamp(in.openedAt), "updated_at": stamp(updated),
		"monitoring_at": nil, "resolved_at": resolved, "shortlink": "https://stspg.io/" + in.id, "page_id": pageID,
		"components": []any{},
		"incident_updates": []any{map[string]any{
			"id": in.id + "u1", "status": status, "body": "We are looking into failing token requests.",
			"created_at": stamp(updated), "display_at": stamp(updated),
			"affected_components": []any{map[string]any{
				"code": "oauth0000001", "name": "OAuth 2.0", "old_status": "operational", "new_status": component,
			}},
		}},
	}
}
