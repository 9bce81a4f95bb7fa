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
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// documents are the Markdown files of the repository.
func documents(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".md" {
			paths = append(paths, filepath.ToSlash(path))
		}
		return err
	})
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d documents (%v)", len(paths), err)
	}
	return paths
}

// elsewhere are the blocks that another test runs or compares, or that are not
// meant to be run: what is typed at a terminal (console), a form or a figure (text), a build
// with a plugin that is not in this one, and code for others' programs.
// TestGuides of caddytest runs those of docs/sdks that can run.
var elsewhere = []string{
	"console", "text", "js", "html", "go", "go sdk", "python", "php", "csharp", "java", "ruby", "sql", "caddyfile with caddy-events-exec",
}

var fencedBlock = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// Each block in the documents is what it says it is, and can be pasted.
func TestDocumentedBlocks(t *testing.T) {
	checks := map[string]func(t *testing.T, what, block string){
		"caddyfile": mustAdapt, "sh": checkShell,
		"caddyfile in integration": func(t *testing.T, what, block string) {
			indented := strings.ReplaceAll("\t\t\t"+strings.TrimSpace(block), "\n", "\n\t\t\t")
			mustAdapt(t, what, fmt.Sprintf(fragmentFrame, indented))
		},
		"json": func(t *testing.T, what, block string) {
			if !json.Valid([]byte(block)) {
				t.Errorf("%s is no JSON:\n%s", what, block)
			}
		},
	}
	checked := make(map[string]int)
	for _, path := range documents(t) {
		text := readFile(t, path)
		for _, m := range fencedBlock.FindAllStringSubmatchIndex(text, -1) {
			language, block := text[m[2]:m[3]], text[m[4]:m[5]]
			what := fmt.Sprintf("%s:%d, %s", path, 1+strings.Count(text[:m[0]], "\n"), language)
			checked[language]++
			if check := checks[language]; check != nil {
				check(t, what, block)
			} else if !slices.Contains(elsewhere, language) {
				t.Errorf("%s: nothing checks this language; use console or text for what is not meant to be run", what)
			}
		}
		if fences := strings.Count("\n"+text, "\n```"); fences%2 != 0 {
			t.Errorf("%s has %d fences", path, fences)
		}
	}
	for language := range checks {
		if checked[language] == 0 {
			t.Errorf("no block of %s was checked", language)
		}
	}
}

const fragmentFrame = `{
	freshbearer {
		integration quickbooks {
			client_id client
			client_secret {env.SECRET}
			redirect_url https://qb.example.com/oauth/callback
			scopes com.intuit.quickbooks.accounting
%s
		}
		caller app {
			key {env.KEY}
		}
	}
}
`

// others are programs that a block may call and the tests do not: their
// syntax is the shell's to check. TestDocumentedCalls of caddytest makes the
// calls of curl.
var others = []string{
	"age", "age-keygen", "cat", "chown", "curl", "docker", "echo", "export", "mkdir", "openssl", "printf", "psql", "sed", "umask", "xcaddy",
}

// checkShell checks each command: ours by the commands and flags that there
// are, Go's by what they name.
func checkShell(t *testing.T, what, block string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-n")
	cmd.Stdin = strings.NewReader(block)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", what, err, out)
	}
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
		// What a command in a command prints is one word.
		words := strings.Fields(regexp.MustCompile(`"\$\([^()"]*\)"`).ReplaceAllString(line, "printed"))
		for len(words) > 0 && regexp.MustCompile(`^[A-Z_]+=`).MatchString(words[0]) {
			words = words[1:]
		}
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		var err error
		switch name := filepath.Base(words[0]); {
		case name == "caddy":
			err = checkCaddyCommand(words[1:])
		case name == "go":
			err = checkGoCommand(words[1:])
		case name == "node" && len(words) == 2: // TestBrowserExample runs it
			_, err = os.Stat(words[1])
		case !slices.Contains(others, name):
			err = fmt.Errorf("nothing checks %s", name)
		}
		if err != nil {
			t.Errorf("%s: %s: %v", what, line, err)
		}
	}
}

func checkCaddyCommand(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command")
	}
	known, ok := caddycmd.Commands()[args[0]]
	if !ok {
		return fmt.Errorf("caddy has no command %s", args[0])
	}
	cmd := &cobra.Command{Use: known.Name}
	if known.CobraFunc != nil {
		known.CobraFunc(cmd)
	}
	sub, rest, err := cmd.Find(args[1:])
	if err != nil {
		return err
	}
	if args[0] == "freshbearer" && sub == cmd {
		return fmt.Errorf("freshbearer has no command %s", strings.Join(args[1:], " "))
	}
	if err := sub.ParseFlags(rest); err != nil {
		return err
	}
	return sub.ValidateArgs(sub.Flags().Args())
}

var (
	packagePath = regexp.MustCompile(`^\.(/[a-z/]+)?$`)
	testName    = regexp.MustCompile(`^(?:Test|Fuzz)\w+`)
)

// checkGoCommand checks that what is built, run or tested is there.
func checkGoCommand(args []string) error {
	folder, module := "", "."
	var tests []string
	for i, arg := range args {
		switch {
		case i > 0 && args[i-1] == "-C":
			module = arg
		case i > 0 && args[i-1] == "-o":
		case packagePath.MatchString(arg):
			folder = arg
		case testName.MatchString(arg):
			tests = append(tests, testName.FindString(arg))
		}
	}
	if folder == "" {
		fetched := args[0] == "run" && len(args) > 1 && strings.Contains(args[1], "@")
		if args[0] == "install" || fetched {
			return nil
		}
		return fmt.Errorf("no package is named")
	}
	files, err := filepath.Glob(filepath.Join(module, folder, "*.go"))
	if err != nil || files == nil {
		return fmt.Errorf("%s holds no Go files (%v)", folder, err)
	}
	for _, test := range tests {
		found := false
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			found = found || strings.Contains(string(data), "func "+test)
		}
		if !found {
			return fmt.Errorf("%s has no %s", folder, test)
		}
	}
	return nil
}

var documentLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Each link from one document to another leads to a file, and to a heading in
// it.
func TestDocumentLinks(t *testing.T) {
	slugs := make(map[string]map[string]bool)
	for _, path := range documents(t) {
		slugs[path] = make(map[string]bool)
		for _, h := range heading.FindAllStringSubmatch(readFile(t, path), -1) {
			text := notInSlug.ReplaceAllString(strings.ToLower(h[1]), "")
			slugs[path][strings.ReplaceAll(text, " ", "-")] = true
		}
	}
	links := 0
	for path := range slugs {
		text := fencedBlock.ReplaceAllString(readFile(t, path), "")
		for _, m := range documentLink.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(path), file))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", path, m[1])
			} else if anchor != "" && slugs[target] != nil && !slugs[target][anchor] {
				t.Errorf("%s: nothing is at %s", path, m[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links", links)
	}
}

// The index of the documents has all of them.
func TestDocumentIndex(t *testing.T) {
	for index, pattern := range map[string]string{"docs/README.md": "docs/*.md", "docs/sdks/README.md": "docs/sdks/*.md"} {
		text := readFile(t, index)
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if name := filepath.Base(path); name != "README.md" && !strings.Contains(text, "]("+name+")") {
				t.Errorf("%s does not lead to %s", index, name)
			}
		}
	}
}
