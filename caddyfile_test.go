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
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "write what the golden files should hold into them")

const (
	goldenFiles     = "testdata/caddyfile/*.caddyfiletest"
	goldenSeparator = "----------\n"
)

// golden is a file in the format of Caddy's own adapt tests: a Caddyfile, a
// line of hyphens, and the JSON configuration or the text of the error.
type golden struct {
	path, input, want string
}

func readGoldens(tb testing.TB) []golden {
	tb.Helper()
	paths, err := filepath.Glob(goldenFiles)
	if err != nil {
		tb.Fatal(err)
	}
	if len(paths) == 0 {
		tb.Fatalf("there is no %s", goldenFiles)
	}
	goldens := make([]golden, 0, len(paths))
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "\r\n", "\n")
		input, want, ok := strings.Cut(text, goldenSeparator)
		if !ok && !*update {
			tb.Fatalf("%s has no line %s", path, strings.TrimSpace(goldenSeparator))
		}
		goldens = append(goldens, golden{path: path, input: input, want: want})
	}
	return goldens
}

// adapt gives what `caddy adapt` prints: indented JSON, or the error.
func adapt(tb testing.TB, input string) (config, failure string, warnings []caddyconfig.Warning) {
	tb.Helper()
	raw, warnings, err := caddyconfig.GetAdapter("caddyfile").
		Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err.Error(), warnings
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, raw, "", "\t"); err != nil {
		tb.Fatalf("the adapted configuration is not JSON: %v", err)
	}
	return indented.String(), "", warnings
}

func TestCaddyfileGoldens(t *testing.T) {
	for _, g := range readGoldens(t) {
		name := strings.TrimSuffix(filepath.Base(g.path), ".caddyfiletest")
		t.Run(name, func(t *testing.T) {
			config, failure, warnings := adapt(t, g.input)
			for _, w := range warnings {
				t.Errorf("warning: %s", w)
			}
			got := config + failure + "\n"
			if *update {
				if err := os.WriteFile(g.path, []byte(g.input+goldenSeparator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != g.want {
				t.Errorf("got\n%s\nwant\n%s", got, g.want)
			}
			// Whoever writes a golden with -update and a slip of the pen would
			// otherwise record the wrong kind of outcome.
			if wantFailure := strings.HasPrefix(name, "bad_"); wantFailure != (failure != "") {
				t.Errorf("files whose names begin with bad_ hold errors, and no others do: %s%s", failure, config)
			}
		})
	}
}

// Every error about a setting of ours must lead to the line where it is.
func TestCaddyfileErrorsNameTheLine(t *testing.T) {
	for _, g := range readGoldens(t) {
		_, failure, _ := adapt(t, g.input)
		if failure != "" && !strings.Contains(failure, " at Caddyfile:") {
			t.Errorf("%s: no file and line in: %s", g.path, failure)
		}
	}
}

func TestAdaptingIsDeterministic(t *testing.T) {
	for _, g := range readGoldens(t) {
		first, firstFailure, _ := adapt(t, g.input)
		for range 5 {
			config, failure, _ := adapt(t, g.input)
			if config != first || failure != firstFailure {
				t.Errorf("%s: adapted twice, it gives two things:\n%s%s\n%s%s", g.path, first, firstFailure, config, failure)
				break
			}
		}
	}
}

func TestExampleCaddyfile(t *testing.T) {
	data, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if formatted := caddyfile.Format(data); !bytes.Equal(formatted, data) {
		t.Errorf("Caddyfile.example is not as `caddy fmt` writes it:\n%s", formatted)
	}
	config, failure, warnings := adapt(t, string(data))
	if failure != "" {
		t.Fatal(failure)
	}
	for _, w := range warnings {
		t.Errorf("warning: %s", w)
	}
	for _, want := range []string{`"handler": "freshbearer"`, `"handler": "freshbearer_connect"`, `"encryption_keys"`} {
		if !strings.Contains(config, want) {
			t.Errorf("the adapted example has no %s:\n%s", want, config)
		}
	}
}

// What an operator may uncomment must work, too.
func TestExampleCaddyfileUncommented(t *testing.T) {
	data, err := os.ReadFile("Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	uncommented := 0
	for line := range strings.Lines(string(data)) {
		// Prose has a space after the #, settings have none.
		code, isComment := strings.CutPrefix(strings.TrimLeft(line, "\t"), "#")
		if isComment && code != "" && code[0] != ' ' && code[0] != '\n' {
			line = code
			uncommented++
		}
		text.WriteString(line)
	}
	if uncommented == 0 {
		t.Error("the example offers nothing to uncomment")
	}
	config, failure, _ := adapt(t, string(caddyfile.Format([]byte(text.String()))))
	if failure != "" {
		t.Fatalf("%s\n%s", failure, text.String())
	}
	if !strings.Contains(config, `"reverse_proxy"`) {
		t.Error("the example does not offer the reverse_proxy variant")
	}
}

func FuzzCaddyfile(f *testing.F) {
	for _, g := range readGoldens(f) {
		f.Add(g.input)
	}
	f.Fuzz(func(t *testing.T, input string) {
		config, failure, _ := adapt(t, input)
		if failure != "" {
			return
		}
		formatted := string(caddyfile.Format([]byte(input)))
		// Caddy's formatter breaks some files that only a fuzzer writes, such
		// as those with two closing braces on a line.
		if !slices.Equal(lines(input), lines(formatted)) {
			return
		}
		again, failure, _ := adapt(t, formatted)
		if failure != "" {
			t.Fatalf("formatted, it no longer adapts: %s\n%s", failure, formatted)
		}
		if again != config {
			t.Fatalf("formatted, it adapts to something else:\n%s\n%s", config, again)
		}
	})
}

// lines returns the tokens of a Caddyfile, line by line, whatever the white
// space between them is.
func lines(input string) (lines []string) {
	tokens, err := caddyfile.Tokenize([]byte(input), "Caddyfile")
	if err != nil {
		return nil
	}
	last := -1
	for _, token := range tokens {
		if token.Line != last {
			lines = append(lines, "")
		}
		// A token may span lines, too.
		last = token.Line + strings.Count(token.Text, "\n")
		lines[len(lines)-1] += strconv.Quote(token.Text)
	}
	return lines
}
