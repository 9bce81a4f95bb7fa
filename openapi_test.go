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
	"go/ast"
	"go/token"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/freshbearer/freshbearer/grant"
)

// openAPI reads a document, and finds whether it is one, with examples that are
// what it says.
func openAPI(t *testing.T, name string) *openapi3.T {
	t.Helper()
	if doc := openAPIs[name]; doc != nil {
		return doc
	}
	doc, err := openapi3.NewLoader().LoadFromFile("docs/openapi/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context(), openapi3.EnableMultiError()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	openAPIs[name] = doc
	return doc
}

// openAPIs are those that were read, which takes a second each.
var openAPIs = make(map[string]*openapi3.T)

func sameWords(t *testing.T, what string, documented, there []string) {
	t.Helper()
	slices.Sort(documented)
	slices.Sort(there)
	if got, want := fmt.Sprintf("%q", documented), fmt.Sprintf("%q", there); got != want {
		t.Errorf("%s\ndocumented: %s\nthere:      %s", what, got, want)
	}
}

// routes are the documented ones under a prefix.
func routes(doc *openapi3.T, prefix string) []string {
	var found []string
	for path, item := range doc.Paths.Map() {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			for method := range item.Operations() {
				found = append(found, method+" "+rest)
			}
		}
	}
	return found
}

// What is served is documented, and nothing else is.
func TestOpenAPIRoutes(t *testing.T) {
	var apps, admin []string
	for path, methods := range apiEndpoints {
		for method := range methods {
			apps = append(apps, method+" "+path)
		}
	}
	sameWords(t, "apps", routes(openAPI(t, "apps"), defaultBasePath+"/"), apps)

	pages := []string{"", "connection", "disconnect", "do"} // the status page's
	for path, endpoint := range adminEndpoints {
		switch {
		case slices.Contains(pages, path):
		case endpoint.method == "":
			admin = append(admin, http.MethodDelete+" "+path, http.MethodGet+" "+path, http.MethodPost+" "+path)
		default:
			admin = append(admin, endpoint.method+" "+path)
		}
	}
	sameWords(t, "admin", routes(openAPI(t, "admin"), adminPath), admin)
}

// The kinds of problems are documented, each with what is the same for all of
// its kind. Of the browser's, which no app is answered with, only the names are.
func TestOpenAPIProblems(t *testing.T) {
	doc := openAPI(t, "apps")
	browsers := []problemKind{kindMisdirected, kindLinkInvalid, kindLinkExpired, kindFormRefused}
	// These can have more than one status.
	statuses := map[problemKind]string{kindUpstreamUnreachable: "502 503", kindInternal: "any"}
	examples := problemExamples(t)
	var types, titles, codes []string
	schemas := make(map[string]bool)
	for i := range problemKinds {
		kind := &problemKinds[i]
		uri := problemDoc + strings.ReplaceAll(kind.code, "_", "-")
		types, titles, codes = append(types, uri), append(titles, kind.title), append(codes, kind.code)
		if slices.Contains(browsers, problemKind(i)) {
			continue
		}
		name := strings.ReplaceAll(nameCase(kind.title), " ", "")
		schemas[name] = true
		ref := doc.Components.Schemas[name]
		if ref == nil || len(ref.Value.AllOf) != 2 || ref.Value.AllOf[0].Ref != "#/components/schemas/Problem" {
			t.Errorf("there is no schema %s that refines Problem", name)
			continue
		}
		if example := doc.Components.Examples[name]; example == nil || !cmp.Equal(plain(t, example.Value.Value), examples[kind.code]) {
			t.Errorf("the example of %s is not that of docs/problems.md", name)
		}
		own := ref.Value.AllOf[1].Value.Properties
		status := fmt.Sprint(own["status"].Value.Const)
		switch {
		case own["status"].Value.Enum != nil:
			status = strings.Trim(fmt.Sprint(own["status"].Value.Enum), "[]")
		case own["status"].Value.Const == nil:
			status = "any"
		}
		want := statuses[problemKind(i)]
		if want == "" {
			want = strconv.Itoa(kind.status)
		}
		got := fmt.Sprintf("%v|%v|%s|%v|%v|%s", own["type"].Value.Const, own["title"].Value.Const, status,
			own["error"].Value.Const, own["Fault"].Ref, ref.Value.Description)
		if want := fmt.Sprintf("%s|%s|%s|%s|#/components/schemas/%s|%s", uri, kind.title, want, kind.code, kind.fault, kind.detail); got != want {
			t.Errorf("%s\n got %s\nwant %s", name, got, want)
		}
	}
	base := doc.Components.Schemas["Problem"].Value.Properties
	sameWords(t, "type", words(base["type"]), types)
	sameWords(t, "title", words(base["title"]), titles)
	sameWords(t, "error", words(base["error"]), codes)
	faults := []string{faultAuthentication, faultAuthorization, faultValidation, faultService}
	sameWords(t, "Fault.type", words(doc.Components.Schemas["Fault"].Value.Properties["type"]), slices.Clone(faults))
	for _, name := range faults {
		if ref := doc.Components.Schemas[name]; ref == nil || ref.Value.AllOf[1].Value.Properties["type"].Value.Const != name {
			t.Errorf("there is no schema %s", name)
		}
		schemas[name] = true
	}
	for name, ref := range doc.Components.Schemas {
		if len(ref.Value.AllOf) > 0 && !schemas[name] {
			t.Errorf("%s is no kind of problem", name)
		}
	}

	// Each kind is an answer to something.
	answered := make(map[string]bool)
	for _, response := range doc.Components.Responses {
		media := response.Value.Content["application/problem+json"]
		if media == nil {
			continue
		}
		for _, ref := range append(openapi3.SchemaRefs{media.Schema}, media.Schema.Value.OneOf...) {
			answered[strings.TrimPrefix(ref.Ref, "#/components/schemas/")] = true
		}
	}
	delete(answered, "")
	for _, name := range faults {
		delete(schemas, name)
	}
	sameWords(t, "kinds in answers", slices.Collect(maps.Keys(answered)), slices.Collect(maps.Keys(schemas)))
}

// problemExamples are the bodies that docs/problems.md shows, by their error.
func problemExamples(t *testing.T) map[string]any {
	t.Helper()
	examples := make(map[string]any)
	for _, m := range fencedBlock.FindAllStringSubmatch(readFile(t, "docs/problems.md"), -1) {
		var body map[string]any
		if m[1] == "json" && json.Unmarshal([]byte(m[2]), &body) == nil {
			examples[fmt.Sprint(body["error"])] = body
		}
	}
	return examples
}

// plain is a value as JSON has it.
func plain(t *testing.T, value any) (as any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &as)
	}
	if err != nil {
		t.Fatal(err)
	}
	return as
}

// nameCase writes the first letter of each word large.
func nameCase(title string) string {
	words := strings.Fields(title)
	for i, word := range words {
		words[i] = strings.ToUpper(word[:1]) + word[1:]
	}
	return strings.Join(words, " ")
}

func words(ref *openapi3.SchemaRef) []string {
	var all []string
	for _, word := range ref.Value.Enum {
		all = append(all, fmt.Sprint(word))
	}
	return all
}

// The words that a member can hold are those that the code has.
func TestOpenAPIWords(t *testing.T) {
	files := readSource(t)
	constants := func(folder, typ string) []string {
		var found []string
		for _, f := range files {
			if f.folder() == folder && !f.isTest() {
				found = append(found, constantsOf(f.ast, typ)...)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s has no constants of %s", folder, typ)
		}
		return found
	}
	apps, admin := openAPI(t, "apps").Components.Schemas, openAPI(t, "admin").Components.Schemas
	states := append(constants("tokenstore", "State"), constants("grant", "State")...)
	sameWords(t, "State of apps", words(apps["State"]), slices.Clone(states))
	sameWords(t, "State", words(admin["State"]), states)
	sameWords(t, "Cause of apps", words(apps["Cause"]), constants("tokenstore", "Cause"))
	sameWords(t, "Cause", words(admin["Cause"]), constants("tokenstore", "Cause"))
	sameWords(t, "HoldReason", words(admin["HoldReason"]), constants("tokenstore", "HoldReason"))
	sameWords(t, "LeftOut", words(admin["LeftOut"]), constants("grant", "LeftOut"))
	sameWords(t, "HealthReason", words(admin["HealthReason"]), constants(".", "healthReason"))
	sameWords(t, "Level", words(admin["Level"]), constants(".", "level"))
	sameWords(t, "ImportOutcome", words(admin["ImportOutcome"]), append(constants("grant", "ImportOutcome"), constants(".", "ImportOutcome")...))
	sameWords(t, "Proof", words(admin["Proof"]), constants("grant", "Proof"))
	sameWords(t, "AuditAction", words(admin["AuditAction"]), constants("audit", "Action"))
	sameWords(t, "AuditActor", words(admin["AuditActor"]), constants("audit", "Actor"))
}

// The sizes of pages are documented.
func TestOpenAPIPages(t *testing.T) {
	for _, c := range []struct {
		name, path, want string
	}{
		{"apps", "/oauth/connections", "1 1000 100"},
		{"admin", "/freshbearer/connections", fmt.Sprint(1, grant.MaxPage, grant.DefaultPage)},
		{"admin", "/freshbearer/audit", fmt.Sprint(1, maxAuditEntries, 100)},
	} {
		limit := openAPI(t, c.name).Paths.Value(c.path).Get.Parameters.GetByInAndName(openapi3.ParameterInQuery, "limit").Schema.Value
		if got := fmt.Sprint(*limit.Min, *limit.Max, limit.Default); got != c.want {
			t.Errorf("%s: %s, want %s", c.path, got, c.want)
		}
	}
}

// How many recipients an export can have is documented, and that what follows it
// does.
func TestOpenAPIExport(t *testing.T) {
	op := openAPI(t, "admin").Paths.Value("/freshbearer/export").Post
	recipients := op.Parameters.GetByInAndName(openapi3.ParameterInQuery, "recipient").Schema.Value
	if recipients.MinItems != 1 || *recipients.MaxItems != maxRecipients {
		t.Errorf("from %d to %d recipients", recipients.MinItems, *recipients.MaxItems)
	}
	if op.Responses.Value("200").Value.Headers[exportTrailer] == nil {
		t.Errorf("%s is not documented", exportTrailer)
	}
}

// constantsOf returns the texts of a file's constants of a type.
func constantsOf(file *ast.File, typ string) []string {
	var found []string
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			value := spec.(*ast.ValueSpec)
			name := ""
			switch of := value.Type.(type) {
			case *ast.Ident:
				name = of.Name
			case *ast.SelectorExpr:
				name = of.Sel.Name
			}
			for _, v := range value.Values {
				if text, ok := v.(*ast.BasicLit); ok && name == typ {
					word, _ := strconv.Unquote(text.Value)
					found = append(found, word)
				}
			}
		}
	}
	return found
}

// Nothing is left open: no object can have a member that is not documented, and
// each answer has an example for each of its forms that programs read.
func TestOpenAPIIsClosed(t *testing.T) {
	for _, name := range []string{"apps", "admin"} {
		doc := openAPI(t, name)
		objects, examples := 0, 0
		if err := doc.WalkSchemas(func(pointer string, ref *openapi3.SchemaRef) error {
			s := ref.Value
			if len(s.AllOf) > 0 {
				return openapi3.SkipSubtree // TestOpenAPIProblems knows them
			}
			if s.Type != nil && s.Type.Includes("object") {
				objects++
				if s.AdditionalProperties.Schema == nil && (s.AdditionalProperties.Has == nil || *s.AdditionalProperties.Has) {
					t.Errorf("%s: %s is open", name, pointer)
				}
			} else if len(s.Properties) > 0 {
				t.Errorf("%s: %s has properties and is no object", name, pointer)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		for path, item := range doc.Paths.Map() {
			for method, op := range item.Operations() {
				if op.Summary == "" || op.OperationID == "" || len(op.Tags) == 0 {
					t.Errorf("%s: %s %s has no summary, operationId or tag", name, method, path)
				}
				for status, response := range op.Responses.Map() {
					for form, media := range response.Value.Content {
						if !strings.Contains(form, "json") {
							continue
						}
						examples++
						if media.Example == nil && len(media.Examples) == 0 {
							t.Errorf("%s: %s %s, %s, %s has no example", name, method, path, status, form)
						}
					}
				}
			}
		}
		if objects < 8 || examples < 50 {
			t.Errorf("%s: %d objects, %d forms of answers", name, objects, examples)
		}
	}
}
