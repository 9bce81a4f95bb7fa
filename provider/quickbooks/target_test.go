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
	"errors"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/provider"
)

var goodTargets = []struct {
	target, connection, api string
}{
	{"/v3/company/9130350000000000/companyinfo/9130350000000000", "9130350000000000", Accounting},
	{"/v3/company/1/query?query=select%20*%20from%20Customer&minorversion=75", "1", Accounting},
	{"/v3/company/1/query?query=select+*+from+Customer;x=%", "1", Accounting},
	{"/v3/company/01/invoice/145/pdf", "01", Accounting},
	{"/v3/company/12345678901234567890/cdc", "12345678901234567890", Accounting},
	{"/v3/company/1/reports/ProfitAndLoss", "1", Accounting},
	{"/v3/company/1/invoice?operation=delete", "1", Accounting},
	{"/v3/company/1/download/~x-1_2.pdf", "1", Accounting},
	{"/v3/company/1/batch?", "1", Accounting},
	{"/v3/company/1/batch??a=/v3/company/2/../x", "1", Accounting},
	{"/v3/company/1/x?a=\"<>\\^`{|}~", "1", Accounting},
	{"/v3/company/1/v3/company/2/batch", "1", Accounting},
	{"/quickbooks/v4/payments/charges", "", Payments},
	{"/quickbooks/v4/customers/1/cards?x=1", "", Payments},
	{"/graphql", "", GraphQL},
	{"/graphql?x=1", "", GraphQL},
	{"/v1/openid_connect/userinfo", "", UserInfo},
}

// Each of these is read in two ways by some two programs, or by nobody.
var badTargets = []struct {
	target, reason string
}{
	// Not in origin form.
	{"", "slash"},
	{"*", "slash"},
	{"v3/company/1/batch", "slash"},
	{"https://quickbooks.api.intuit.com/v3/company/1/batch", "slash"},
	{"http://user:pass@evil.example/v3/company/1/batch", "slash"},
	{"//evil.example/v3/company/1/batch", "//"},
	{"quickbooks.api.intuit.com:443", "slash"},
	{"?/v3/company/1/batch", "slash"},
	{" /v3/company/1/batch", "slash"},
	// Dot segments, plain and hidden.
	{"/v3/company/1/../2/batch", "dot"},
	{"/v3/company/1/./batch", "dot"},
	{"/v3/company/../company/1/batch", "dot"},
	{"/v3/company/1/batch/..", "dot"},
	{"/v3/company/1/batch/.", "dot"},
	{"/v3/company/1/..", "dot"},
	{"/v3/company/1/...", "dot"},
	{"/v3/company/1/.hidden", "dot"},
	{"/v3/company/1/..;/2/batch", "semicolon"},
	{"/v3/company/1/%2e%2e/2/batch", "percent"},
	{"/v3/company/1/%2E./2/batch", "percent"},
	{"/v3/company/1/.%2e/2/batch", "percent"},
	{"/v3/company/1%2F..%2F2/batch", "percent"},
	{"/v3/company/1%2f2/batch", "percent"},
	{"/v3/company/1/..%5c2/batch", "percent"},
	{`/v3/company/1/..\2/batch`, "backslash"},
	{`/v3/company/1\..\2/batch`, "backslash"},
	{`\v3\company\1\batch`, "slash"},
	// Encoded characters.
	{"/v3/company/%31/batch", "percent"},
	{"/v3/company/1%00/batch", "percent"},
	{"/v3/company/1%0d%0aX:1/batch", "percent"},
	{"/v3/company/1%3F/batch", "percent"},
	{"/v3/company/1/batch%3Fa=1", "percent"},
	{"/v3/company/1/batch%23", "percent"},
	{"/v3/company/1/a%20b", "percent"},
	{"/v3/company/1%252F2/batch", "percent"},
	{"/v3%2Fcompany/1/batch", "percent"},
	{"/v3/company/1/batch%", "percent"},
	{"/v3/company/1/%u002e%u002e/2", "percent"},
	{"/v3/company/1/%c0%ae%c0%ae/2/batch", "percent"},
	// Empty segments.
	{"//v3//company//1//batch", "//"},
	{"/v3//company/1/batch", "//"},
	{"/v3/company//1/batch", "//"},
	{"/v3/company/1//batch", "//"},
	{"/v3/company/1/batch//", "//"},
	{"/v3/company/1/batch/", "ends with a slash"},
	{"/v3/company/1/", "no resource"},
	{"/v3/company/1", "no resource"},
	{"/v3/company/1?x=/batch", "no resource"},
	{"/v3/company/", "realm ID is missing"},
	{"/v3/company", "none of these"},
	{"/", "none of these"},
	// The realm ID.
	{"/v3/company/123456789012345678901/batch", "20 digits"},
	{"/v3/company/+1/batch", "other than"},
	{"/v3/company/-1/batch", "digits only"},
	{"/v3/company/1a/batch", "digits only"},
	{"/v3/company/a1/batch", "digits only"},
	{"/v3/company/0x1/batch", "digits only"},
	{"/v3/company/1.0/batch", "digits only"},
	{"/v3/company/1,2/batch", "other than"},
	{"/v3/company/1;realm=2/batch", "semicolon"},
	{"/v3/company/1:2/batch", "other than"},
	{"/v3/company/1@2/batch", "other than"},
	{"/v3/company/1 /batch", "space"},
	{"/v3/company/\u0661\u0662/batch", "non-ASCII"},
	{"/v3/company/\uff11/batch", "non-ASCII"},
	{"/v3/company/1\u2215batch", "non-ASCII"},
	{"/v3/company/\xb1/batch", "non-ASCII"},
	{"/v3/company/1\x00/batch", "control"},
	{"/v3/company/1/batch\r\nX-Evil: 1", "control"},
	{"/v3/company/1\t/batch", "control"},
	{"/v3/company/1/batch\x7f", "non-ASCII"},
	// Upper and lower case.
	{"/V3/Company/1/batch", "case"},
	{"/v3/COMPANY/1/batch", "case"},
	{"/Graphql", "none of these"},
	// The number sign: the rest of the line to one, nothing to another.
	{"/v3/company/1/query#/v3/company/2", "number sign"},
	{"/v3/company/1#/batch", "number sign"},
	{"/v3/company/1/query?x=1#/v3/company/2", "query"},
	// The query.
	{"/v3/company/1/query?query=select * from x", "query"},
	{"/v3/company/1/query?query=\x00", "query"},
	{"/v3/company/1/query?query=\r\n", "query"},
	{"/v3/company/1/query?query=\u00e9", "query"},
	{"/v3/company/1/query?query=\x7f", "query"},
	// Other characters, other paths.
	{"/v3/company/1/a*b", "other than"},
	{"/v3/company/1/a'b", "other than"},
	{"/v3/company/1/(a)", "other than"},
	{"/v3/company/1/a&b", "other than"},
	{"/v3/company/1/a=b", "other than"},
	{"/v4/company/1/batch", "none of these"},
	{"/v3/companies/1/batch", "none of these"},
	{"/x/v3/company/1/batch", "none of these"},
	{"/quickbooks/v4", "none of these"},
	{"/quickbooks/v4/", "ends with a slash"},
	{"/quickbooks/v4x/payments", "none of these"},
	{"/quickbooks/v4/../v3/company/1/batch", "dot"},
	{"/quickbooks/v4//charges", "//"},
	{"/graphql/", "ends with a slash"},
	{"/graphql/x", "none of these"},
	{"/graphqlx", "none of these"},
	{"/v1/openid_connect/userinfo/x", "none of these"},
	{"/v1/openid_connect", "none of these"},
}

func TestParseTarget(t *testing.T) {
	for _, c := range goodTargets {
		target, err := Provider{}.ParseTarget(c.target)
		if err != nil || target.Connection != c.connection || target.API != c.api {
			t.Errorf("%q: %+v, %v", c.target, target, err)
		}
	}
	for _, c := range badTargets {
		target, err := Provider{}.ParseTarget(c.target)
		refusal, ok := errors.AsType[*provider.TargetError](err)
		if !ok || target != (provider.Target{}) {
			t.Errorf("%q: %+v, %v", c.target, target, err)
			continue
		}
		if !strings.Contains(refusal.Reason, c.reason) {
			t.Errorf("%q: reason %q, want %q in it", c.target, refusal.Reason, c.reason)
		}
	}
}

func TestParseTargetAllocatesNothing(t *testing.T) {
	for _, c := range goodTargets {
		allocations := testing.AllocsPerRun(100, func() { _, _ = Provider{}.ParseTarget(c.target) })
		if allocations != 0 {
			t.Errorf("%q: %v allocations", c.target, allocations)
		}
	}
}

func BenchmarkParseTarget(b *testing.B) {
	target := goodTargets[1].target
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Provider{}).ParseTarget(target); err != nil {
			b.Fatal(err)
		}
	}
}

var companyGrammar = regexp.MustCompile(`^/v3/company/([0-9]{1,20})(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$`)

// FuzzTarget compares the grammar with parsers that were written by others:
// what is allowed is read alike by all of them.
func FuzzTarget(f *testing.F) {
	for _, c := range goodTargets {
		f.Add(c.target)
	}
	for _, c := range badTargets {
		f.Add(c.target)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		rawPath, rawQuery, _ := strings.Cut(raw, "?")
		match := companyGrammar.FindStringSubmatch(rawPath)
		target, err := Provider{}.ParseTarget(raw)
		if err != nil {
			refusal, ok := errors.AsType[*provider.TargetError](err)
			if !ok || refusal.Reason == "" || target != (provider.Target{}) {
				t.Fatalf("%q: %+v, %v", raw, target, err)
			}
			if match != nil && plainQuery(rawQuery) {
				t.Fatalf("%q fits the grammar and is refused: %v", raw, err)
			}
			return
		}
		parsed, err := url.ParseRequestURI(raw)
		if err != nil {
			t.Fatalf("%q is allowed and net/url refuses it: %v", raw, err)
		}
		if parsed.Path != rawPath || parsed.EscapedPath() != rawPath || parsed.RawQuery != rawQuery || parsed.Host != "" {
			t.Fatalf("%q: net/url reads path %q, query %q", raw, parsed.Path, parsed.RawQuery)
		}
		if path.Clean(rawPath) != rawPath {
			t.Fatalf("%q is not clean: %q", raw, path.Clean(rawPath))
		}
		switch target.API {
		case Accounting:
			if match == nil || match[1] != target.Connection || strings.Split(parsed.Path, "/")[3] != target.Connection {
				t.Fatalf("%q: realm %q, by the grammar %q", raw, target.Connection, match)
			}
		case Payments:
			if target.Connection != "" || !strings.HasPrefix(parsed.Path, "/quickbooks/v4/") {
				t.Fatalf("%q: %+v", raw, target)
			}
		case GraphQL, UserInfo:
			if target.Connection != "" || rawPath != "/graphql" && rawPath != "/v1/openid_connect/userinfo" {
				t.Fatalf("%q: %+v", raw, target)
			}
		default:
			t.Fatalf("%q: API %q", raw, target.API)
		}
		before := ""
		if target.Connection != "" {
			before = "/v3/company/" + target.Connection
		}
		if before+target.Resource != rawPath || target.Query != (target.API == Accounting && target.Resource == "/query") {
			t.Fatalf("%q: resource %q, query %v", raw, target.Resource, target.Query)
		}
	})
}
