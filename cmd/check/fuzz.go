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

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// fuzzTarget is a fuzz test and the folder of its package.
type fuzzTarget struct{ folder, name string }

var fuzzFunc = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)

// fuzz runs each fuzz target of the module for so long, one after the other. A
// finding stays in testdata/fuzz, and the others go on.
func fuzz(lasts string) error {
	if d, err := time.ParseDuration(lasts); err != nil || d <= 0 {
		return fmt.Errorf("-fuzz %s: a duration is needed, such as 60s", lasts)
	}
	targets, err := fuzzTargets(".")
	if err != nil {
		return err
	}
	var found []error
	for _, t := range targets {
		found = append(found, command("go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", lasts, "./"+filepath.ToSlash(t.folder)))
	}
	return errors.Join(found...)
}

func fuzzTargets(module string) ([]fuzzTarget, error) {
	var targets []fuzzTarget
	err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == ".git") {
			return fs.SkipDir
		}
		if matched, _ := filepath.Match("*_test.go", d.Name()); !matched {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range fuzzFunc.FindAllSubmatch(data, -1) {
			targets = append(targets, fuzzTarget{filepath.Dir(path), string(m[1])})
		}
		return nil
	})
	if err == nil && len(targets) == 0 {
		err = errors.New("there are no fuzz targets: run this at the root of the module")
	}
	return targets, err
}
