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
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// list serves the page of all connections.
func (d *desk) list(w http.ResponseWriter, r *http.Request) {
	filter := filterOf(r.URL.Query())
	listing, counts, err := d.look(r.Context(), &filter)
	if err != nil {
		d.storeFailed(w, r, err)
		return
	}
	view := pages.StatusView{Frame: d.frame(w, r), Filter: filter, Total: listing.Total}
	view.Back = filter.Query()
	view.Integrations = d.integrations(r.Context(), counts)
	census, err := d.keeper.Census(r.Context())
	if err != nil {
		d.storeFailed(w, r, err)
		return
	}
	view.Alarms = append(d.alarms(listing.Damaged, view.Integrations), d.endings(census)...)
	for i := range listing.Entries {
		view.Connections = append(view.Connections, d.row(&listing.Entries[i]))
	}
	for _, t := range d.keeper.Troubles() {
		view.Troubles = append(view.Troubles, pages.Trouble{
			Time: t.Time, Integration: t.Integration, Connection: t.Connection, Account: t.Account,
			What: t.What, ProviderError: t.ProviderError, TraceID: t.TraceID, Count: t.Count,
		})
	}
	pages.WriteStatus(w, view)
}

// stateCounts counts the connections in each state, by integration.
type stateCounts map[string]map[string]int

// look lists what fits the filter, and counts what there is. An offset beyond
// the end is set to the last page.
func (d *desk) look(ctx context.Context, filter *pages.Filter) (grant.Listing, stateCounts, error) {
	counts := make(stateCounts)
	wanted := filter.Integration
	count := func(e *grant.Entry) bool {
		of := counts[e.Integration]
		if of == nil {
			of = make(map[string]int)
			counts[strings.Clone(e.Integration)] = of
		}
		of[string(e.State)]++
		return wanted == "" || wanted == e.Integration
	}
	f := grant.Filter{State: tokenstore.State(filter.State), Offset: filter.Offset, Limit: filter.Limit}
	if filter.Text != "" {
		// Counted are all, and not those with the text.
		if _, err := d.keeper.List(ctx, grant.Filter{Allow: count, Limit: 1}); err != nil {
			return grant.Listing{}, nil, err
		}
		f.Integration, f.Text = wanted, filter.Text
	} else {
		f.Allow = count
	}
	listing, err := d.keeper.List(ctx, f)
	if err != nil || len(listing.Entries) > 0 || listing.Total == 0 {
		return listing, counts, err
	}
	filter.Offset = (listing.Total - 1) / filter.Limit * filter.Limit
	f.Offset, f.Integration, f.Allow = filter.Offset, wanted, nil
	listing, err = d.keeper.List(ctx, f)
	return listing, counts, err
}

// integrations returns those that are configured, and those of which there are
// only connections.
func (d *desk) integrations(ctx context.Context, counts stateCounts) []pages.Integration {
	names := slices.Collect(maps.Keys(counts))
	if d.app != nil {
		names = slices.AppendSeq(names, maps.Keys(d.app.Integrations))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	views := make([]pages.Integration, len(names))
	var asked sync.WaitGroup
	for i, name := range names {
		views[i] = pages.Integration{Name: name, Counts: counts[name], Activity: activity(d.keeper.Activity(name))}
		in := d.configured(name)
		if in == nil {
			views[i].Health = pages.Notice{Tone: pages.ToneWarning, Title: "Not configured.", Text: "Nothing is refreshed."}
			continue
		}
		views[i].Provider, views[i].Environment = in.provider.Title(), in.Environment
		views[i].CanConnect, views[i].Owners = true, slices.Sorted(maps.Keys(d.app.Callers))
		// Each may wait for its provider's status page.
		asked.Go(func() {
			status := d.keeper.ProviderStatus(ctx, name)
			views[i].Health, views[i].StatusPage = health(in, status, views[i].Activity), status.StatusPage
		})
	}
	asked.Wait()
	return views
}

// configured returns an integration of the running configuration, or nil.
func (d *desk) configured(name string) *Integration {
	if d.app == nil {
		return nil
	}
	return d.app.Integrations[name]
}

func activity(a grant.Activity) pages.Activity {
	view := pages.Activity{Step: a.Step, Until: a.Until}
	for _, b := range a.Buckets {
		view.Buckets = append(view.Buckets, pages.Bucket{Refreshed: b.Refreshed, Failed: b.Failed, Refused: b.Refused})
	}
	return view
}

// health says how the provider does, as far as anybody knows.
func health(in *Integration, status grant.ProviderStatus, a pages.Activity) pages.Notice {
	title := in.provider.Title()
	switch {
	case status.Paused > 0:
		return pages.Notice{
			Tone: pages.ToneBad, Title: title + " does not answer.",
			Text: fmt.Sprintf("Refreshes are paused; the next try is in %s.", (status.Paused + time.Second - 1).Truncate(time.Second)),
		}
	case status.Incident != nil:
		return pages.Notice{Tone: pages.ToneWarning, Title: title + " has an incident:", Text: status.Incident.Name + ".", URL: status.Incident.URL, Label: "Read on"}
	}
	for _, b := range slices.Backward(a.Buckets) {
		switch {
		case b.Refreshed > 0 || b.Refused > 0:
			return pages.Notice{Tone: pages.ToneGood, Title: title + " answers."}
		case b.Failed > 0:
			return pages.Notice{Tone: pages.ToneWarning, Title: title + " gave no usable answer lately."}
		}
	}
	return pages.Notice{Title: "Nothing was asked of " + title + " lately."}
}

// alarms are what needs the operator, the worst first.
func (d *desk) alarms(damaged int, integrations []pages.Integration) []pages.Notice {
	var alarms []pages.Notice
	if hold := d.keeper.Hold(); hold != nil {
		alarms = append(alarms, pages.Notice{Tone: pages.ToneBad, Title: "The token store is on hold.", Text: holdText(hold)})
	}
	if n := d.keeper.Unsaved(); n > 0 {
		alarms = append(alarms, pages.Notice{
			Tone: pages.ToneBad, Title: "Tokens are in memory only.",
			Text: fmt.Sprintf("The fresh tokens of %s could not be stored yet. Do not stop Caddy before the disk has space and works; its log says why.", count(n, "connection")),
		})
	}
	if damaged > 0 {
		alarms = append(alarms, pages.Notice{
			Tone: pages.ToneBad, Title: "Records are damaged.",
			Text: fmt.Sprintf("%s of the token store cannot be read. Run caddy freshbearer doctor.", count(damaged, "record")),
		})
	}
	for _, in := range integrations {
		if in.Health.Tone == pages.ToneBad || in.Health.URL != "" {
			alarm := in.Health
			alarm.Title = in.Name + ": " + alarm.Title
			alarms = append(alarms, alarm)
		}
	}
	return alarms
}

// endings warn of authorizations that end soon, which no refresh prolongs.
func (d *desk) endings(census grant.Census) (alarms []pages.Notice) {
	for _, name := range slices.Sorted(maps.Keys(census.Integrations)) {
		one := census.Integrations[name]
		n := one.Ending[slices.Index(grant.WarnBefore(), endSoon)]
		if n == 0 {
			continue
		}
		who := one.Next.Connection
		if one.Next.Account != "" {
			who = one.Next.Account + " (" + who + ")"
		}
		left := time.Until(one.Next.AuthorizationExpiresAt)
		tone := pages.ToneWarning
		if left < endVerySoon {
			tone = pages.ToneBad
		}
		alarms = append(alarms, pages.Notice{
			Tone: tone, Title: fmt.Sprintf("%s: %s.", name, endingTitle(n)),
			Text: fmt.Sprintf("The first is that of %s, on %s. No refresh prolongs it: have somebody of the company connect again before that.",
				who, exactly(one.Next.AuthorizationExpiresAt)),
		})
	}
	return alarms
}

func endingTitle(n int) string {
	if n == 1 {
		return "an authorization ends soon"
	}
	return count(n, "authorization") + " end soon"
}

// endVerySoon is when the end of an authorization is no longer a matter of
// weeks.
const endVerySoon = 7 * 24 * time.Hour

func holdText(hold *tokenstore.Hold) string {
	what := "It is not where it was when it was last in use"
	switch hold.Reason {
	case tokenstore.HoldRestored:
		what = "It was restored from a backup of " + exactly(hold.BackupAt)
	case tokenstore.HoldExported:
		what = "Its grants were exported at " + exactly(hold.Since)
	}
	return what + ", so no token is refreshed. To go on here, " + hold.Advice() + ", and run: caddy freshbearer resume"
}

func exactly(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

const (
	// refreshTokenLife is what the bar of a refresh token is full at: the 100
	// days that Intuit gives it.
	refreshTokenLife = 100 * 24 * time.Hour
	// authorizationLife is the same for an authorization whose beginning is not
	// known.
	authorizationLife = 5 * 365 * 24 * time.Hour
)

// row is a connection in a list.
func (d *desk) row(e *grant.Entry) pages.Connection {
	title, in := "The provider", d.configured(e.Integration)
	if in != nil {
		title = in.provider.Title()
	}
	c := pages.Connection{
		Integration: e.Integration, ID: e.Connection, Account: e.Account, Owner: e.Owner,
		State: string(e.State), Since: e.Since, ConnectedAt: e.ConnectedAt, RefreshedAt: e.RefreshedAt,
	}
	switch e.State {
	case tokenstore.StateConnected:
		c.CanRefresh, c.CanDisconnect = in != nil, true
	case tokenstore.StateSuspect:
		c.Cause = title + " refuses it, but there is reason not to believe that yet."
		c.CanRecheck, c.CanDisconnect = in != nil, true
	case tokenstore.StateNeedsReauth:
		c.Cause = sentence(causes[e.Cause])
		c.CanReconnect, c.CanRecheck, c.CanDisconnect = in != nil, in != nil, true
	case grant.StateRevokePending:
		c.Cause = "It was given up here. " + title + " has not confirmed yet that its tokens are revoked; that is tried again every hour."
		c.CanReconnect, c.CanDisconnect = in != nil, true
		return c // what is left of its tokens is nobody's any more
	case tokenstore.StateDisconnected:
		c.Cause = sentence(causes[e.Cause])
		c.CanReconnect = in != nil
		return c
	}
	c.Access = pages.Span{Until: e.AccessExpiresAt, Life: e.AccessExpiresAt.Sub(e.RefreshedAt)}
	c.Refresh = pages.Span{Until: e.RefreshExpiresAt, Life: refreshTokenLife, Soon: idleSoon}
	c.Authorization = pages.Span{Until: e.AuthorizationExpiresAt, Life: authorizationLife, Soon: endSoon}
	if !e.ConnectedAt.IsZero() {
		c.Authorization.Life = e.AuthorizationExpiresAt.Sub(e.ConnectedAt)
	}
	return c
}

// sentence makes one of the words for a cause.
func sentence(words string) string {
	if words == "" {
		return ""
	}
	return strings.ToUpper(words[:1]) + words[1:] + "."
}

// version is that of this module in the program.
var version = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	of := info.Main
	if i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == "github.com/freshbearer/freshbearer" }); i >= 0 {
		of = *info.Deps[i]
	}
	return cmp.Or(of.Version, "(devel)")
})

// notFound tells whether an error says that there is no such connection.
func notFound(err error) bool {
	var dead *grant.ReauthorizationError
	return errors.Is(err, tokenstore.ErrNotFound) || errors.As(err, &dead) && dead.Cause == tokenstore.CauseNeverConnected
}
