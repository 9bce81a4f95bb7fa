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

// Command check passes the project's tests on a machine that has only Go:
//
//	go run ./cmd/check
//
// The race detector needs a C compiler, the tests with real QuickBooks clients
// need Node.js, and those of the pages Chromium. What is missing is installed with apt-get where that
// is possible, and named where it is not. Arguments are handed to `go test`.
//
//	go run ./cmd/check -reproducible
//
// builds Caddy twice, in two places, and compares the results.
//
//	go run ./cmd/check -fuzz 60s
//
// runs each fuzz target for that long.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// need is a program that the tests call, and the Debian packages it comes in.
type need struct {
	program  string
	why      string
	packages []string
}

var needs = []need{
	{"gcc", "the race detector needs a C compiler", []string{"gcc", "libc6-dev"}},
	{"node", "real QuickBooks clients are run against the proxy", []string{"nodejs"}},
	{"npm", "it installs those clients", []string{"npm"}},
	{"chromium", "the pages are driven in a real browser", []string{"chromium"}},
	{"curl", "a guide's commands are run", []string{"curl"}},
}

func main() {
	work := func() error { return run(os.Args[1:]) }
	if len(os.Args) == 2 && os.Args[1] == "-reproducible" {
		work = reproducible
	}
	if len(os.Args) == 3 && os.Args[1] == "-fuzz" {
		work = func() error { return fuzz(os.Args[2]) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if err := install(needs); err != nil {
		return err
	}
	unformatted, err := exec.Command("gofmt", "-l", ".").Output()
	if err != nil {
		return fmt.Errorf("running gofmt: %w", err)
	}
	if names := strings.Fields(string(unformatted)); len(names) > 0 {
		return fmt.Errorf("not formatted; run gofmt -w on: %s", strings.Join(names, " "))
	}
	if err := command("go", "vet", "./..."); err != nil {
		return err
	}
	// -count=1: the tests also depend on what the cache does not see, such as
	// the installed clients. -p=1: some tests measure out seconds, which two
	// packages at once would not leave them on a small machine.
	return command("go", append([]string{"test", "-race", "-count=1", "-p=1", "-timeout=14m"}, append(args, "./...")...)...)
}

// install installs what is missing.
func install(needs []need) error {
	var packages []string
	for _, n := range needs {
		if _, err := exec.LookPath(n.program); err == nil {
			continue
		}
		fmt.Printf("check: %s is missing: %s\n", n.program, n.why)
		packages = append(packages, n.packages...)
	}
	if packages == nil {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("please install: %s", strings.Join(packages, " "))
	}
	fmt.Printf("check: installing with apt-get: %s\n", strings.Join(packages, " "))
	if err := quietly("apt-get", "update"); err != nil {
		return err
	}
	return quietly("apt-get", append([]string{"install", "-y", "--no-install-recommends"}, packages...)...)
}

func command(name string, args ...string) error {
	fmt.Printf("check: %s %s\n", name, strings.Join(args, " "))
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return nil
}

// quietly shows what a command prints only if it fails.
func quietly(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return errors.Join(fmt.Errorf("%s %s: %w", name, args[0], err), errors.New(out.String()))
	}
	return nil
}
