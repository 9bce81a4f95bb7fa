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
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/notify"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Notify is where an app wants to be told what happens to the grants of an
// integration. A notice is a POST request with a JSON body, signed as
// [Standard Webhooks](https://www.standardwebhooks.com) says. It is stored
// together with the change that it tells of, and sent until it is accepted
// with a 2xx status, for three days. Those of one connection arrive in order;
// one may arrive twice, with the same `webhook-id`.
type Notify struct {
	// The address that receives the notices: https, or http on loopback.
	// Placeholders are expanded. Required.
	URL string `json:"url,omitempty"`

	// The secrets that sign, as placeholders: `whsec_` and 24 to 64 bytes in
	// base64, each. With two, every notice has both signatures, so that the
	// receiver can change over. At least one is needed.
	Secrets []string `json:"secrets,omitempty"`

	// The events to tell of. Default: all but `grant_refreshed`.
	Events []string `json:"events,omitempty"`

	url     *url.URL
	signers []*notify.Signer
	events  map[grant.EventType]bool
}

func (n *Notify) provision(repl *caddy.Replacer) error {
	if n.URL == "" {
		return errors.New("url is missing")
	}
	var err error
	if n.url, err = safeURL(repl, "url", n.URL); err != nil {
		return err
	}
	if len(n.Secrets) == 0 || len(n.Secrets) > maxKeys {
		return errors.New("it needs one secret, or two while it is being changed")
	}
	n.signers = nil
	for _, placeholder := range n.Secrets {
		text, err := expandSecret(repl, "secret", placeholder)
		if err != nil {
			return err
		}
		signer, err := notify.NewSigner(text)
		if err != nil {
			return fmt.Errorf("secret %s: %w", placeholder, err)
		}
		n.signers = append(n.signers, signer)
	}
	n.events = make(map[grant.EventType]bool)
	for _, name := range n.Events {
		if !slices.Contains(grant.EventTypes, grant.EventType(name)) {
			return fmt.Errorf("event %q is not one of %s", name, grant.EventTypes)
		}
		n.events[grant.EventType(name)] = true
	}
	if len(n.Events) == 0 {
		for _, t := range grant.EventTypes {
			n.events[t] = t != grant.EventRefreshed
		}
	}
	return nil
}

// unmarshalNotify parses where notices go. Syntax:
//
//	notify <url> {
//		secret <placeholder> [<placeholder>]
//		events <event>...
//	}
//
// secret is required: `whsec_` and 24 to 64 bytes in base64. The events are
// grant_connected, grant_refreshed, grant_suspect, grant_needs_reauth,
// grant_recovered, grant_expiring and grant_disconnected. Default: all but
// grant_refreshed.
func unmarshalNotify(d *caddyfile.Dispenser) (*Notify, error) {
	n := new(Notify)
	if !d.AllArgs(&n.URL) {
		return nil, d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "secret":
			if n.Secrets != nil {
				return nil, d.Err("secret is already set; give both secrets on one line")
			}
			if n.Secrets = d.RemainingArgs(); len(n.Secrets) == 0 || len(n.Secrets) > maxKeys {
				return nil, d.ArgErr()
			}
		case "events":
			if n.Events != nil {
				return nil, d.Err("events is already set; give all on one line")
			}
			if n.Events = d.RemainingArgs(); len(n.Events) == 0 {
				return nil, d.ArgErr()
			}
			for _, name := range n.Events {
				if !slices.Contains(grant.EventTypes, grant.EventType(name)) {
					return nil, d.Errf("events: '%s' is not one of %s", name, grant.EventTypes)
				}
			}
		default:
			return nil, d.Errf("unrecognized notify option '%s'; there are: secret, events", option)
		}
	}
	if n.Secrets == nil {
		return nil, d.Err("notify: secret is missing: the receiver could not tell a notice from anybody's request")
	}
	return n, nil
}

// envelope is the body of a notice, in the form that Standard Webhooks
// recommends.
type envelope struct {
	Type      grant.EventType `json:"type"`
	Timestamp time.Time       `json:"timestamp"`
	Data      noticeData      `json:"data"`
}

type noticeData struct {
	Integration   string           `json:"integration"`
	Connection    string           `json:"connection"`
	Account       string           `json:"account,omitempty"`
	State         tokenstore.State `json:"state"`
	Cause         tokenstore.Cause `json:"cause,omitempty"`
	Since         time.Time        `json:"since,omitzero"`
	Generation    uint64           `json:"generation"`
	ProviderError string           `json:"provider_error,omitempty"`
	TraceID       string           `json:"intuit_tid,omitempty"`
	ReauthURL     string           `json:"reauth_url,omitempty"`
	ExpiresAt     time.Time        `json:"expires_at,omitzero"`
	Days          *int             `json:"days,omitempty"`
}

// describe returns what is told of an event, as it is now: a link to repair a
// grant is made when it is told, so that it lives long enough.
func (in *Integration) describe(k *grant.Keeper, e grant.Event) envelope {
	data := noticeData{
		Integration: e.Integration, Connection: e.Connection, Account: e.Account,
		State: e.State, Cause: e.Cause, Since: e.Since, Generation: e.Generation,
		ProviderError: e.ProviderError, TraceID: e.TraceID, ExpiresAt: e.ExpiresAt,
	}
	switch e.Type {
	case grant.EventNeedsReauth, grant.EventExpiring, grant.EventDisconnected:
		data.ReauthURL = in.reauthURL(k, e.Owner, e.Connection)
	}
	if e.Type == grant.EventExpiring {
		data.Days = &e.Days
	}
	return envelope{Type: e.Type, Timestamp: e.Time, Data: data}
}

// target returns where notices go, nil for nowhere.
func (in *Integration) target(k *grant.Keeper) *notify.Target {
	if in.Notify == nil {
		return nil
	}
	return &notify.Target{
		URL:     in.Notify.url.String(),
		Signers: in.Notify.signers,
		Body: func(n *tokenstore.Notice) ([]byte, error) {
			var e grant.Event
			if err := json.Unmarshal(n.Body, &e); err != nil {
				return nil, errors.New("the stored event cannot be read")
			}
			return json.Marshal(in.describe(k, e))
		},
	}
}

// heldTargets is where a configuration wants its notices, for as long as it
// holds the keeper.
type heldTargets struct {
	app     *App
	targets map[string]*notify.Target
}

// useTargets makes the deliverer know where a configuration wants its notices.
func (s *sharedKeeper) useTargets(a *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	targets := make(map[string]*notify.Target)
	for name, in := range a.Integrations {
		// Also that there is none: the newest configuration counts.
		targets[name] = in.target(s.keeper)
	}
	s.targets = append(s.targets, heldTargets{a, targets})
	s.retarget()
}

// dropTargets gives them back: those of the configuration before count again.
// The last ones stay.
func (s *sharedKeeper) dropTargets(a *App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.targets)
	s.targets = slices.DeleteFunc(s.targets, func(h heldTargets) bool { return h.app == a })
	if len(s.targets) > 0 && len(s.targets) < n {
		s.retarget()
	}
}

// retarget lets newer configurations override older ones by name. The caller
// holds s.mu.
func (s *sharedKeeper) retarget() {
	merged := make(map[string]*notify.Target)
	for _, held := range s.targets {
		maps.Copy(merged, held.targets)
	}
	maps.DeleteFunc(merged, func(_ string, t *notify.Target) bool { return t == nil })
	s.deliverer.Use(merged)
}
