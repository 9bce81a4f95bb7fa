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

package caddytest_test

import (
	"bytes"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// guideBlock is a fenced block of a Markdown file.
type guideBlock struct {
	language, code string
}

var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

func readGuide(t *testing.T, path string) (text string, blocks []guideBlock) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fence.FindAllStringSubmatch(string(data), -1) {
		blocks = append(blocks, guideBlock{m[1], m[2]})
	}
	return string(data), blocks
}

const sdkGuides = "../docs/sdks"

// runners run a block as a program of its own, by its language.
var runners = map[string]func(t *testing.T, code string) *exec.Cmd{
	"js": nodeProgram, "sh": shellProgram, "go": goProgram,
}

// replayed are the languages whose SDKs cannot be installed here; replay_test.go
// has what is checked instead. "go sdk" needs a quickbooks-go that has no
// version, and a fragment of a Caddyfile is adapted with all others.
var replayedLanguages = []string{"csharp", "go sdk", "java", "php", "python", "ruby"}

const fragmentLanguage = "caddyfile in integration"

// Whatever a guide shows and can run here is run as it stands there, with a
// company whose grant lives, and with one whose grant is dead.
func TestGuides(t *testing.T) {
	s := start(t)
	s.connect(realmOne)
	s.connect(realmTwo)
	s.Intuit.KillGrant(realmTwo)

	paths, err := filepath.Glob(sdkGuides + "/*.md")
	if err != nil || len(paths) < 10 {
		t.Fatalf("there are %d guides (%v)", len(paths), err)
	}
	index, _ := readGuide(t, sdkGuides+"/README.md")
	ran := make(map[string]int)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".md")
		if name == "README" {
			continue
		}
		text, blocks := readGuide(t, path)
		var runs, replays int
		for _, b := range blocks {
			switch runner := runners[b.language]; {
			case runner != nil:
				runs++
				ran[b.language]++
				t.Run(name+"/"+b.language, func(t *testing.T) { runGuide(t, s, runner, b.code) })
			case slices.Contains(replayedLanguages, b.language):
				replays++
			case b.language != fragmentLanguage:
				t.Errorf("%s has a block of %q, which nothing checks", path, b.language)
			}
		}
		// What a guide says of itself, and what the index says of it, is true.
		_, replay := replayedGuides()[name]
		row := regexp.MustCompile(`(?m)^\|[^|]*\(` + name + `\.md\).*$`).FindString(index)
		for _, claim := range []struct {
			text, words string
			want        bool
		}{
			{text, "**Run for real**", replays == 0},
			{text, "run for real**", replays > 0 && runs > 0},
			{text, "eplayed, not run**", replays > 0},
			{row, "**run**", runs > 0},
			{row, "replayed, not run", replays > 0},
		} {
			if strings.Contains(claim.text, claim.words) != claim.want {
				t.Errorf("%s: %q should be said: %v (%d blocks run, %d not)", name, claim.words, claim.want, runs, replays)
			}
		}
		if replay != (replays > 0) {
			t.Errorf("%s is replayed: %v, it has %d blocks that are not run", name, replay, replays)
		}
	}
	for language := range runners {
		if ran[language] == 0 {
			t.Errorf("no block of %s was run", language)
		}
	}
}

func runGuide(t *testing.T, s *system, runner func(*testing.T, string) *exec.Cmd, code string) {
	for _, c := range []struct{ realm, want string }{
		{realmOne, "^Sandbox Company US 1\n?$"},
		{realmTwo, "^reconnect: " + regexp.QuoteMeta(s.Proxy) + "/oauth/connect\\?link=\\S+\n?$"},
	} {
		cmd := runner(t, code)
		cmd.Env = append(slices.DeleteFunc(cmd.Environ(), func(v string) bool { return strings.HasPrefix(v, "NODE_OPTIONS=") }),
			"FRESHBEARER_URL="+s.Proxy, "FRESHBEARER_KEY="+s.Key, "COMPANY="+c.realm)
		var out, problems bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &problems
		if err := cmd.Run(); err != nil {
			t.Fatalf("company %s: %v\n%s%s", c.realm, err, out.Bytes(), problems.Bytes())
		}
		if !regexp.MustCompile(c.want).Match(out.Bytes()) {
			t.Errorf("company %s: it prints %q, not %q\n%s", c.realm, out.Bytes(), c.want, problems.Bytes())
		}
		if link, ok := strings.CutPrefix(strings.TrimSpace(out.String()), "reconnect: "); ok {
			if a := mustDo(t, client(t), http.MethodGet, link, nil); a.Status != http.StatusOK || !bytes.Contains(a.Body, []byte("QuickBooks")) {
				t.Errorf("the address to reconnect at answers %d:\n%s", a.Status, a.Body)
			}
		}
	}
}

// programDir writes the files of a program.
func programDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func nodeProgram(t *testing.T, code string) *exec.Cmd {
	dir := programDir(t, map[string]string{"guide.mjs": code})
	if err := os.Symlink(filepath.Join(installModules(t, "sdk"), "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return inDir(t, dir, tool(t, "node"), "guide.mjs")
}

func shellProgram(t *testing.T, code string) *exec.Cmd {
	return inDir(t, programDir(t, map[string]string{"guide.sh": code}), "sh", "-eu", "guide.sh")
}

// goProgram runs a block that is a program, or one that has the transport of a
// client.
func goProgram(t *testing.T, code string) *exec.Cmd {
	files := map[string]string{"guide.go": code}
	if !strings.Contains(code, "\nfunc main() {") {
		files["main.go"] = transportProgram
	}
	args := append([]string{"run"}, slices.Sorted(maps.Keys(files))...)
	if strings.Contains(code, "quickbooks-go") {
		args = []string{"run", "."}
		for _, name := range []string{"go.mod", "go.sum"} {
			pinned, err := os.ReadFile(filepath.Join("sdk", name))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = string(pinned)
		}
	}
	cmd := inDir(t, programDir(t, files), "go", args...)
	// The build cache is in the developer's home.
	cmd.Env = append(os.Environ(), "HOME="+userHome)
	return cmd
}

func inDir(t *testing.T, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	return cmd
}

// transportProgram does with the guide's transport what quickbooks-go does: it
// asks Intuit, with no token, and decodes the Failure.
const transportProgram = `package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"
)

func main() {
	proxy, err := url.Parse(os.Getenv("FRESHBEARER_URL"))
	if err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: freshbearer{proxy: proxy, key: os.Getenv("FRESHBEARER_KEY")}}
	company := os.Getenv("COMPANY")
	req, err := http.NewRequest("GET", "https://quickbooks.api.intuit.com/v3/company/"+company+"/companyinfo/"+company+"?minorversion=75", http.NoBody)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Add("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	var body struct {
		CompanyInfo struct{ CompanyName string }
		Fault       struct{ Error []struct{ Message string } }
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		log.Fatal(err)
	}
	if resp.StatusCode == 200 {
		fmt.Println(body.CompanyInfo.CompanyName)
		return
	}
	_, link, _ := strings.Cut(body.Fault.Error[0].Message, " Open ")
	fmt.Println("reconnect:", link)
}
`
