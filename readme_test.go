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
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	anchorLink = regexp.MustCompile(`\]\((?:invalid_grant\.md)?#([^)]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInSlug  = regexp.MustCompile(`[^a-z0-9_ -]`)
)

// Every cause that the code knows is explained, and every link inside the page
// leads somewhere.
func TestInvalidGrantPage(t *testing.T) {
	page, err := os.ReadFile("docs/invalid_grant.md")
	if err != nil {
		t.Fatal(err)
	}
	slugs := make(map[string]bool)
	for _, h := range heading.FindAllSubmatch(page, -1) {
		text := notInSlug.ReplaceAllString(strings.ToLower(string(h[1])), "")
		slugs[strings.ReplaceAll(text, " ", "-")] = true
	}
	for cause := range causes {
		if !slugs[string(cause)] {
			t.Errorf("the page has no section %s", cause)
		}
	}
	for cause := range codeWords {
		if !strings.Contains(string(page), "`"+string(cause)+"`") {
			t.Errorf("the page does not name %s", cause)
		}
	}
	for _, link := range anchorLink.FindAllSubmatch(page, -1) {
		if !slugs[string(link[1])] {
			t.Errorf("nothing is at #%s", link[1])
		}
	}
}
