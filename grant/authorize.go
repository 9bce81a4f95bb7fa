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

package grant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Failure says why an authorization did not come about.
type Failure string

// The failures. Who can repair each is the page's to tell.
const (
	// FailureState: the callback belongs to no authorization that is known to
	// have been begun here, in this browser.
	FailureState Failure = "state_unknown"
	// FailureUsed: the authorization was ended before, by another callback.
	FailureUsed Failure = "state_used"
	// FailureExpired: the human came back too late.
	FailureExpired Failure = "state_expired"
	// FailureChanged: the integration is another client than the one that the
	// human agreed to.
	FailureChanged Failure = "settings_changed"
	// FailureDenied: the human said no.
	FailureDenied Failure = "access_denied"
	// FailureProvider: the provider returned another error, see Detail.
	FailureProvider Failure = "provider_error"
	// FailureCallback: the callback's parameters are missing or doubled.
	FailureCallback Failure = "callback_malformed"
	// FailureCode: the provider refuses the code, see Causes.
	FailureCode Failure = "code_refused"
	// FailureClient: the provider refuses the operator's client id or secret.
	FailureClient Failure = "client_refused"
	// FailureUnavailable: the provider did not answer.
	FailureUnavailable Failure = "provider_unavailable"
	// FailureAccount: the new token does not belong to the account that the
	// callback names.
	FailureAccount Failure = "account_not_proven"
	// FailureOtherAccount: the link was for another account.
	FailureOtherAccount Failure = "other_account"
	// FailureOwned: the account is connected, and belongs to another caller.
	FailureOwned Failure = "owned_by_other"
	// FailureNotConnected: the link was for a connection that is known here, and
	// this one is not.
	FailureNotConnected Failure = "not_connected"
	// FailureStorage: the grant could not be stored.
	FailureStorage Failure = "storage_unavailable"
)

// AuthorizationError says why an authorization did not come about. It holds no
// secret, and nothing that strangers chose but Detail, which is cleaned.
type AuthorizationError struct {
	Failure Failure
	// Causes say why a code was refused: one if it is known, else those that
	// are possible, the most likely first.
	Causes []CodeCause
	// CodeAge is the most that a refused code can have been old.
	CodeAge time.Duration
	Detail  string
	TraceID string
	// ReturnURL is the link's, and Popup the start's, if the state was ours.
	ReturnURL string
	Popup     bool
	Err       error
}

func (e *AuthorizationError) Error() string {
	if e.Err == nil {
		return "authorization failed: " + string(e.Failure)
	}
	return fmt.Sprintf("authorization failed: %s: %v", e.Failure, e.Err)
}

// Unwrap returns what went wrong.
func (e *AuthorizationError) Unwrap() error { return e.Err }

// authorizationLife is how long a human may take at the provider's page; the
// code's own life is at most as long (RFC 6749 §4.1.2).
const authorizationLife = 10 * time.Minute

// onceKept is how long states and codes are remembered: longer than they are
// good, so that who comes too late, or twice, can be told so.
const onceKept = 2 * authorizationLife

const stateKind = "state"

// Authorization is a started authorization.
type Authorization struct {
	// URL is the provider's consent page.
	URL string
	// CookieName and CookieValue bind the authorization to the browser that
	// started it. The cookie lives MaxAge.
	CookieName  string
	CookieValue string
	MaxAge      time.Duration
}

// begun is what is remembered of a started authorization, under its state.
type begun struct {
	Link       Link   `json:"link"`
	CookieHash []byte `json:"cookie_hash"`
	Verifier   string `json:"verifier"`
	// ClientID and TokenURL pin who is asked to redeem the code: a reload must
	// not send it elsewhere (RFC 9700 §4.4, mix-up).
	ClientID string `json:"client_id"`
	TokenURL string `json:"token_url"`
	// RedirectURL is the one that the code is for. It is redeemed with the same
	// (RFC 6749 §4.1.3), even if a reload has brought another.
	RedirectURL string    `json:"redirect_url"`
	At          time.Time `json:"at"`
	Popup       bool      `json:"popup,omitempty"`
}

// Start is the wish to begin an authorization.
type Start struct {
	// Link is one that OpenLink has accepted, or one of PurposeReconnect.
	Link Link
	// From is the IP address of the client; empty if it is not known.
	From string
	// Popup says that a window which another page opened waits for the result.
	Popup bool
}

var (
	// ErrNotConfigured says that no integration has the name.
	ErrNotConfigured = errors.New("integration is not configured")
	// ErrPurpose says that a link is not for an authorization, or does not say
	// of which connection.
	ErrPurpose = errors.New("no authorization can be begun with this link")
)

// BeginAuthorization starts an authorization. The error is ErrPurpose,
// ErrNotConfigured, or a *TooManyError, or the store's.
func (k *Keeper) BeginAuthorization(ctx context.Context, s Start) (*Authorization, error) {
	link := s.Link
	if link.Purpose != PurposeConnect && (link.Purpose != PurposeReconnect || link.Connection == "") {
		return nil, ErrPurpose
	}
	if err := k.begin(); err != nil {
		return nil, err
	}
	defer k.work.Done()
	in := k.integration(link.Integration)
	if in == nil {
		return nil, fmt.Errorf("integration %q: %w", link.Integration, ErrNotConfigured)
	}
	admitted, err := k.admitStart(ctx, s)
	if err != nil {
		return nil, err
	}
	defer admitted()
	state, cookie := provider.NewState(), provider.NewState()
	now := k.clock.Now()
	b := begun{
		Link:        link,
		Popup:       s.Popup,
		CookieHash:  hash(cookie),
		Verifier:    provider.NewVerifier(),
		ClientID:    in.Client.ClientID,
		TokenURL:    in.Client.Endpoints.TokenURL,
		RedirectURL: in.Client.RedirectURL,
		At:          now,
	}
	value, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encoding an authorization: %w", err)
	}
	if err := k.vault.PutOnce(ctx, stateKind, state, value, now.Add(onceKept)); err != nil {
		return nil, fmt.Errorf("storing an authorization: %w", err)
	}
	return &Authorization{
		URL:         in.Client.AuthCodeURL(state, b.Verifier),
		CookieName:  StateCookie(state),
		CookieValue: cookie,
		MaxAge:      authorizationLife,
	}, nil
}

// StateCookie is the name of the cookie that goes with a state, without any
// prefix that the transport needs. It differs from state to state, so that two
// tabs can connect two companies.
func StateCookie(state string) string {
	return "freshbearer-" + base64.RawURLEncoding.EncodeToString(hash("cookie\x00" + state)[:9])
}

// takeState redeems the state. It is gone afterwards, whatever follows: of two
// callbacks with one state at most one goes on.
func (k *Keeper) takeState(ctx context.Context, state string) (*begun, error) {
	value, err := k.vault.Take(ctx, stateKind, state, k.clock.Now())
	if errors.Is(err, tokenstore.ErrNotFound) {
		return nil, &AuthorizationError{Failure: FailureState}
	}
	if err != nil {
		return nil, &AuthorizationError{Failure: FailureStorage, Err: err}
	}
	var b begun
	if err := json.Unmarshal(value, &b); err != nil {
		return nil, &AuthorizationError{Failure: FailureStorage, Err: err}
	}
	return &b, nil
}

// sameBrowser tells whether the cookie is the one that the browser got which
// began the authorization.
func (b *begun) sameBrowser(cookie string) bool {
	return subtle.ConstantTimeCompare(b.CookieHash, hash(cookie)) == 1
}

// only returns the one value of a query parameter; RFC 6749 §3.1 forbids
// doubled ones, and readers would disagree about which counts.
func only(query url.Values, name string) (string, bool) {
	values := query[name]
	if len(values) > 1 {
		return "", false
	}
	if len(values) == 0 {
		return "", true
	}
	return values[0], true
}

func hash(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}
