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

package notify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/freshbearer/freshbearer/notify"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

const (
	secretOne = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAAAAA="
	secretTwo = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDAAAAAAAAAAA="
)

// delivery is a request that the receiver got.
type delivery struct {
	id, body string
	header   http.Header
}

// world is an outbox, a deliverer and a receiver.
type world struct {
	t         *testing.T
	clock     clockwork.Clock
	store     *storetest.Memory
	vault     *tokenstore.Vault
	ring      *tokenstore.Keyring
	deliverer *notify.Deliverer
	logs      *observer.ObservedLogs
	server    *httptest.Server

	mu        sync.Mutex
	got       []delivery
	answer    func(n int, d delivery) (status int, header map[string]string)
	handle    func(w http.ResponseWriter, r *http.Request) // instead of answer
	underWay  map[string]int
	most      int
	overlaps  int
	refused   []delivery
	generated map[string]uint64
}

func newWorld(t *testing.T, clock clockwork.Clock) *world {
	t.Helper()
	t.Cleanup(func() {
		if err := goleak.Find(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, clock: clock, underWay: make(map[string]int), generated: make(map[string]uint64)}
	w.server = httptest.NewServer(http.HandlerFunc(w.serve))
	t.Cleanup(w.server.Close)
	var err error
	if w.ring, err = tokenstore.ParseKeyring(tokenstore.GenerateKey()); err != nil {
		t.Fatal(err)
	}
	w.open(storetest.NewMemory(), notify.Options{})
	return w
}

// open starts a deliverer: a restart, if the store is a copy.
func (w *world) open(store *storetest.Memory, opts notify.Options) {
	w.t.Helper()
	if w.deliverer != nil {
		w.deliverer.Close()
	}
	var err error
	w.store = store
	if w.vault, err = tokenstore.OpenVault(context.Background(), store, w.ring); err != nil {
		w.t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	w.logs = logs
	opts.Clock, opts.Logger = w.clock, zap.New(core)
	w.deliverer = notify.Start(w.vault, opts)
	w.t.Cleanup(w.deliverer.Close)
}

func signer(t *testing.T, text string) *notify.Signer {
	t.Helper()
	s, err := notify.NewSigner(secret.New(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) target(secrets ...string) *notify.Target {
	w.t.Helper()
	if len(secrets) == 0 {
		secrets = []string{secretOne}
	}
	target := &notify.Target{URL: w.server.URL + "/hook?key=in-the-url", Body: func(n *tokenstore.Notice) ([]byte, error) { return n.Body, nil }}
	for _, s := range secrets {
		target.Signers = append(target.Signers, signer(w.t, s))
	}
	return target
}

func (w *world) use() { w.deliverer.Use(map[string]*notify.Target{"quickbooks": w.target()}) }

// serve is the receiver. The connection is what the body begins with.
func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d := delivery{id: r.Header.Get("webhook-id"), body: string(body), header: r.Header.Clone()}
	connection, _, _ := strings.Cut(d.body, " ")
	w.mu.Lock()
	w.underWay[connection]++
	if w.underWay[connection] > 1 {
		w.overlaps++
	}
	all := 0
	for _, n := range w.underWay {
		all += n
	}
	w.most = max(w.most, all)
	answer, handle, n := w.answer, w.handle, len(w.got)+len(w.refused)
	w.mu.Unlock()
	status := http.StatusNoContent
	switch {
	case handle != nil:
		handle(rw, r)
		status = 0
	case answer != nil:
		var header map[string]string
		status, header = answer(n, d)
		for name, value := range header {
			rw.Header().Set(name, value)
		}
	}
	w.mu.Lock()
	w.underWay[connection]--
	if status >= 200 && status < 300 {
		w.got = append(w.got, d)
	} else {
		w.refused = append(w.refused, d)
	}
	w.mu.Unlock()
	if status != 0 {
		rw.WriteHeader(status)
	}
}

func (w *world) answers(f func(n int, d delivery) (int, map[string]string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

func (w *world) deliveries() []delivery {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.got)
}

func (w *world) refusals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.refused)
}

func (w *world) ids() string {
	var all []string
	for _, d := range w.deliveries() {
		all = append(all, d.id)
	}
	return strings.Join(all, " ")
}

// note stores a change of a connection with a notice of it.
func (w *world) note(connection, id string, change ...func(*tokenstore.Notice)) {
	w.t.Helper()
	ctx := context.Background()
	key := tokenstore.Key{Integration: "quickbooks", Connection: connection}
	r, err := w.vault.Load(ctx, key)
	if errors.Is(err, tokenstore.ErrNotFound) {
		r, err = &tokenstore.Record{Key: key, Epoch: 1}, nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	r.Generation++
	n := tokenstore.Notice{Key: key, ID: id, Time: w.clock.Now(), Body: []byte(connection + " " + id)}
	for _, c := range change {
		c(&n)
	}
	if err := w.vault.Save(ctx, r, n); err != nil {
		w.t.Fatal(err)
	}
}

// left is how many notices the outbox holds.
func (w *world) left() (n int) {
	w.t.Helper()
	if err := w.vault.Notices(context.Background(), func(tokenstore.NoticeRef) bool { n++; return true }); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// eventually polls, because work in the background has no other sign of its
// end.
func (w *world) eventually(what string, done func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			w.t.Fatalf("never happened: %s (delivered: %s; refused: %d; left: %d)", what, w.ids(), w.refusals(), w.left())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// pass lets time go by in steps that the deliverer can follow.
func (w *world) pass(clock *clockwork.FakeClock, step time.Duration, what string, done func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			w.t.Fatalf("never happened: %s (refused: %d; left: %d)", what, w.refusals(), w.left())
		}
		clock.Advance(step)
		time.Sleep(2 * time.Millisecond)
	}
}

func TestDelivery(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock())
	w.deliverer.Use(map[string]*notify.Target{"quickbooks": w.target(secretOne, secretTwo)})
	w.note("1", "msg_a")
	w.eventually("the notice is gone", func() bool { return w.left() == 0 })
	got := w.deliveries()
	if len(got) != 1 || got[0].id != "msg_a" || got[0].body != "1 msg_a" || got[0].header.Get("Content-Type") != "application/json" {
		t.Fatalf("delivered: %+v", got)
	}
	// Who has either secret can verify it; who has another cannot.
	for s, good := range map[string]bool{secretOne: true, secretTwo: true, "whsec_" + strings.Repeat("A", 32): false} {
		verifier, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify([]byte(got[0].body), got[0].header); (err == nil) != good {
			t.Errorf("verified with %s…: %v", s[:12], err)
		}
		if err := verifier.Verify([]byte(got[0].body+" "), got[0].header); err == nil {
			t.Error("another body is verified")
		}
	}
}

// What is in the outbox at the start, or without a target, waits for one.
func TestDeliveryAfterRestartAndChangeOfTargets(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock())
	w.note("1", "a")
	w.note("2", "b")
	w.use()
	w.eventually("all are delivered", func() bool { return w.left() == 0 })
	w.deliverer.Use(nil)
	w.note("1", "c")
	w.open(w.store.Copy(), notify.Options{})
	w.note("1", "d")
	w.use()
	w.eventually("all are delivered", func() bool { return w.left() == 0 })
	if got := w.ids(); !strings.HasSuffix(got, "c d") || len(w.deliveries()) != 4 {
		t.Errorf("delivered: %s", got)
	}
}

func TestOrderOfAConnection(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock())
	w.answers(func(int, delivery) (int, map[string]string) {
		time.Sleep(2 * time.Millisecond) // so that some are under way at once
		return http.StatusOK, nil
	})
	w.use()
	var wg sync.WaitGroup
	for c := range 10 {
		wg.Go(func() {
			for i := range 20 {
				w.note(fmt.Sprint(c), fmt.Sprintf("%02d", i))
			}
		})
	}
	wg.Wait()
	w.eventually("all are delivered", func() bool { return w.left() == 0 })
	last := make(map[string]string)
	for _, d := range w.deliveries() {
		connection, id, _ := strings.Cut(d.body, " ")
		if id <= last[connection] {
			t.Errorf("of connection %s, %s came after %s", connection, id, last[connection])
		}
		last[connection] = id
	}
	if n := len(w.deliveries()); n != 200 {
		t.Errorf("%d deliveries", n)
	}
	if w.overlaps > 0 || w.most > 4 || w.most < 2 {
		t.Errorf("%d at once, %d times two of one connection", w.most, w.overlaps)
	}
}

func TestReceiverThatIsDown(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock)
	w.answers(func(int, delivery) (int, map[string]string) { return http.StatusBadGateway, nil })
	w.use()
	w.note("1", "a")
	w.note("1", "b")
	start := clock.Now()
	w.pass(clock, 10*time.Minute, "two days of failures", func() bool { return clock.Since(start) > 48*time.Hour })
	tries := w.refusals()
	if tries < 20 || tries > 200 {
		t.Errorf("%d tries in two days", tries)
	}
	w.answers(nil)
	w.pass(clock, 10*time.Minute, "all are delivered", func() bool { return w.left() == 0 })
	if got := w.ids(); got != "a b" {
		t.Errorf("delivered: %s", got)
	}
	for _, d := range w.refused {
		if d.id != "a" {
			t.Errorf("%s was tried before its time", d.id)
		}
	}
	if n := w.logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
		t.Errorf("%d warnings of one outage", n)
	}
}

// One notice that the receiver cannot digest holds up its connection alone.
func TestNoticeThatIsNeverAccepted(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock)
	w.answers(func(_ int, d delivery) (int, map[string]string) {
		if d.id == "bad" {
			return http.StatusInternalServerError, nil
		}
		return http.StatusOK, nil
	})
	w.use()
	w.note("1", "bad")
	for i := range 30 {
		w.note(fmt.Sprint(2+i), fmt.Sprint(i))
	}
	w.pass(clock, time.Second, "the others are delivered", func() bool { return len(w.deliveries()) == 30 })
	w.note("1", "after")
	w.pass(clock, 10*time.Minute, "it is given up", func() bool { return w.left() == 0 })
	if !strings.HasSuffix(w.ids(), "after") {
		t.Errorf("delivered: %s", w.ids())
	}
	if w.logs.FilterMessage("a notice was not accepted for too long and is given up").FilterLevelExact(zap.ErrorLevel).Len() != 1 {
		t.Error("it was given up without a word")
	}
}

// A receiver that is down with many connections waiting is not stormed, and
// gets all soon after it is back.
func TestOutageOfAReceiver(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock)
	w.answers(func(int, delivery) (int, map[string]string) { return http.StatusServiceUnavailable, nil })
	w.use()
	for i := range 200 {
		w.note(fmt.Sprint(i), "x")
	}
	start := clock.Now()
	w.pass(clock, 10*time.Second, "an hour of failures", func() bool { return clock.Since(start) > time.Hour })
	if n := w.refusals(); n > 100 {
		t.Errorf("%d tries in an hour of outage", n)
	}
	w.answers(nil)
	back := clock.Now()
	w.pass(clock, 10*time.Second, "all are delivered", func() bool { return w.left() == 0 })
	if took := clock.Since(back); took > time.Hour {
		t.Errorf("all were delivered after %s", took)
	}
}

func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		field      func(now time.Time) string
		least, max time.Duration
	}{
		"seconds":  {func(time.Time) string { return "600" }, 10 * time.Minute, 11 * time.Minute},
		"a date":   {func(now time.Time) string { return now.Add(10 * time.Minute).UTC().Format(http.TimeFormat) }, 9 * time.Minute, 11 * time.Minute},
		"too long": {func(time.Time) string { return "999999" }, time.Hour, 61 * time.Minute},
		"nonsense": {func(time.Time) string { return "soon" }, 0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clockwork.NewFakeClockAt(time.Now())
			w := newWorld(t, clock)
			w.answers(func(n int, _ delivery) (int, map[string]string) {
				if n > 0 {
					return http.StatusOK, nil
				}
				return http.StatusTooManyRequests, map[string]string{"Retry-After": c.field(clock.Now())}
			})
			w.use()
			w.note("1", "a")
			w.eventually("it is refused", func() bool { return w.refusals() == 1 })
			start := clock.Now()
			w.pass(clock, 5*time.Second, "it is delivered", func() bool { return w.left() == 0 })
			if took := clock.Since(start); took < c.least || took > c.max {
				t.Errorf("tried again after %s, want %s to %s", took, c.least, c.max)
			}
		})
	}
}

func TestGone(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock())
	w.answers(func(int, delivery) (int, map[string]string) { return http.StatusGone, nil })
	w.use()
	w.note("1", "a")
	w.eventually("it is given up", func() bool { return w.left() == 0 })
	if w.refusals() != 1 || w.logs.FilterLevelExact(zap.ErrorLevel).Len() != 1 {
		t.Errorf("%d tries, %d errors", w.refusals(), w.logs.FilterLevelExact(zap.ErrorLevel).Len())
	}
}

func TestNoticesWithoutATargetAreGivenUp(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock)
	w.note("1", "a")
	start := clock.Now()
	w.pass(clock, time.Hour, "it is given up", func() bool { return w.left() == 0 })
	if took := clock.Since(start); took < 72*time.Hour || took > 80*time.Hour {
		t.Errorf("given up after %s", took)
	}
}

func TestQueueIsBounded(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock())
	w.open(storetest.NewMemory(), notify.Options{QueueLimit: 100})
	for i := range 60 {
		w.note(fmt.Sprint(i%7), fmt.Sprintf("major-%d", i))
		w.note(fmt.Sprint(i%7), fmt.Sprintf("minor-%d", i), func(n *tokenstore.Notice) { n.Minor = true })
	}
	w.eventually("it is within its bound", func() bool { return w.left() <= 100 })
	w.use()
	w.eventually("all are delivered", func() bool { return w.left() == 0 })
	got := w.ids()
	if n := strings.Count(got, "major-"); n != 60 {
		t.Errorf("%d of 60 notices that matter are left", n)
	}
	if strings.Contains(got, "minor-0") || !strings.Contains(got, "minor-59") {
		t.Errorf("it was not the oldest that went: %s", got)
	}
	// Of those that matter, too, if there is nothing else.
	w.deliverer.Use(nil)
	for i := range 150 {
		w.note("1", fmt.Sprintf("late-%03d", i))
	}
	w.eventually("it is within its bound", func() bool { return w.left() <= 100 })
	w.use()
	w.eventually("all are delivered", func() bool { return w.left() == 0 })
	if got := w.ids(); strings.Contains(got, "late-000") || !strings.Contains(got, "late-149") {
		t.Errorf("it was not the oldest that went: %s", got)
	}
}

// Nobody may be sent elsewhere, or read without end.
func TestReceiversTricks(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	w := newWorld(t, clockwork.NewRealClock())
	w.mu.Lock()
	tries := 0
	w.handle = func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		tries++
		n := tries
		w.mu.Unlock()
		if n == 1 {
			http.Redirect(rw, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return
		}
		rw.WriteHeader(http.StatusOK)
		chunk := []byte(strings.Repeat("x", 32<<10))
		for range 1000 {
			if _, err := rw.Write(chunk); err != nil {
				return
			}
		}
		t.Error("an answer without end was read to its end")
	}
	w.mu.Unlock()
	w.use()
	w.note("1", "a")
	w.eventually("it is refused", func() bool { return w.logs.FilterLevelExact(zap.WarnLevel).Len() == 1 })
	w.use() // tries again at once
	w.eventually("it is delivered", func() bool { return w.left() == 0 })
}

// A notice that was delivered, but not deleted, comes again with its ID.
func TestNoticeThatCannotBeDeletedComesAgain(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock)
	w.note("1", "a")
	w.store.FailApply(1, storetest.BeforeApply, errors.New("input/output error"))
	w.use()
	w.pass(clock, time.Second, "it is gone", func() bool { return w.left() == 0 })
	if got := w.ids(); got != "a a" {
		t.Errorf("delivered: %s", got)
	}
}

func TestStoreThatFails(t *testing.T) {
	clock := clockwork.NewFakeClockAt(time.Now())
	w := newWorld(t, clock)
	w.note("1", "a")
	w.note("2", "b")
	w.store.Damage("n") // both
	w.note("3", "c")
	w.store.FailAll(errors.New("input/output error"))
	w.use()
	w.eventually("it is logged", func() bool { return w.logs.FilterLevelExact(zap.ErrorLevel).Len() > 0 })
	w.store.FailAll(nil)
	w.pass(clock, time.Second, "nothing is left", func() bool { return w.left() == 0 })
	if got := w.ids(); got != "c" {
		t.Errorf("delivered: %s", got)
	}
}

// A receiver that hangs neither holds up those who store notices nor Close.
func TestReceiverThatHangs(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock())
	release, arrived := make(chan struct{}), make(chan struct{}, 16)
	w.mu.Lock()
	w.handle = func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	w.mu.Unlock()
	defer close(release)
	w.use()
	w.note("0", "first")
	<-arrived
	start := time.Now()
	for i := range 500 {
		w.note(fmt.Sprint(i%50), fmt.Sprint(i))
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("storing 500 notices took %s", took)
	}
	start = time.Now()
	w.deliverer.Close()
	if took := time.Since(start); took < 2*time.Second || took > 4500*time.Millisecond {
		t.Errorf("closing took %s; an answer is waited for, and then cut off", took)
	}
	if n := w.left(); n != 501 {
		t.Errorf("%d notices are left", n)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock())
	w.answers(func(n int, _ delivery) (int, map[string]string) {
		return []int{http.StatusInternalServerError, http.StatusGone}[n%2], nil
	})
	w.use()
	w.note("1", "a")
	w.eventually("it is refused", func() bool { return w.refusals() == 1 })
	w.use()
	w.eventually("it is given up", func() bool { return w.left() == 0 })
	w.note("1", "b")
	w.server.Close()
	w.use()
	w.eventually("nobody answers", func() bool { return len(w.logs.FilterMessageSnippet("not accepted").All()) >= 2 })
	signers := w.target().Signers
	text := fmt.Sprintf("%v %+v %#v %s", signers[0], signers, w.target().Signers[0], w.target().Signers[0])
	for _, entry := range w.logs.All() {
		text += "\n" + entry.Message + fmt.Sprint(entry.ContextMap())
	}
	for _, s := range []string{secretOne[6:20], "in-the-url", "MfKQ", "1 a", "connection=1", "0x31"} {
		if strings.Contains(text, s) {
			t.Errorf("%q is in:\n%s", s, text)
		}
	}
}

func TestNewSigner(t *testing.T) {
	for _, bad := range []string{
		"", "whsec_", secretOne[6:], "whsec_" + strings.Repeat("A", 28), "whsec_" + strings.Repeat("A", 92),
		"whsec_!!!!" + secretOne[10:], strings.TrimSuffix(secretOne, "="),
	} {
		if s, err := notify.NewSigner(secret.New(bad)); err == nil {
			t.Errorf("%q is accepted: %v", bad, s)
		} else if bad != "" && len(bad) > 10 && strings.Contains(err.Error(), bad[6:]) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}
