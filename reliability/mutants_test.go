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

package reliability_test

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var mutants = flag.Bool("mutants", false, "break what keeps grants alive, one thing at a time, and see that the tests notice")

// mutant is one thing that is broken, and the tests that must turn red.
type mutant struct {
	what  string
	edits []edit
	// in is the package of the tests, seen from the root of the module.
	in    string
	tests []string
}

// edit replaces a text that is in the file exactly once.
type edit struct{ file, old, new string }

var allMutants = []mutant{
	{
		"no single flight: whoever needs a refresh starts one",
		[]edit{{"grant/flight.go", "	if f := c.flight.Load(); f != nil {\n		k.slots.hurry(f.turn)\n		return f, nil, nil\n	}\n", ""}},
		"grant", []string{"TestExpiredTokenIsRefreshedOnceForAll", "TestRejectRefreshesOnceForAGeneration"},
	},
	{
		"no intent before the token request",
		[]edit{{"grant/refresh.go", "return k.vault.PutIntent(ctx, intent)", "_ = intent; return nil"}},
		"grant", []string{"TestCrashInMidRefresh", "TestNoTokenIsSpentIfTheStoreFails"},
	},
	{
		"no intent, in the real process",
		[]edit{{"grant/refresh.go", "return k.vault.PutIntent(ctx, intent)", "_ = intent; return nil"}},
		"reliability", []string{"TestKill/strict"},
	},
	{
		"no associated data: the header of a sealed value is not authenticated",
		[]edit{{"tokenstore/seal.go", `return joinFields("freshbearer sealed value v1", string(header), string(name))`, "return nil"}},
		"tokenstore", []string{"TestSealedIsBound"},
	},
	{
		"no check in the store: whoever writes last wins",
		[]edit{{"tokenstore/grants.go", "Check: true, Old: r.sealed", "Check: false"}},
		"grant", []string{"TestReconnectedInMidRefresh", "TestDeletedInMidRefresh", "TestRacesOfReconnectionAndRefresh"},
	},
	{
		"no comparison of epoch and generation: a flight takes any record for its own",
		[]edit{{"grant/persist.go", "return stored.Epoch == epoch && stored.Generation == generation && stored.RefreshToken.Equal(token)", "_, _, _ = epoch, generation, token\n		return true"}},
		"grant", []string{"TestReconnectedInMidRefresh", "TestRacesOfReconnectionAndRefresh", "TestRacesOfDisconnectAndRefresh"},
	},
	{
		"what is published later counts, be it older",
		[]edit{{"grant/connection.go", "if old.after(record) {", "if false {"}},
		"grant", []string{"TestPublishNeverGoesBack"},
	},
	{
		"a refusal does not say which generation was refused",
		[]edit{{"grant/keeper.go", "	if !snap.is(refused) {\n", "	if false {\n"}},
		"grant", []string{"TestRejectRefreshesOnceForAGeneration"},
	},
	{
		"no detached context: a caller that hangs up takes the refresh along",
		[]edit{
			{"grant/flight.go", "	done chan struct{}\n", "	done chan struct{}\n	cancel context.CancelFunc\n"},
			{"grant/flight.go", "	defer cancel()\n	began", "	defer cancel()\n	f.cancel = cancel\n	began"},
			{"grant/flight.go", "	case <-ctx.Done():\n", "	case <-ctx.Done():\n		f.cancel()\n"},
		},
		"grant", []string{"TestCallerCannotCancelARefresh"},
	},
	{
		"one invalid_grant is believed",
		[]edit{{"grant/refresh.go", "return k.confirm(ctx, c, in, record, refused)", "return k.pronounce(ctx, c, in, record, k.cause(record), refused)"}},
		"grant", []string{"TestOneInvalidGrantIsNotBelieved", "TestSupersededTokenIsTriedLast"},
	},
	{
		"tokens that cannot be stored are dropped",
		[]edit{{"grant/persist.go", "	k.setPending(c, w)\n	go k.persist(c)\n", ""}},
		"grant", []string{"TestTokenThatCannotBeStored"},
	},
	{
		"closing does not wait for refreshes",
		[]edit{{"grant/keeper.go", "		k.work.Wait()\n", ""}},
		"grant", []string{"TestCloseWaitsForTheFlight"},
	},
	{
		"closing does not wait, in the real process",
		[]edit{{"grant/keeper.go", "		k.work.Wait()\n", ""}},
		"reliability", []string{"TestSIGTERM"},
	},
	{
		"a token that comes after its disconnection is dropped, not revoked",
		[]edit{{"grant/persist.go", "stored.Epoch == w.next.Epoch && !w.brought.Empty():", "false:"}},
		"grant", []string{"TestRacesOfDisconnectAndRefresh"},
	},
	{
		"a token that comes after its connection was deleted is dropped, not revoked",
		[]edit{{"grant/persist.go", "		k.revokeOrphan(w)\n", ""}},
		"grant", []string{"TestRacesOfDeletionAndRefresh"},
	},
	{
		"a token that comes after a new authorization is revoked",
		[]edit{{"grant/persist.go", "	if stored.Epoch > w.next.Epoch && !w.brought.Empty() {\n", "	if stored.Epoch > w.next.Epoch && !w.brought.Empty() {\n		k.revokeOrphan(w)\n"}},
		"grant", []string{"TestRacesOfReconnectionAndRefresh"},
	},
	{
		"a revocation does not wait for a refresh under way",
		[]edit{{"grant/disconnect.go", "	if f := c.flight.Load(); f != nil {\n", "	if f := c.flight.Load(); false {\n"}},
		"grant", []string{"TestRacesOfDisconnectAndRefresh"},
	},
	{
		"a revocation and a new authorization do not wait for each other",
		[]edit{{"grant/locks.go", "	case <-k.free:\n		return func() { k.free <- struct{}{}; leave() }, nil\n", "	default:\n		return leave, nil\n"}},
		"grant", []string{"TestReconnectionWaitsForARevocation"},
	},
	{
		"a disconnection is revoked once, and not remembered",
		[]edit{{"grant/schedule.go", "	if revokePending(r) {\n		return r.Since\n	}\n", ""}},
		"grant", []string{"TestDisconnectWhileTheProviderIsDown", "TestCrashInMidDisconnect"},
	},
	{
		"many refusals at once are no outage",
		[]edit{{"grant/witnesses.go", "return inARow >= manyRefused || inWindow >= manyRefused && inWindow > len(lately)", "return inARow < 0 && inWindow < len(lately)"}},
		"grant", []string{"TestWholeIncident"},
	},
	{
		"the status page has no say",
		[]edit{{"grant/suspect.go", "incident := k.incident(ctx, in); incident != nil {", "incident := k.incident(ctx, in); incident != nil && in == nil {"}},
		"grant", []string{"TestStatusPageHasASay", "TestSuspectServesItsLastToken"},
	},
	{
		"the first good answer after an outage frees nobody",
		[]edit{{"grant/suspect.go", ".accept(key, asked, k.clock.Now()) {\n		k.trySuspect(c)\n", ".accept(key, asked, k.clock.Now()) {\n		_ = c\n"}},
		"grant", []string{"TestWholeIncident"},
	},
	{
		"a dead grant is tried again without end",
		[]edit{{"grant/heal.go", "next.Rechecks = record.Rechecks + 1", "next.Rechecks = record.Rechecks"}},
		"grant", []string{"TestDeadGrantIsTriedAgainThreeTimes"},
	},
	{
		"17 refreshes at once instead of 16",
		[]edit{{"grant/keeper.go", "opts.MaxRefreshes = 16", "opts.MaxRefreshes = 17"}},
		"grant", []string{"TestHerdOfThousands"},
	},
}

// files are the source files as the mutant has them.
func (m mutant) files(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, e := range m.edits {
		text, ok := files[e.file]
		if !ok {
			data, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(e.file)))
			if err != nil {
				t.Fatal(err)
			}
			text = string(data)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s: %s has it %d times: %q", m.what, e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files
}

// The list of mutants fits the code, and docs/reliability.md has it.
func TestMutantsFit(t *testing.T) {
	doc, err := os.ReadFile("../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range allMutants {
		m.files(t)
		row := "| " + m.what + " | `" + strings.Join(m.tests, "`, `") + "` |"
		if !strings.Contains(string(doc), row+"\n") {
			t.Errorf("docs/reliability.md does not have the row\n%s", row)
		}
	}
}

// Each mutant turns each of its tests red, and without it they are green. The
// code itself is not touched: the compiler is told to read other files.
func TestMutants(t *testing.T) {
	if !*mutants {
		t.Skip("with -mutants only")
	}
	green := make(map[string]bool)
	for _, m := range allMutants {
		t.Run(m.what, func(t *testing.T) {
			for _, name := range m.tests {
				if test := m.in + " " + name; !green[test] {
					if out, err := goTest(t, m.in, name, ""); err != nil || !strings.Contains(out, "--- PASS: "+name+" ") {
						t.Fatalf("without the mutant, %s is not green: %v\n%s", test, err, out)
					}
					green[test] = true
				}
			}
			replace := make(map[string]string)
			dir := t.TempDir()
			for file, text := range m.files(t) {
				original, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(file)))
				if err != nil {
					t.Fatal(err)
				}
				replace[original] = filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
				if err := os.WriteFile(replace[original], []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			data, err := json.Marshal(map[string]any{"Replace": replace})
			if err != nil {
				t.Fatal(err)
			}
			overlay := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(overlay, data, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, name := range m.tests {
				out, _ := goTest(t, m.in, name, overlay)
				// Not any failure: a mutant that does not compile proves nothing.
				if !strings.Contains(out, "--- FAIL: "+name+" ") {
					t.Errorf("%s is not red:\n%s", name, out)
					continue
				}
				t.Logf("%s is red: %s", name, complaint(out))
			}
		})
	}
}

// goTest runs one test, with other files in the place of some.
func goTest(t *testing.T, in, name, overlay string) (string, error) {
	t.Helper()
	var pattern []string
	for part := range strings.SplitSeq(name, "/") {
		pattern = append(pattern, "^"+regexp.QuoteMeta(part)+"$")
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=off", "-timeout=5m", "-v", "-run", strings.Join(pattern, "/"), "./"+in)
	cmd.Dir = ".."
	cmd.Env = os.Environ()
	if overlay != "" {
		// By the environment, so that a test that builds the real process builds
		// the mutant.
		cmd.Env = append(cmd.Env, "GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -overlay="+overlay))
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var testLine = regexp.MustCompile(`(?m)^ +[a-z_]+_test\.go:\d+: (.*)$`)

// complaint is the first thing that a test complained of.
func complaint(out string) string {
	for _, line := range testLine.FindAllStringSubmatch(out, -1) {
		if !strings.HasPrefix(line[1], "-seed") {
			return line[1][:min(len(line[1]), 200)]
		}
	}
	return "it did not say why"
}
