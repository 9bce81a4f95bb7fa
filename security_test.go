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
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	namedTest = regexp.MustCompile("`([a-z/]+)\\.((?:Test|Fuzz)\\w+)`")
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// Every promise of SECURITY.md has a test that holds it, and every test that it
// names exists where it says.
func TestSecurityPromises(t *testing.T) {
	page, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	_, promises, ok := strings.Cut(string(page), "| promise | held by |\n| --- | --- |\n")
	promises, _, closed := strings.Cut(promises, "\n\n")
	if !ok || !closed {
		t.Fatal("SECURITY.md has no table of promises")
	}
	rows := strings.Split(promises, "\n")
	if len(rows) < 20 {
		t.Errorf("%d promises", len(rows))
	}
	for _, row := range rows {
		if !namedTest.MatchString(row) {
			t.Errorf("nothing holds this promise: %s", row)
		}
	}
	exist := make(map[string]map[string]bool)
	for _, m := range namedTest.FindAllStringSubmatch(string(page), -1) {
		folder := m[1]
		if folder == "freshbearer" {
			folder = "."
		}
		if exist[folder] == nil {
			exist[folder] = testsIn(t, folder)
		}
		if !exist[folder][m[2]] {
			t.Errorf("there is no test %s in %s", m[2], folder)
		}
	}
}

func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range testFunc.FindAllSubmatch(data, -1) {
			tests[string(m[1])] = true
		}
	}
	return tests
}
