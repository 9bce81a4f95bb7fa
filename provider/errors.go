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

package provider

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	redacted       = "[redacted]"
	maxDescription = 200
	maxCode        = 64
	maxTraceID     = 128
	// minSecret is the shortest text that is looked for as a secret: to
	// replace every "a" would only ruin the text.
	minSecret = 8
)

// ErrAlreadyRevoked says that the provider does not know the token to be
// revoked: the grant is already gone.
var ErrAlreadyRevoked = errors.New("the token is not valid any more")

// RequestError is the error of a failed request that is not a token request. It
// holds no secret and nothing of the answer's body.
type RequestError struct {
	// Request says what was tried: "revoke", "account", "probe", "reach" or
	// "discovery".
	Request string
	// Status is the HTTP status, 0 if there was no answer.
	Status  int
	TraceID string
	// RetryAfter is how long the provider asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// Err is the reason; ErrAlreadyRevoked and ErrAccountMismatch among them.
	Err error
}

// Error implements error.
func (e *RequestError) Error() string {
	text := e.Request + " request"
	if e.Status != 0 {
		text += fmt.Sprintf(": status %d", e.Status)
	}
	return text + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *RequestError) Unwrap() error { return e.Err }

// Error implements error.
func (e *TokenError) Error() string {
	var text strings.Builder
	text.WriteString("token request: outcome " + string(e.Outcome))
	if e.Status != 0 {
		fmt.Fprintf(&text, ", status %d", e.Status)
	}
	if e.Code != "" {
		text.WriteString(", code " + e.Code)
	}
	if e.Description != "" {
		fmt.Fprintf(&text, ", description %q", e.Description)
	}
	if e.Err != nil {
		text.WriteString(": " + e.Err.Error())
	}
	return text.String()
}

// Unwrap returns Err.
func (e *TokenError) Unwrap() error { return e.Err }

// transportError has the cleaned text of an error of net/http, which may quote
// what the server sent. errors.Is sees through it (context.DeadlineExceeded,
// syscall.ECONNREFUSED); nothing can take the original text out of it.
type transportError struct {
	text string
	is   func(target error) bool
}

func (e *transportError) Error() string        { return e.text }
func (e *transportError) Is(target error) bool { return e.is(target) }

func cleanTransportError(err error, address string, secrets []string) error {
	// A url.Error quotes the address with its query and userinfo.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	var host string
	if u, parseErr := url.Parse(address); parseErr == nil {
		host = u.Hostname()
	}
	text := redactRuns(redact(printable(err.Error()), secrets), host)
	return &transportError{
		text: clip(text, maxDescription),
		is:   func(target error) bool { return errors.Is(err, target) },
	}
}

// cleanText makes a server's text fit for logs: printable ASCII, at most 200
// characters, without secrets and what looks like one.
func cleanText(text string, secrets []string) string {
	return clip(redactRuns(redact(printable(text), secrets), ""), maxDescription)
}

// cleanCode is cleanText for an error code. Codes are lower-case words and
// longer than 20 characters at times; tokens hold digits and capitals.
func cleanCode(code string, secrets []string) string {
	code = redact(printable(code), secrets)
	if strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") != "" {
		code = redactRuns(code, "")
	}
	return clip(code, maxCode)
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < 0x20:
			return ' '
		case r > 0x7e:
			return '?'
		}
		return r
	}, text)
}

func redact(text string, secrets []string) string {
	for _, known := range secrets {
		if len(known) < minSecret {
			continue
		}
		text = strings.ReplaceAll(text, known, redacted)
		// A server may quote what it read before it decoded the form.
		if escaped := url.QueryEscape(known); escaped != known {
			text = strings.ReplaceAll(text, escaped, redacted)
		}
	}
	return text
}

var tokenLike = regexp.MustCompile(`[A-Za-z0-9._~+=-]{20,}`)

// redactRuns replaces every long unbroken run but the one to keep.
func redactRuns(text, keep string) string {
	return tokenLike.ReplaceAllStringFunc(text, func(run string) string {
		if keep != "" && strings.EqualFold(run, keep) {
			return run
		}
		return redacted
	})
}

func clip(text string, limit int) string {
	if len(text) > limit {
		return text[:limit]
	}
	return text
}
