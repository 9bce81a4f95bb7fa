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
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshbearer/freshbearer/provider"
)

const (
	// certificateSoon is when a certificate's end is worth a warning: most are
	// renewed weeks before.
	certificateSoon = 7 * 24 * time.Hour
	// skewWarning and skewFault are how far clocks may be apart. A minute is
	// what the keeper allows for; in five, tokens end before anybody expects.
	skewWarning = time.Minute
	skewFault   = 5 * time.Minute
)

// endpoint is a server of the provider's and what it is needed for.
type endpoint struct {
	// host names it in the report, address is what is asked.
	host, address string
	settings      []string
	// needed tells that nothing works without it.
	needed bool
}

// endpointList returns the servers of an integration, each once.
func (in *Integration) endpointList() []endpoint {
	e := in.client.Endpoints
	var list []endpoint
	// Those that are needed come first, so that they decide for their host.
	add := func(setting, address string, needed bool) {
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			return
		}
		if i := slices.IndexFunc(list, func(other endpoint) bool { return other.host == u.Host }); i >= 0 {
			list[i].settings = append(list[i].settings, setting)
			return
		}
		list = append(list, endpoint{u.Host, address, []string{setting}, needed})
	}
	add("authorize", e.AuthorizeURL, true)
	add("token", e.TokenURL, true)
	add("revoke", e.RevokeURL, true)
	add("API", e.APIs[""], true)
	for _, name := range slices.Sorted(maps.Keys(e.APIs)) {
		if name != "" {
			add(name+" API", e.APIs[name], false)
		}
	}
	return list
}

// reached is what came of asking an endpoint.
type reached struct {
	endpoint
	provider.Reached
	err error
}

// askProvider makes the checks of one integration that need the network, all
// at once.
func (d *doctor) askProvider(ctx context.Context, in *Integration, r *report) {
	endpoints := in.endpointList()
	answers := make([]reached, len(endpoints))
	var (
		discovery report
		client    finding
		status    finding
		asked     sync.WaitGroup
	)
	for i, e := range endpoints {
		asked.Go(func() {
			answers[i].endpoint = e
			answers[i].Reached, answers[i].err = in.client.Reach(ctx, e.address)
		})
	}
	asked.Go(func() { checkDiscovery(ctx, in, &discovery) })
	asked.Go(func() { client = checkClient(in, in.client.CheckClient(ctx)) })
	asked.Go(func() { status = checkStatusPage(ctx, in) })
	asked.Wait()
	for _, a := range answers {
		r.add(d.checkEndpoint(in, a))
	}
	r.add(discovery.Findings...)
	r.NotRun = append(r.NotRun, discovery.NotRun...)
	r.add(client)
	d.checkClock(in, answers, r)
	r.add(status)
}

func (d *doctor) checkEndpoint(in *Integration, a reached) finding {
	const check = "endpoint"
	subject := in.name + " " + a.host
	used := " (" + strings.Join(a.settings, ", ") + ")"
	if a.err != nil {
		bad, repair := warning, "only requests to this API fail; let this machine make connections to "+a.host
		if a.needed {
			bad, repair = fault, "let this machine make connections to "+a.host+"; proxies that the environment names are not used"
		}
		switch {
		case errors.Is(a.err, provider.ErrNoSuchHost):
			repair = "check the address, and how this machine resolves names"
		case errors.Is(a.err, provider.ErrCertificate):
			repair = "check this machine's clock and its CA certificates; who inspects TLS on the way must be among them, or be switched off"
		}
		return bad(check, subject, "cannot be reached"+used+": "+reason(a.err), repair)
	}
	if a.Status >= 500 {
		return warning(check, subject, fmt.Sprintf("answers %d%s", a.Status, used), "wait; the check status_page may tell more")
	}
	if a.CertificateEnds.IsZero() {
		return fine(check, subject, "answers, without TLS%s", used)
	}
	left := a.CertificateEnds.Sub(d.now())
	if left < certificateSoon {
		return warning(check, subject, fmt.Sprintf("its certificate ends in %s%s", days(left), used),
			"whoever runs this server must renew it")
	}
	return fine(check, subject, "answers, with a certificate for %s more%s", days(left), used)
}

// reason is the text of an error without what was tried, which the finding
// says itself.
func reason(err error) string {
	if failed, ok := errors.AsType[*provider.RequestError](err); ok {
		err = failed.Err
	}
	return err.Error()
}

// days writes a time to come, or one that has passed, in whole days.
func days(d time.Duration) string {
	n := int(d / (24 * time.Hour))
	if n == 1 || n == -1 {
		return fmt.Sprintf("%d day", n)
	}
	return fmt.Sprintf("%d days", n)
}

// checkDiscovery compares the addresses in use with what the provider says.
func checkDiscovery(ctx context.Context, in *Integration, r *report) {
	const check = "discovery"
	at := in.client.Endpoints.DiscoveryURL
	document, err := in.client.Discovery(ctx)
	switch {
	case errors.Is(err, provider.ErrNoDiscovery) && (at == "" || in.TokenURL != ""):
		r.skip(check, in.name, "the server of token_url has no discovery document")
		return
	case err != nil:
		r.add(warning(check, in.name, at+" cannot be read: "+reason(err), "run the doctor again later"))
		return
	}
	e := in.client.Endpoints
	agreed := true
	for _, compared := range []struct{ setting, used, documented, override string }{
		{"authorize_url", e.AuthorizeURL, document.AuthorizeURL, in.AuthorizeURL},
		{"token_url", e.TokenURL, document.TokenURL, in.TokenURL},
		{"revoke_url", e.RevokeURL, document.RevokeURL, in.RevokeURL},
	} {
		if compared.documented == "" || sameAddress(compared.used, compared.documented) {
			continue
		}
		agreed = false
		repair := "remove " + compared.setting + ", unless this is a test"
		if compared.override == "" {
			repair = "if this build is the newest, set " + compared.setting + " " + compared.documented
		}
		r.add(warning(check, in.name,
			fmt.Sprintf("%s is %s, but %s says %s", compared.setting, compared.used, at, compared.documented), repair))
	}
	if agreed {
		r.add(fine(check, in.name, "%s agrees with the addresses in use", at))
	}
}

// sameAddress compares two URLs as servers do.
func sameAddress(a, b string) bool {
	u, err := url.Parse(a)
	v, err2 := url.Parse(b)
	if err != nil || err2 != nil {
		return a == b
	}
	return originOf(u) == originOf(v) && strings.TrimSuffix(u.Path, "/") == strings.TrimSuffix(v.Path, "/") && u.RawQuery == v.RawQuery
}

// checkClient reads what the provider says to the client's credentials.
func checkClient(in *Integration, err error) finding {
	const check = "client"
	title := in.provider.Title()
	refused, ok := errors.AsType[*provider.TokenError](err)
	switch {
	case err == nil:
		return fine(check, in.name, "%s knows client_id and client_secret", title)
	case ok && refused.Outcome == provider.OutcomeClientRefused:
		return fault(check, in.name, fmt.Sprintf("%s refuses client_id and client_secret (%s)", title, refused.Code),
			fmt.Sprintf("copy both again from the keys of the %s environment in the provider's portal, without spaces, and run: caddy reload --force",
				in.Environment))
	}
	return warning(check, in.name, "whether client_id and client_secret are right cannot be told: "+err.Error(), "run the doctor again later")
}

// checkClock compares this machine's clock with those of the provider.
func (d *doctor) checkClock(in *Integration, answers []reached, r *report) {
	const check = "clock"
	var worst reached
	dated := false
	for _, a := range answers {
		if a.err != nil || !a.Dated {
			continue
		}
		if !dated || a.Skew.Abs() > worst.Skew.Abs() {
			worst, dated = a, true
		}
	}
	if !dated {
		r.skip(check, in.name, "no answer of the provider told the time")
		return
	}
	off := worst.Skew.Abs()
	if off <= skewWarning {
		r.add(fine(check, in.name, "agrees with the provider's, to the minute"))
		return
	}
	direction := "behind"
	if worst.Skew < 0 {
		direction = "ahead of"
	}
	f := warning(check, in.name, fmt.Sprintf("this machine's clock is %s %s that of %s", off.Round(time.Second), direction, worst.host),
		"set the clock, and keep it set with a time service (NTP)")
	if off > skewFault {
		f.Level = levelFault
	}
	r.add(f)
}

func checkStatusPage(ctx context.Context, in *Integration) finding {
	const check = "status_page"
	address := in.client.Endpoints.StatusPage
	if address == "" {
		return fine(check, in.name, "off")
	}
	incident, err := (&provider.StatusPage{URL: address, Named: in.client.Endpoints.Named}).Incident(ctx)
	switch {
	case err != nil:
		return warning(check, in.name, address+" cannot be read: "+err.Error(),
			"without it an outage is only known by its effects; check status_page, or set it off")
	case incident != nil:
		return warning(check, in.name, "the provider has an incident: "+incident.Name+" ("+incident.URL+")",
			"wait; grants that are refused meanwhile are not taken for dead")
	}
	return fine(check, in.name, "no incident at %s", address)
}
