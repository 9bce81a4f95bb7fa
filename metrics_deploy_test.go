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
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
)

// What the dashboard and the alerts ask for exists. That the alerts do what
// they should is tested in deploy/check.
func TestDashboardAndAlerts(t *testing.T) {
	descriptions := make(chan *prometheus.Desc, 100)
	metrics{}.Describe(descriptions)
	close(descriptions)
	exist := make(map[string]string) // to its labels
	for d := range descriptions {
		m := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		exist[m[1]] = m[2] + ",instance"
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, "deploy/grafana/freshbearer.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var alerts struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "deploy/prometheus/alerts.yaml")), &alerts); err != nil {
		t.Fatal(err)
	}
	asked := map[string]string{}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			asked["panel "+p.Title+": "+target.Expr] = target.Expr
		}
	}
	panels := len(asked)
	for _, r := range alerts.Groups[0].Rules {
		asked["alert "+r.Alert] = r.Expr
	}
	if panels < 20 || len(asked) < panels+10 {
		t.Fatalf("%d expressions in panels, %d in all", panels, len(asked))
	}
	shown := map[string]bool{}
	for where, expr := range asked {
		labels := "le"
		for _, m := range regexp.MustCompile(`caddy_\w+`).FindAllString(expr, -1) {
			labels += "," + exist[m] + "," + exist[regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(m, "")]
		}
		for _, m := range regexp.MustCompile(`\bby \(([^)]*)\)`).FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(m[1], ", ") {
				if !strings.Contains(","+labels+",", ","+label+",") {
					t.Errorf("%s groups by %s, but there is %s", where, label, labels)
				}
			}
		}
		found := regexp.MustCompile(`(caddy_\w+)(\{[^}]*\})?`).FindAllStringSubmatch(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s asks for nothing of ours", where)
		}
		for _, m := range found {
			name := m[1]
			if _, ok := exist[name]; !ok {
				name = regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			}
			labels, ok := exist[name]
			if !ok {
				t.Errorf("%s: there is no %s", where, m[1])
				continue
			}
			shown[name] = true
			for _, label := range regexp.MustCompile(`(\w+)(=|!=|=~|!~)"`).FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(","+labels+",", ","+label[1]+",") {
					t.Errorf("%s: %s has no label %s, but %s", where, name, label[1], labels)
				}
			}
		}
	}
	for name := range exist {
		if !shown[name] {
			t.Errorf("nothing shows %s", name)
		}
	}
}
