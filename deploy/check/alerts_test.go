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
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"sigs.k8s.io/yaml"
)

// alertTests is the part of promtool's format that alerts_test.yaml uses.
type alertTests struct {
	RuleFiles []string `json:"rule_files"`
	Interval  string   `json:"evaluation_interval"`
	Tests     []struct {
		Interval string `json:"interval"`
		Input    []struct {
			Series string `json:"series"`
			Values string `json:"values"`
		} `json:"input_series"`
		Alerts []struct {
			Time string          `json:"eval_time"`
			Name string          `json:"alertname"`
			Want []expectedAlert `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

type expectedAlert struct {
	Labels      map[string]string `json:"exp_labels"`
	Annotations map[string]string `json:"exp_annotations"`
}

// TestAlerts does what `promtool test rules` does, with Prometheus' own code.
func TestAlerts(t *testing.T) {
	const folder = "../prometheus/"
	data, err := os.ReadFile(folder + "alerts_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var suite alertTests
	if err := yaml.UnmarshalStrict(data, &suite); err != nil {
		t.Fatal(err)
	}
	if len(suite.RuleFiles) != 1 || suite.Interval != "1m" {
		t.Fatalf("%+v", suite)
	}
	groups, errs := rulefmt.ParseFile(folder+suite.RuleFiles[0], false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	fired, silent := map[string]bool{}, map[string]bool{}
	for _, test := range suite.Tests {
		var load strings.Builder
		fmt.Fprintf(&load, "load %s\n", test.Interval)
		for _, in := range test.Input {
			fmt.Fprintf(&load, "  %s %s\n", in.Series, in.Values)
		}
		storage := promqltest.LoadedStorage(t, load.String())
		engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
		query := rules.EngineQueryFunc(engine, storage)
		for _, want := range test.Alerts {
			rule := alertingRule(t, groups, want.Name)
			at, err := time.ParseDuration(want.Time)
			if err != nil {
				t.Fatal(err)
			}
			for now := time.Duration(0); now <= at; now += time.Minute {
				if _, err := rule.Eval(t.Context(), 0, time.Unix(0, 0).Add(now), query, new(url.URL), 0); err != nil {
					t.Fatalf("%s: %v", want.Name, err)
				}
			}
			got := []expectedAlert{}
			for _, a := range rule.ActiveAlerts() {
				if a.State != rules.StateFiring {
					continue
				}
				one := expectedAlert{a.Labels.Map(), a.Annotations.Map()}
				delete(one.Labels, "alertname")
				got = append(got, one)
			}
			if diff := cmp.Diff(want.Want, got); diff != "" {
				t.Errorf("%s at %s:\n%s", want.Name, want.Time, diff)
			}
			if len(want.Want) > 0 {
				fired[want.Name] = true
			} else {
				silent[want.Name] = true
			}
		}
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if !fired[r.Alert] || !silent[r.Alert] {
				t.Errorf("no test has %s fire, or none has it silent", r.Alert)
			}
		}
	}
}

func alertingRule(t *testing.T, groups *rulefmt.RuleGroups, name string) *rules.AlertingRule {
	t.Helper()
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			if r.Alert != name {
				continue
			}
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
			if err != nil {
				t.Fatal(err)
			}
			return rules.NewAlertingRule(name, expr, time.Duration(r.For), time.Duration(r.KeepFiringFor),
				labels.FromMap(r.Labels), labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
		}
	}
	t.Fatalf("there is no alert %s", name)
	return nil
}
