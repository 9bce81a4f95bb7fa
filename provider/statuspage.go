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

package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
)

const (
	// statusTimeout is short: somebody waits for a verdict meanwhile.
	statusTimeout = 3 * time.Second
	// statusAge is how old an answer, or a failure, may be.
	statusAge = time.Minute
	// maxStatus is the most of an answer that is read, in bytes.
	maxStatus = 1 << 20
)

// Incident is what a status page says is wrong.
type Incident struct {
	// Name is the provider's title of it, cleaned and shortened.
	Name string
	// URL is where to read on.
	URL string
}

// StatusPage reads a public Statuspage (version 2 of its API). It is safe for
// concurrent use; an answer serves all for a minute.
type StatusPage struct {
	// URL is the page's base URL.
	URL string
	// Named are the hosts that the operator has named: see Dialer.
	Named []string
	// Clock is the time by which answers age; nil is the real one.
	Clock clockwork.Clock

	// asking is held by who asks, mu for moments.
	asking   sync.Mutex
	mu       sync.Mutex
	askedAt  time.Time
	incident *Incident
	err      error
}

// client carries no credential, keeps no cookie and follows no redirect.
func (p *StatusPage) client() *http.Client {
	return &http.Client{
		Transport:     sharedTransport(p.Named),
		Timeout:       statusTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Incident returns what is wrong at the provider now, nil if nothing is. It
// takes at most 3 seconds. An error says that nothing is known, and is no
// reason to doubt anybody.
func (p *StatusPage) Incident(ctx context.Context) (*Incident, error) {
	// Who waits for the lock waits for the answer that it wants itself.
	p.asking.Lock()
	defer p.asking.Unlock()
	if incident, err, fresh := p.last(); fresh {
		return incident, err
	}
	now := p.now()
	incident, err := p.ask(ctx)
	if ctx.Err() == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.askedAt, p.incident, p.err = now, incident, err
	}
	return incident, err
}

// Last returns what the last answer said, without asking, and whether it is
// young enough to be relied on.
func (p *StatusPage) Last() (incident *Incident, fresh bool) {
	incident, _, fresh = p.last()
	return incident, fresh
}

func (p *StatusPage) last() (incident *Incident, err error, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	age := p.now().Sub(p.askedAt)
	return p.incident, p.err, !p.askedAt.IsZero() && age >= 0 && age < statusAge
}

func (p *StatusPage) now() time.Time {
	if p.Clock != nil {
		return p.Clock.Now()
	}
	return time.Now()
}

// summary is what is read of /api/v2/summary.json.
type summary struct {
	Status struct {
		Indicator   string `json:"indicator"`
		Description string `json:"description"`
	} `json:"status"`
	// Incidents are those that are not resolved.
	Incidents []struct {
		Name      string `json:"name"`
		Status    string `json:"status"`
		Impact    string `json:"impact"`
		Shortlink string `json:"shortlink"`
	} `json:"incidents"`
	Maintenances []struct {
		Name      string `json:"name"`
		Status    string `json:"status"`
		Shortlink string `json:"shortlink"`
	} `json:"scheduled_maintenances"`
}

func (p *StatusPage) ask(ctx context.Context) (*Incident, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(p.URL, "/")+"/api/v2/summary.json", nil)
	if err != nil {
		return nil, errors.New("the status page's URL is not usable")
	}
	request.Header.Set("Accept", "application/json")
	response, err := p.client().Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the status page: %w", cleanTransportError(err, p.URL, nil))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the status page answers %d", response.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatus+1))
	if err != nil {
		return nil, fmt.Errorf("reading the status page: %w", cleanTransportError(err, p.URL, nil))
	}
	var s summary
	// The decoder's error is dropped because it may quote what was read.
	if len(body) > maxStatus || json.Unmarshal(body, &s) != nil || s.Status.Indicator == "" {
		return nil, errors.New("the status page answers with something else than a Statuspage summary")
	}
	return p.open(&s), nil
}

// open returns the incident that is open: any, whatever it is about, because
// what a provider calls its components is not known, and is not kept to.
func (p *StatusPage) open(s *summary) *Incident {
	for _, in := range s.Incidents {
		if in.Impact != "none" && in.Status != "resolved" && in.Status != "postmortem" {
			return p.describe(in.Name, in.Shortlink)
		}
	}
	for _, m := range s.Maintenances {
		if m.Status == "in_progress" || m.Status == "verifying" {
			return p.describe(m.Name, m.Shortlink)
		}
	}
	if s.Status.Indicator != "none" {
		return p.describe(s.Status.Description, "")
	}
	return nil
}

// maxIncidentName keeps a provider's text from filling an answer, in bytes.
const maxIncidentName = 120

// describe cleans what strangers wrote: it goes into answers, logs and pages.
func (p *StatusPage) describe(name, link string) *Incident {
	in := &Incident{Name: strings.TrimSpace(clip(printable(name), maxIncidentName)), URL: p.URL}
	if in.Name == "" {
		in.Name = "an incident"
	}
	if u, err := url.Parse(link); err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && len(link) <= 256 {
		in.URL = u.String()
	}
	return in
}
