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
	"strings"

	"github.com/freshbearer/freshbearer/provider"
)

const (
	maxRealm       = 20
	companyPrefix  = "/v3/company/"
	paymentsPrefix = "/quickbooks/v4"
	graphQLTarget  = "/graphql"
	userInfoTarget = "/v1/openid_connect/userinfo"
	// queryResource takes a long query as the body of a POST.
	queryResource   = "/query"
	wantCompany     = "want /v3/company/<realm ID>/<resource>; "
	wantOneOfTheAPI = "want /v3/company/<realm ID>/<resource>, /quickbooks/v4/<resource>, /graphql or " +
		userInfoTarget + "; "
)

// ParseTarget implements provider.Provider.
//
// The grammar knows exactly the targets that every parser on the way reads
// alike: nothing in the path can be decoded, joined, folded or cut, so the
// realm that is checked here is the realm that Intuit sees.
//
//	target  = path [ "?" *( %x21-22 / %x24-7E ) ]
//	path    = "/v3/company/" 1*20DIGIT 1*( "/" segment )
//	        / "/quickbooks/v4" 1*( "/" segment )
//	        / "/graphql"
//	        / "/v1/openid_connect/userinfo"
//	segment = ( ALPHA / DIGIT / "_" / "~" / "-" ) *( ALPHA / DIGIT / "." / "_" / "~" / "-" )
func (Provider) ParseTarget(target string) (provider.Target, error) {
	path, query, _ := strings.Cut(target, "?")
	if !plainQuery(query) {
		return provider.Target{}, refusal(path, query)
	}
	switch {
	case strings.HasPrefix(path, companyPrefix):
		rest := path[len(companyPrefix):]
		n := digits(rest)
		if n == 0 || n > maxRealm || !segments(rest[n:]) {
			break
		}
		return provider.Target{Connection: rest[:n], API: Accounting, Resource: rest[n:], Query: rest[n:] == queryResource}, nil
	case strings.HasPrefix(path, paymentsPrefix):
		if !segments(path[len(paymentsPrefix):]) {
			break
		}
		return provider.Target{API: Payments, Resource: path}, nil
	case path == graphQLTarget:
		return provider.Target{API: GraphQL, Resource: path}, nil
	case path == userInfoTarget:
		return provider.Target{API: UserInfo, Resource: path}, nil
	}
	return provider.Target{}, refusal(path, query)
}

func plainQuery(query string) bool {
	for i := range len(query) {
		if c := query[i]; c < 0x21 || c > 0x7e || c == '#' {
			return false
		}
	}
	return true
}

// segments tells whether rest is one or more "/" segment.
func segments(rest string) bool {
	if rest == "" {
		return false
	}
	first := false
	for i := range len(rest) {
		switch c := rest[i]; {
		case first:
			if !unreserved(c) || c == '.' {
				return false
			}
			first = false
		case c == '/':
			first = true
		case i == 0 || !unreserved(c):
			return false
		}
	}
	return !first
}

// refusal says what is wrong with a target, in words for the developer of the
// app that sent it. It never repeats the target.
func refusal(path, query string) error {
	reason := func(text string) error { return &provider.TargetError{Reason: text} }
	if !strings.HasPrefix(path, "/") {
		return reason(wantOneOfTheAPI + "the target does not start with a slash (absolute URLs and * are not accepted)")
	}
	if fault := badByte(path); fault != "" {
		return reason(wantOneOfTheAPI + "the path holds " + fault)
	}
	if !plainQuery(query) {
		return reason("the query holds a space, a control character, a non-ASCII character or a number sign: percent-encode it")
	}
	if strings.Contains(path, "//") {
		return reason(wantOneOfTheAPI + "the path holds an empty segment (//)")
	}
	if strings.Contains(path, "/.") {
		return reason(wantOneOfTheAPI + "the path holds a segment that starts with a dot")
	}
	rest, isCompany := strings.CutPrefix(path, companyPrefix)
	if !isCompany {
		if strings.EqualFold(path[:min(len(path), len(companyPrefix))], companyPrefix) {
			return reason(wantCompany + "upper and lower case matter")
		}
		if path != "/" && strings.HasSuffix(path, "/") {
			return reason(wantOneOfTheAPI + "the path ends with a slash")
		}
		return reason(wantOneOfTheAPI + "the path is none of these")
	}
	realm, resource, _ := strings.Cut(rest, "/")
	switch {
	case realm == "":
		return reason(wantCompany + "the realm ID is missing")
	case digits(realm) != len(realm):
		return reason(wantCompany + "the realm ID is not digits only")
	case len(realm) > maxRealm:
		return reason(wantCompany + "the realm ID is longer than 20 digits")
	case resource == "":
		return reason(wantCompany + "there is no resource after the realm ID")
	}
	return reason(wantCompany + "the path ends with a slash")
}

// badByte names the first byte that no path of the grammar holds.
func badByte(path string) string {
	for i := range len(path) {
		switch c := path[i]; {
		case c == '/' || unreserved(c):
		case c == '%':
			return "a percent sign: nothing in it needs encoding"
		case c == '#':
			return "a number sign"
		case c == '\\':
			return "a backslash"
		case c == ';':
			return "a semicolon"
		case c > 0x7e:
			return "a non-ASCII character"
		case c < 0x21:
			return "a space or control character"
		default:
			return "a character other than letters, digits and ._~-"
		}
	}
	return ""
}

// digits counts the ASCII digits at the start of text.
func digits(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// unreserved is RFC 3986 §2.3.
func unreserved(c byte) bool { return unreservedBytes[c] }

var unreservedBytes = func() (set [256]bool) {
	for c := range set {
		set[c] = alphanumeric(byte(c)) || strings.IndexByte("._~-", byte(c)) >= 0
	}
	return set
}()
