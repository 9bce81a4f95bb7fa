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
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	modulePath = "github.com/freshbearer/freshbearer"
	caddyPath  = "github.com/caddyserver/caddy/v2"

	maxLines = 400
)

// room says what the non-test files of a folder may import.
type room struct {
	ours []string
	// caddy tells whether they may import Caddy.
	caddy bool
	// standard tells that they may import nothing but the standard library.
	standard bool
}

// rooms are the folders of the module; folders that hold only tests are not
// among them.
var rooms = map[string]room{
	".": {caddy: true, ours: []string{
		"audit", "grant", "notify", "pace", "provider", "provider/quickbooks", "tokenstore", "tokenstore/badger", "secret", "pages", "connectjs", "intuittest", "upstream",
	}},
	"grant":                {ours: []string{"provider", "tokenstore", "secret"}},
	"audit":                {},
	"pace":                 {},
	"notify":               {ours: []string{"tokenstore", "secret"}},
	"provider":             {ours: []string{"secret"}},
	"provider/quickbooks":  {ours: []string{"provider", "secret"}, caddy: true},
	"tokenstore":           {ours: []string{"secret"}},
	"tokenstore/badger":    {ours: []string{"tokenstore"}, caddy: true},
	"tokenstore/storetest": {ours: []string{"tokenstore"}},
	"upstream":             {},
	"pages":                {},
	"connectjs":            {standard: true},
	"secret":               {standard: true},
	"intuittest":           {standard: true},
	"cmd/caddy":            {ours: []string{"."}, caddy: true},
	"cmd/check":            {standard: true},
	"cmd/docs":             {standard: true},
	"bench":                {ours: []string{"bench/internal/fill", "bench/results"}},
	"bench/compare":        {ours: []string{"bench/results"}, standard: true},
	"bench/results":        {standard: true},
	"bench/growth":         {ours: []string{"bench/internal/fill", "tokenstore", "secret"}},
	"bench/internal/fill":  {ours: []string{"tokenstore", "tokenstore/badger", "secret"}},
}

// onlyFrom says which files alone may import a folder.
var onlyFrom = map[string]string{"intuittest": "demo.go"}

type sourceFile struct {
	// path is relative to the module, with slashes.
	path string
	data []byte
	ast  *ast.File
}

func (f sourceFile) folder() string { return path.Dir(f.path) }
func (f sourceFile) isTest() bool   { return strings.HasSuffix(f.path, "_test.go") }

func readSource(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			// What Go leaves out, and what npm puts there.
			if name := d.Name(); p != "." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); p != "." && err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), p, data, parser.ParseComments)
		if err != nil {
			return err
		}
		files = append(files, sourceFile{path: filepath.ToSlash(p), data: data, ast: parsed})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 20 {
		t.Fatalf("found %d Go files only", len(files))
	}
	return files
}

// ourFolder returns the folder of an import path of this module.
func ourFolder(imported string) (string, bool) {
	if imported == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imported, modulePath+"/")
}

// violation says what is wrong with an import, or nothing.
func violation(file, imported string) string {
	folder := path.Dir(file)
	r, ok := rooms[folder]
	if !ok {
		return "this folder is not in the list of rooms: say there what it may import"
	}
	if ours, ok := ourFolder(imported); ok {
		switch only, restricted := onlyFrom[ours]; {
		case !slices.Contains(r.ours, ours):
			return "arrows run one way, and not from here to there"
		case restricted && file != only:
			return "only " + only + " may import it"
		}
		return ""
	}
	switch {
	case r.standard && strings.Contains(strings.Split(imported, "/")[0], "."):
		return "this folder uses the standard library only"
	case !r.caddy && (imported == caddyPath || strings.HasPrefix(imported, caddyPath+"/")):
		return "this folder does not know Caddy"
	}
	return ""
}

func TestImportArrows(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range readSource(t) {
		if f.isTest() {
			continue
		}
		seen[f.folder()] = true
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if wrong := violation(f.path, imported); wrong != "" {
				t.Errorf("%s imports %s: %s", f.path, imported, wrong)
			}
		}
	}
	for folder := range rooms {
		if !seen[folder] {
			t.Errorf("the list of rooms has %s, which holds no Go files", folder)
		}
	}
}

// The rules themselves: a list with a slip would let everything pass.
func TestImportRules(t *testing.T) {
	for _, c := range []struct {
		file, imported string
		allowed        bool
	}{
		{"app.go", modulePath + "/grant", true},
		{"demo.go", modulePath + "/intuittest", true},
		{"app.go", modulePath + "/intuittest", false},
		{"app.go", modulePath + "/tokenstore/storetest", false},
		{"grant/keeper.go", modulePath, false},
		{"grant/keeper.go", modulePath + "/pages", false},
		{"grant/keeper.go", caddyPath, false},
		{"grant/keeper.go", caddyPath + "/caddyconfig", false},
		{"grant/keeper.go", "go.uber.org/zap", true},
		{"provider/provider.go", modulePath + "/provider/quickbooks", false},
		{"provider/provider.go", modulePath + "/tokenstore", false},
		{"audit/log.go", caddyPath, false},
		{"audit/log.go", modulePath + "/tokenstore", false},
		{"notify/deliverer.go", modulePath + "/grant", false},
		{"notify/deliverer.go", caddyPath, false},
		{"grant/keeper.go", modulePath + "/notify", false},
		{"provider/quickbooks/quickbooks.go", caddyPath, true},
		{"tokenstore/store.go", modulePath + "/tokenstore/badger", false},
		{"tokenstore/store.go", caddyPath, false},
		{"tokenstore/badger/open.go", modulePath + "/grant", false},
		{"secret/secret.go", "go.uber.org/zap", false},
		{"secret/secret.go", "log/slog", true},
		{"intuittest/server.go", modulePath + "/secret", false},
		{"intuittest/server.go", "golang.org/x/oauth2", false},
		{"pages/pages.go", modulePath + "/secret", false},
		{"cmd/caddy/main.go", modulePath, true},
		{"cmd/caddy/main.go", modulePath + "/grant", false},
		{"newroom/new.go", "fmt", false},
	} {
		if wrong := violation(c.file, c.imported); (wrong == "") != c.allowed {
			t.Errorf("%s importing %s: %q, allowed should be %v", c.file, c.imported, wrong, c.allowed)
		}
	}
}

// A file that does not fit into a head is two files.
func TestFileLengths(t *testing.T) {
	for _, f := range readSource(t) {
		if f.isTest() || ast.IsGenerated(f.ast) {
			continue
		}
		if lines := bytes.Count(f.data, []byte("\n")); lines > maxLines {
			t.Errorf("%s has %d lines, more than %d", f.path, lines, maxLines)
		}
	}
}

func TestLicenseHeaders(t *testing.T) {
	reference, err := os.ReadFile("secret/secret.go")
	if err != nil {
		t.Fatal(err)
	}
	header, _, ok := bytes.Cut(reference, []byte("\n\n"))
	if !ok || !bytes.Contains(header, []byte("Apache License")) {
		t.Fatal("secret/secret.go does not begin with the header")
	}
	header = append(header, "\n\n"...)
	for _, f := range readSource(t) {
		if !ast.IsGenerated(f.ast) && !bytes.HasPrefix(f.data, header) {
			t.Errorf("%s does not begin with the license header of secret/secret.go", f.path)
		}
	}
}
