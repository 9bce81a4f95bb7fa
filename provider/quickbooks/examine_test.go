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
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/provider"
)

func TestExamine(t *testing.T) {
	const accounting = "com.intuit.quickbooks.accounting"
	for name, c := range map[string]struct {
		environment, redirect, scopes, api string
		// want is what it is about, with a ! for a fault; text is in its message.
		want, text string
	}{
		"production":              {Production, "https://qb.example.com/oauth/callback", accounting, "", "", ""},
		"sandbox":                 {Sandbox, "http://localhost:8080/oauth/callback", accounting + " openid", "", "", ""},
		"sandbox, public":         {Sandbox, "https://qb.example.com/oauth/callback", accounting, "", "", ""},
		"production on localhost": {Production, "http://localhost:8080/oauth/callback", accounting, "", "!redirect_url", "localhost"},
		"below localhost":         {Production, "https://qb.localhost./oauth/callback", accounting, "", "!redirect_url", "localhost"},
		"production on loopback":  {Production, "http://127.0.0.1/oauth/callback", accounting, "", "!redirect_url", "localhost"},
		"production by IP":        {Production, "https://192.0.2.1/oauth/callback", accounting, "", "!redirect_url", "IP address"},
		"production by IPv6":      {Production, "https://[2001:db8::1]/oauth/callback", accounting, "", "!redirect_url", "IP address"},
		"production, clear text":  {Production, "http://qb.example.com/oauth/callback", accounting, "", "!redirect_url", "only https"},
		"a query":                 {Sandbox, "http://localhost/oauth/callback?a=b", accounting, "", "!redirect_url", "query"},
		"sandbox by IP":           {Sandbox, "http://127.0.0.1:8080/oauth/callback", accounting, "", "redirect_url", "IP address"},
		"sandbox, https":          {Sandbox, "https://localhost/oauth/callback", accounting, "", "redirect_url", "https://localhost"},
		"production, sandbox API": {Production, "https://qb.example.com/oauth/callback", accounting, "https://Sandbox-quickbooks.api.intuit.com", "!environment", "host of sandbox"},
		"sandbox, production API": {Sandbox, "http://localhost/oauth/callback", accounting, "https://quickbooks.api.intuit.com", "!environment", "host of production"},
		"another API":             {Sandbox, "http://localhost/oauth/callback", accounting, "https://api.example.com", "", ""},
		"a scope of nobody's":     {Production, "https://qb.example.com/oauth/callback", "com.intuit.quickbooks.acounting", "", "scopes", "acounting"},
		"two in one":              {Production, "https://qb.example.com/oauth/callback", accounting + ",openid", "", "scopes", "openid"},
		"no company":              {Production, "https://qb.example.com/oauth/callback", "openid email", "", "!scopes", "about a company"},
	} {
		t.Run(name, func(t *testing.T) {
			redirect, err := url.Parse(c.redirect)
			if err != nil {
				t.Fatal(err)
			}
			apis := Provider{}.Endpoints(c.environment).APIs
			if c.api != "" {
				apis[Accounting] = c.api
			}
			var got, texts []string
			for _, a := range (Provider{}).Examine(provider.Registration{
				Environment: c.environment, RedirectURL: redirect, Scopes: strings.Fields(c.scopes), APIs: apis,
			}) {
				about := a.About
				if a.Fault {
					about = "!" + about
				}
				got, texts = append(got, about), append(texts, a.Message)
				if a.Repair == "" {
					t.Errorf("%s has no repair", about)
				}
			}
			if strings.Join(got, " ") != c.want || !strings.Contains(strings.Join(texts, " "), c.text) {
				t.Errorf("found %q: %q, want %q about %q", got, texts, c.want, c.text)
			}
		})
	}
}

func TestUnknownRefreshToken(t *testing.T) {
	token := Provider{}.UnknownRefreshToken().Reveal()
	if !regexp.MustCompile(`^RT1-\d+-H\d-\d{10}[a-z0-9]+$`).MatchString(token) || len(token) > 512 {
		t.Errorf("%q has not the form of Intuit's", token)
	}
}
