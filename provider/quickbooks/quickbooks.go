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

// Package quickbooks holds all that is Intuit's own: the addresses, the
// grammar of a request target, what a 401 means, and how a company is proven.
package quickbooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
)

// The environments. Intuit's authorize, token and revoke addresses are the
// same in both: which one a token is for is decided by the key pair.
const (
	Production = "production"
	Sandbox    = "sandbox"
)

// The APIs, by their names in provider.Endpoints.APIs.
const (
	Accounting = ""
	Payments   = "payments"
	GraphQL    = "graphql"
	UserInfo   = "userinfo"
)

// maxLifetime is the longest lifetime that is believed. Intuit ends every
// authorization after five years.
const maxLifetime = 10 * 365 * 24 * time.Hour

// maxName is how much of a company's name is kept, in characters.
const maxName = 200

// Provider is Intuit QuickBooks Online.
type Provider struct{}

// CaddyModule implements caddy.Module.
func (Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "freshbearer.providers.quickbooks",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Title implements provider.Provider.
func (Provider) Title() string { return "QuickBooks" }

// Limits implements provider.Provider. 500 requests a minute, 10 a second, and
// 60 seconds to wait after a 429 are what Intuit documents ("Limits and
// throttles"). 10 at once it announced in 2016 and has not taken back
// (reference/intuit.md §5.7).
func (Provider) Limits() provider.Limits {
	return provider.Limits{PerMinute: 500, PerSecond: 10, AtOnce: 10, RetryAfter: time.Minute}
}

// DescribeScope implements provider.Provider (reference: Intuit, "Learn about
// scopes").
func (Provider) DescribeScope(scope string) string {
	if words, ok := scopeWords[scope]; ok {
		return words
	}
	return scope
}

var scopeWords = map[string]string{
	"com.intuit.quickbooks.accounting": "Accounting: read and change the company's books, such as customers, invoices and reports",
	"com.intuit.quickbooks.payment":    "Payments: charge cards and bank accounts for the company",
	"openid":                           "Sign-in: know who you are at Intuit",
	"profile":                          "Your name",
	"email":                            "Your e-mail address",
	"phone":                            "Your phone number",
	"address":                          "Your address",
}

// Environments implements provider.Provider.
func (Provider) Environments() []string { return []string{Production, Sandbox} }

// Endpoints implements provider.Provider. They are those of Intuit's discovery
// documents; an environment that Environments does not list has none.
func (Provider) Endpoints(environment string) provider.Endpoints {
	endpoints := provider.Endpoints{
		AuthorizeURL: "https://appcenter.intuit.com/connect/oauth2",
		TokenURL:     "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer",
		RevokeURL:    "https://developer.api.intuit.com/v2/oauth2/tokens/revoke",
		Issuer:       "https://oauth.platform.intuit.com/op/v1",
		StatusPage:   "https://status.developer.intuit.com",
	}
	switch environment {
	case Production:
		endpoints.DiscoveryURL = "https://developer.api.intuit.com/.well-known/openid_configuration"
		endpoints.APIs = map[string]string{
			Accounting: "https://quickbooks.api.intuit.com",
			Payments:   "https://api.intuit.com",
			GraphQL:    "https://qb.api.intuit.com",
			UserInfo:   "https://accounts.platform.intuit.com",
		}
	case Sandbox:
		endpoints.DiscoveryURL = "https://developer.api.intuit.com/.well-known/openid_sandbox_configuration"
		endpoints.APIs = map[string]string{
			Accounting: "https://sandbox-quickbooks.api.intuit.com",
			Payments:   "https://sandbox.api.intuit.com",
			GraphQL:    "https://qb-sandbox.api.intuit.com",
			UserInfo:   "https://sandbox-accounts.platform.intuit.com",
		}
	default:
		return provider.Endpoints{}
	}
	return endpoints
}

// ValidConnection implements provider.Provider: a realm ID is 1 to 20 digits.
// It is a text, not a number: 01 and 1 are two.
func (Provider) ValidConnection(id string) bool {
	return len(id) <= maxRealm && id != "" && digits(id) == len(id)
}

// TokenHeader implements provider.Provider. The field makes Intuit tell when
// the authorization ends for good.
func (Provider) TokenHeader() http.Header {
	return http.Header{"X-Include-Refresh-Token-Hard-Expires-In": {"true"}}
}

// Lifetimes implements provider.Provider.
func (Provider) Lifetimes(extra func(member string) any) provider.Lifetimes {
	return provider.Lifetimes{
		Refresh:       seconds(extra("x_refresh_token_expires_in")),
		Authorization: seconds(extra("x_refresh_token_hard_expires_in")),
	}
}

func seconds(value any) time.Duration {
	var number float64
	switch value := value.(type) {
	case float64:
		number = value
	case int64:
		number = float64(value)
	case json.Number:
		number, _ = value.Float64()
	case string:
		number, _ = strconv.ParseFloat(value, 64)
	}
	if math.IsNaN(number) || number <= 0 || number > maxLifetime.Seconds() {
		return 0
	}
	return time.Duration(number * float64(time.Second))
}

// OtherClient implements provider.Provider. Intuit says "Incorrect Token type
// or clientID" for a token of another app, and of this app's other keys.
func (Provider) OtherClient(description string) bool {
	return strings.Contains(strings.ToLower(description), "clientid")
}

// TraceID implements provider.Provider: the id that Intuit's support asks for.
func (Provider) TraceID(header http.Header) string {
	id := header.Get("intuit_tid")
	if len(id) > 128 {
		return ""
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' && c != '=' && c != ':' {
			return ""
		}
	}
	return id
}

// CallbackConnection implements provider.Provider.
func (p Provider) CallbackConnection(query url.Values) (string, error) {
	realms := query["realmId"]
	switch {
	case len(realms) == 0:
		return "", errors.New("the callback names no realmId: was a QuickBooks scope asked for?")
	case len(realms) > 1:
		return "", errors.New("the callback names more than one realmId")
	case !p.ValidConnection(realms[0]):
		return "", errors.New("the callback's realmId is not 1 to 20 digits")
	}
	return realms[0], nil
}

// AccountRequest implements provider.Provider: the company's own record, which
// a token of another company is refused with code 100.
func (p Provider) AccountRequest(api *url.URL, connection string) (*http.Request, error) {
	if !p.ValidConnection(connection) {
		return nil, errors.New("a realm ID is 1 to 20 digits")
	}
	target := *api
	target.Path = strings.TrimRight(api.Path, "/") + "/v3/company/" + connection + "/companyinfo/" + connection
	target.RawPath = ""
	target.RawQuery = "minorversion=75"
	request, err := http.NewRequest(http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("making the company info request: %w", err)
	}
	request.Header.Set("Accept", "application/json")
	return request, nil
}

// AccountName implements provider.Provider: at most 200 printable characters.
// A company without a name gives "".
func (Provider) AccountName(body []byte) (string, error) {
	var answer struct {
		CompanyInfo *struct {
			CompanyName string
		}
	}
	// The error of encoding/json quotes the body.
	if json.Unmarshal(body, &answer) != nil || answer.CompanyInfo == nil {
		return "", errors.New("the answer is no company info")
	}
	name := make([]rune, 0, maxName)
	for _, r := range strings.TrimSpace(answer.CompanyInfo.CompanyName) {
		if len(name) == maxName {
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		name = append(name, r)
	}
	return strings.TrimSpace(string(name)), nil
}

// RevokeRequest implements provider.Provider. Intuit takes a JSON body where
// RFC 7009 has a form; revoking either token ends the whole grant.
func (Provider) RevokeRequest(revokeURL string, token secret.String) (*http.Request, error) {
	body, err := json.Marshal(map[string]string{"token": token.Reveal()})
	if err != nil {
		return nil, errors.New("the token cannot be written as JSON")
	}
	request, err := http.NewRequest(http.MethodPost, revokeURL, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making the revocation request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	return request, nil
}

// Interface guards
var (
	_ provider.Provider = Provider{}
	_ caddy.Module      = Provider{}
)
