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
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// serveQuery answers a query from the query parameter or, for POST, the body.
func (s *Server) serveQuery(c *call) reply {
	var query string
	switch c.r.Method {
	case http.MethodGet:
		query = queryParameter(c.r.URL.RawQuery)
	case http.MethodPost:
		body, err := io.ReadAll(io.LimitReader(c.body, maxForm))
		if err != nil {
			return s.validation(c, "4000", "Error parsing query", "The body cannot be read.")
		}
		query = string(body)
		if query == "" {
			query = queryParameter(c.r.URL.RawQuery)
		}
	default:
		return s.unsupported(c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	result, err := s.query(c.realm, query)
	if err != nil {
		return validationAt(now, c, "4000", "Error parsing query", err.Error())
	}
	return render(now, c, map[string]any{"QueryResponse": result})
}

var (
	selectForm = regexp.MustCompile(`(?is)^\s*select\s+(.+?)\s+from\s+([a-z]+)\b(.*)$`)
	countForm  = regexp.MustCompile(`(?i)^count\s*\(\s*\*\s*\)$`)
	startForm  = regexp.MustCompile(`(?i)\bstartposition\s+(\d+)`)
	maxRows    = regexp.MustCompile(`(?i)\bmaxresults\s+(\d+)`)
	equalForm  = regexp.MustCompile(`(?i)\b(id|docnumber|displayname|name)\s*=\s*'((?:[^'\\]|\\.)*)'`)
)

// query answers a query and repeats it in the member "query", so that a test
// can see what arrived. Of where clauses only the equality of Id, DocNumber,
// DisplayName and Name is understood; the rest is ignored. The caller holds
// s.mu.
func (s *Server) query(realm, query string) (map[string]any, error) {
	m := selectForm.FindStringSubmatch(query)
	if m == nil {
		return nil, errors.New("QueryParserError: the query is no select statement")
	}
	name := entityNames[strings.ToLower(m[2])]
	if name == "" {
		return nil, fmt.Errorf("QueryValidationError: invalid context declaration: %s", m[2])
	}
	all := s.all(s.companies[realm], name)
	for _, eq := range equalForm.FindAllStringSubmatch(m[3], -1) {
		want := strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(eq[2])
		var kept []map[string]any
		for _, e := range all {
			for field, value := range e {
				if strings.EqualFold(field, eq[1]) && text(value) == want {
					kept = append(kept, e)
				}
			}
		}
		all = kept
	}
	if countForm.MatchString(m[1]) {
		return map[string]any{"totalCount": len(all), "query": query}, nil
	}
	start, most := number(startForm, m[3], 1), number(maxRows, m[3], 100)
	if start < 1 {
		return nil, errors.New("QueryValidationError: startposition counts from 1")
	}
	if most > 1000 {
		return nil, errors.New("QueryValidationError: maxresults is 1000 at most")
	}
	all = all[min(start-1, len(all)):]
	all = all[:min(most, len(all))]
	out := map[string]any{"query": query}
	if len(all) > 0 {
		out[name], out["startPosition"], out["maxResults"] = all, start, len(all)
	}
	return out, nil
}

// number reads a clause's number; a number too large for an int is very large.
func number(form *regexp.Regexp, clause string, def int) int {
	m := form.FindStringSubmatch(clause)
	if m == nil {
		return def
	}
	n, err := strconv.ParseInt(m[1], 10, 32)
	if err != nil {
		return 1 << 30
	}
	return int(n)
}

// queryParameter reads the query as servers outside Go do, for which a
// semicolon is a character like any other: node-quickbooks does not escape it.
func queryParameter(raw string) string {
	values, _ := url.ParseQuery(strings.ReplaceAll(raw, ";", "%3B"))
	return values.Get("query")
}
