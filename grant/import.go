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
	"fmt"
	"time"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Import is a grant that another program has kept until now.
type Import struct {
	tokenstore.Key
	RefreshToken secret.String
	// AccessToken is empty if there is none. ExpiresAt is when it ends.
	AccessToken secret.String
	ExpiresAt   time.Time
	// RefreshExpiresAt is when the refresh token ends unused, zero if that is
	// not known.
	RefreshExpiresAt time.Time
	// Owner is the caller that the connection is to belong to, empty for the
	// operator. Account is its name for people, if known.
	Owner, Account string
}

// ImportOutcome is what came of an import.
type ImportOutcome string

// The outcomes.
const (
	// Imported: it is stored. A grant that was there, and dead, was replaced.
	Imported ImportOutcome = "imported"
	// ImportUnchanged: it was there already, or what became of it: the provider
	// has replaced the token since.
	ImportUnchanged ImportOutcome = "unchanged"
	// ImportExists: another grant of the connection is there, and stays.
	ImportExists ImportOutcome = "exists"
)

// Proof is what is known about whose an imported grant is.
type Proof string

// The proofs.
const (
	// Proven: the API has shown that the access token is the connection's.
	Proven Proof = "proven"
	// Unproven: there was no access token that could show it.
	Unproven Proof = "unproven"
)

// Errors of Import.
var (
	ErrImportAccount    = errors.New("the access token is not one of this connection")
	ErrImportConnection = errors.New("the connection is not an ID of this provider")
	ErrImportToken      = errors.New("the refresh token is missing, or not well-formed")
)

// maxImported bounds an imported token; Intuit's have less than 2,000 bytes.
const maxImported = 8 << 10

// Import stores a grant without asking the token endpoint: a refresh token is
// never spent, because it is good for the program that it comes from until that
// stops. An access token is kept only if the API takes it for this connection.
// A grant that works stays, unless replace is set; it is never replaced by a
// token that the provider is known to have replaced. It may be called again.
func (k *Keeper) Import(ctx context.Context, i Import, replace bool) (ImportOutcome, Proof, error) {
	if err := k.begin(); err != nil {
		return "", "", err
	}
	defer k.work.Done()
	in := k.integration(i.Integration)
	switch {
	case in == nil:
		return "", "", fmt.Errorf("integration %q: %w", i.Integration, ErrNotConfigured)
	case !in.Client.Provider.ValidConnection(i.Connection):
		return "", "", ErrImportConnection
	case !plainToken(i.RefreshToken.Reveal()):
		return "", "", ErrImportToken
	}
	// Before the API is asked: to run an import again must cost nothing.
	if outcome, err := k.imported(ctx, i, replace); outcome != "" || err != nil {
		return outcome, "", err
	}
	proof, err := k.proveImport(ctx, in, &i)
	if err != nil {
		return "", "", err
	}
	for {
		outcome, err := k.installImport(ctx, in, i, replace)
		if !errors.Is(err, tokenstore.ErrConflict) {
			return outcome, proof, err
		}
	}
}

// plainToken tells whether a text can be a token (RFC 6749 appendix A.12 and
// A.17: visible ASCII).
func plainToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxImported
}

// imported tells what there is to say about an import without carrying it out;
// "" if it is to be.
func (k *Keeper) imported(ctx context.Context, i Import, replace bool) (ImportOutcome, error) {
	record, err := k.vault.Load(ctx, i.Key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return k.stands(record, i, replace), nil
}

// stands tells what there is to say about an import of a connection that is
// known; "" if it is to be carried out.
func (k *Keeper) stands(r *tokenstore.Record, i Import, replace bool) ImportOutcome {
	switch {
	case r.RefreshToken.Equal(i.RefreshToken), k.wasSuperseded(r, i.RefreshToken):
		return ImportUnchanged
	case replace, r.State == tokenstore.StateNeedsReauth:
		return ""
	}
	return ImportExists
}

// proveImport asks the API whose the access token is, and drops one that it
// does not take.
func (k *Keeper) proveImport(ctx context.Context, in *Integration, i *Import) (Proof, error) {
	if i.AccessToken.Empty() || !plainToken(i.AccessToken.Reveal()) || !k.clock.Now().Before(i.ExpiresAt) {
		i.AccessToken = secret.String{}
		return Unproven, nil
	}
	account, err := in.Client.Account(ctx, i.AccessToken, i.Connection)
	switch {
	case err == nil:
		i.Account = account.Name
		return Proven, nil
	case errors.Is(err, provider.ErrAccountMismatch):
		return "", ErrImportAccount
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	i.AccessToken = secret.String{}
	return Unproven, nil
}

// installImport stores an import. The error is tokenstore.ErrConflict if somebody
// else was faster.
func (k *Keeper) installImport(ctx context.Context, in *Integration, i Import, replace bool) (ImportOutcome, error) {
	c := k.lockConnection(i.Key)
	defer c.mu.Unlock()
	defer func() {
		if c.snapshot.Load() == nil {
			// It was not in memory, and need not be.
			k.drop(c)
		}
	}()
	if c.flight.Load() != nil || c.pending != nil {
		return ImportExists, nil // its grant is being refreshed
	}
	record, err := k.vault.Load(ctx, i.Key)
	switch {
	case errors.Is(err, tokenstore.ErrNotFound):
		record = &tokenstore.Record{Key: i.Key, Owner: i.Owner}
	case err != nil:
		return "", err
	}
	if record.Epoch > 0 {
		if outcome := k.stands(record, i, replace); outcome != "" {
			return outcome, nil
		}
	}
	w := newWrite(record, func(next *tokenstore.Record) { k.authorizeImport(next, in, i) }, nil)
	if err := k.save(ctx, w.next); err != nil {
		return "", err
	}
	if c.snapshot.Load() != nil {
		k.publish(c, w.next)
		c.failures, c.failure = 0, nil
		c.notBefore.Store(0)
	}
	return Imported, nil
}

func (k *Keeper) authorizeImport(r *tokenstore.Record, in *Integration, i Import) {
	now := k.clock.Now()
	k.authorize(r, in, &provider.Tokens{
		AccessToken: i.AccessToken, RefreshToken: i.RefreshToken, RequestedAt: now, ExpiresAt: i.ExpiresAt,
	}, provider.Account{Connection: i.Connection, Name: i.Account})
	if i.AccessToken.Empty() {
		r.AccessIssuedAt, r.AccessExpiresAt = time.Time{}, time.Time{}
	}
	r.RefreshExpiresAt = i.RefreshExpiresAt
	r.History[len(r.History)-1].Event = "imported"
}
