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
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// checkTimeout bounds each request of a check-up: somebody waits for it, and
// an endpoint that needs longer is no better than one that is down.
const checkTimeout = 5 * time.Second

// Why an endpoint could not be reached, matched with errors.Is.
var (
	// ErrNoSuchHost says that its name could not be resolved.
	ErrNoSuchHost = errors.New("the name cannot be resolved")
	// ErrCertificate says that it proved itself with a certificate that this
	// machine does not trust.
	ErrCertificate = errors.New("the certificate is not trusted")
)

// ErrNoDiscovery says that there is no discovery document.
var ErrNoDiscovery = errors.New("there is no discovery document")

// Reached is what an answer to a request without credentials tells of a
// server.
type Reached struct {
	// Status is the answer's HTTP status.
	Status int
	// Skew is how far the server's clock is ahead of ours. It is only known if
	// Dated.
	Skew  time.Duration
	Dated bool
	// CertificateEnds is when the server's certificate ends; zero without TLS.
	CertificateEnds time.Time
}

// Reach asks an address of the provider for anything, within 5 seconds, on a
// connection of its own, without credentials. An error says that no answer
// came; it is of type *RequestError.
func (c *Client) Reach(ctx context.Context, address string) (Reached, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return Reached{}, &RequestError{Request: "reach", Err: errors.New("the address is not usable")}
	}
	carrier := c.carrier(nil)
	if c.HTTP == nil {
		// A connection that is open already proves nothing about a new one.
		transport := NewTransport(c.Endpoints.Named...)
		transport.DisableKeepAlives = true
		defer transport.CloseIdleConnections()
		carrier.base = transport
	}
	_, _ = carrier.RoundTrip(request) //nolint:bodyclose // read and closed by the carrier
	a := carrier.answer
	if a == nil {
		return Reached{}, &RequestError{Request: "reach", Err: unreached(carrier.err, address)}
	}
	reached := Reached{Status: a.status, Skew: a.skew()}
	_, err = http.ParseTime(a.header.Get("Date"))
	reached.Dated = err == nil
	if a.tls != nil && len(a.tls.PeerCertificates) > 0 {
		reached.CertificateEnds = a.tls.PeerCertificates[0].NotAfter
	}
	return reached, nil
}

func unreached(err error, address string) error {
	cleaned := cleanTransportError(err, address, nil)
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("%w: %w", ErrNoSuchHost, cleaned)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fmt.Errorf("%w: %w", ErrCertificate, cleaned)
	}
	return cleaned
}

// CheckClient asks whether the provider knows this client and its secret, with
// a refresh token that never existed, so that no grant is touched. It returns
// nil if the provider refuses that token alone. Any other outcome is an error;
// the client is refused if it is a *TokenError of OutcomeClientRefused, and
// nothing is known otherwise.
func (c *Client) CheckClient(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	_, err := c.Refresh(ctx, c.Provider.UnknownRefreshToken())
	if err == nil {
		return errors.New("the provider accepted a refresh token that never existed")
	}
	if refused, ok := errors.AsType[*TokenError](err); ok && refused.Outcome == OutcomeInvalidGrant {
		return nil
	}
	return err
}

// Discovery is what a server says of its own addresses.
type Discovery struct {
	AuthorizeURL, TokenURL, RevokeURL string
}

// Discovery reads the server's description of itself, within 5 seconds. The
// error is ErrNoDiscovery if it has none. Errors are of type *RequestError.
func (c *Client) Discovery(ctx context.Context) (Discovery, error) {
	const kind = "discovery"
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if c.Endpoints.DiscoveryURL == "" {
		return Discovery{}, &RequestError{Request: kind, Err: ErrNoDiscovery}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Endpoints.DiscoveryURL, nil)
	if err != nil {
		return Discovery{}, &RequestError{Request: kind, Err: errors.New("the discovery URL is not usable")}
	}
	a, failure := c.carry(ctx, kind, request, nil)
	if failure != nil {
		return Discovery{}, failure
	}
	var document struct {
		Authorize string `json:"authorization_endpoint"`
		Token     string `json:"token_endpoint"`
		Revoke    string `json:"revocation_endpoint"`
	}
	switch {
	case a.status == http.StatusNotFound, a.status == http.StatusGone:
		return Discovery{}, c.refusal(kind, a, ErrNoDiscovery, nil)
	case a.err != nil:
		return Discovery{}, c.refusal(kind, a, a.err, nil)
	// The decoder's error is dropped because it may quote what was read.
	case a.status != http.StatusOK, json.Unmarshal(a.body, &document) != nil, document.Token == "":
		return Discovery{}, c.refusal(kind, a, errors.New("the answer is no discovery document"), nil)
	}
	return Discovery{plainURL(document.Authorize), plainURL(document.Token), plainURL(document.Revoke)}, nil
}

// maxURL is the longest address that is believed, in bytes.
const maxURL = 256

// plainURL returns what a server gives as an address, or "" if it is none
// that could be shown.
func plainURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || len(text) > maxURL || text != printable(text) {
		return ""
	}
	return text
}
