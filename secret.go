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
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/secret"
)

// expandSecret returns the secret behind a placeholder. A literal is refused:
// it would be readable at GET /config/ and in the autosaved configuration.
// what names the setting for the operator; the value is in no error.
func expandSecret(repl *caddy.Replacer, what, placeholder string) (secret.String, error) {
	inner, ok := strings.CutPrefix(placeholder, "{")
	inner, closed := strings.CutSuffix(inner, "}")
	if !ok || !closed || strings.ContainsAny(inner, "{}") || strings.HasPrefix(inner, "$") {
		return secret.String{}, fmt.Errorf("%s must be one placeholder, such as {env.NAME} or {file./path}: "+
			"a literal (or {$NAME}, which is replaced too early) could be read in the configuration", what)
	}
	text, err := repl.ReplaceOrErr(placeholder, true, true)
	if err != nil {
		// The replacer's error may hold the value; the placeholder is what helps.
		return secret.String{}, fmt.Errorf("%s: %s is empty, unreadable or unknown: "+
			"set the variable, or check the file's path and mode for the user that runs Caddy", what, placeholder)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return secret.String{}, fmt.Errorf("%s: %s holds nothing but white space", what, placeholder)
	}
	return secret.New(text), nil
}

// together joins what is wrong in one line, which Caddy logs. A first
// configuration lacks several things, and shall not be told of them one by one.
func together(errs ...error) error {
	var wrong []error
	for _, err := range errs {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	if len(wrong) < 2 {
		return errors.Join(wrong...)
	}
	format := "%w" + strings.Repeat("; moreover, %w", len(wrong)-1)
	args := make([]any, len(wrong))
	for i, err := range wrong {
		args[i] = err
	}
	return fmt.Errorf(format, args...)
}
