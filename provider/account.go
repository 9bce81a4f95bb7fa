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
	"context"
	"errors"
	"mime"
	"net/http"
	"net/url"

	"github.com/freshbearer/freshbearer/secret"
)

const mainAPI = ""

var (
	errRevokeUnproven = errors.New("the revocation is not proven")
	errAccountUnknown = errors.New("the answer does not tell whose token it is")
)

// Revoke revokes the grant that token belongs to. If it returns nil, or an
// error that is ErrAlreadyRevoked, the grant is gone. After any other error it
// must be assumed to exist still (RFC 7009 §2.2.1): try again later.
//
// Errors are of type *RequestError.
func (c *Client) Revoke(ctx context.Context, token secret.String) error {
	secrets := []string{c.ClientSecret.Reveal(), token.Reveal()}
	if token.Empty() {
		// The provider's 400 to it would read as "already gone".
		return &RequestError{Request: "revoke", Err: errors.New("there is no token to revoke")}
	}
	request, err := c.Provider.RevokeRequest(c.Endpoints.RevokeURL, token)
	if err != nil {
		return &RequestError{Request: "revoke", Err: errors.New("the revocation URL is not usable")}
	}
	c.basicAuth(request)
	answer, failure := c.carry(ctx, "revoke", request, secrets)
	switch {
	case failure != nil:
		return failure
	case answer.err != nil:
		return c.refusal("revoke", answer, errRevokeUnproven, secrets)
	case answer.status == http.StatusOK:
		return nil
	case answer.status == http.StatusBadRequest && saysGone(answer):
		return c.refusal("revoke", answer, ErrAlreadyRevoked, secrets)
	}
	return c.refusal("revoke", answer, errRevokeUnproven, secrets)
}

// saysGone reads a 400 to a revocation. RFC 7009 §2.2 wants a 200 for a token
// that is not valid; Intuit gives a 400, often with an empty body. What it
// must not be taken for is a complaint about the client or the request, or a
// gateway's page.
func saysGone(a *answer) bool {
	if len(a.body) == 0 {
		return true
	}
	members, err := readMembers(a)
	if err != nil {
		return false
	}
	switch members.text("error") {
	case "invalid_client", "unauthorized_client", "invalid_request", "unsupported_token_type":
		return false
	}
	return true
}

// Account proves that accessToken belongs to connection, by the one request
// that only then succeeds, and returns the account's name. The error is
// ErrAccountMismatch if the API says that it does not; after any other the
// question is open. Errors are of type *RequestError.
func (c *Client) Account(ctx context.Context, accessToken secret.String, connection string) (Account, error) {
	const kind = "account"
	secrets := []string{accessToken.Reveal()}
	if !c.Provider.ValidConnection(connection) {
		return Account{}, &RequestError{Request: kind, Err: errors.New("the connection id is not well-formed")}
	}
	if !wellFormed(accessToken.Reveal(), maxAccessToken) {
		return Account{}, &RequestError{Request: kind, Err: errAccessToken}
	}
	api, err := url.Parse(c.Endpoints.APIs[mainAPI])
	if err != nil || api.Host == "" {
		return Account{}, &RequestError{Request: kind, Err: errors.New("the API URL is not usable")}
	}
	request, err := c.Provider.AccountRequest(api, connection)
	if err != nil {
		return Account{}, &RequestError{Request: kind, Err: errors.New("the account request cannot be made")}
	}
	request.Header.Set("Authorization", "Bearer "+accessToken.Reveal())
	answer, failure := c.carry(ctx, kind, request, secrets)
	if failure != nil {
		return Account{}, failure
	}
	switch {
	case answer.err != nil:
		return Account{}, c.refusal(kind, answer, answer.err, secrets)
	case c.deniesAccount(answer):
		return Account{}, c.refusal(kind, answer, ErrAccountMismatch, secrets)
	case answer.status != http.StatusOK:
		return Account{}, c.refusal(kind, answer, errAccountUnknown, secrets)
	}
	name, err := c.Provider.AccountName(answer.body)
	if err != nil {
		return Account{}, c.refusal(kind, answer, errAccountUnknown, secrets)
	}
	return Account{Connection: connection, Name: name}, nil
}

// deniesAccount tells whether the API itself refused this account to a token
// that is otherwise good. A page or an empty answer may come from anything on
// the way.
func (c *Client) deniesAccount(a *answer) bool {
	if len(a.body) == 0 {
		return false
	}
	if kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); kind == "text/html" {
		return false
	}
	switch a.status {
	case http.StatusForbidden:
		return true
	case http.StatusUnauthorized:
		return !c.Provider.TokenRefused(a.status, a.header, a.body)
	}
	return false
}

func (c *Client) carry(ctx context.Context, kind string, request *http.Request, secrets []string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	carrier := c.carrier(nil)
	// Not through an http.Client: it would follow redirects.
	_, _ = carrier.RoundTrip(request.WithContext(ctx)) //nolint:bodyclose // read and closed by the carrier
	if carrier.answer == nil {
		return nil, &RequestError{Request: kind, Err: cleanTransportError(carrier.err, request.URL.String(), secrets)}
	}
	return carrier.answer, nil
}

func (c *Client) refusal(kind string, a *answer, reason error, secrets []string) *RequestError {
	wait, _ := a.retryAfter()
	return &RequestError{
		Request:    kind,
		Status:     a.status,
		TraceID:    c.traceID(a, secrets),
		RetryAfter: wait,
		Err:        reason,
	}
}
