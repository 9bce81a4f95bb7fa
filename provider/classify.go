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
	"net/http"
)

var (
	errRedirect  = errors.New("the answer is a redirect, which is never followed")
	errNotJSON   = errors.New("the answer is not JSON")
	errBothKinds = errors.New("the answer holds an error and status 200")
	errStatus    = errors.New("the status is none that a token endpoint gives")
)

// classify reads an answer of the token endpoint. Either it returns the grant
// or an error without the members that readTokens adds.
//
// The grant is pronounced refused in one case only: status 400 or 401 and a
// JSON object whose member error is exactly invalid_grant (RFC 6749 §5.2).
func classify(a *answer, secrets []string) (*grant, *TokenError) {
	if a.err != nil {
		return nil, &TokenError{Outcome: OutcomeUnknown, Err: a.err}
	}
	members, parseErr := readMembers(a)
	secrets = append(secrets, members.secrets()...)
	failure := &TokenError{
		Code:        cleanCode(members.text("error"), secrets),
		Description: cleanText(members.text("error_description"), secrets),
	}
	_, paused := a.retryAfter()
	switch {
	case a.status == http.StatusOK:
		return classifyOK(members, parseErr, failure)
	case a.status == http.StatusTooManyRequests, a.status == http.StatusServiceUnavailable && paused:
		failure.Outcome = OutcomeTransient
	case a.status >= 500:
		// Incidents are known in which the token was rotated behind a 504.
		failure.Outcome = OutcomeUnknown
	case a.status >= 300 && a.status < 400:
		failure.Outcome, failure.Err = OutcomeTransient, errRedirect
	case a.status < 400:
		failure.Outcome, failure.Err = OutcomeUnknown, errStatus
	case errors.Is(parseErr, errDuplicate):
		failure.Outcome, failure.Err = OutcomeUnknown, parseErr
	case parseErr != nil:
		// A gateway's page, but its status is clear: nothing was done.
		failure.Outcome, failure.Err = OutcomeTransient, parseErr
	default:
		failure.Outcome = outcomeOf(a.status, members.text("error"))
	}
	return nil, failure
}

func classifyOK(members members, parseErr error, failure *TokenError) (*grant, *TokenError) {
	failure.Outcome = OutcomeUnknown
	if parseErr != nil {
		failure.Err = parseErr
		return nil, failure
	}
	if members.given("error") && string(members["error"]) != `""` {
		failure.Err = errBothKinds
		return nil, failure
	}
	grant, err := members.grant()
	if err != nil {
		failure.Err = err
		return nil, failure
	}
	return grant, nil
}

// outcomeOf reads the error codes of RFC 6749 §5.2. invalid_request is not the
// operator's fault for certain: it was seen in an incident, and some servers
// give it to one of two refreshes at the same time.
func outcomeOf(status int, code string) Outcome {
	switch code {
	case "invalid_grant":
		if status == http.StatusBadRequest || status == http.StatusUnauthorized {
			return OutcomeInvalidGrant
		}
	case "invalid_client", "unauthorized_client", "invalid_scope", "unsupported_grant_type":
		switch status {
		case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden:
			return OutcomeClientRefused
		}
	}
	return OutcomeTransient
}
