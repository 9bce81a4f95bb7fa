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

package freshbearer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// lookLimit bounds the look at all connections, for which somebody waits.
	lookLimit = 60 * time.Second
	// listedMost is how many connections are listed one by one; of more, only
	// what is wrong is, and of that so many.
	listedMost = 1000
	wrongMost  = 100
)

// census is what was seen of all connections, in bounded space.
type census struct {
	app *App
	now time.Time

	total, damaged int
	states         map[tokenstore.State]int
	// fine, warned and faulty are findings, by level; counts tells how many
	// there would be.
	found  map[level][]finding
	counts map[level]int

	// usable counts the connections of each caller, existing says which of
	// those that callers list there are.
	usable   map[string]int
	existing map[string]bool
	// err says why not all were seen.
	err error
}

// look walks through all connections; nil if the store is not open.
func (d *doctor) look(ctx context.Context) *census {
	if d.keeper == nil {
		return nil
	}
	c := newCensus(d.app, d.now())
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	c.damaged, c.err = d.keeper.Inspect(ctx, c.see)
	return c
}

func newCensus(app *App, now time.Time) *census {
	return &census{
		app: app, now: now,
		states: make(map[tokenstore.State]int),
		found:  make(map[level][]finding), counts: make(map[level]int),
		usable: make(map[string]int), existing: make(map[string]bool),
	}
}

func (c *census) see(r *tokenstore.Record) {
	c.total++
	c.states[r.State]++
	f := c.connection(r)
	c.counts[f.Level]++
	if most := wrongMost; len(c.found[f.Level]) < most || c.total <= listedMost {
		c.found[f.Level] = append(c.found[f.Level], f)
	}
	if r.State == tokenstore.StateDisconnected || c.app.Integrations[r.Integration] == nil {
		return
	}
	for name, caller := range c.app.Callers {
		if caller.listed(r.Connection) && !caller.all {
			c.existing[r.Connection] = true
		}
		if caller.mayUse(r.Connection, r.Owner) {
			c.usable[name]++
		}
	}
}

// connections lists the connections if there are not too many, and else what
// is wrong with them, faults first.
func (c *census) connections() []finding {
	const check = "connections"
	var found []finding
	list := slices.Concat(c.found[levelFault], c.found[levelWarning])
	if c.total <= listedMost {
		list = append(list, c.found[levelOK]...)
	} else {
		list = list[:min(len(list), wrongMost)]
	}
	if c.total <= listedMost {
		slices.SortFunc(list, func(a, b finding) int { return cmp.Compare(a.Subject, b.Subject) })
	}
	var counted []string
	for _, state := range slices.Sorted(maps.Keys(c.states)) {
		counted = append(counted, fmt.Sprintf("%d %s", c.states[state], state))
	}
	text := "none yet"
	if c.total > 0 {
		text = strings.Join(counted, ", ")
	}
	switch {
	case c.err != nil:
		found = append(found, warning(check, "", fmt.Sprintf("only %d were looked at (%s): %v", c.total, text, c.err), "run the doctor again later"))
	default:
		found = append(found, fine(check, "", "%s", text))
	}
	found = append(found, list...)
	if more := c.counts[levelFault] + c.counts[levelWarning] - wrongMost; c.total > listedMost && more > 0 {
		found = append(found, warning(check, "", fmt.Sprintf("and %d more that are not well", more), "repair those above, and run the doctor again"))
	}
	return found
}

// callers looks for callers who have nothing to use.
func (c *census) callers() []finding {
	const check = "caller"
	var found []finding
	for _, name := range slices.Sorted(maps.Keys(c.app.Callers)) {
		caller := c.app.Callers[name]
		var missing []string
		for _, id := range slices.Sorted(maps.Keys(caller.connections)) {
			if !c.existing[id] {
				missing = append(missing, id)
			}
		}
		connect := "connect one: a POST with this caller's key to " + c.linksURLs() + " gives the link to open"
		switch n := c.usable[name]; {
		case c.err != nil:
			found = append(found, warning(check, name, "not all connections could be looked at", "run the doctor again later"))
			continue
		case n == 0:
			found = append(found, warning(check, name, "there is no connection that it may use", connect))
		case len(missing) == 0:
			found = append(found, fine(check, name, "may use %d of %s", n, count(c.total, "connection")))
		}
		if slices.Contains(c.app.callers.keyless(), name) {
			found = append(found, warning(check, name, "it has neither a key nor a user, so no request can come from it", "create a key: caddy freshbearer keys create "+name))
		}
		if len(missing) > 0 {
			shown := missing[:min(len(missing), 10)]
			text := strings.Join(shown, ", ")
			if more := len(missing) - len(shown); more > 0 {
				text += fmt.Sprintf(" and %d more", more)
			}
			found = append(found, warning(check, name, "connections that it lists do not exist: "+text, "connect them, or remove them from the caller's connections"))
		}
	}
	return found
}

// linksURLs are where callers ask for links.
func (c *census) linksURLs() string {
	var urls []string
	for _, name := range slices.Sorted(maps.Keys(c.app.Integrations)) {
		urls = append(urls, c.app.Integrations[name].publicURL("links", nil))
	}
	return strings.Join(urls, " or ")
}

// place says whether a store that is not open can be made.
func (d *doctor) place() []finding {
	opener, ok := d.app.shared.opener.(tokenstore.Examiner)
	if !ok {
		return nil
	}
	if err := opener.Examine(); err != nil {
		return []finding{warning("store", "", err.Error(), "let the user that runs Caddy write there, or name another directory: store badger { path <dir> }; "+
			"nothing, if it is made at the start, as by systemd's StateDirectory")}
	}
	return nil
}

// store says whether tokens can be kept and refreshed.
func (d *doctor) store(ctx context.Context, seen *census) []finding {
	const check = "store"
	if d.keeper == nil {
		return []finding{fault(check, "", "cannot be opened: "+d.closed.Error(), "nothing works without it; do what the message says, and run: caddy reload --force")}
	}
	var found []finding
	if hold := d.keeper.Hold(); hold != nil {
		found = append(found, fault(check, "", fmt.Sprintf("on hold since %s, because it was %s: no token is refreshed", hold.Since.UTC().Format(time.RFC3339), hold.Reason),
			hold.Advice()+", and run: caddy freshbearer resume"))
	}
	found = append(found, storeSpace(d.keeper.Vault().CheckSpace(ctx))...)
	found = append(found, unsaved(d.keeper)...)
	if seen.damaged > 0 {
		found = append(found, fault(check, "", count(seen.damaged, "connection")+" cannot be read",
			"restore a backup: see caddy freshbearer restore --help; or authorize these connections again"))
	}
	if seen.err != nil && !errors.Is(seen.err, context.DeadlineExceeded) {
		found = append(found, fault(check, "", "cannot be read: "+seen.err.Error(), "see Caddy's log; run: caddy reload --force"))
	}
	if found == nil {
		found = append(found, fine(check, "", "open, with space to write: %s", d.app.sharedAs))
	}
	return found
}

func storeSpace(err error) []finding {
	const check = "store"
	switch {
	case errors.Is(err, tokenstore.ErrFull):
		return []finding{fault(check, "", "no token is refreshed: "+err.Error(), "free space on its disk")}
	case err != nil:
		return []finding{fault(check, "", "cannot be used: "+err.Error(), "see Caddy's log; run: caddy reload --force")}
	}
	return nil
}

func unsaved(k *grant.Keeper) []finding {
	n := k.Unsaved()
	if n == 0 {
		return nil
	}
	return []finding{fault("store", "", "new tokens of "+count(n, "connection")+" could not be stored, and are only in memory",
		"do not stop Caddy; repair the disk, the write is tried again by itself")}
}
