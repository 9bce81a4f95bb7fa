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

package caddytest_test

import (
	"encoding/json"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	parse "github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	caddy.RegisterModule(lingeringApp{})
	httpcaddyfile.RegisterGlobalOption("lingering", func(d *parse.Dispenser, _ any) (any, error) {
		d.Next()
		return httpcaddyfile.App{Name: "lingering", Value: json.RawMessage("{}")}, nil
	})
}

// lingeringApp makes the end of a configuration last, so that a test can look
// at two that are there at once: `lingering`.
type lingeringApp struct{}

// lingers is what the next app that stops waits for.
var lingers atomic.Pointer[struct{ stopping, stopped chan struct{} }]

// lingerOnce has the next app that stops close the first channel, and wait for
// the second.
func lingerOnce() (stopping, stopped chan struct{}) {
	stopping, stopped = make(chan struct{}), make(chan struct{})
	lingers.Store(&struct{ stopping, stopped chan struct{} }{stopping, stopped})
	return stopping, stopped
}

func (lingeringApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "lingering", New: func() caddy.Module { return new(lingeringApp) }}
}

func (*lingeringApp) Start() error { return nil }

func (*lingeringApp) Stop() error {
	if l := lingers.Swap(nil); l != nil {
		close(l.stopping)
		<-l.stopped
	}
	return nil
}

// Interface guards
var _ caddy.App = (*lingeringApp)(nil)
