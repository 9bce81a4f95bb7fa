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

package freshbearer

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/provider"
)

// integrationOf returns an integration that talks to a server at origin.
func integrationOf(t *testing.T, origin string) *Integration {
	t.Helper()
	provisionEnv(t)
	d := patient(t, withChange(t, "scopes com", fmt.Sprintf(
		"authorize_url %[1]s/connect/oauth2\n\t\t\ttoken_url %[1]s/oauth2/v1/tokens/bearer\n\t\t\trevoke_url %[1]s/v2/oauth2/tokens/revoke\n\t\t\tapi_url %[1]s\n\t\t\tstatus_page %[1]s\n\t\t\tscopes com", origin)))
	in := d.app.Integrations["quickbooks"]
	in.client.ClientID = intuittest.DefaultClientID
	return in
}

func TestDoctorEndpoint(t *testing.T) {
	in, d := &Integration{name: "quickbooks"}, &doctor{now: func() time.Time { return doctorNow }}
	failed := func(err error) error { return &provider.RequestError{Request: "reach", Err: err} }
	api, token := endpoint{"api.example.com", "", []string{"payments API"}, false}, endpoint{"api.example.com", "", []string{"token", "revoke"}, true}
	for name, c := range map[string]struct {
		reached reached
		want    string
	}{
		"well":               {reached{token, provider.Reached{Status: 404, CertificateEnds: doctorNow.Add(90*24*time.Hour + time.Hour)}, nil}, "ok endpoint quickbooks api.example.com: answers, with a certificate for 90 days more (token, revoke)"},
		"without TLS":        {reached{token, provider.Reached{Status: 200}, nil}, "ok endpoint quickbooks api.example.com: answers, without TLS"},
		"down":               {reached{token, provider.Reached{Status: 503}, nil}, "warning endpoint quickbooks api.example.com: answers 503"},
		"ends soon":          {reached{token, provider.Reached{Status: 200, CertificateEnds: doctorNow.Add(6 * 24 * time.Hour)}, nil}, "warning endpoint quickbooks api.example.com: ends in 6 days"},
		"refused":            {reached{token, provider.Reached{}, failed(errors.New("connection refused"))}, "fault endpoint quickbooks api.example.com: cannot be reached (token, revoke): connection refused"},
		"refused, by an API": {reached{api, provider.Reached{}, failed(errors.New("connection refused"))}, "warning endpoint quickbooks api.example.com: cannot be reached (payments API): connection refused"},
	} {
		t.Run(name, func(t *testing.T) { want(t, []finding{d.checkEndpoint(in, c.reached)}, c.want) })
	}
	for _, c := range []struct {
		err    error
		repair string
	}{
		{provider.ErrNoSuchHost, "resolves names"}, {provider.ErrCertificate, "CA certificates"}, {errors.New("timeout"), "proxies that the environment names are not used"},
	} {
		if f := d.checkEndpoint(in, reached{token, provider.Reached{}, failed(c.err)}); !strings.Contains(f.Repair, c.repair) {
			t.Errorf("%v: repair %q", c.err, f.Repair)
		}
	}
}

func TestDoctorEndpointList(t *testing.T) {
	provisionEnv(t)
	in := patient(t, provisionCaddyfile).app.Integrations["quickbooks"]
	var got []string
	for _, e := range in.endpointList() {
		got = append(got, fmt.Sprintf("%s%v%v", e.host, e.settings, e.needed))
	}
	const wanted = "appcenter.intuit.com[authorize]true oauth.platform.intuit.com[token]true developer.api.intuit.com[revoke]true " +
		"quickbooks.api.intuit.com[API]true qb.api.intuit.com[graphql API]false api.intuit.com[payments API]false accounts.platform.intuit.com[userinfo API]false"
	if strings.Join(got, " ") != wanted {
		t.Errorf("%q", got)
	}
}

func TestDoctorClient(t *testing.T) {
	in := integrationOf(t, "http://127.0.0.1:1")
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"well":    {nil, "ok client quickbooks: QuickBooks knows"},
		"refused": {&provider.TokenError{Outcome: provider.OutcomeClientRefused, Code: "invalid_client"}, "fault client quickbooks: refuses client_id and client_secret (invalid_client)"},
		"down":    {&provider.TokenError{Outcome: provider.OutcomeUnknown, Status: 503}, "warning client quickbooks: cannot be told"},
		"strange": {errors.New("strange"), "warning client quickbooks: cannot be told: strange"},
	} {
		t.Run(name, func(t *testing.T) { want(t, []finding{checkClient(in, c.err)}, c.want) })
	}
}

func TestDoctorClock(t *testing.T) {
	in, d := &Integration{name: "quickbooks"}, new(doctor)
	at := func(host string, skew time.Duration, dated bool, err error) reached {
		return reached{endpoint{host: host}, provider.Reached{Skew: skew, Dated: dated}, err}
	}
	for name, c := range map[string]struct {
		answers []reached
		want    string
	}{
		"well":           {[]reached{at("a", time.Minute, true, nil), at("b", -time.Minute, true, nil)}, "ok clock quickbooks: agrees"},
		"slow":           {[]reached{at("a", 0, true, nil), at("b", 61*time.Second, true, nil)}, "warning clock quickbooks: 1m1s behind that of b"},
		"fast":           {[]reached{at("a", -5*time.Minute, true, nil), at("b", 0, true, nil)}, "warning clock quickbooks: 5m0s ahead of that of a"},
		"wrong":          {[]reached{at("a", -301*time.Second, true, nil)}, "fault clock quickbooks: 5m1s ahead of that of a"},
		"not dated":      {[]reached{at("a", time.Hour, false, nil), at("b", 0, true, nil)}, "ok clock quickbooks: agrees"},
		"nobody said it": {[]reached{at("a", time.Hour, false, nil), at("b", time.Hour, true, errors.New("down"))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var r report
			d.checkClock(in, c.answers, &r)
			if c.want == "" {
				if len(r.Findings) != 0 || len(r.NotRun) != 1 {
					t.Errorf("%+v", r)
				}
				return
			}
			want(t, r.Findings, c.want)
		})
	}
}

func TestDoctorDiscovery(t *testing.T) {
	var body atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid_configuration" || *body.Load() == "" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(*body.Load()))
	}))
	t.Cleanup(server.Close)
	document := func(authorize, token, revoke string) string {
		return fmt.Sprintf(`{"authorization_endpoint":%q,"token_endpoint":%q,"revocation_endpoint":%q}`, authorize, token, revoke)
	}
	const a, tok, r = "/connect/oauth2", "/oauth2/v1/tokens/bearer", "/v2/oauth2/tokens/revoke"
	in := integrationOf(t, server.URL)
	for name, c := range map[string]struct {
		body string
		want []string
	}{
		"agrees":           {document(server.URL+a, server.URL+tok, server.URL+r), []string{"ok discovery quickbooks: agrees"}},
		"but for a slash":  {document(server.URL+a+"/", server.URL+tok, ""), []string{"ok discovery quickbooks: agrees"}},
		"another token":    {document(server.URL+a, server.URL+"/other", server.URL+r), []string{"warning discovery quickbooks: token_url is " + server.URL + tok + ", but"}},
		"all others":       {document(server.URL+"/a", "https://other.example"+tok, server.URL+r+"?a=b"), []string{"warning discovery quickbooks: authorize_url", "warning discovery quickbooks: token_url", "warning discovery quickbooks: revoke_url"}},
		"no document":      {"<html>", []string{"warning discovery quickbooks: cannot be read"}},
		"there is nothing": {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			body.Store(&c.body)
			var got report
			checkDiscovery(t.Context(), in, &got)
			want(t, got.Findings, c.want...)
			if (len(got.NotRun) == 1) != (c.want == nil) {
				t.Errorf("not run: %+v", got.NotRun)
			}
		})
	}
	// The provider's own address is the build's, and then the repair is another.
	agreed := document(server.URL+"/new", server.URL+tok, "")
	body.Store(&agreed)
	in.AuthorizeURL = ""
	var got report
	checkDiscovery(t.Context(), in, &got)
	want(t, got.Findings, "warning discovery quickbooks: authorize_url")
	if repair := got.Findings[0].Repair; !strings.HasSuffix(repair, "set authorize_url "+server.URL+"/new") {
		t.Errorf("repair %q", repair)
	}
	// That the provider itself has no document is strange.
	nothing := ""
	body.Store(&nothing)
	in.TokenURL = ""
	got = report{}
	checkDiscovery(t.Context(), in, &got)
	want(t, got.Findings, "warning discovery quickbooks: cannot be read")
}

func TestDoctorStatusPage(t *testing.T) {
	intuit := intuittest.NewServer(intuittest.Config{})
	t.Cleanup(intuit.Close)
	in := integrationOf(t, intuit.URL())
	want(t, []finding{checkStatusPage(t.Context(), in)}, "ok status_page quickbooks: no incident at "+intuit.URL())
	intuit.OpenIncident()
	want(t, []finding{checkStatusPage(t.Context(), in)}, "warning status_page quickbooks: an incident: Elevated OAuth errors (https://stspg.io/")
	intuit.Close()
	want(t, []finding{checkStatusPage(t.Context(), in)}, "warning status_page quickbooks: cannot be read")
	in.client.Endpoints.StatusPage = ""
	want(t, []finding{checkStatusPage(t.Context(), in)}, "ok status_page quickbooks: off")
}

// All that needs the network, with an Intuit that knows another secret, and
// then with one that is gone.
func TestDoctorAsksProvider(t *testing.T) {
	intuit := intuittest.NewServer(intuittest.Config{})
	t.Cleanup(intuit.Close)
	in := integrationOf(t, intuit.URL())
	d := &doctor{now: time.Now}
	host, err := url.Parse(intuit.URL())
	if err != nil {
		t.Fatal(err)
	}
	var r report
	d.askProvider(t.Context(), in, &r)
	want(t, r.Findings,
		"ok endpoint quickbooks "+host.Host+": answers", "ok discovery quickbooks: agrees",
		"fault client quickbooks: invalid_client", "ok clock quickbooks: agrees", "ok status_page quickbooks: no incident")
	if c := intuit.Counters(); c.Refreshes != 1 || c.RefreshesOK != 0 || c.CodeExchanges != 0 || c.APIRequests != 0 {
		t.Errorf("Intuit was asked %+v", c)
	}

	intuit.Advance(10 * time.Minute)
	r = report{}
	d.askProvider(t.Context(), in, &r)
	want(t, r.Findings[3:4], "fault clock quickbooks: behind that of "+host.Host)

	intuit.Close()
	r = report{}
	d.askProvider(t.Context(), in, &r)
	want(t, r.Findings,
		"fault endpoint quickbooks "+host.Host+": cannot be reached", "warning discovery quickbooks: cannot be read",
		"warning client quickbooks: cannot be told", "warning status_page quickbooks: cannot be read")
	if len(r.NotRun) != 1 || r.NotRun[0].Check != "clock" {
		t.Errorf("not run: %+v", r.NotRun)
	}
}
