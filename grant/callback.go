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
	"net/url"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Callback is what the browser brought back from the provider.
type Callback struct {
	// Integration is the integration whose redirect URL was called.
	Integration string
	// Query is the callback's query, Cookie the value of the cookie that
	// StateCookie names.
	Query  url.Values
	Cookie string
	// MayReplace tells whether the caller of the link may replace the grant of
	// a connection that belongs to owner.
	MayReplace func(caller, owner, connection string) bool
	// Installed, if not nil, is told once of a grant that was stored, before the
	// callback is answered.
	Installed func(Installed)
}

// Installed is an authorization that was stored.
type Installed struct {
	tokenstore.Key
	// Caller is the one that made the link; empty for the operator.
	Caller string
	// Again tells that the connection had been authorized before.
	Again bool
	// Refusal says why the human was told of a failure nevertheless: the link
	// was not for this connection.
	Refusal Failure
}

// FinishAuthorization redeems a callback and stores the grant. The work is
// done even if ctx ends: a code can be redeemed once.
//
// The error is an *AuthorizationError.
func (k *Keeper) FinishAuthorization(ctx context.Context, cb Callback) (Result, error) {
	if err := k.begin(); err != nil {
		return Result{}, &AuthorizationError{Failure: FailureStorage, Err: err}
	}
	type outcome struct {
		result Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		defer k.work.Done()
		ctx, cancel := k.detached()
		defer cancel()
		result, err := k.finish(ctx, cb)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, &AuthorizationError{Failure: FailureUnavailable, Err: ctx.Err()}
	}
}

func (k *Keeper) finish(ctx context.Context, cb Callback) (Result, error) {
	state, single := only(cb.Query, "state")
	switch {
	case !single:
		return Result{}, k.told(cb, &AuthorizationError{Failure: FailureCallback})
	case state == "" || len(state) > 128:
		return Result{}, k.told(cb, &AuthorizationError{Failure: FailureState})
	}
	a, first := k.arrive(cb, state)
	if !first {
		return a.again(ctx, cb)
	}
	defer k.remember(a)
	if a.begun, a.err = k.takeState(ctx, state); a.err == nil {
		a.result, a.err = k.accept(ctx, cb, a.begun)
	}
	a.err = k.told(cb, a.err)
	return a.result, a.err
}

// told logs what was wrong with a callback, if anything was.
func (k *Keeper) told(cb Callback, err error) error {
	var e *AuthorizationError
	if !errors.As(err, &e) {
		return err
	}
	level := zap.WarnLevel
	switch e.Failure {
	case FailureDenied, FailureState, FailureExpired, FailureChanged:
		level = zap.InfoLevel // what people do
	case FailureStorage:
		level = zap.ErrorLevel
	}
	fields := []zap.Field{zap.String("integration", cb.Integration), zap.String("failure", string(e.Failure)),
		zap.String("trace_id", e.TraceID), zap.Error(e.Err)}
	if len(e.Causes) > 0 {
		fields = append(fields, zap.Any("possible_causes", e.Causes), zap.Duration("code_age_at_most", e.CodeAge))
	}
	k.logger.Log(level, "authorization failed", fields...)
	return e
}

func (k *Keeper) accept(ctx context.Context, cb Callback, b *begun) (Result, error) {
	switch {
	// A former version noted no time, and kept the state no longer than it was
	// good. The browser drops the cookie at the same time.
	case !b.At.IsZero() && k.clock.Now().Sub(b.At) >= authorizationLife:
		return Result{}, &AuthorizationError{Failure: FailureExpired, ReturnURL: b.Link.ReturnURL, Popup: b.Popup}
	case !b.sameBrowser(cb.Cookie):
		return Result{}, &AuthorizationError{Failure: FailureState}
	}
	result, err := k.redeem(ctx, cb, b)
	var e *AuthorizationError
	if errors.As(err, &e) {
		e.ReturnURL, e.Popup, e.Again = b.Link.ReturnURL, b.Popup, &b.Link
	}
	return result, err
}

func (k *Keeper) redeem(ctx context.Context, cb Callback, b *begun) (Result, error) {
	in := k.integration(cb.Integration)
	if in == nil || b.Link.Integration != cb.Integration {
		return Result{}, &AuthorizationError{Failure: FailureState}
	}
	if b.ClientID != in.Client.ClientID || b.TokenURL != in.Client.Endpoints.TokenURL {
		return Result{}, &AuthorizationError{Failure: FailureChanged}
	}
	if err := checkIssuer(cb.Query, in); err != nil {
		return Result{}, err
	}
	code, err := codeOf(cb.Query)
	if err != nil {
		return Result{}, err
	}
	id, err := in.Client.Provider.CallbackConnection(cb.Query)
	if err != nil {
		return Result{}, &AuthorizationError{Failure: FailureCallback, Err: err}
	}
	// A revocation of the former grant that reached the provider after the new
	// one was made might end that too; see giveBack.
	unlock, err := k.ends.lock(ctx, tokenstore.Key{Integration: in.Name, Connection: id})
	if err != nil {
		return Result{}, &AuthorizationError{Failure: FailureUnavailable, Err: err}
	}
	defer unlock()
	tokens, err := k.exchange(ctx, in, b, code)
	if err != nil {
		return Result{}, err
	}
	// Nothing binds the account in the callback to the code: whoever edits it
	// would overwrite somebody else's connection.
	account, err := k.prove(ctx, in, tokens, id)
	if err != nil {
		return Result{}, err
	}
	record, refusal, err := k.install(ctx, in, cb, b.Link, tokens, account)
	if err != nil {
		return Result{}, err
	}
	if record != nil && cb.Installed != nil {
		cb.Installed(Installed{Key: record.Key, Caller: b.Link.Caller, Again: record.Epoch > 1, Refusal: refusal})
	}
	if refusal != "" {
		if record == nil {
			k.revokeUnwanted(ctx, in, tokens)
		}
		return Result{}, &AuthorizationError{Failure: refusal}
	}
	k.logger.Info("connected", k.fields(record)...)
	return Result{
		Purpose: b.Link.Purpose, Integration: in.Name, Connection: id, Account: account.Name,
		Caller: b.Link.Caller, ReturnURL: b.Link.ReturnURL, Popup: b.Popup,
	}, nil
}

// checkIssuer refuses the answer of another authorization server than the one
// that the human was sent to (RFC 9207 §2.4). Intuit's does not name itself, so
// an answer without a name passes; and a server whose name is not known cannot
// be told from others.
func checkIssuer(query url.Values, in *Integration) error {
	issuer, single := only(query, "iss")
	known := in.Client.Endpoints.Issuer
	if !single || query.Has("iss") && known != "" && issuer != known {
		return &AuthorizationError{Failure: FailureCallback, Err: errOtherIssuer}
	}
	return nil
}

var errOtherIssuer = errors.New("the callback does not come from the authorization server that was asked")

func codeOf(query url.Values) (string, error) {
	refusal, ok1 := only(query, "error")
	code, ok2 := only(query, "code")
	switch {
	case !ok1 || !ok2:
		return "", &AuthorizationError{Failure: FailureCallback}
	case refusal == "access_denied":
		return "", &AuthorizationError{Failure: FailureDenied}
	case refusal != "":
		return "", &AuthorizationError{Failure: FailureProvider, Detail: clean(refusal)}
	case code == "" || len(code) > 1024:
		return "", &AuthorizationError{Failure: FailureCallback}
	}
	return code, nil
}

// clean keeps of a text that strangers may have written what an OAuth error
// code can hold (RFC 6749 §4.1.2.1), and not much of it.
func clean(s string) string {
	var out []byte
	for i := 0; i < len(s) && len(out) < 64; i++ {
		if c := s[i]; c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' {
			out = append(out, c)
		}
	}
	return string(out)
}

// proofTries is how often the account is asked for: the code is spent, so a
// hiccup of the API would cost the human another round.
const proofTries = 3

func (k *Keeper) prove(ctx context.Context, in *Integration, tokens *provider.Tokens, id string) (provider.Account, error) {
	var err error
	for try := range proofTries {
		if try > 0 {
			select {
			case <-k.clock.After(time.Duration(try) * time.Second):
			case <-ctx.Done():
				return provider.Account{}, &AuthorizationError{Failure: FailureUnavailable, Err: ctx.Err()}
			}
		}
		var account provider.Account
		account, err = in.Client.Account(ctx, tokens.AccessToken, id)
		if err == nil {
			return account, nil
		}
		if errors.Is(err, provider.ErrAccountMismatch) {
			return provider.Account{}, &AuthorizationError{Failure: FailureAccount, Err: err}
		}
	}
	return provider.Account{}, &AuthorizationError{Failure: FailureUnavailable, Err: err}
}

// revokeUnwanted gives back a grant that nobody asked for.
func (k *Keeper) revokeUnwanted(ctx context.Context, in *Integration, tokens *provider.Tokens) {
	if k.Hold() != nil {
		// The connection may be younger than the backup, and alive in the other
		// store; revoking one token ends it as a whole (Intuit).
		return
	}
	if err := in.Client.Revoke(ctx, tokens.RefreshToken); err != nil && !errors.Is(err, provider.ErrAlreadyRevoked) {
		k.logger.Warn("an unwanted grant could not be revoked", zap.String("integration", in.Name), zap.Error(err))
	}
}

// installTries bounds how often a new grant may lose against refreshes of the
// one it replaces.
const installTries = 5

// install stores a new grant over whatever was there, and publishes it.
//
// A connection that is there gets the new tokens even if the link was not for
// it: the human's consent may just have ended the tokens that it had. Its owner
// stays, and the refusal says what the human must be told. A connection that
// is not there, or was disconnected and so belongs to nobody, is not made in
// that case, and record is nil. The same goes for a connection that was never
// made, if the link is for known ones only.
func (k *Keeper) install(
	ctx context.Context, in *Integration, cb Callback, link Link, tokens *provider.Tokens, account provider.Account,
) (record *tokenstore.Record, refusal Failure, err error) {
	key := tokenstore.Key{Integration: in.Name, Connection: account.Connection}
	var w *write
	for range installTries {
		record, err = k.vault.Load(ctx, key)
		if errors.Is(err, tokenstore.ErrNotFound) {
			record, err = &tokenstore.Record{Key: key, Owner: link.Caller}, nil
		}
		if err != nil {
			return nil, "", &AuthorizationError{Failure: FailureStorage, Err: err}
		}
		live := record.Epoch > 0 && record.State != tokenstore.StateDisconnected
		switch {
		case link.Connection != "" && link.Connection != key.Connection:
			refusal = FailureOtherAccount
		case link.Purpose == PurposeReconnect && record.Epoch == 0:
			refusal = FailureNotConnected
		case live && link.Connection == "" && !cb.MayReplace(link.Caller, record.Owner, key.Connection):
			refusal = FailureOwned
		}
		if refusal != "" && !live {
			return nil, refusal, nil
		}
		epoch := record.Epoch
		w = newWrite(record, func(next *tokenstore.Record) {
			if !live && link.Connection == "" {
				next.Owner = link.Caller
			}
			k.authorize(next, in, tokens, account)
		}, func(stored *tokenstore.Record) bool { return stored.Epoch == epoch })
		err = k.save(context.WithoutCancel(ctx), w.next)
		if !errors.Is(err, tokenstore.ErrConflict) {
			break
		}
	}
	if errors.Is(err, tokenstore.ErrConflict) {
		return nil, "", &AuthorizationError{Failure: FailureStorage, Err: err}
	}
	c := k.lockConnection(key)
	defer c.mu.Unlock()
	k.setPending(c, nil)
	if err != nil {
		k.keepInMemory(c, w, err)
	}
	k.publish(c, w.next)
	c.failures, c.failure = 0, nil
	c.notBefore.Store(0)
	return w.next, refusal, nil
}

// authorize enters a new authorization into the record.
func (k *Keeper) authorize(r *tokenstore.Record, in *Integration, tokens *provider.Tokens, account provider.Account) {
	now := k.clock.Now()
	r.Provider, r.Environment, r.ClientID = in.Provider, in.Environment, in.Client.ClientID
	r.Hosts = in.Hosts
	r.Account = account.Name
	r.Scopes = slices.Clone(in.Client.Scopes)
	r.Epoch++
	r.AuthorizationExpiresAt = time.Time{}
	applyTokens(r, tokens)
	// The former authorization's token is nobody's predecessor.
	r.PreviousRefreshToken = secret.String{}
	r.State, r.Cause, r.Since = tokenstore.StateConnected, "", now
	r.ProviderError, r.TraceID = "", ""
	r.UnansweredSince = time.Time{}
	r.ConnectedAt, r.Warned = now, 0
	r.Note(tokenstore.HistoryEntry{Time: now, Event: "connected", Generation: r.Generation, TraceID: tokens.TraceID})
}
