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
	"net/http"
	"strconv"
	"strings"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
)

const (
	whoUser     = "You"
	whoNobody   = "Nobody has to"
	whoOperator = "The person who runs the app"
	whoProxy    = "The person who runs this proxy"
)

// codeWords say to a human why a code was refused, who can repair it, and how.
var codeWords = map[grant.CodeCause]struct{ what, who, do string }{
	grant.CodeUsed: {
		"The code was already used.",
		whoUser,
		"Go back to the app and start again, in one browser window. If it happens again, another program also receives the callback, " +
			"or something between %s and this proxy sends requests twice: the person who runs the app must find it.",
	},
	grant.CodeUsedHere: {
		"This proxy has used the code before.",
		whoUser,
		"If the app says that the company is connected, nothing is left to do. Otherwise go back to the app and start again, in one browser window.",
	},
	grant.CodeExpired: {
		"The code was too old.",
		whoUser,
		"Go back to the app and start again, and do not pause on the way.",
	},
	grant.CodeRedirectURL: {
		"The redirect URL is not the one that the code is for, or it is not registered any more.",
		whoOperator,
		"Compare redirect_url with the redirect URIs that are registered for these keys at %s, letter by letter: " +
			"scheme, host, port, path, no query. Development and production keys have a list each.",
	},
	grant.CodeRedirectChanged: {
		"The redirect URL was changed while you signed in.",
		whoUser,
		"Go back to the app and start again. If it happens again, the person who runs the app must compare redirect_url with the " +
			"redirect URIs that are registered at %s.",
	},
	grant.CodeOtherClient: {
		"The code is for another client ID.",
		whoOperator,
		"Compare client_id, client_secret and environment with the app's keys at %s. Both must be of one pair: development keys belong " +
			"to environment sandbox, production keys to production.",
	},
}

// codePage makes the page for a code that the provider refused, and returns its
// status.
func codePage(page *pages.Page, r grant.Result, title string) int {
	names := make([]string, len(r.Causes))
	cases := make([]pages.Case, 0, len(r.Causes))
	for i, cause := range r.Causes {
		names[i] = string(cause)
		if words, ok := codeWords[cause]; ok {
			cases = append(cases, pages.Case{What: words.what, Who: words.who, Do: named(words.do, title)})
		}
	}
	name, refusal := "cause", "invalid_grant"
	page.Lead, page.Cases = title+" refused the code of this sign-in.", cases
	switch {
	case len(cases) == 1 && r.Causes[0] == grant.CodeUsedHere:
		refusal = ""
		page.Lead = "The code of this sign-in was not sent to " + title + " a second time: that could end the connection it made."
	case len(cases) != 1:
		name = "possible_causes"
		page.Lead = title + " refused the code of this sign-in, and does not say why."
		page.Detail = []string{"Start again first. If it happens again, it is one of these, the most likely first. " +
			"This proxy had not used the code before, and named the same redirect URL and client ID as when it asked for it."}
	}
	page.Technical = append(page.Technical, pages.Field{Name: "provider_error", Value: refusal},
		pages.Field{Name: name, Value: strings.Join(names, ", ")})
	if r.CodeAge > 0 {
		page.Technical = append(page.Technical, pages.Field{Name: "code_age_at_most", Value: strconv.FormatInt(r.CodeAge, 10) + " s"})
	}
	return http.StatusBadGateway
}
