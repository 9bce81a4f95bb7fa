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

package quickbooks

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
)

// openIDScopes ask for no company: without another one, the callback names no
// realm.
var openIDScopes = []string{"openid", "profile", "email", "phone", "address", "intuit_name"}

// companyScopes are the others that Intuit's SDKs know.
var companyScopes = []string{
	"com.intuit.quickbooks.accounting",
	"com.intuit.quickbooks.payment",
	"com.intuit.quickbooks.payroll",
	"com.intuit.quickbooks.payroll.timetracking",
	"com.intuit.quickbooks.payroll.benefits",
	"com.intuit.quickbooks.payroll.payslip.read",
	"project-management.project",
	"payroll.compensation.read",
	"app-foundations.custom-dimensions.read",
	"app-foundations.custom-field-definitions",
	"app-foundations.custom-field-definitions.read",
	"time-tracking.time-entry",
	"indirect-tax.tax-calculation.quickbooks",
}

// keyPairs are Intuit's names of the key pairs of the environments.
var keyPairs = map[string]string{Production: "Production", Sandbox: "Development"}

// UnknownRefreshToken implements provider.Provider. The digits are when a
// token ends: this one ended in 1970.
func (Provider) UnknownRefreshToken() secret.String {
	return secret.New("RT1-00-H0-0000000000freshbearerdoctor")
}

// Examine implements provider.Provider, by Intuit's rules for redirect URIs
// ("Set redirect URIs"), which the portal lists for each key pair apart, and
// what is known of its hosts and scopes.
func (p Provider) Examine(r provider.Registration) []provider.Advice {
	var found []provider.Advice
	found = append(found, p.examineRedirect(r)...)
	found = append(found, p.examineEnvironment(r)...)
	return append(found, p.examineScopes(r)...)
}

func (Provider) examineRedirect(r provider.Registration) []provider.Advice {
	advise := func(fault bool, message, repair string) []provider.Advice {
		return []provider.Advice{{About: provider.AboutRedirectURL, Fault: fault, Message: message, Repair: repair}}
	}
	host := r.RedirectURL.Hostname()
	local := isLocal(host)
	const public = "use the https address by which browsers reach the proxy, with a host name, and register exactly that; " +
		"for a test on this machine use environment sandbox with development keys and http://localhost"
	switch {
	case r.RedirectURL.RawQuery != "":
		return advise(true, "Intuit takes no redirect URI with a query", "leave the query out")
	case r.Environment == Production && local:
		return advise(true, "Intuit takes no localhost for production keys", public)
	case net.ParseIP(host) != nil && r.Environment == Production:
		return advise(true, "Intuit takes no IP address in a redirect URI of production keys", public)
	case r.Environment == Production && r.RedirectURL.Scheme != "https":
		return advise(true, "Intuit takes only https for production keys", public)
	case net.ParseIP(host) != nil:
		return advise(false, "Intuit documents no redirect URI with an IP address",
			"if the portal refuses it, use http://localhost with the same port and path")
	case local && r.RedirectURL.Scheme == "https":
		return advise(false, "https://localhost has been reported not to work at Intuit", "use http://localhost")
	}
	return nil
}

// isLocal tells whether a host name is this machine's own.
func isLocal(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

func (p Provider) examineEnvironment(r provider.Registration) []provider.Advice {
	api, err := url.Parse(r.APIs[Accounting])
	if err != nil {
		return nil
	}
	for _, other := range p.Environments() {
		if other == r.Environment {
			continue
		}
		for _, origin := range p.Endpoints(other).APIs {
			if u, err := url.Parse(origin); err == nil && strings.EqualFold(u.Hostname(), api.Hostname()) {
				return []provider.Advice{{
					About: provider.AboutEnvironment, Fault: true,
					Message: fmt.Sprintf("the environment is %s, but api_url %s is the host of %s: Intuit refuses the tokens of one in the other",
						r.Environment, r.APIs[Accounting], other),
					Repair: fmt.Sprintf("remove api_url, or set environment %s and use the %s keys", other, keyPairs[other]),
				}}
			}
		}
	}
	return nil
}

func (Provider) examineScopes(r provider.Registration) []provider.Advice {
	var found []provider.Advice
	company := false
	for _, scope := range r.Scopes {
		switch {
		case slices.Contains(companyScopes, scope):
			company = true
		case !slices.Contains(openIDScopes, scope):
			company = true // who knows
			found = append(found, provider.Advice{
				About:   provider.AboutScopes,
				Message: fmt.Sprintf("%q is no scope that is known of Intuit", scope),
				Repair:  "compare it with the scopes in Intuit's portal; for accounting it is com.intuit.quickbooks.accounting",
			})
		}
	}
	if !company {
		found = append(found, provider.Advice{
			About: provider.AboutScopes, Fault: true,
			Message: "none of the scopes is about a company, so Intuit names none in its callback, and none can be connected",
			Repair:  "add com.intuit.quickbooks.accounting",
		})
	}
	return found
}
