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

// Package check validates the files of deploy/ with the code of the tools that
// read them: BuildKit's parser and linter, Compose's loader, Prometheus' rule
// engine, and the types of Kubernetes' API, strictly. It is a module of its
// own, because these are large:
//
//	go test -C deploy/check -count=1 .
package check

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func TestDockerfile(t *testing.T) {
	file, err := os.Open("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	result, err := parser.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range result.Warnings {
		t.Errorf("%s: %v", w.Short, w.Location)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, short string, _ []parser.Range) {
		t.Errorf("%s: %s", rule, short)
	}})
	stages, _, err := instructions.Parse(result.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if len(stages) != 2 {
		t.Errorf("%d stages", len(stages))
	}
}

func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../compose/compose.yaml"}, cli.WithEnv([]string{
		"QUICKBOOKS_CLIENT_ID=id", "SITE=qb.example.com",
	}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	caddy, err := project.GetService("caddy")
	if err != nil {
		t.Fatal(err)
	}
	if grace := caddy.StopGracePeriod; grace == nil || grace.String() != "1m30s" || !caddy.ReadOnly || caddy.Environment["SITE"] == nil {
		t.Errorf("the service is %+v", caddy)
	}
	bare, err := cli.NewProjectOptions([]string{"../compose/compose.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bare.LoadProject(t.Context()); err == nil {
		t.Error("without the site's name it would start")
	}
}

func TestKubernetes(t *testing.T) {
	data, err := os.ReadFile("../kubernetes/freshbearer.yaml")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]func() any{
		"ConfigMap":             func() any { return new(corev1.ConfigMap) },
		"PersistentVolumeClaim": func() any { return new(corev1.PersistentVolumeClaim) },
		"Deployment":            func() any { return new(appsv1.Deployment) },
		"Service":               func() any { return new(corev1.Service) },
		"NetworkPolicy":         func() any { return new(networkingv1.NetworkPolicy) },
		"Ingress":               func() any { return new(networkingv1.Ingress) },
	}
	seen := make(map[string]bool)
	documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(data)))
	buffer := make([]byte, len(data))
	for {
		n, err := documents.Read(buffer)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var meta struct{ Kind string }
		if err := yaml.Unmarshal(buffer[:n], &meta); err != nil {
			t.Fatal(err)
		}
		if kinds[meta.Kind] == nil {
			t.Fatalf("a %q is not expected", meta.Kind)
		}
		object := kinds[meta.Kind]()
		if err := yaml.UnmarshalStrict(buffer[:n], object); err != nil {
			t.Errorf("%s: %v", meta.Kind, err)
		}
		seen[meta.Kind] = true
	}
	if len(seen) != len(kinds) {
		t.Errorf("only these were found: %v", seen)
	}
}
