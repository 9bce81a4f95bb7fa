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
	"fmt"
	"html"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/intuittest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"caddy": caddycmd.Main,
		// caddy-into <file> <arguments of caddy...>: a script sees the output
		// of a program only when it has ended, and the demo ends last.
		"caddy-into": func() {
			out, err := os.Create(os.Args[1])
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Stdout = out
			os.Args = append([]string{"caddy"}, os.Args[2:]...)
			caddycmd.Main()
		},
		"age":        ageMain,
		"age-keygen": ageKeygenMain,
	})
}

func TestScripts(t *testing.T) {
	example, err := filepath.Abs("../../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[intuitKey{}] = new(*intuittest.Server)
			data, err := os.ReadFile(example)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(env.WorkDir, "Caddyfile.example"), data, 0o600); err != nil {
				return err
			}
			for name, dir := range map[string]string{
				"HOME": "home", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "TMPDIR": "tmp",
			} {
				path := filepath.Join(env.WorkDir, "machine", dir)
				if err := os.MkdirAll(path, 0o700); err != nil {
					return err
				}
				env.Setenv(name, path)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": freePort,
			"paste":    paste,
			"browse":   browse,
			"visit":    visit,
			"empty":    empty,
			"intuit":   intuit,
			"await":    await,
			"connect":  connect,
			"spent":    spent,
			"secrets":  secrets,
			"contents": contents,
			"idof":     idOf,
			"answers":  answers,
		},
	})
}

// Each command is run by a script, other than for its help.
func TestCommandsHaveScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "exec caddy") && !strings.Contains(line, "--help") {
				scripts.WriteString(line)
			}
		}
	}
	known := caddycmd.Commands()["freshbearer"]
	root := &cobra.Command{Use: "caddy " + known.Name}
	known.CobraFunc(root)
	commands := 0
	var visit func(cmd *cobra.Command, path string)
	visit = func(cmd *cobra.Command, path string) {
		for _, sub := range cmd.Commands() {
			visit(sub, path+" "+sub.Name())
		}
		if cmd == root || cmd.Name() == "keys" {
			return // they name their commands
		}
		commands++
		if !regexp.MustCompile(`(?m)^exec caddy(-into \S+)?` + path + `\b`).MatchString(scripts.String()) {
			t.Errorf("no script has caddy%s succeed", path)
		}
	}
	visit(root, " "+known.Name)
	if commands < 20 {
		t.Errorf("only %d commands", commands)
	}
}

// freePort sets a variable to a port that nobody listens on: `freeport NAME`.
func freePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	ts.Check(err)
	ts.Check(l.Close())
	ts.Setenv(args[0], port)
}

var printedAddress = regexp.MustCompile(`(?m)^ +(http://\S+)\n`)

// visit opens the address that a command prints on a line of its own into a
// file, with a fresh browser: `visit <file>`. What `stdout` sees after it is the
// page.
func visit(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(time.Minute)
	for {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if address := printedAddress.FindSubmatch(data); address != nil {
			jar, err := cookiejar.New(nil)
			ts.Check(err)
			resp, err := (&http.Client{Jar: jar, Timeout: 30 * time.Second}).Get(string(address[1]))
			ts.Check(err)
			answer(ts, resp)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no address is printed: %v\n%s", err, data)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// empty checks that directories hold no file: `empty <dir>...`.
func empty(ts *testscript.TestScript, neg bool, args []string) {
	var found []string
	for _, dir := range args {
		ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && path != ts.MkAbs(dir) {
				found = append(found, path)
			}
			return err
		}))
	}
	if neg != (len(found) > 0) {
		ts.Fatalf("found %q", found)
	}
}

// demoText waits until a file holds all that the demo prints.
func demoText(ts *testscript.TestScript, file string) string {
	deadline := time.Now().Add(time.Minute)
	for {
		data, err := os.ReadFile(ts.MkAbs(file))
		if err == nil && strings.Contains(string(data), "Ctrl-C") {
			return string(data)
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the demo has not come up: %v\n%s", err, data)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// paste runs the n-th curl line of the demo as curl would: `paste <file> <n>`.
// What `stdout` sees after it is the answer's status line, fields and body.
func paste(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var lines []string
	for line := range strings.Lines(demoText(ts, args[0])) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "curl ") {
			lines = append(lines, line)
		}
	}
	if n < 1 || n > len(lines) {
		ts.Fatalf("the demo has printed %d curl lines", len(lines))
	}
	req, err := curl(shellWords(lines[n-1]))
	ts.Check(err)
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	ts.Check(err)
	answer(ts, resp)
}

func answer(ts *testscript.TestScript, resp *http.Response) {
	defer resp.Body.Close()
	fmt.Fprintf(ts.Stdout(), "%s %s\n", resp.Proto, resp.Status)
	ts.Check(resp.Header.Write(ts.Stdout()))
	fmt.Fprintln(ts.Stdout())
	_, err := io.Copy(ts.Stdout(), resp.Body)
	ts.Check(err)
	fmt.Fprintln(ts.Stdout())
}

// curl reads the few options of curl that the demo uses; others are an error,
// because they would mean something.
func curl(words []string) (*http.Request, error) {
	method, address, header := http.MethodGet, "", make(http.Header)
	for i := 1; i < len(words); i++ {
		switch word := words[i]; word {
		case "-s", "-si":
		case "-X", "-H":
			i++
			if i == len(words) {
				return nil, fmt.Errorf("%s has no value", word)
			}
			if word == "-X" {
				method = words[i]
				continue
			}
			name, value, ok := strings.Cut(words[i], ": ")
			if !ok {
				return nil, fmt.Errorf("%q is no header field", words[i])
			}
			header.Set(name, value)
		default:
			if strings.HasPrefix(word, "-") || address != "" {
				return nil, fmt.Errorf("unexpected %q", word)
			}
			address = word
		}
	}
	req, err := http.NewRequest(method, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header = header
	return req, nil
}

// shellWords splits a line as a shell does that knows single quotes only.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

var (
	formField   = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
	radioButton = regexp.MustCompile(`<input type="radio" name="realm" value="(\d+)" checked`)
	connectLink = regexp.MustCompile(`(?m)^ +(http://\S+/oauth/connect\?\S+)$`)
)

// browse opens the demo's connect link as a human would, and confirms:
// `browse <file>`. What `stdout` sees after it is the last page.
func browse(ts *testscript.TestScript, _ bool, args []string) {
	link := connectLink.FindStringSubmatch(demoText(ts, args[0]))
	if link == nil {
		ts.Fatalf("the demo has printed no connect link")
	}
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	browser := &http.Client{Jar: jar, Timeout: 30 * time.Second}
	resp, err := browser.Get(link[1] + "&start=1")
	ts.Check(err)
	page, err := io.ReadAll(resp.Body)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	realm := radioButton.FindSubmatch(page)
	if resp.StatusCode != http.StatusOK || realm == nil {
		ts.Fatalf("no company can be chosen: %s\n%s", resp.Status, page)
	}
	form := url.Values{"realm": {string(realm[1])}, "decision": {"connect"}}
	for _, field := range formField.FindAllSubmatch(page, -1) {
		form.Set(string(field[1]), html.UnescapeString(string(field[2])))
	}
	resp, err = browser.PostForm(resp.Request.URL.String(), form)
	ts.Check(err)
	answer(ts, resp)
}
