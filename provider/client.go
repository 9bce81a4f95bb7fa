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
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/jonboulle/clockwork"
	"golang.org/x/oauth2"

	"github.com/freshbearer/freshbearer/secret"
)

// Client speaks with the authorization server of one client registration. Its
// fields must not change after its first use; it is then safe for concurrent
// use.
type Client struct {
	Provider  Provider
	Endpoints Endpoints
	ClientID  string
	// ClientSecret travels in the Authorization field only, never in a body.
	ClientSecret secret.String
	RedirectURL  string
	Scopes       []string
	// Clock gives the times in Tokens; nil is the real one.
	Clock clockwork.Clock
	// HTTP carries the requests; nil is a NewTransport that the whole process
	// shares.
	HTTP http.RoundTripper
}

// NewState makes the state of an authorization request: 256 random bits in
// base64url, 43 characters.
func NewState() string {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(bits[:])
}

// NewVerifier makes a PKCE code verifier (RFC 7636 §4.1), 43 characters. Use a
// new one for every authorization request.
func NewVerifier() string { return oauth2.GenerateVerifier() }

// AuthCodeURL returns the address to send the browser to. PKCE is always in
// it: a server that does not know it ignores it (RFC 6749 §3.1).
func (c *Client) AuthCodeURL(state, verifier string) string {
	return c.config().AuthCodeURL(state, oauth2.S256ChallengeOption(verifier))
}

// Exchange trades an authorization code for tokens. The error is a
// *TokenError. A code works once: try again only with a new one, unless the
// outcome is OutcomeTransient and no status came back.
//
// An answer without a refresh token is an error: there would be nothing to
// keep fresh.
func (c *Client) Exchange(ctx context.Context, code, verifier string) (*Tokens, error) {
	if code == "" {
		return nil, notSent(errors.New("there is no authorization code"))
	}
	return c.requestTokens(ctx, secret.String{}, []string{code, verifier},
		func(ctx context.Context, config *oauth2.Config) error {
			_, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
			return err
		})
}

// Refresh trades a refresh token for new tokens. The error is a *TokenError.
//
// Whatever it returns must be stored before anything else happens, and two
// refreshes with the same token must never run at once: the server may take
// the second for theft.
func (c *Client) Refresh(ctx context.Context, refreshToken secret.String) (*Tokens, error) {
	if refreshToken.Empty() {
		return nil, notSent(errors.New("there is no refresh token"))
	}
	return c.requestTokens(ctx, refreshToken, []string{refreshToken.Reveal()},
		func(ctx context.Context, config *oauth2.Config) error {
			_, err := config.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken.Reveal()}).Token()
			return err
		})
}

func (c *Client) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID:     c.ClientID,
		ClientSecret: c.ClientSecret.Reveal(),
		RedirectURL:  c.RedirectURL,
		Scopes:       c.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL:  c.Endpoints.AuthorizeURL,
			TokenURL: c.Endpoints.TokenURL,
			// Auto-detection sends the code or refresh token a second time
			// after any failure of the first request.
			AuthStyle: oauth2.AuthStyleInHeader,
		},
	}
}

// requestTokens lets x/oauth2 write the request and reads the answer itself.
// What x/oauth2 returns is dropped: its error prints the body and holds the
// client's credentials, its decoder matches member names in any case, takes
// the last of two, and loses a rotated token to an odd expires_in.
func (c *Client) requestTokens(
	ctx context.Context, sentRefresh secret.String, sent []string,
	send func(context.Context, *oauth2.Config) error,
) (*Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()

	carrier := c.carrier(c.Provider.TokenHeader())
	requestedAt := c.now()
	_ = send(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     carrier,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}), c.config())

	secrets := append([]string{c.ClientSecret.Reveal()}, sent...)
	switch {
	case carrier.answer != nil:
		return c.readTokens(carrier.answer, requestedAt, sentRefresh, secrets)
	case carrier.err != nil:
		outcome := OutcomeTransient
		if carrier.maybeWritten() {
			outcome = OutcomeUnknown
		}
		return nil, &TokenError{
			Outcome: outcome,
			Err:     cleanTransportError(carrier.err, c.Endpoints.TokenURL, secrets),
		}
	default:
		// The request could not even be made. The text of what send returned
		// may hold the whole token URL, userinfo included.
		err := ctx.Err()
		if err == nil {
			err = errors.New("the token URL is not usable")
		}
		return nil, notSent(err)
	}
}

func (c *Client) readTokens(a *answer, requestedAt time.Time, sentRefresh secret.String, secrets []string) (*Tokens, error) {
	traceID := c.traceID(a, secrets)
	grant, failure := classify(a, secrets)
	if failure == nil && grant.refresh == "" && sentRefresh.Empty() {
		failure = &TokenError{Outcome: OutcomeUnknown, Err: errors.New("the answer holds no refresh token")}
	}
	if failure != nil {
		failure.Status = a.status
		failure.TraceID = traceID
		failure.RetryAfter, _ = a.retryAfter()
		failure.Skew = a.skew()
		return nil, failure
	}
	tokens := &Tokens{
		AccessToken:  secret.New(grant.access),
		RefreshToken: sentRefresh,
		RequestedAt:  requestedAt,
		ExpiresAt:    requestedAt.Add(grant.expiresIn),
		Lifetimes:    c.Provider.Lifetimes(grant.members.extra),
		TraceID:      traceID,
		Skew:         a.skew(),
	}
	if grant.refresh != "" {
		tokens.RefreshToken = secret.New(grant.refresh)
	}
	return tokens, nil
}

// traceID drops an id that echoes a secret.
func (c *Client) traceID(a *answer, secrets []string) string {
	id := c.Provider.TraceID(a.header)
	if id != clip(redact(printable(id), secrets), maxTraceID) {
		return ""
	}
	return id
}

// now is the wall clock alone: a monotonic reading stands still while the
// machine sleeps, and the token does not.
func (c *Client) now() time.Time {
	if c.Clock != nil {
		return c.Clock.Now().Round(0)
	}
	return time.Now().Round(0)
}

func (c *Client) carrier(header http.Header) *carrier {
	base := c.HTTP
	if base == nil {
		base = sharedTransport(c.Endpoints.Named)
	}
	return &carrier{base: base, header: header, now: c.now}
}

// basicAuth adds the client credentials, form-encoded first (RFC 6749 §2.3.1).
func (c *Client) basicAuth(request *http.Request) {
	request.SetBasicAuth(url.QueryEscape(c.ClientID), url.QueryEscape(c.ClientSecret.Reveal()))
}

func notSent(err error) *TokenError {
	return &TokenError{Outcome: OutcomeTransient, Err: err}
}
