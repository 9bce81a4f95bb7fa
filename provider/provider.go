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

// Package provider defines what freshbearer must know about an OAuth 2.0
// authorization server and its API, and holds the client of the token
// endpoint, which is the same for all of them.
//
// A provider is added by adding a package below this one that implements
// Provider and registers itself as a Caddy module in the namespace
// freshbearer.providers.
package provider

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/freshbearer/freshbearer/secret"
)

// Provider is all that is one provider's own. Implementations are stateless
// and safe for concurrent use.
type Provider interface {
	// Title is the provider's name for people: "QuickBooks".
	Title() string

	// Environments lists the environments, the default first.
	Environments() []string

	// Endpoints returns the provider's addresses in an environment that
	// Environments lists.
	Endpoints(environment string) Endpoints

	// ValidConnection tells whether id has the form of a connection id at
	// this provider (QuickBooks: 1 to 20 digits).
	ValidConnection(id string) bool

	// ParseTarget reads the raw request target (origin form, as it came on the
	// wire) by a strict grammar. It returns a *TargetError for anything it
	// does not know; it never repairs or decodes.
	ParseTarget(target string) (Target, error)

	// TokenHeader returns the header fields to add to every request to the
	// token endpoint.
	TokenHeader() http.Header

	// Lifetimes reads from a successful token answer's members what RFC 6749
	// does not name. A member that is missing or absurd gives zero.
	Lifetimes(extra func(member string) any) Lifetimes

	// TokenRefused tells whether an API answer refuses the access token itself
	// (expired, revoked, malformed), so that a newer token would help. Body is
	// decoded, and at most its first 64 KiB.
	TokenRefused(status int, header http.Header, body []byte) bool

	// OtherClient tells whether the error_description of an invalid_grant says
	// that the grant belongs to another client.
	OtherClient(description string) bool

	// Scrub returns the body of a 401 or 403 without the token identifiers
	// that this provider is known to put into it. It returns body itself if
	// there are none.
	Scrub(body []byte) []byte

	// TraceID returns the provider's own id of an answer (Intuit: intuit_tid),
	// or "".
	TraceID(header http.Header) string

	// CallbackConnection reads from the query of the authorization callback
	// which account was granted. Nothing binds it to the code: the caller must
	// prove it with AccountRequest and the new token.
	CallbackConnection(query url.Values) (string, error)

	// AccountRequest makes the API request, without credentials, that only
	// succeeds if the token belongs to the connection.
	AccountRequest(api *url.URL, connection string) (*http.Request, error)

	// AccountName reads the account's name for people from the answer to the
	// AccountRequest.
	AccountName(body []byte) (string, error)

	// RevokeRequest makes the request, without client credentials, that
	// revokes the grant that token belongs to.
	RevokeRequest(revokeURL string, token secret.String) (*http.Request, error)

	// UnknownRefreshToken returns a text in the form of a refresh token that
	// never was one: the server's answer to it tells what it thinks of the
	// client, and costs nothing.
	UnknownRefreshToken() secret.String

	// DescribeScope says to a human what a scope gives access to: a few words,
	// or the scope itself if it is not known.
	DescribeScope(scope string) string

	// Limits returns what the API allows one connection; zero for what is not
	// known.
	Limits() Limits

	// Examine tells what is wrong with a registration by the provider's own
	// rules, in an order that stays the same; nil if nothing is known to be.
	Examine(r Registration) []Advice
}

// Limits are what an API allows one connection, before it answers 429.
type Limits struct {
	// PerMinute and PerSecond are how many requests may begin in any span of
	// that length, AtOnce how many may be under way.
	PerMinute, PerSecond, AtOnce int
	// RetryAfter is when to try again after a 429 that does not say so.
	RetryAfter time.Duration
}

// Registration is a client registration as it is configured.
type Registration struct {
	Environment string
	RedirectURL *url.URL
	Scopes      []string
	// APIs are the origins in use, by name: see Endpoints.
	APIs map[string]string
}

// The settings that an Advice is about.
const (
	AboutEnvironment = "environment"
	AboutRedirectURL = "redirect_url"
	AboutScopes      = "scopes"
)

// Advice is what a provider's rules say against a registration.
type Advice struct {
	About string
	// Fault says that it cannot work; else it may not be what was meant.
	Fault bool
	// Message and Repair are texts for the operator.
	Message, Repair string
}

// Endpoints are the addresses of a provider in one environment.
type Endpoints struct {
	AuthorizeURL string
	TokenURL     string
	RevokeURL    string
	// Issuer is the server's name for itself in the answers of AuthorizeURL
	// (RFC 9207) and in its discovery document; empty if it is not known.
	Issuer string
	// DiscoveryURL is where the server describes itself (OpenID Connect
	// Discovery 1.0 §4, RFC 8414 §3); empty if it does not.
	DiscoveryURL string
	// StatusPage is the base URL of a Statuspage; empty if there is none.
	StatusPage string
	// APIs are the origins (scheme and host) of the provider's APIs by name.
	// The name "" is the main one.
	APIs map[string]string
	// Named are the hosts among these that the operator has named himself, in
	// order; they may have private addresses. See Dialer.
	Named []string
}

// Target is what a request target means.
type Target struct {
	// Connection is the connection that the path names; empty if the API does
	// not carry it in the path, and the caller must name it in a header.
	Connection string
	// API names one of Endpoints.APIs.
	API string
	// Resource is the path after the connection, from its slash; the whole path
	// if the connection is not in it.
	Resource string
	// Query tells that a POST to it only reads.
	Query bool
}

// TargetError says that a request target does not fit the provider's grammar.
// Its text is safe to show to a caller: it does not repeat the target.
type TargetError struct {
	Reason string
}

func (e *TargetError) Error() string { return e.Reason }

// Lifetimes are the remaining lifetimes of a refresh token; zero is unknown.
type Lifetimes struct {
	// Refresh is how long the refresh token lives if it is not used.
	Refresh time.Duration
	// Authorization is how long the authorization lives whatever is done.
	Authorization time.Duration
}

// Tokens is a successful answer of the token endpoint.
type Tokens struct {
	AccessToken secret.String
	// RefreshToken is the refresh token to use from now on. If the answer held
	// none, it is the one that was sent (RFC 6749 §6).
	RefreshToken secret.String
	// RequestedAt is when the request was sent; ExpiresAt counts from it, so
	// that a slow answer can never make a token look fresher than it is.
	RequestedAt time.Time
	ExpiresAt   time.Time
	Lifetimes   Lifetimes
	TraceID     string
	// Skew is how far the provider's clock is ahead of ours, by the Date
	// field; zero if there was none.
	Skew time.Duration
}

// Outcome classifies a failed token request by what it means for the grant.
type Outcome string

// The outcomes. Only a well-formed invalid_grant may ever cost a human a visit:
// every other answer leaves the grant as it is.
const (
	// OutcomeInvalidGrant: a well-formed invalid_grant. It is a claim, not yet
	// a proof.
	OutcomeInvalidGrant Outcome = "invalid_grant"
	// OutcomeClientRefused: the provider refuses the operator's client id,
	// secret, scopes or grant type (invalid_client, unauthorized_client,
	// invalid_scope, unsupported_grant_type); the grant is untouched.
	OutcomeClientRefused Outcome = "client_refused"
	// OutcomeTransient: an answer that says "not now" (429, 503 with
	// Retry-After, any other 4xx, a redirect), or a failure before the request
	// was written. The grant is untouched.
	OutcomeTransient Outcome = "transient"
	// OutcomeUnknown: the request was written, and no answer that can be
	// understood came back (reset, timeout, 5xx, cut off, too long, a 200 that
	// is no token answer): the provider may have rotated the token.
	OutcomeUnknown Outcome = "unknown"
)

// TokenError is the error of every failed token request. It holds no secret
// and nothing of the answer's body but the OAuth error code and a cleaned,
// shortened description.
type TokenError struct {
	Outcome Outcome
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Code and Description are the OAuth error members (RFC 6749 §5.2).
	Code        string
	Description string
	TraceID     string
	// RetryAfter is how long the provider asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// Skew is as in Tokens.
	Skew time.Duration
	// Err is the failure of the transport, if there was one.
	Err error
}

// Account is the account behind a grant.
type Account struct {
	Connection string
	Name       string
}

// ErrAccountMismatch says that the token does not belong to the connection.
var ErrAccountMismatch = errors.New("the token does not belong to this account")
