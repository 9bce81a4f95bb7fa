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

package intuittest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// What a Server has when its Config names nothing else.
const (
	DefaultClientID     = "intuittest-client-id"
	DefaultClientSecret = "intuittest-client-secret"
	DefaultRealm        = "9130347957983546"
)

// Client is an app registered with the simulated Intuit: one key pair.
type Client struct {
	ID     string
	Secret string
	// RedirectURIs are compared character by character. If there are none, any
	// absolute http or https URI is taken, because a test often learns its own
	// port late; see also Server.RegisterRedirectURI.
	RedirectURIs []string
	// Production marks a production key pair: its redirect URIs must be https
	// and may name neither an IP address nor localhost (Intuit, "Set redirect
	// URIs").
	Production bool
}

// Company is a QuickBooks company that a user can connect.
type Company struct {
	// RealmID is the company's id: digits.
	RealmID string `json:"realm"`
	Name    string `json:"name"`
}

// Config configures a Server. The zero Config is one client
// (DefaultClientID), one company (DefaultRealm) and Intuit's usual behaviour.
type Config struct {
	// Addr is where Start listens; default "127.0.0.1:0".
	Addr string
	// TLS serves https (and HTTP/2) with a certificate made for this server;
	// Server.Client trusts it.
	TLS bool
	// BaseURL is what the discovery document and other links name, for a
	// Server that is used as a Handler; default: where Start listens, or else
	// the host the request named.
	BaseURL string

	// ClientID, ClientSecret and RedirectURIs are the first client, for the
	// usual case that there is one.
	ClientID     string
	ClientSecret string
	RedirectURIs []string
	// Clients are further clients.
	Clients []Client

	// Companies are the companies the simulated user administers. The first is
	// chosen at the consent unless Behaviour says otherwise.
	Companies []Company

	// Now is the clock; default time.Now.
	Now func() time.Time
	// Behaviour is how the server behaves at first.
	Behaviour Behaviour
	// History is how many API requests, token requests, and events are kept
	// for observation, each; default 10000. Counters are not limited by it.
	History int
	// NoControl leaves out the control API.
	NoControl bool
}

// Option changes the Config of New.
type Option func(*Config)

// WithConfig replaces everything the options before it set.
func WithConfig(cfg Config) Option { return func(c *Config) { *c = cfg } }

// WithClient registers a further client.
func WithClient(client Client) Option {
	return func(c *Config) { c.Clients = append(c.Clients, client) }
}

// WithCompany adds a company.
func WithCompany(realm, name string) Option {
	return func(c *Config) { c.Companies = append(c.Companies, Company{RealmID: realm, Name: name}) }
}

// WithClock sets the clock.
func WithClock(now func() time.Time) Option { return func(c *Config) { c.Now = now } }

// WithBehaviour sets the behaviour to start with.
func WithBehaviour(b Behaviour) Option { return func(c *Config) { c.Behaviour = b } }

// Server is a simulated Intuit. It is safe for concurrent use.
type Server struct {
	cfg     Config
	handler http.Handler
	closed  chan struct{}
	close   sync.Once

	// The listening half; nil or empty unless Start was called.
	listener net.Listener
	httpd    *http.Server
	served   chan struct{}
	url      string
	cert     *x509.Certificate

	idKey func() (*rsa.PrivateKey, error)

	mu        sync.Mutex
	behaviour Behaviour
	offset    time.Duration
	clients   map[string]*Client
	defaultID string
	companies map[string]*company
	realms    []string
	codes     map[string]*authCode
	grants    map[string][]*grant // by realm, oldest first
	access    map[string]*accessToken
	refresh   map[string]*refreshToken
	flights   map[*flight]struct{}
	faults    map[Endpoint][]*Fault
	incidents []incident
	limits    map[string]*window
	log       observations
}

// New makes a Server that does not listen: use Handler, or call Start.
func New(opts ...Option) *Server {
	var cfg Config
	for _, opt := range opts {
		opt(&cfg)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.History <= 0 {
		cfg.History = 10000
	}
	if cfg.ClientID == "" && len(cfg.Clients) == 0 {
		cfg.ClientID, cfg.ClientSecret = DefaultClientID, DefaultClientSecret
	}
	if len(cfg.Companies) == 0 {
		cfg.Companies = []Company{{RealmID: DefaultRealm, Name: "Sandbox Company_US_1"}}
	}
	s := &Server{
		cfg:       cfg,
		closed:    make(chan struct{}),
		behaviour: cfg.Behaviour,
		clients:   map[string]*Client{},
		companies: map[string]*company{},
		codes:     map[string]*authCode{},
		grants:    map[string][]*grant{},
		access:    map[string]*accessToken{},
		refresh:   map[string]*refreshToken{},
		flights:   map[*flight]struct{}{},
		faults:    map[Endpoint][]*Fault{},
		limits:    map[string]*window{},
	}
	s.log.init(cfg.History)
	s.idKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	clients := slices.Clone(cfg.Clients)
	if cfg.ClientID != "" {
		clients = slices.Insert(clients, 0, Client{ID: cfg.ClientID, Secret: cfg.ClientSecret, RedirectURIs: cfg.RedirectURIs})
	}
	s.defaultID = clients[0].ID
	for _, c := range clients {
		c.RedirectURIs = slices.Clone(c.RedirectURIs)
		s.clients[c.ID] = &c
	}
	for _, c := range cfg.Companies {
		s.company(c.RealmID, c.Name)
	}
	s.followIncident(false, s.behaviour.IncidentOpen)
	s.handler = s.routes()
	return s
}

// NewServer makes a Server and starts it. Like httptest.NewServer it panics if
// it cannot listen; use New and Start to handle that. Close it when done.
func NewServer(cfg Config) *Server {
	s := New(WithConfig(cfg))
	if err := s.Start(); err != nil {
		panic("intuittest: " + err.Error())
	}
	return s
}

// URL is the server's origin, without a slash at the end: Config.BaseURL if it
// is set, else where Start listens.
func (s *Server) URL() string {
	if s.cfg.BaseURL != "" {
		return strings.TrimSuffix(s.cfg.BaseURL, "/")
	}
	return s.url
}

// Handler serves everything the server serves, for use inside another server.
func (s *Server) Handler() http.Handler { return s.handler }

// The addresses to configure an OAuth client with.

// AuthorizeURL is where a user's browser is sent to consent.
func (s *Server) AuthorizeURL() string { return s.URL() + "/connect/oauth2" }

// TokenURL is the token endpoint.
func (s *Server) TokenURL() string { return s.URL() + "/oauth2/v1/tokens/bearer" }

// RevokeURL is the revocation endpoint.
func (s *Server) RevokeURL() string { return s.URL() + "/v2/oauth2/tokens/revoke" }

// Now is the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// Advance moves the server's clock forward (or back, if d is negative).
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

func (s *Server) now() time.Time { return s.cfg.Now().Add(s.offset) }

// Behaviour returns how the server behaves now.
func (s *Server) Behaviour() Behaviour {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behaviour
}

// SetBehaviour changes how the server behaves from the next request on. Change
// must not call the server.
func (s *Server) SetBehaviour(change func(*Behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.behaviour.IncidentOpen
	change(&s.behaviour)
	s.followIncident(was, s.behaviour.IncidentOpen)
}

// RegisterRedirectURI adds redirect URIs to a client, and does nothing if
// there is no such client.
func (s *Server) RegisterRedirectURI(clientID string, uris ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[clientID]; c != nil {
		c.RedirectURIs = append(c.RedirectURIs, uris...)
	}
}

// Companies lists the companies in the order they were added.
func (s *Server) Companies() []Company {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Company, 0, len(s.realms))
	for _, realm := range s.realms {
		all = append(all, s.companies[realm].Company)
	}
	return all
}

func (s *Server) clientIDs() []string { return slices.Sorted(maps.Keys(s.clients)) }
