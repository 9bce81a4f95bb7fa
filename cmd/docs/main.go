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

// Command docs writes docs/caddyfile.md from the doc comments of the code that
// parses Caddyfiles:
//
//	go run ./cmd/docs
//
// Every function whose comment has a "Syntax:" is a section. Its options are
// explained by the comments of the fields that they fill.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	// caddyDocs is for links inside Caddy's own site, where module docs are shown.
	caddyDocs = "](https://caddyserver.com/docs/"
	output    = "docs/caddyfile.md"
	intro     = `# Caddyfile reference

<!-- Written by "go run ./cmd/docs" from the doc comments of the code. Change those. -->

[` + "`Caddyfile.example`" + `](../Caddyfile.example) is a whole Caddyfile with comments, [the quick start](quickstart.md) leads to a first one. Names in
angle brackets are yours to choose, brackets hold what may be left out, ` + "`...`" + ` means more of the same. A secret is always a
placeholder, ` + "`{env.NAME}`" + ` or ` + "`{file./path}`" + `.

In JSON, the app is ` + "`apps.freshbearer`" + ` and the handlers are ` + "`freshbearer`, `freshbearer_connect` and `freshbearer_status`" + `; ` + "`caddy adapt`" + ` shows how a
Caddyfile looks in it.
`
)

// sections are the functions in the order of the page, and what their option
// is called there. A function that is not listed follows them.
var sections = []struct{ function, title string }{
	{"parseApp", "The global option `freshbearer`"},
	{"UnmarshalCaddyfile", "`store badger`"},
	{"unmarshalIntegration", "`integration`"},
	{"unmarshalNotify", "`notify`"},
	{"unmarshalPacing", "`pacing`"},
	{"unmarshalCaller", "`caller`"},
	{"parseDirective", "The directive `freshbearer`"},
	{"parseStatus", "The directive `freshbearer_status`"},
}

// fills are the structs of functions that fill another than they return.
var fills = map[string]string{"unmarshalIntegration": "Integration", "unmarshalCaller": "Caller"}

func main() {
	page, err := generate(".")
	if err == nil {
		err = os.WriteFile(output, page, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

// source is what the page is made from.
type source struct {
	functions map[string]*ast.FuncDecl
	structs   map[string]*ast.StructType
}

func generate(module string) ([]byte, error) {
	src := source{make(map[string]*ast.FuncDecl), make(map[string]*ast.StructType)}
	for _, folder := range []string{".", "tokenstore/badger"} {
		if err := src.read(filepath.Join(module, folder)); err != nil {
			return nil, err
		}
	}
	var page strings.Builder
	page.WriteString(intro)
	for _, s := range sections {
		f, ok := src.functions[s.function]
		if !ok {
			return nil, fmt.Errorf("no function %s has a comment with its syntax", s.function)
		}
		src.section(&page, s.title, f)
		delete(src.functions, s.function)
	}
	for _, name := range slices.Sorted(maps.Keys(src.functions)) {
		f := src.functions[name]
		src.section(&page, "`"+optionName(f.Doc.Text())+"`", f)
	}
	return []byte(page.String()), nil
}

func (src source) read(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return err
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if strings.Contains(d.Doc.Text(), "Syntax:\n") {
					src.functions[d.Name.Name] = d
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok {
						if s, ok := t.Type.(*ast.StructType); ok {
							src.structs[t.Name.Name] = s
						}
					}
				}
			}
		}
	}
	return nil
}

// section writes one function's part: its comment without the first
// sentence, which is about the function, and the options' own.
func (src source) section(page *strings.Builder, title string, f *ast.FuncDecl) {
	_, text, _ := strings.Cut(f.Doc.Text(), "Syntax:\n")
	fmt.Fprintf(page, "\n## %s\n", title)
	writeText(page, text)

	fields := src.structs[filled(f)]
	if fields == nil {
		return
	}
	var rows []string
	for _, option := range options(text) {
		if row := explain(fields, option); row != "" {
			rows = append(rows, fmt.Sprintf("- **%s**: %s\n", option, row))
		}
	}
	if rows != nil {
		page.WriteString("\n" + strings.Join(rows, ""))
	}
}

// writeText writes a comment, with its indented parts as blocks.
func writeText(page *strings.Builder, text string) {
	var block, blank bool
	for line := range strings.Lines("\n" + strings.Trim(text, "\n") + "\n") {
		code, indented := strings.CutPrefix(line, "\t")
		if line == "\n" {
			blank = true
			continue
		}
		if block && !indented {
			page.WriteString("```\n")
		}
		if blank {
			page.WriteString("\n")
		}
		if indented && !block {
			page.WriteString("```text\n")
		}
		block, blank = indented, false
		page.WriteString(strings.ReplaceAll(code, "](/docs/", caddyDocs))
	}
	if block {
		page.WriteString("```\n")
	}
}

// filled names the struct that a function fills.
func filled(f *ast.FuncDecl) string {
	if name, ok := fills[f.Name.Name]; ok {
		return name
	}
	types := f.Type.Results
	if f.Name.Name == "UnmarshalCaddyfile" {
		types = f.Recv
	}
	if types == nil {
		return ""
	}
	if star, ok := types.List[0].Type.(*ast.StarExpr); ok {
		if ident, ok := star.X.(*ast.Ident); ok {
			return ident.Name
		}
	}
	return ""
}

var optionLine = regexp.MustCompile(`(?m)^\t\t([a-z_]+)\b`)

// options are the names in the second level of a syntax.
func options(text string) []string {
	var names []string
	for _, m := range optionLine.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// optionName is the first word of a syntax.
func optionName(text string) string {
	_, syntax, _ := strings.Cut(text, "Syntax:\n")
	return strings.Fields(syntax)[0]
}

var jsonName = regexp.MustCompile(`json:"([a-z_]+)`)

// explain joins the comments of the fields that an option fills: those of its
// name, of its plural, and of its arguments (app: app_name, app_url).
func explain(fields *ast.StructType, option string) string {
	var texts []string
	for _, field := range fields.Fields.List {
		if field.Tag == nil {
			continue
		}
		name := jsonName.FindStringSubmatch(field.Tag.Value)
		if name == nil || name[1] != option && name[1] != option+"s" && !strings.HasPrefix(name[1], option+"_") {
			continue
		}
		texts = append(texts, strings.Join(strings.Fields(field.Doc.Text()), " "))
	}
	return strings.ReplaceAll(strings.Join(texts, " "), "](/docs/", caddyDocs)
}
