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
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The endpoints for programs are those in docs/operations.md.
func TestAdminEndpointsAreDocumented(t *testing.T) {
	doc := readFile(t, "docs/operations.md")
	var documented, there []string
	for _, m := range regexp.MustCompile("(GET|POST|DELETE) /freshbearer/([a-z/]*)").FindAllStringSubmatch(doc, -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	pages := []string{"GET ", "GET connection", "GET disconnect", "POST do"} // the status page's
	for path, endpoint := range adminEndpoints {
		if endpoint.method == "" {
			endpoint.method = "DELETE" // the last of several
		}
		if name := endpoint.method + " " + path; !slices.Contains(pages, name) {
			there = append(there, name)
		}
	}
	slices.Sort(documented)
	slices.Sort(there)
	if got, want := fmt.Sprint(documented), fmt.Sprint(there); got != want {
		t.Errorf("documented:\n%s\nthere:\n%s", got, want)
	}
}

// The line that docs/migrating.md shows is one.
func TestDocumentedImport(t *testing.T) {
	n := 0
	for _, m := range fencedBlock.FindAllStringSubmatch(readFile(t, "docs/migrating.md"), -1) {
		if m[1] != "json" {
			continue
		}
		n++
		line, err := decodeImport([]byte(strings.TrimSpace(m[2])))
		if err != nil || line.Connection == "" || line.RefreshToken == "" || line.AccessToken == "" || line.ExpiresAt.IsZero() {
			t.Errorf("%s: %v", m[2], err)
		}
	}
	if n != 1 {
		t.Errorf("%d lines", n)
	}
	for bad, what := range map[string]string{
		`{"refresh_token":"secret-in-a-line"`:              "cut",
		`{"refresh_token":5}`:                              "a number",
		`{"token":"secret-in-a-line"}`:                     "unknown",
		`{"refresh_token":"secret-in-a-line"} {}`:          "two",
		`{"expires_at":"secret-in-a-line"}`:                "no time",
		`["secret-in-a-line"]`:                             "a list",
		"{\"connection\":\"1\",\"expires_in\":\"secret\"}": "no number",
	} {
		if _, err := decodeImport([]byte(bad)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
