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
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func (h *harness) control(method, path, body string) answer {
	h.t.Helper()
	req, _ := http.NewRequest(method, h.URL()+path, strings.NewReader(body))
	return h.must(req)
}

func TestControl(t *testing.T) {
	h := start(t, Behaviour{})
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
		check              func() bool
	}{
		{"GET", "/control", "", 200, "/control/kill-grant?realm=", nil},
		{"GET", "/control/", "", 200, "/control/faults", nil},
		{"POST", "/control/connect?realm=" + realmA, "", 200, `"refresh_token":"RT1-`, func() bool { _, ok := h.Tokens(realmA); return ok }},
		{"GET", "/control/tokens?realm=" + realmA, "", 200, `"access_valid":true`, nil},
		{"GET", "/control/tokens?realm=" + realmB, "", 400, "never been connected", nil},
		{"POST", "/control/revoke-access?realm=" + realmA, "", 200, `{"access_tokens_revoked":1}`, func() bool { g, _ := h.Tokens(realmA); return !g.AccessValid && g.RefreshValid }},
		{"POST", "/control/kill-grant?realm=" + realmA, "", 200, `{"grants_ended":1}`, func() bool { g, _ := h.Tokens(realmA); return !g.RefreshValid }},
		{"POST", "/control/kill-grant", "", 400, "realm is missing", nil},
		{"POST", "/control/behaviour", `{"rotation":"always","grace":"24h","access_token_ttl":90}`, 200, `"rotation":"always"`, func() bool {
			b := h.Behaviour()
			return b.Rotation == RotateAlways && b.Grace == 24*time.Hour && b.AccessTokenTTL == 90*time.Second
		}},
		{"POST", "/control/behaviour", `{"rotation":"never","graze":"1h"}`, 400, "graze", func() bool { return h.Behaviour().Rotation == RotateAlways }},
		{"POST", "/control/behaviour", `{"rotation":"sometimes"}`, 400, "sometimes", nil},
		{"GET", "/control/behaviour", "", 200, `"grace":"24h0m0s"`, nil},
		{"POST", "/control/incident?open=true", "", 200, `{"open":true}`, func() bool { return h.Behaviour().IncidentOpen }},
		{"POST", "/control/incident", `{"open":false}`, 200, `{"open":false}`, func() bool { return !h.Behaviour().IncidentOpen }},
		{"POST", "/control/incident", "", 400, "true or false", nil},
		{"POST", "/control/faults", `{"endpoint":"token","kind":"delay","delay":"2s","times":3}`, 200, `"delay":"2s"`, func() bool {
			f := h.Faults(EndpointToken)
			return len(f) == 1 && f[0].Times == 3 && f[0].Delay == 2*time.Second
		}},
		{"POST", "/control/faults", `[{"endpoint":"api","kind":"forbidden"},{"endpoint":"api","kind":"retry_after","retry_after":5}]`, 200, `"forbidden"`, func() bool { f := h.Faults(EndpointAPI); return len(f) == 2 && f[1].RetryAfter == 5*time.Second }},
		{"POST", "/control/faults", `{"endpoint":"api","kind":"misspelt"}`, 400, "misspelt", nil},
		{"POST", "/control/faults", `{"endpoint":"api","kind":"forbidden","time":1}`, 400, "unknown field", nil},
		{"GET", "/control/faults", "", 200, `"kinds":`, nil},
		{"DELETE", "/control/faults?endpoint=api", "", 200, `"token"`, func() bool { return len(h.Faults(EndpointAPI)) == 0 && len(h.Faults(EndpointToken)) == 1 }},
		{"DELETE", "/control/faults", "", 200, `{}`, func() bool { return len(h.Faults(EndpointToken)) == 0 }},
		{"POST", "/control/clock?advance=25h", "", 200, "2026-11-24T15:00:00Z", nil},
		{"POST", "/control/clock", "", 400, "advance", nil},
		{"GET", "/control/state", "", 200, `"connected":true`, nil},
		{"GET", "/control/requests", "", 200, "[]", nil},
		{"GET", "/control/token-requests", "", 200, "[]", nil},
		{"GET", "/control/creates", "", 200, "[]", nil},
		{"GET", "/control/events", "", 200, `"incident_closed"`, nil},
		{"POST", "/control/reset", "", 200, "true", func() bool { return len(h.Events()) == 0 }},
		{"POST", "/control/state", "", 405, "", nil},
		{"GET", "/control/nothing", "", 404, "GET /control", nil},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			a := h.control(tc.method, tc.path, tc.body)
			if a.status != tc.status || !strings.Contains(a.body, tc.want) || tc.check != nil && !tc.check() {
				t.Errorf("%d %s", a.status, a.body)
			}
			if tc.status != 405 && !strings.HasSuffix(strings.TrimRight(tc.path, "/"), "/control") && !json.Valid([]byte(a.body)) {
				t.Errorf("not JSON: %s", a.body)
			}
		})
	}
	off := startWith(t, Config{NoControl: true})
	if a := off.control("GET", "/control", ""); a.status != 404 {
		t.Errorf("%d", a.status)
	}
}

// Every switch must survive the way through JSON, also those added later.
func TestBehaviourJSON(t *testing.T) {
	var b Behaviour
	v := reflect.ValueOf(&b).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int, reflect.Int64:
			f.SetInt(int64(90 * time.Second))
		case reflect.String:
			if words := allowed[f.Type()]; words != nil {
				f.SetString(words[1])
			} else {
				f.SetString("x")
			}
		default:
			t.Fatalf("%s is of a kind that is not tested", v.Type().Field(i).Name)
		}
	}
	data, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var got Behaviour
	if err := json.Unmarshal(data, &got); err != nil || got != b {
		t.Errorf("%v: %+v", err, got)
	}
	for _, bad := range []string{`[]`, `{"grace":"soon"}`, `{"grace":true}`, `{"no_gzip":null}`, `{"no_gzip":"yes"}`} {
		if json.Unmarshal([]byte(bad), &got) == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestStatusPage(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).RefreshToken
	get := func(path string) answer { return h.control("GET", "/api/v2/"+path, "") }
	indicator := func() any { return get("status.json").json(t)["status"].(map[string]any)["indicator"] }
	count := func(path string) int { return len(get(path).json(t)["incidents"].([]any)) }
	if indicator() != "none" || count("incidents.json") != 0 || count("summary.json") != 0 {
		t.Error("an incident at first")
	}
	h.SetBehaviour(func(b *Behaviour) { b.IncidentInvalidGrant = true })
	h.refreshOK(token)
	h.OpenIncident()
	h.OpenIncident()
	h.refreshRefused(token, descBadRefresh)
	if indicator() != "major" || count("incidents.json") != 1 || count("incidents/unresolved.json") != 1 || count("summary.json") != 1 {
		t.Error("no incident")
	}
	h.CloseIncident()
	h.refreshOK(token) // the outage cost the grant nothing
	if indicator() != "none" || count("incidents.json") != 1 || count("incidents/unresolved.json") != 0 {
		t.Error("the incident is not closed")
	}
	if a := get("nothing.json"); a.status != 404 {
		t.Errorf("%d", a.status)
	}
	if h.Counters().StatusPageRequests == 0 {
		t.Error("not counted")
	}
	if started := start(t, Behaviour{IncidentOpen: true}); !strings.Contains(started.control("GET", "/api/v2/status.json", "").body, "major") {
		t.Error("the incident that was there at the start is not shown")
	}
}

func TestLatencyAndHistory(t *testing.T) {
	h := startWith(t, Config{History: 3, Behaviour: Behaviour{Latency: time.Millisecond}})
	token := h.Connect(realmA).AccessToken
	for range 5 {
		h.wantInfo(token, 200)
	}
	log := h.APIRequests()
	if len(log) != 3 || log[0].Seq >= log[1].Seq || log[1].Seq >= log[2].Seq || h.Counters().APIRequests != 5 || h.Counters().APIStatus[200] != 5 {
		t.Errorf("%+v", log)
	}
	if len(h.Companies()) != 2 {
		t.Error("companies")
	}
}
