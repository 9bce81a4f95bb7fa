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

package check

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

type panel struct {
	ID         int    `json:"id"`
	Title      string `json:"title"`
	Datasource struct {
		Type, UID string
	} `json:"datasource"`
	Place   struct{ X, Y, W, H int } `json:"gridPos"`
	Targets []struct {
		Expr, RefID string
	} `json:"targets"`
}

// TestDashboard reads each query of the dashboard with Prometheus' own parser,
// and makes sure that no panel hides another. Grafana itself is not run.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("../grafana/freshbearer.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, Type string }
		}
	}
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	// What Grafana puts in the place of its variables.
	values := []string{"$__rate_interval", "5m"}
	source := ""
	for _, v := range dashboard.Templating.List {
		values = append(values, "$"+v.Name, "a|b")
		if v.Type == "datasource" {
			source = "${" + v.Name + "}"
		}
	}
	fill := strings.NewReplacer(values...)
	promQL := parser.NewParser(parser.Options{})
	ids, queries := make(map[int]string), 0
	for i, p := range dashboard.Panels {
		if other, taken := ids[p.ID]; taken || p.ID == 0 {
			t.Errorf("%s and %q have the ID %d", p.Title, other, p.ID)
		}
		ids[p.ID] = p.Title
		if p.Place.X < 0 || p.Place.W < 1 || p.Place.H < 1 || p.Place.X+p.Place.W > 24 {
			t.Errorf("%s is at %+v, and Grafana has 24 columns", p.Title, p.Place)
		}
		for _, q := range dashboard.Panels[:i] {
			if p.Place.X < q.Place.X+q.Place.W && q.Place.X < p.Place.X+p.Place.W && p.Place.Y < q.Place.Y+q.Place.H && q.Place.Y < p.Place.Y+p.Place.H {
				t.Errorf("%s lies over %s", p.Title, q.Title)
			}
		}
		if p.Datasource.Type != "prometheus" || p.Datasource.UID != source {
			t.Errorf("%s asks %+v, not the one that was chosen, %s", p.Title, p.Datasource, source)
		}
		refs := make(map[string]bool)
		for _, target := range p.Targets {
			queries++
			if refs[target.RefID] || target.RefID == "" {
				t.Errorf("%s has no name of its own for %s", p.Title, target.Expr)
			}
			refs[target.RefID] = true
			expr := fill.Replace(target.Expr)
			parsed, err := promQL.ParseExpr(expr)
			if err != nil {
				t.Errorf("%s: %s: %v", p.Title, target.Expr, err)
				continue
			}
			if strings.Contains(expr, "$") {
				t.Errorf("%s: %s has a variable that the dashboard has not", p.Title, target.Expr)
			}
			if got := parsed.Type(); got != parser.ValueTypeVector {
				t.Errorf("%s: %s is a %s, which no panel draws", p.Title, target.Expr, got)
			}
		}
	}
	if queries < 20 {
		t.Errorf("only %d queries", queries)
	}
}
