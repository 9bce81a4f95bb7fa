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

package main

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the page")

// The page is what the comments say.
func TestPageIsUpToDate(t *testing.T) {
	page, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("../../"+output, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("../../" + output)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, page) {
		t.Errorf("%s is not what the doc comments say: run go run ./cmd/docs", output)
	}
}

// Every option that is in a syntax is explained somewhere in its section.
func TestEveryOptionIsExplained(t *testing.T) {
	page, err := generate("../..")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(page), "\n## ")
	if len(sections) < len(sections[1:]) || len(sections) < 8 {
		t.Fatalf("%d sections", len(sections))
	}
	for _, s := range sections[1:] {
		title, _, _ := strings.Cut(s, "\n")
		_, syntax, _ := strings.Cut(s, "```text\n")
		syntax, rest, ok := strings.Cut(syntax, "```\n")
		if !ok {
			t.Errorf("%s has no syntax", title)
		}
		for line := range strings.Lines(syntax) {
			name, ok := strings.CutPrefix(line, "\t")
			if !ok || strings.HasPrefix(name, "\t") || strings.HasPrefix(name, "}") || strings.TrimSpace(name) == "..." {
				continue
			}
			option := strings.Fields(name)[0]
			if !strings.Contains(rest, "**"+option+"**") && !strings.Contains(rest, option+" ") && !strings.Contains(rest, "`"+option+"`") {
				t.Errorf("%s does not explain %s", title, option)
			}
		}
	}
}
