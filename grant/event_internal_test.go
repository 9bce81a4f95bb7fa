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
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	connected    = tokenstore.StateConnected
	suspect      = tokenstore.StateSuspect
	needsReauth  = tokenstore.StateNeedsReauth
	disconnected = tokenstore.StateDisconnected
)

// Every pair of states, with and without new tokens, a new authorization and a
// warning.
func TestTransitions(t *testing.T) {
	states := []tokenstore.State{connected, suspect, needsReauth, disconnected}
	// What a change of state alone is, the former state first.
	sameEpoch := map[[2]tokenstore.State]string{
		{connected, suspect}: "grant_suspect", {connected, needsReauth}: "grant_needs_reauth", {connected, disconnected}: "grant_disconnected",
		{suspect, connected}: "grant_recovered", {suspect, needsReauth}: "grant_needs_reauth", {suspect, disconnected}: "grant_disconnected",
		{needsReauth, connected}: "grant_recovered", {needsReauth, suspect}: "grant_suspect", {needsReauth, disconnected}: "grant_disconnected",
		{disconnected, connected}: "grant_connected", {disconnected, suspect}: "grant_suspect", {disconnected, needsReauth}: "grant_needs_reauth",
	}
	first := map[tokenstore.State]string{
		connected: "grant_connected", suspect: "grant_suspect", needsReauth: "grant_needs_reauth", disconnected: "grant_disconnected",
	}
	check := func(what string, before, after *tokenstore.Record, want string) {
		t.Helper()
		var got []string
		for _, e := range transition(before, after) {
			got = append(got, string(e))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%s: got %q, want %q", what, text, want)
		}
	}
	for _, to := range states {
		check(fmt.Sprintf("nothing → %s", to), nil, &tokenstore.Record{Epoch: 1, Generation: 1, State: to}, first[to])
		deleted := "grant_disconnected"
		if to == disconnected {
			deleted = "" // it was told of
		}
		check(fmt.Sprintf("%s → deleted", to), &tokenstore.Record{Epoch: 1, State: to}, nil, deleted)
	}
	check("nothing → nothing", nil, nil, "")
	for _, from := range states {
		for _, to := range states {
			for _, newer := range []uint64{0, 1} {
				for _, warned := range []int{0, 1} {
					for _, epoch := range []uint64{0, 1} {
						before := &tokenstore.Record{Epoch: 3, Generation: 7, Warned: 1, State: from}
						after := &tokenstore.Record{Epoch: 3 + epoch, Generation: 7 + newer, Warned: 1 + warned, State: to}
						want := sameEpoch[[2]tokenstore.State{from, to}]
						switch {
						case epoch == 1 && to == connected:
							want = "grant_connected"
						case from == connected && to == connected && newer == 1:
							want = "grant_refreshed"
						}
						if epoch == 0 && warned == 1 && to != disconnected {
							want = strings.TrimSpace(want + " grant_expiring")
						}
						check(fmt.Sprintf("%s → %s, generation +%d, warned +%d, epoch +%d", from, to, newer, warned, epoch), before, after, want)
					}
				}
			}
		}
	}
}

// IDs must differ for different changes, and be the same for one that is
// stored twice.
func TestEventIDs(t *testing.T) {
	k := &Keeper{eventKey: []byte("key")}
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	base := tokenstore.Record{
		Key: tokenstore.Key{Integration: "quickbooks", Connection: "1"}, Epoch: 1, Generation: 1, State: connected, Since: at, ConnectedAt: at,
	}
	with := func(change func(*tokenstore.Record)) *tokenstore.Record {
		r := base
		change(&r)
		return &r
	}
	seen := make(map[string]string)
	for what, c := range map[string][2]*tokenstore.Record{
		"connected":             {nil, &base},
		"refreshed":             {&base, with(func(r *tokenstore.Record) { r.Generation = 2 })},
		"refreshed again":       {with(func(r *tokenstore.Record) { r.Generation = 2 }), with(func(r *tokenstore.Record) { r.Generation = 3 })},
		"suspect":               {&base, with(func(r *tokenstore.Record) { r.State, r.Since = suspect, at.Add(time.Hour) })},
		"suspect later":         {&base, with(func(r *tokenstore.Record) { r.State, r.Since = suspect, at.Add(2*time.Hour) })},
		"dead":                  {&base, with(func(r *tokenstore.Record) { r.State, r.Since = needsReauth, at.Add(time.Hour) })},
		"warned":                {&base, with(func(r *tokenstore.Record) { r.Warned = 1 })},
		"warned again":          {with(func(r *tokenstore.Record) { r.Warned = 1 }), with(func(r *tokenstore.Record) { r.Warned = 2 })},
		"deleted":               {&base, nil},
		"connected after that":  {nil, with(func(r *tokenstore.Record) { r.Since, r.ConnectedAt = at.Add(day2), at.Add(day2) })},
		"another connection":    {nil, with(func(r *tokenstore.Record) { r.Connection = "2" })},
		"authorized once more":  {&base, with(func(r *tokenstore.Record) { r.Epoch = 2 })},
		"deleted the next time": {with(func(r *tokenstore.Record) { r.Since, r.ConnectedAt = at.Add(day2), at.Add(day2) }), nil},
	} {
		first, again := k.events(c[0], c[1], at), k.events(c[0], c[1], at.Add(time.Minute))
		if len(first) != 1 || first[0].ID != again[0].ID {
			t.Fatalf("%s: %+v and, tried again, %+v", what, first, again)
		}
		if other, ok := seen[first[0].ID]; ok {
			t.Errorf("%s has the ID of %s", what, other)
		}
		seen[first[0].ID] = what
	}
}

const day2 = 48 * time.Hour

// A notice must never be too long to be stored: a token would be lost for it.
func TestLongestEventFits(t *testing.T) {
	k := &Keeper{eventKey: []byte("key")}
	long := strings.Repeat("\x00\u2028<", 1000) // six bytes each in JSON
	r := &tokenstore.Record{
		Key:   tokenstore.Key{Integration: clip(long, 256), Connection: clip(long, 256)},
		Owner: clip(long, 256), Account: long, ProviderError: long, TraceID: long, State: needsReauth, Epoch: 1, Generation: 1 << 63,
	}
	for _, e := range k.events(nil, r, time.Now()) {
		body, err := json.Marshal(e)
		if err != nil || len(body) > tokenstore.MaxNotice {
			t.Errorf("%d bytes: %v", len(body), err)
		}
		t.Logf("%d bytes", len(body))
	}
	if got := clip("aä", 2); got != "a" {
		t.Errorf("clipped to %q", got)
	}
}

// Who stores a record without Keeper.save tells nobody.
func TestRecordsAreStoredInOnePlace(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := bytes.Count(text, []byte("vault.Save(")) + bytes.Count(text, []byte("vault.Delete("))
		switch {
		case path == "observe.go":
			found = n
		case n > 0 && !strings.HasSuffix(path, "_test.go"):
			t.Errorf("%s writes to the vault directly; use Keeper.save or Keeper.remove", path)
		}
	}
	if found != 2 {
		t.Errorf("observe.go writes in %d places", found)
	}
}
