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

package grant_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// export returns the refresh tokens that an export has, by connection.
func (w *world) export(e grant.Export) (map[tokenstore.Key]string, grant.Exported, error) {
	tokens := make(map[tokenstore.Key]string)
	x, err := w.keeper.Export(w.t.Context(), e, func(r *tokenstore.Record) error {
		tokens[r.Key] = r.RefreshToken.Reveal()
		return nil
	})
	return tokens, x, err
}

func TestExport(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	keys := w.many(5)
	change := func(key tokenstore.Key, change func(*tokenstore.Record)) {
		t.Helper()
		r, err := w.keeper.Vault().Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		change(r)
		w.save(r)
	}
	change(keys[0], func(r *tokenstore.Record) { r.State = tokenstore.StateNeedsReauth })
	change(keys[1], func(r *tokenstore.Record) { r.State = tokenstore.StateSuspect })
	// Its revocation is pending: there still is a token.
	change(keys[2], func(r *tokenstore.Record) { r.State = tokenstore.StateDisconnected })
	change(keys[3], func(r *tokenstore.Record) { r.RefreshToken = secret.String{} })
	other := w.record()
	xero := &tokenstore.Record{
		Key: tokenstore.Key{Integration: "xero", Connection: "1"}, Epoch: 1, Generation: 1,
		RefreshToken: secret.New("another-provider's"), State: tokenstore.StateConnected,
	}
	w.save(xero)

	tokens, x, err := w.export(grant.Export{})
	want := map[tokenstore.Key]string{key: other.RefreshToken.Reveal(), xero.Key: "another-provider's"}
	for _, k := range []tokenstore.Key{keys[0], keys[1], keys[4]} {
		g, _ := w.intuit.Tokens(k.Connection)
		want[k] = g.RefreshToken
	}
	if diff := cmp.Diff(want, tokens); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if diff := cmp.Diff(grant.Exported{
		States:  map[tokenstore.State]int{tokenstore.StateConnected: 3, tokenstore.StateNeedsReauth: 1, tokenstore.StateSuspect: 1},
		LeftOut: map[grant.LeftOut]int{grant.LeftDisconnected: 1, grant.LeftWithoutToken: 1},
	}, x); diff != "" {
		t.Error(diff)
	}
	if tokens, _, err := w.export(grant.Export{Integration: "xero"}); err != nil || len(tokens) != 1 || tokens[xero.Key] == "" {
		t.Errorf("of one integration: %d, %v", len(tokens), err)
	}
	if _, x, err := w.export(grant.Export{Integration: "quick", Hold: true}); !errors.Is(err, grant.ErrNothingToExport) || x.Hold != nil || w.keeper.Hold() != nil {
		t.Errorf("of an integration without connections: %+v, %v", x, err)
	}
	// Nothing was asked of the provider, and nothing changed.
	if w.refreshes() != 0 || w.record().Generation != other.Generation {
		t.Error("an export has refreshed")
	}

	// Whoever takes them may stop.
	stop := errors.New("enough")
	if _, err := w.keeper.Export(t.Context(), grant.Export{}, func(*tokenstore.Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	w.store.Damage("g")
	if _, x, err := w.export(grant.Export{}); err != nil || x.LeftOut[grant.LeftDamaged] != 7 || len(x.States) != 0 {
		t.Errorf("of a damaged store: %+v, %v", x, err)
	}
}

// What is exported on hold is the last that this process has got: it waits for
// the refreshes that are under way, those in line do not begin, and none comes
// after it.
func TestExportOnHold(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	w.options = func(o *grant.Options) { o.MaxRefreshes = 1 }
	keys := w.many(20)
	w.open(w.store.Copy())
	valid := w.token()
	clock.Advance(52 * time.Minute) // inside the window of all
	gate := w.intuit.Hold(intuittest.EndpointToken, "")
	for _, k := range keys {
		if _, err := w.keeper.Token(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	<-gate.Arrived()
	type result struct {
		tokens map[tokenstore.Key]string
		x      grant.Exported
		err    error
	}
	done := make(chan result, 1)
	go func() {
		tokens, x, err := w.export(grant.Export{Hold: true})
		done <- result{tokens, x, err}
	}()
	w.eventually("a hold", func() bool { return w.keeper.Hold() != nil })
	select {
	case r := <-done:
		t.Fatalf("it did not wait for the refresh under way: %+v", r.x)
	case <-time.After(50 * time.Millisecond):
	}
	gate.Release()
	r := <-done
	if r.err != nil || !r.x.PutOnHold || r.x.Hold.Reason != tokenstore.HoldExported || r.x.States[tokenstore.StateConnected] != 21 {
		t.Fatalf("%+v, %v", r.x, r.err)
	}
	if n := w.refreshes(); n != 1 {
		t.Errorf("%d refreshes, of which one was under way", n)
	}
	w.wantTheLast(r.tokens)

	// Valid tokens are served, and that is all.
	if w.call(valid) != 200 || w.call(w.token()) != 200 {
		t.Error("a valid token was not served")
	}
	_, err := w.keeper.Reject(t.Context(), w.token())
	wantUnavailable(t, err, grant.ReasonHold)
	clock.Advance(time.Hour)
	_, err = w.keeper.Token(t.Context(), keys[3])
	wantUnavailable(t, err, grant.ReasonHold)
	clock.Advance(60 * day)
	if err := w.keeper.AttendDue(t.Context()); err != nil || w.refreshes() != 1 {
		t.Errorf("%d refreshes, %v", w.refreshes(), err)
	}
	// Once more, as after one that broke off, and also after a crash.
	w.open(w.store.Copy())
	tokens, x, err := w.export(grant.Export{Hold: true})
	if err != nil || x.PutOnHold || x.Hold == nil || x.Hold.Reason != tokenstore.HoldExported || w.refreshes() != 1 {
		t.Fatalf("%+v, %v", x, err)
	}
	if diff := cmp.Diff(r.tokens, tokens); diff != "" {
		t.Error("another export has other tokens")
	}
	// Back again.
	if hold, err := w.keeper.Release(t.Context()); err != nil || hold == nil {
		t.Fatal(hold, err)
	}
	w.token()
	if w.refreshes() != 2 {
		t.Errorf("%d refreshes", w.refreshes())
	}
}

// wantTheLast holds that exported tokens are those that work.
func (w *world) wantTheLast(tokens map[tokenstore.Key]string) {
	w.t.Helper()
	for k, token := range tokens {
		if g, ok := w.intuit.Tokens(k.Connection); !ok || g.RefreshToken != token || !g.RefreshValid {
			w.t.Errorf("the exported token of %s is not the last one", k.Connection)
		}
	}
}

// Whatever is going on: after an export on hold, the exported tokens work.
func TestExportOnHoldUnderLoad(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways, RevokeFamily: true})
	keys := w.many(300)
	for range 5 {
		clock.Advance(2 * time.Hour) // all have ended
		ctx, stop := context.WithCancel(t.Context())
		w.intuit.ResetCounters()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			all(len(keys), func(i int) (*grant.Snapshot, error) { return w.keeper.Token(ctx, keys[i]) })
		}()
		w.eventually("refreshes", func() bool { return w.refreshes() > 10 })
		tokens, x, err := w.export(grant.Export{Hold: true})
		if err != nil || len(tokens) != len(keys)+1 {
			t.Fatalf("%d tokens, %+v, %v", len(tokens), x, err)
		}
		w.wantTheLast(tokens)
		stop()
		<-ended
		w.wantTheLast(tokens)
		if hold, err := w.keeper.Release(t.Context()); err != nil || hold == nil {
			t.Fatal(hold, err)
		}
	}
	if n := w.intuit.Counters().SupersededReuses; n != 0 {
		t.Errorf("%d reuses", n)
	}
}

// A token that is only in memory is the one that works.
func TestExportOfWhatIsOnlyInMemory(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	clock.Advance(2 * time.Hour)
	w.store.FailApply(2, storetest.BeforeApply, errors.New("disk on fire")) // the first is the intent
	generation := w.token().Generation
	if w.record().Generation == generation {
		t.Fatal("the new token was stored")
	}
	tokens, _, err := w.export(grant.Export{})
	if err != nil || len(tokens) != 1 {
		t.Fatal(err)
	}
	w.wantTheLast(tokens)
}

// What was only in memory when its page was read, and is stored by the time that
// its turn comes, is not what was read.
func TestExportOfWhatIsStoredMeanwhile(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	keys := append(w.many(1), key)
	clock.Advance(2 * time.Hour)
	for _, k := range keys {
		w.store.FailApply(2, storetest.BeforeApply, errors.New("disk on fire")) // the first is the intent
		if _, err := w.keeper.Token(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.keeper.Unsaved(); n != len(keys) {
		t.Fatalf("%d connections are only in memory", n)
	}
	tokens := make(map[tokenstore.Key]string)
	if _, err := w.keeper.Export(t.Context(), grant.Export{Hold: true}, func(r *tokenstore.Record) error {
		tokens[r.Key] = r.RefreshToken.Reveal()
		w.eventually("all are stored", func() bool {
			clock.Advance(time.Second)
			return w.keeper.Unsaved() == 0
		})
		return nil
	}); err != nil || len(tokens) != len(keys) {
		t.Fatalf("%d tokens, %v", len(tokens), err)
	}
	w.wantTheLast(tokens)
}

// A hold that cannot be stored is none.
func TestHoldThatCannotBeStored(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.store.FailApply(1, storetest.BeforeApply, tokenstore.ErrFull)
	_, x, err := w.export(grant.Export{Hold: true})
	if !errors.Is(err, tokenstore.ErrFull) || x.PutOnHold || len(x.States) != 0 || w.keeper.Hold() != nil {
		t.Fatalf("%+v, %v", x, err)
	}
	clock.Advance(2 * time.Hour)
	w.token()
	if w.refreshes() != 1 {
		t.Error("nothing is refreshed any more")
	}
}

// The hold must last until the end of the export.
func TestReleaseDuringExport(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	x, err := w.keeper.Export(t.Context(), grant.Export{Hold: true}, func(*tokenstore.Record) error {
		_, err := w.keeper.Release(t.Context())
		return err
	})
	if !errors.Is(err, grant.ErrReleased) || !x.PutOnHold {
		t.Errorf("%+v, %v", x, err)
	}
	// Also one that was there before, and that the export would tell of.
	if _, _, err := w.keeper.PutOnHold(t.Context(), tokenstore.HoldExported); err != nil {
		t.Fatal(err)
	}
	x, err = w.keeper.Export(t.Context(), grant.Export{}, func(*tokenstore.Record) error {
		_, err := w.keeper.Release(t.Context())
		return err
	})
	if !errors.Is(err, grant.ErrReleased) || x.PutOnHold {
		t.Errorf("%+v, %v", x, err)
	}
}

// The watch reminds of a hold that came while it was watching, and goes on when
// that has ended.
func TestWatchAndHold(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.keeper.Watch()
	if err := clock.BlockUntilContext(t.Context(), 1); err != nil { // the watch's ticker
		t.Fatal(err)
	}
	if _, _, err := w.export(grant.Export{Hold: true}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(60 * day)
	w.eventually("a reminder", func() bool {
		return w.logs.FilterMessageSnippet("make sure that nobody uses the grants that were exported").Len() > 0
	})
	if w.refreshes() != 0 {
		t.Error("a refresh on hold")
	}
	r := w.record()
	r.DueAt = clock.Now().Add(-day)
	w.save(r)
	if _, err := w.keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("a refresh of a grant that nobody uses", func() bool { return w.refreshes() == 1 })
}

// Closing does not wait for an export to its end.
func TestExportAndClose(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	w.many(10)
	closed := make(chan error, 1)
	_, err := w.keeper.Export(t.Context(), grant.Export{}, func(*tokenstore.Record) error {
		select {
		case closed <- nil:
			go func() { closed <- w.keeper.Close() }()
		default:
		}
		w.eventually("the keeper takes nothing up any more", func() bool {
			_, err := w.keeper.Describe(t.Context(), key)
			return errors.Is(err, tokenstore.ErrClosed)
		})
		return nil
	})
	if err == nil {
		t.Error("an export that was broken off looks whole")
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A disconnection whose revocation is pending stays so on hold: a grant that was
// connected again elsewhere would end with it.
func TestHoldRevokesNothingByItself(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	r := w.record()
	r.State, r.Cause, r.DueAt = tokenstore.StateDisconnected, tokenstore.CauseDisconnected, clock.Now()
	w.save(r)
	if _, _, err := w.keeper.PutOnHold(t.Context(), tokenstore.HoldExported); err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.AttendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.intuit.Counters().Revocations; n != 0 {
		t.Errorf("%d grants were revoked on hold", n)
	}
	if _, err := w.keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.AttendDue(t.Context()); err != nil || w.intuit.Counters().Revocations != 1 {
		t.Errorf("%d grants were revoked after it, %v", w.intuit.Counters().Revocations, err)
	}
}

// A refresh that the end of a process has cut off leaves a token that may have
// been replaced: the export says so, and a release finds out.
func TestExportAfterACrash(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{Rotation: intuittest.RotateAlways})
	w.many(2)
	if _, _, err := w.keeper.PutOnHold(t.Context(), tokenstore.HoldExported); err != nil {
		t.Fatal(err)
	}
	if err := w.keeper.Vault().PutIntent(t.Context(), tokenstore.Intent{Key: key, Epoch: 1, Generation: 1, Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w.open(w.store.Copy())
	if err := w.keeper.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, x, err := w.export(grant.Export{Hold: true}); err != nil || x.Doubtful != 1 || x.States[tokenstore.StateConnected] != 3 {
		t.Fatalf("%+v, %v", x, err)
	}
	if _, err := w.keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("a refresh", func() bool { return w.record().Generation == 2 })
	tokens, x, err := w.export(grant.Export{Hold: true})
	if err != nil || x.Doubtful != 0 {
		t.Fatalf("%+v, %v", x, err)
	}
	w.wantTheLast(tokens)
	// An answer that never came, without a crash.
	r := w.record()
	r.UnansweredSince = time.Now()
	w.save(r)
	if _, x, err := w.export(grant.Export{Hold: true}); err != nil || x.Doubtful != 1 {
		t.Errorf("%+v, %v", x, err)
	}
}
