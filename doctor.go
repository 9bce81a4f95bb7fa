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
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/freshbearer/freshbearer/grant"
)

// level says how bad a finding is.
type level string

// The levels. A warning may be meant, or pass; a fault wants a repair.
const (
	levelOK      level = "ok"
	levelWarning level = "warning"
	levelFault   level = "fault"
)

// finding is one thing that the doctor looked at. It holds no secret; the
// operator may see connection ids.
type finding struct {
	Check string `json:"check"`
	// Subject is what was looked at, if there is more than one of its kind.
	Subject string `json:"subject,omitempty"`
	Level   level  `json:"level"`
	Message string `json:"message"`
	// Repair is what to do about it; empty if there is nothing to do.
	Repair string `json:"repair,omitempty"`
}

// notRun is a check that could not be made.
type notRun struct {
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"`
	Reason  string `json:"reason"`
}

// report is what the doctor found, in an order that stays the same.
type report struct {
	OK       int       `json:"ok"`
	Warnings int       `json:"warnings"`
	Faults   int       `json:"faults"`
	Findings []finding `json:"findings"`
	NotRun   []notRun  `json:"not_run,omitempty"`
}

func (r *report) add(found ...finding) {
	for _, f := range found {
		switch f.Level {
		case levelOK:
			r.OK++
		case levelWarning:
			r.Warnings++
		default:
			r.Faults++
		}
		r.Findings = append(r.Findings, f)
	}
}

func (r *report) skip(check, subject, reason string) {
	r.NotRun = append(r.NotRun, notRun{check, subject, reason})
}

func fine(check, subject, format string, values ...any) finding {
	return finding{Check: check, Subject: subject, Level: levelOK, Message: fmt.Sprintf(format, values...)}
}

func warning(check, subject, message, repair string) finding {
	return finding{check, subject, levelWarning, message, repair}
}

func fault(check, subject, message, repair string) finding {
	return finding{check, subject, levelFault, message, repair}
}

// doctor examines one configuration. It asks the provider, but never with a
// token of anybody's, and changes nothing.
type doctor struct {
	app *App
	// keeper is nil if the store is not open; closed says why, if it should be.
	keeper *grant.Keeper
	closed error
	// http is nil if the configuration has no sites.
	http *caddyhttp.App
	// admin is the address of the admin API that is used, nil for none.
	admin *caddy.NetworkAddress

	now func() time.Time
	// interfaces lists the addresses of this machine.
	interfaces func() ([]net.Addr, error)
}

const noStore = "the store belongs to the running Caddy, and none was asked"

// newDoctor returns the doctor of a configuration that is provisioned in ctx.
func newDoctor(ctx caddy.Context) (*doctor, error) {
	app, err := theApp(ctx)
	if err != nil {
		return nil, err
	}
	d := &doctor{app: app, now: time.Now, interfaces: net.InterfaceAddrs}
	httpApp, err := ctx.AppIfConfigured("http")
	if err == nil {
		d.http, _ = httpApp.(*caddyhttp.App)
	} else if !errors.Is(err, caddy.ErrNotConfigured) {
		return nil, err
	}
	return d, nil
}

// examine makes all checks. It takes seconds: providers are asked all at once,
// and each has its time limit.
func (d *doctor) examine(ctx context.Context) *report {
	r := new(report)
	r.add(d.configuration())
	r.add(d.secrets()...)
	r.add(d.encryptionKey(ctx)...)

	seen := d.look(ctx)
	if d.keeper == nil && d.closed == nil {
		r.skip("store", "", noStore)
	} else {
		r.add(d.store(ctx, seen)...)
	}
	integrations := slices.Sorted(maps.Keys(d.app.Integrations))
	remote := make([]report, len(integrations))
	var asked sync.WaitGroup
	for i, name := range integrations {
		asked.Go(func() { d.askProvider(ctx, d.app.Integrations[name], &remote[i]) })
	}
	asked.Wait()
	for i, name := range integrations {
		r.add(d.registration(d.app.Integrations[name])...)
		r.add(remote[i].Findings...)
		r.NotRun = append(r.NotRun, remote[i].NotRun...)
	}
	r.add(d.listeners()...)
	r.add(d.adminListener()...)
	if seen == nil {
		r.skip("connections", "", "the store is not open")
		r.skip("callers", "", "the store is not open")
	} else {
		r.add(seen.connections()...)
		r.add(seen.callers()...)
	}
	return r
}

// configuration says what is looked at. That it is provisioned means that it is
// well-formed and that every placeholder was filled.
func (d *doctor) configuration() finding {
	return fine("configuration", "", "valid; every placeholder is filled; integrations: %s; callers: %s",
		strings.Join(slices.Sorted(maps.Keys(d.app.Integrations)), ", "), strings.Join(slices.Sorted(maps.Keys(d.app.Callers)), ", "))
}

// doctor answers with a report on the running configuration.
func (a *adminAPI) doctor(w http.ResponseWriter, r *http.Request) error {
	d, err := newDoctor(caddy.ActiveContext())
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err}
	}
	if wanted := r.URL.Query().Get("store"); wanted != "" && wanted != d.app.sharedAs {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("token store %q is not that of the running configuration, which is %q", wanted, d.app.sharedAs)}
	}
	d.keeper, d.closed = d.app.keeper()
	d.admin = adminAddress(r)
	report := d.examine(r.Context())
	w.Header().Set("Content-Type", "application/json")
	// A client that is gone gets no second answer.
	_ = json.NewEncoder(w).Encode(report)
	return nil
}
