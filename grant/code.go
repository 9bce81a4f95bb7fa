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
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// CodeCause says why the provider refuses an authorization code. OAuth has one
// error for all of them, invalid_grant, which is also that of dead grants.
type CodeCause string

// The causes, as Intuit's FAQ lists them.
const (
	// CodeUsed: another program has redeemed the code.
	CodeUsed CodeCause = "code_used"
	// CodeUsedHere: it was redeemed here before, so the provider was not asked.
	CodeUsedHere CodeCause = "code_used_here"
	// CodeExpired: too much time has passed since the human agreed.
	CodeExpired CodeCause = "code_expired"
	// CodeRedirectURL: the code was given for another redirect URL, or that is
	// no longer registered.
	CodeRedirectURL CodeCause = "redirect_url_differs"
	// CodeRedirectChanged: the same, and the configured redirect URL changed
	// while the human was at the provider's page.
	CodeRedirectChanged CodeCause = "redirect_url_changed"
	// CodeOtherClient: the code was given to another client id.
	CodeOtherClient CodeCause = "wrong_client"
)

const codeKind = "code"

// exchange redeems a code. One that was redeemed here before is not sent again:
// the provider would take it for theft and may end the grant of the first time
// (RFC 6749 §4.1.2).
func (k *Keeper) exchange(ctx context.Context, in *Integration, b *begun, code string) (*provider.Tokens, error) {
	now := k.clock.Now()
	err := k.vault.PutOnce(ctx, codeKind, b.TokenURL+"\x00"+code, nil, now.Add(onceKept))
	if errors.Is(err, tokenstore.ErrConflict) {
		return nil, &AuthorizationError{Failure: FailureCode, Causes: []CodeCause{CodeUsedHere}}
	}
	if err != nil {
		return nil, &AuthorizationError{Failure: FailureStorage, Err: err}
	}
	client := *in.Client
	if b.RedirectURL != "" {
		client.RedirectURL = b.RedirectURL
	}
	tokens, err := client.Exchange(ctx, code, b.Verifier)
	if err == nil {
		return tokens, nil
	}
	refusal := tokenError(err)
	e := &AuthorizationError{Failure: FailureUnavailable, Detail: refusal.Description, TraceID: refusal.TraceID, Err: refusal}
	switch refusal.Outcome {
	case provider.OutcomeInvalidGrant:
		e.Failure = FailureCode
		if !b.At.IsZero() {
			e.CodeAge = now.Sub(b.At)
		}
		changed := client.RedirectURL != in.Client.RedirectURL
		e.Causes = codeCauses(in.Client.Provider, refusal.Description, e.CodeAge, changed)
	case provider.OutcomeClientRefused:
		e.Failure = FailureClient
	}
	return nil, e
}

const (
	// RFC 6749 §4.1.2 recommends that a code lives ten minutes at most. Intuit
	// does not say how long its codes do.
	oldCode   = authorizationLife / 2
	youngCode = time.Minute
)

// codeCauses computes why a code was refused: one cause if the provider names
// it, else all that are left, the most likely first. What was sent agrees with
// what the human was asked, so what others did comes before what is configured.
func codeCauses(p provider.Provider, description string, age time.Duration, changed bool) []CodeCause {
	redirect := CodeRedirectURL
	if changed {
		redirect = CodeRedirectChanged
	}
	likely := []CodeCause{CodeUsed, CodeExpired, redirect, CodeOtherClient}
	switch {
	case changed:
		likely = []CodeCause{redirect, CodeUsed, CodeExpired, CodeOtherClient}
	case age >= oldCode:
		likely = []CodeCause{CodeExpired, CodeUsed, redirect, CodeOtherClient}
	case age < youngCode:
		likely = []CodeCause{CodeUsed, redirect, CodeOtherClient, CodeExpired}
	}
	named := namedCauses(p, description, redirect)
	if len(named) == 1 && !alternatives(p, description) {
		return named
	}
	var first, rest []CodeCause
	for _, cause := range likely {
		if slices.Contains(named, cause) {
			first = append(first, cause)
		} else {
			rest = append(rest, cause)
		}
	}
	return append(first, rest...)
}

// namedCauses reads the provider's description. Only Intuit's words for another
// client are known; the others are those of RFC 6749 and of servers at large.
func namedCauses(p provider.Provider, description string, redirect CodeCause) []CodeCause {
	text := strings.ToLower(description)
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text, word) })
	}
	var named []CodeCause
	if p.OtherClient(description) || says("another client", "different client") {
		named = append(named, CodeOtherClient)
	}
	if says("redirect") {
		named = append(named, redirect)
	}
	if says("already", "been used", "been redeemed", "reused", "twice") {
		named = append(named, CodeUsed)
	}
	if says("expired", "too old") {
		named = append(named, CodeExpired)
	}
	return named
}

// alternatives tells whether a description leaves several causes open, such as
// "invalid or expired". The provider's own words for another client have an
// "or" too, and leave nothing open.
func alternatives(p provider.Provider, description string) bool {
	return strings.Contains(strings.ToLower(description), " or ") && !p.OtherClient(description)
}
