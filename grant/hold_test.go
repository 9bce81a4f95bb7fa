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
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

// restore opens what a backup of the world's store was restored into, as a
// process that is started does.
func (w *world) restore() {
	w.t.Helper()
	var file bytes.Buffer
	if err := w.keeper.Backup(w.t.Context(), &file); err != nil {
		w.t.Fatal(err)
	}
	b, err := tokenstore.OpenBackup(w.ring, bytes.NewReader(file.Bytes()))
	if err != nil {
		w.t.Fatal(err)
	}
	store := storetest.NewMemory()
	if err := b.Restore(w.t.Context(), store, w.clock.Now()); err != nil {
		w.t.Fatal(err)
	}
	w.open(store)
	if err := w.keeper.Recover(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.keeper.Watch()
}

func TestHoldServesAndRefreshesNothing(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.restore()
	w.intuit.ResetCounters()
	hold := w.keeper.Hold()
	if hold == nil || hold.Reason != tokenstore.HoldRestored {
		t.Fatalf("the hold is %+v", hold)
	}
	if w.call(w.token()) != 200 {
		t.Error("a valid token was not served")
	}
	// Inside the window, and for a request that cannot be repeated.
	clock.Advance(52 * time.Minute)
	if _, err := w.keeper.TokenFor(t.Context(), key, 30*time.Minute); err != nil {
		t.Errorf("a valid token was not served: %v", err)
	}
	served := w.token()
	if w.call(served) != 200 {
		t.Error("a token inside its window was not served")
	}
	// The API refuses it.
	_, err := w.keeper.Reject(t.Context(), served)
	e := wantUnavailable(t, err, grant.ReasonHold)
	if e.RetryAfter != 0 {
		t.Errorf("waiting %s does not help", e.RetryAfter)
	}
	clock.Advance(time.Hour)
	_, errs := all(50, func(int) (*grant.Snapshot, error) { return w.keeper.Token(t.Context(), key) })
	for _, err := range errs {
		wantUnavailable(t, err, grant.ReasonHold)
	}
	// Half of the refresh token's life is over.
	clock.Advance(60 * day)
	if err := w.keeper.AttendDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := w.intuit.Counters(); c.Refreshes != 0 || c.Revocations != 0 || len(w.intuit.TokenRequests()) != 0 {
		t.Errorf("%d refreshes, %d revocations, %d token requests on hold", c.Refreshes, c.Revocations, len(w.intuit.TokenRequests()))
	}

	released, err := w.keeper.Release(t.Context())
	if err != nil || released == nil || released.Reason != tokenstore.HoldRestored {
		t.Fatalf("release: %+v, %v", released, err)
	}
	if w.call(w.token()) != 200 || w.refreshes() != 1 {
		t.Errorf("after the release there were %d refreshes", w.refreshes())
	}
	if again, err := w.keeper.Release(t.Context()); err != nil || again != nil {
		t.Errorf("a second release: %+v, %v", again, err)
	}
	w.open(w.store.Copy())
	if w.keeper.Hold() != nil {
		t.Error("a restart brought the hold back")
	}
}

// The first look at what is due comes with the release, not an hour later.
func TestReleaseLooksAfterGrantsThatNobodyUses(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.save(dueNow(w, clock))
	w.restore()
	w.eventually("the watch begins", func() bool { return w.logs.FilterMessageSnippet("on hold").Len() > 0 })
	clock.Advance(60 * day)
	w.intuit.ResetCounters()
	if _, err := w.keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("a refresh of a grant that nobody uses", func() bool { return w.refreshes() == 1 })
}

func dueNow(w *world, clock clockwork.Clock) *tokenstore.Record {
	r := w.record()
	r.DueAt = clock.Now().Add(day)
	return r
}

func TestHoldIsLoggedEveryHour(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.restore()
	said := func() int {
		n := 0
		for _, entry := range w.logs.All() {
			if entry.Level.String() == "error" && strings.Contains(entry.Message, "caddy freshbearer resume") &&
				entry.ContextMap()["reason"] == "restored" && entry.ContextMap()["backup_at"] != nil {
				n++
			}
		}
		return n
	}
	for hour := 1; hour <= 3; hour++ {
		w.eventually("the log says that the store is on hold", func() bool { return said() == hour })
		clock.Advance(time.Hour)
	}
	w.eventually("the log says it again", func() bool { return said() == 4 })
	if _, err := w.keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	clock.Advance(5 * time.Hour)
	if n := said(); n != 4 {
		t.Errorf("said %d times, the last after the release", n)
	}
}

// What a backup caught in the middle of a refresh is recovered when the hold
// ends, and not before.
func TestHoldWithAnOpenIntent(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	if err := w.keeper.Vault().PutIntent(t.Context(), tokenstore.Intent{Key: key, Epoch: 1, Generation: 1, Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w.restore()
	w.intuit.ResetCounters()
	intents, err := w.keeper.Vault().Intents(t.Context())
	if err != nil || len(intents) != 1 || w.record().Generation != 1 || !w.record().UnansweredSince.IsZero() {
		t.Fatalf("on hold there are %d intents (%v)", len(intents), err)
	}
	if _, err := w.keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.eventually("a refresh after the release", func() bool { return w.record().Generation == 2 })
	if n := w.refreshes(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// A human may authorize; it is the other store's tokens that this may end, and
// the human has asked for it. What nobody has asked for stays as it is.
func TestAuthorizationOnHold(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	w.restore()
	a := w.begin(grant.Link{Caller: "billing"})
	if _, err := w.finish(a, w.consent(a)); err != nil {
		t.Fatal(err)
	}
	if w.record().Epoch != 2 || w.call(w.token()) != 200 {
		t.Error("the new grant does not work")
	}
	if w.keeper.Hold() == nil {
		t.Error("an authorization ended the hold")
	}
	// The consent was for another company than the link, which this store does
	// not know, but the other one may.
	const younger = "9130357849536736"
	w.intuit.Connect(younger)
	w.intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.ConsentRealm = younger })
	a = w.begin(grant.Link{Caller: "billing", Connection: realm})
	_, err := w.finish(a, w.consent(a))
	wantFailure(t, err, grant.FailureOtherAccount)
	if n := w.intuit.Counters().Revocations; n != 0 {
		t.Errorf("%d grants were revoked on hold", n)
	}
}

// A release that cannot be stored is none.
func TestReleaseThatCannotBeStored(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	w.restore()
	clock.Advance(2 * time.Hour)
	w.store.FailApply(1, storetest.BeforeApply, tokenstore.ErrFull)
	if _, err := w.keeper.Release(t.Context()); !errors.Is(err, tokenstore.ErrFull) {
		t.Errorf("got %v", err)
	}
	_, err := w.keeper.Token(t.Context(), key)
	wantUnavailable(t, err, grant.ReasonHold)
	if _, err := w.keeper.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.token()
}

// blocked is a reader of a backup that does not read until it is told to.
type blocked struct {
	began chan struct{}
	read  chan struct{}
}

func (b *blocked) Write(p []byte) (int, error) {
	close(b.began)
	<-b.read
	return len(p), nil
}

func TestBackupAndClose(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	w.many(400)
	b := &blocked{began: make(chan struct{}), read: make(chan struct{})}
	backedUp, closed := make(chan error, 1), make(chan error, 1)
	go func() { backedUp <- w.keeper.Backup(context.Background(), b) }()
	<-b.began
	go func() { closed <- w.keeper.Close() }()
	// Closing waits for the write under way, and asks for the end.
	w.eventually("the keeper takes nothing up any more", func() bool {
		return errors.Is(w.keeper.Backup(t.Context(), new(bytes.Buffer)), tokenstore.ErrClosed)
	})
	select {
	case err := <-closed:
		t.Fatalf("closed during a backup: %v", err)
	default:
	}
	close(b.read)
	if err := <-backedUp; !errors.Is(err, context.Canceled) {
		t.Errorf("the backup ended with %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A token that is only in memory must be in the backup, if it can be stored.
func TestBackupStoresWhatIsOnlyInMemory(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock, intuittest.Behaviour{})
	clock.Advance(2 * time.Hour)
	w.store.FailApply(2, storetest.BeforeApply, errors.New("disk on fire")) // the first is the intent
	generation := w.token().Generation
	if w.record().Generation == generation {
		t.Fatal("the new token was stored")
	}
	var file bytes.Buffer
	if err := w.keeper.Backup(t.Context(), &file); err != nil {
		t.Fatal(err)
	}
	w.restore()
	if w.record().Generation != generation {
		t.Error("the newest token is not in the backup")
	}
}
