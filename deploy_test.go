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
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.yaml.in/yaml/v3"
)

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// mustAdapt adapts a Caddyfile, which must be formatted and warn of nothing.
func mustAdapt(t *testing.T, what, text string) {
	t.Helper()
	_, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), nil)
	if err != nil || len(warnings) > 0 {
		t.Errorf("%s: %v %v", what, warnings, err)
	}
	if formatted := caddyfile.Format([]byte(text)); string(formatted) != text {
		t.Errorf("%s is not formatted:\n%s", what, formatted)
	}
}

// What deploy/ relies on is what the code does. Its module deploy/check reads
// the files with the code of the tools that they are for.
func TestDeployment(t *testing.T) {
	t.Setenv("SITE", "qb.example.com")
	mustAdapt(t, "compose's Caddyfile", readFile(t, "deploy/compose/Caddyfile"))

	var caddyfileIn string
	deployment := make(map[string]any)
	decoder := yaml.NewDecoder(strings.NewReader(readFile(t, "deploy/kubernetes/freshbearer.yaml")))
	for {
		var object struct {
			Kind string
			Data map[string]string
			Spec map[string]any
		}
		if decoder.Decode(&object) != nil {
			break
		}
		switch object.Kind {
		case "ConfigMap":
			caddyfileIn = object.Data["Caddyfile"]
		case "Deployment":
			deployment = object.Spec
		}
	}
	mustAdapt(t, "Kubernetes' Caddyfile", caddyfileIn)
	var compose map[string]any
	if err := yaml.Unmarshal([]byte(readFile(t, "deploy/compose/compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}

	// One process at a time, and time for the refreshes under way: the store
	// refuses a second process, and a stop takes 80 s at most.
	pod := "template.spec."
	for path, want := range map[string]any{
		"replicas":                            1,
		"strategy.type":                       "Recreate",
		pod + "terminationGracePeriodSeconds": 90,
		pod + "securityContext.runAsNonRoot":  true,
		pod + "containers.0.securityContext.readOnlyRootFilesystem":   true,
		pod + "containers.0.securityContext.allowPrivilegeEscalation": false,
		pod + "containers.0.readinessProbe.httpGet.path":              defaultBasePath + "/connect.js",
		pod + "containers.0.securityContext.capabilities.drop.0":      "ALL",
		pod + "volumes.0.persistentVolumeClaim.claimName":             "freshbearer",
	} {
		if got := dig(deployment, path); got != want {
			t.Errorf("Kubernetes' %s is %v, not %v", path, got, want)
		}
	}
	for path, want := range map[string]any{
		"services.caddy.stop_grace_period": "90s",
		"services.caddy.read_only":         true,
		"services.caddy.deploy.replicas":   1,
		"services.caddy.cap_drop.0":        "ALL",
	} {
		if got := dig(compose, path); got != want {
			t.Errorf("compose's %s is %v, not %v", path, got, want)
		}
	}
	for what, command := range map[string]any{
		"startup":  dig(deployment, pod+"containers.0.startupProbe.exec.command"),
		"liveness": dig(deployment, pod+"containers.0.livenessProbe.exec.command"),
		"compose":  dig(compose, "services.caddy.healthcheck.test"),
	} {
		if words := strings.TrimPrefix(fmt.Sprint(command), "[CMD "); strings.Trim(words, "[]") != "/usr/bin/caddy freshbearer health" {
			t.Errorf("the %s probe runs %v", what, command)
		}
	}
	unit := readFile(t, "deploy/systemd/freshbearer.service")
	for _, line := range []string{
		"Type=notify", "User=caddy", "TimeoutStopSec=90s", "NoNewPrivileges=yes", "ProtectSystem=strict",
		"StateDirectory=caddy freshbearer", "ExecStart=/usr/local/bin/caddy run --config /etc/caddy/Caddyfile",
	} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
}

// dig follows keys and indexes.
func dig(tree any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch node := tree.(type) {
		case map[string]any:
			tree = node[key]
		case []any:
			if key != "0" || len(node) == 0 {
				return nil
			}
			tree = node[0]
		default:
			return nil
		}
	}
	return tree
}

// All that names a version of Caddy names the one that is tested.
func TestCaddyVersions(t *testing.T) {
	tested := regexp.MustCompile(`caddyserver/caddy/v2 (v[0-9.]+)`).FindStringSubmatch(readFile(t, "go.mod"))[1]
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, path := range append(paths, "README.md", "xcaddy.md", "deploy/Dockerfile") {
		for _, m := range regexp.MustCompile(`xcaddy build (v[0-9.]+)`).FindAllStringSubmatch(readFile(t, path), -1) {
			if named++; m[1] != tested {
				t.Errorf("%s builds Caddy %s; %s is tested", path, m[1], tested)
			}
		}
	}
	if named < 3 {
		t.Errorf("only %d versions are named", named)
	}
}
