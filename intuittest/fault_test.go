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
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTokenFaults(t *testing.T) {
	for _, tc := range []struct {
		fault   Fault
		status  int    // 0: no whole answer
		body    string // is in it
		header  string // "Name: value"
		rotated bool
	}{
		{fault: Fault{Kind: FaultStatus, Status: 418, Body: "tea"}, status: 418, body: "tea"},
		{fault: Fault{Kind: FaultUnavailable}, status: 503, body: "<html>", header: "Content-Type: text/html"},
		{fault: Fault{Kind: FaultGatewayTimeout}, status: 504, body: "<html>"},
		{fault: Fault{Kind: FaultServerError}, status: 500},
		{fault: Fault{Kind: FaultThrottled}, status: 429, header: "Content-Length: 0"},
		{fault: Fault{Kind: FaultRetryAfter}, status: 429, header: "Retry-After: 60"},
		{fault: Fault{Kind: FaultRetryAfter, RetryAfter: 2 * time.Second}, status: 429, header: "Retry-After: 2"},
		{fault: Fault{Kind: FaultInvalidRequest}, status: 400, body: `"invalid_request"`},
		{fault: Fault{Kind: FaultInvalidGrant}, status: 400, body: `"invalid_grant"`},
		{fault: Fault{Kind: FaultInvalidClient}, status: 401, body: `"invalid_client"`},
		{fault: Fault{Kind: FaultGarbage}, status: 200, body: "<html>"},
		{fault: Fault{Kind: FaultTruncated}},
		{fault: Fault{Kind: FaultHuge, Size: 1 << 20}, status: 200, body: strings.Repeat("A", 1<<20)},
		{fault: Fault{Kind: FaultRedirect, Location: "https://elsewhere.example/x"}, status: 307, header: "Location: https://elsewhere.example/x"},
		{fault: Fault{Kind: FaultNoAccessToken}, status: 200, body: "bearer"},
		{fault: Fault{Kind: FaultReset}},
		{fault: Fault{Kind: FaultDelay, Delay: time.Millisecond}, status: 200, body: "access_token", rotated: true},
		{fault: Fault{Kind: FaultDelayAfter, Delay: time.Millisecond}, status: 200, body: "access_token", rotated: true},
		{fault: Fault{Kind: FaultDrip, Delay: time.Microsecond}, status: 200, body: "access_token", rotated: true},
		{fault: Fault{Kind: FaultResetAfter}, rotated: true},
		{fault: Fault{Kind: FaultStatusAfter}, status: 504, body: "<html>", rotated: true},
		{fault: Fault{Kind: FaultStatusAfter, Status: 500, Body: "oops"}, status: 500, body: "oops", rotated: true},
		{fault: Fault{Kind: FaultTruncatedAfter}, rotated: true},
	} {
		t.Run(string(tc.fault.Kind), func(t *testing.T) {
			h := start(t, Behaviour{Rotation: RotateAlways})
			token := h.Connect(realmA).RefreshToken
			h.FailToken(tc.fault)
			a, err := h.do(h.tokenRequest(refreshForm(token)))
			if tc.status == 0 {
				if err == nil {
					t.Fatalf("answered %d %s", a.status, a.body)
				}
			} else if err != nil || a.status != tc.status || !strings.Contains(a.body, tc.body) {
				t.Fatalf("%v %d %s", err, a.status, a.body)
			}
			if name, value, _ := strings.Cut(tc.header, ": "); a.header.Get(name) != value {
				t.Errorf("%s: %v", name, a.header)
			}
			now, _ := h.Tokens(realmA)
			if (now.RefreshToken != token) != tc.rotated {
				t.Errorf("rotated: %t", !tc.rotated)
			}
			log := h.TokenRequests()
			if len(log) != 1 || log[0].Fault != tc.fault.Kind || log[0].Rotated != tc.rotated || log[0].Realm != realmA {
				t.Errorf("log: %+v", log)
			}
			h.refreshOK(now.RefreshToken) // the fault was for one request
		})
	}
}

func TestTruncatedAndReset(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).RefreshToken
	h.FailToken(Fault{Kind: FaultTruncatedAfter}, Fault{Kind: FaultReset})
	if _, err := h.do(h.tokenRequest(refreshForm(token))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncated: %v", err)
	}
	if _, err := h.do(h.tokenRequest(refreshForm(token))); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("reset: %v", err)
	}
}

// eventually waits for something that is certain to come, and fails only if it
// does not.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("it never came: %s", what)
		}
	}
}

// giveUp sends a request, and its client gives up when ready says so.
func (h *harness) giveUp(req *http.Request, what string, ready func() bool) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := h.do(req.WithContext(ctx))
		done <- err
	}()
	eventually(h.t, what, ready)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		h.t.Fatalf("the request ended with %v", err)
	}
}

func TestHang(t *testing.T) {
	for _, tc := range []struct {
		fault   Fault
		outcome string
	}{
		{Fault{Kind: FaultHang}, "abandoned"},
		{Fault{Kind: FaultDelay, Delay: time.Hour}, "abandoned"},
		{Fault{Kind: FaultUnavailable, Delay: time.Hour}, "abandoned"},
		{Fault{Kind: FaultHangAfter}, "ok"},
		{Fault{Kind: FaultDelayAfter, Delay: time.Hour}, "ok"},
		{Fault{Kind: FaultDrip, Delay: time.Hour}, "ok"},
	} {
		t.Run(string(tc.fault.Kind), func(t *testing.T) {
			h := start(t, Behaviour{Rotation: RotateAlways})
			token := h.Connect(realmA).RefreshToken
			h.FailToken(tc.fault)
			rotated := func() bool { now, _ := h.Tokens(realmA); return now.RefreshToken != token }
			h.giveUp(h.tokenRequest(refreshForm(token)), "the fault", func() bool {
				return len(h.Faults(EndpointToken)) == 0 && (tc.outcome != "ok" || rotated())
			})
			eventually(t, "the record", func() bool { return len(h.TokenRequests()) == 1 })
			if log := h.TokenRequests(); log[0].Outcome != tc.outcome || rotated() != (tc.outcome == "ok") {
				t.Errorf("rotated %t, log: %+v", rotated(), log)
			}
		})
	}
}

func TestAPIHangNoticesTheClient(t *testing.T) {
	h := start(t, Behaviour{})
	g := h.Connect(realmA)
	h.FailAPI(Fault{Kind: FaultHang})
	req := h.apiRequest("POST", "/v3/company/"+realmA+"/customer", g.AccessToken, `{"DisplayName":"x"}`)
	h.giveUp(req, "the fault", func() bool { return len(h.Faults(EndpointAPI)) == 0 })
	eventually(t, "the record", func() bool { return len(h.APIRequests()) == 1 })
	if log := h.APIRequests(); log[0].Status != 0 || log[0].BodyLength != 19 || len(h.Creates()) != 0 {
		t.Errorf("%+v", log)
	}
}

func TestAPIFaults(t *testing.T) {
	for _, tc := range []struct {
		fault    Fault
		status   int
		ctype    string
		body     string
		code     string
		header   string
		executed bool
	}{
		{fault: Fault{Kind: FaultTokenRefused}, status: 401, ctype: "application/json", body: `"code":"3200"`, code: "3200", header: `Www-Authenticate: Bearer realm="Intuit", error="invalid_token"`},
		{fault: Fault{Kind: FaultTokenRefusedEarly}, status: 401, ctype: "application/json", body: `"code":"3200"`, code: "3200"},
		{fault: Fault{Kind: FaultRealmMismatch}, status: 401, ctype: xmlType, body: `<Error code="100"><Message>General Authentication Error`, code: "100"},
		{fault: Fault{Kind: FaultAccessLost}, status: 401, ctype: xmlType, body: `type="AuthorizatonFault"><Error code="120">`, code: "120"},
		{fault: Fault{Kind: FaultWrongCluster}, status: 401, ctype: xmlType, body: `<Error code="130">`, code: "130"},
		{fault: Fault{Kind: FaultForbidden}, status: 403, ctype: "application/json", body: `"code":"3100"`, code: "3100"},
		{fault: Fault{Kind: FaultThrottled}, status: 429, ctype: xmlType, body: `<Error code="3001">`, code: "3001", header: "Retry-After: "},
		{fault: Fault{Kind: FaultRetryAfter}, status: 429, ctype: xmlType, body: `<Error code="3001">`, code: "3001", header: "Retry-After: 60"},
		{fault: Fault{Kind: FaultServerError}, status: 500, ctype: "application/json", body: "fault"},
		{fault: Fault{Kind: FaultUnavailable}, status: 503, ctype: "text/html"},
		{fault: Fault{Kind: FaultRedirect}, status: 307, header: "Location: https://other-origin.invalid/v3/company/" + realmA + "/customer"},
		{fault: Fault{Kind: FaultReset}},
		{fault: Fault{Kind: FaultTruncated}},
		{fault: Fault{Kind: FaultDelay, Delay: time.Millisecond}, status: 200, ctype: jsonType, executed: true},
		{fault: Fault{Kind: FaultResetAfter}, executed: true},
		{fault: Fault{Kind: FaultTruncatedAfter}, executed: true},
		{fault: Fault{Kind: FaultStatusAfter}, status: 504, ctype: "text/html", executed: true},
	} {
		for _, gzip := range []bool{false, true} {
			t.Run(string(tc.fault.Kind), func(t *testing.T) {
				h := start(t, Behaviour{NoGzip: !gzip})
				g := h.Connect(realmA)
				h.FailAPI(tc.fault)
				a, err := h.do(h.apiRequest("POST", "/v3/company/"+realmA+"/customer", g.AccessToken, `{"DisplayName":"x"}`))
				if tc.status == 0 {
					if err == nil {
						t.Fatalf("answered %d %s", a.status, a.body)
					}
				} else if err != nil || a.status != tc.status || !strings.Contains(a.body, tc.body) || a.header.Get("Content-Type") != tc.ctype {
					t.Fatalf("%v %d %v %s", err, a.status, a.header, a.body)
				}
				if name, value, ok := strings.Cut(tc.header, ": "); ok && a.header.Get(name) != value {
					t.Errorf("%s: %v", name, a.header)
				}
				if (len(h.Creates()) == 1) != tc.executed {
					t.Errorf("creates: %+v", h.Creates())
				}
				log := h.APIRequests()
				if len(log) != 1 || log[0].Fault != tc.fault.Kind || tc.code != "" && log[0].Code != tc.code {
					t.Errorf("log: %+v", log)
				}
				h.wantInfo(g.AccessToken, 200)
			})
		}
	}
}

// The answer must come while the body is still being sent.
func TestRefusedBeforeTheBody(t *testing.T) {
	h := start(t, Behaviour{})
	g := h.Connect(realmA)
	h.FailAPI(Fault{Kind: FaultTokenRefusedEarly})
	r, w := io.Pipe()
	req, _ := http.NewRequest("POST", h.URL()+"/v3/company/"+realmA+"/customer", r)
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	res, err := h.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 401 {
		t.Errorf("status %d", res.StatusCode)
	}
	w.Close()
	if log := h.APIRequests(); len(log) != 1 || log[0].BodyComplete {
		t.Errorf("log: %+v", log)
	}
}

func TestFaultQueue(t *testing.T) {
	h := start(t, Behaviour{})
	a, b := h.Connect(realmA).RefreshToken, h.Connect(realmB).RefreshToken
	h.FailToken(
		Fault{Kind: FaultUnavailable, Realm: realmB, Times: -1},
		Fault{Kind: FaultThrottled, Times: 2},
		Fault{Kind: FaultInvalidRequest},
	)
	want := func(token string, status int) {
		t.Helper()
		if got := h.refreshWith(token).status; got != status {
			t.Errorf("%d, want %d", got, status)
		}
	}
	want(a, 429)
	want(b, 503)
	want(a, 429)
	want(a, 400)
	want(a, 200)
	want(b, 503)
	if left := h.Faults(EndpointToken); len(left) != 1 || left[0].Times != -1 {
		t.Errorf("left: %+v", left)
	}
	h.ClearFaults()
	want(b, 200)

	for ep, bad := range map[Endpoint]Fault{
		EndpointToken: {Kind: FaultForbidden}, EndpointAPI: {Kind: FaultInvalidGrant},
		EndpointRevoke: {Kind: "misspelt"}, "nowhere": {Kind: FaultReset}, EndpointStatusPage: {Kind: FaultStatus},
	} {
		if h.QueueFault(ep, bad) == nil {
			t.Errorf("%s took %+v", ep, bad)
		}
	}
}

func TestRevokeAndStatusFaults(t *testing.T) {
	h := start(t, Behaviour{})
	g := h.Connect(realmA)
	if err := errors.Join(h.QueueFault(EndpointRevoke, Fault{Kind: FaultUnavailable}), h.QueueFault(EndpointStatusPage, Fault{Kind: FaultGarbage})); err != nil {
		t.Fatal(err)
	}
	req, _ := http.NewRequest("POST", h.RevokeURL(), strings.NewReader("token="+g.RefreshToken))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("id", "secret")
	if a := h.must(req); a.status != 503 {
		t.Errorf("revoke: %d", a.status)
	}
	h.wantInfo(g.AccessToken, 200)
	req, _ = http.NewRequest("GET", h.URL()+"/api/v2/status.json", nil)
	if a := h.must(req); a.status != 200 || !strings.Contains(a.body, "<html>") {
		t.Errorf("status: %d %s", a.status, a.body)
	}
}

func TestCloseEndsHangs(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).RefreshToken
	gate := h.Hold(EndpointToken, "")
	done := make(chan error, 1)
	go func() {
		_, err := h.do(h.tokenRequest(refreshForm(token)))
		done <- err
	}()
	<-gate.Arrived()
	h.Close()
	if <-done == nil {
		t.Error("answered")
	}
}
