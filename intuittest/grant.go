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
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The scopes of Connect when it is given none.
const (
	ScopeAccounting = "com.intuit.quickbooks.accounting"
	ScopePayment    = "com.intuit.quickbooks.payment"
	ScopeOpenID     = "openid"
)

// Grant is a connection of a client to a company, and its current tokens.
type Grant struct {
	Realm    string `json:"realm"`
	ClientID string `json:"client_id"`
	// Scope is space-separated.
	Scope                 string    `json:"scope"`
	AccessToken           string    `json:"access_token"`
	AccessTokenExpiresAt  time.Time `json:"access_token_expires_at"`
	RefreshToken          string    `json:"refresh_token"`
	RefreshTokenExpiresAt time.Time `json:"refresh_token_expires_at"`
	// IssuedAt is when the user consented, HardExpiresAt when the grant ends
	// whatever is done.
	IssuedAt      time.Time `json:"issued_at"`
	HardExpiresAt time.Time `json:"hard_expires_at"`
	// AccessValid and RefreshValid tell whether the tokens work now.
	AccessValid  bool `json:"access_valid"`
	RefreshValid bool `json:"refresh_valid"`
}

type grant struct {
	realm, clientID, scope string
	consentedAt, hardEnd   time.Time
	current                *refreshToken
	access                 []*accessToken
	dead                   bool // the refresh tokens are refused
	doomed                 bool // dies with the next successful refresh
	nonce                  string
}

type refreshToken struct {
	value        string
	grant        *grant
	issuedAt     time.Time
	expiresAt    time.Time
	supersededAt time.Time // zero while it is the current one
	luck         float64   // 0 to 1: this value's share of the rotation jitter
	uses         int
}

type accessToken struct {
	value     string
	id        string
	grant     *grant
	expiresAt time.Time
	revoked   bool
}

// issueGrant makes a grant with its first refresh token and no access token.
// The caller holds s.mu, as for all unexported functions here.
func (s *Server) issueGrant(clientID, realm, scope string) *grant {
	now := s.now()
	if s.behaviour.ReconsentReplaces {
		for _, old := range s.grants[realm] {
			if old.clientID == clientID {
				s.kill(old, "replaced by a new consent")
			}
		}
	}
	g := &grant{
		realm: realm, clientID: clientID, scope: scope,
		consentedAt: now, hardEnd: now.Add(s.behaviour.hardTTL()),
	}
	s.issueRefresh(g)
	s.grants[realm] = append(s.grants[realm], g)
	return g
}

func (s *Server) issueRefresh(g *grant) *refreshToken {
	now := s.now()
	expires := now.Add(s.behaviour.refreshTTL())
	if expires.After(g.hardEnd) {
		expires = g.hardEnd
	}
	v := &refreshToken{
		value: fmt.Sprintf("RT1-%d-H0-%010d%s", 10+mathrand.IntN(90), expires.Unix(), strings.ToLower(rand.Text())),
		grant: g, issuedAt: now, expiresAt: expires, luck: mathrand.Float64(),
	}
	if g.current != nil {
		g.current.supersededAt = now
	}
	g.current = v
	s.refresh[v.value] = v
	return v
}

func (s *Server) issueAccess(g *grant) *accessToken {
	now := s.now()
	kept := g.access[:0]
	for _, a := range g.access {
		if s.behaviour.OldAccessDies {
			a.revoked = true
		}
		// An expired token is still known for a while, so that a late request
		// is refused as expired and not as malformed.
		if now.Sub(a.expiresAt) > 24*time.Hour {
			delete(s.access, a.value)
			continue
		}
		kept = append(kept, a)
	}
	clear(g.access[len(kept):])
	expires := now.Add(s.behaviour.accessTTL())
	a := &accessToken{
		value: jweLike(), grant: g, expiresAt: expires,
		id: fmt.Sprintf("AB0%010d%s", expires.Unix(), rand.Text()[:20]),
	}
	g.access = append(kept, a)
	s.access[a.value] = a
	s.event("issue", g.realm, a.id)
	return a
}

// jweLike makes an opaque text of the form of Intuit's access tokens: a JWE in
// compact form whose second part is empty, about 1000 characters.
func jweLike() string {
	const header = `{"alg":"dir","enc":"A128CBC-HS256","x.org":"H0"}`
	raw := make([]byte, 16+640+16)
	_, _ = rand.Read(raw)
	b64 := base64.RawURLEncoding.EncodeToString
	return b64([]byte(header)) + ".." + b64(raw[:16]) + "." + b64(raw[16:656]) + "." + b64(raw[656:])
}

func (a *accessToken) valid(now time.Time, early time.Duration) bool {
	return !a.revoked && now.Before(a.expiresAt.Add(-early))
}

// kill makes everything of a grant die.
func (s *Server) kill(g *grant, why string) {
	if g.dead && !slices.ContainsFunc(g.access, func(a *accessToken) bool { return !a.revoked }) {
		return
	}
	g.dead = true
	for _, a := range g.access {
		a.revoked = true
	}
	s.event("kill", g.realm, why)
}

// revokeFamily makes the refresh tokens of a grant die.
func (s *Server) revokeFamily(g *grant) {
	if !g.dead {
		g.dead = true
		s.event("family_revoked", g.realm, "")
	}
}

func (s *Server) export(g *grant) Grant {
	now := s.now()
	out := Grant{
		Realm: g.realm, ClientID: g.clientID, Scope: g.scope,
		RefreshToken: g.current.value, RefreshTokenExpiresAt: g.current.expiresAt,
		IssuedAt: g.consentedAt, HardExpiresAt: g.hardEnd,
		RefreshValid: !g.dead && now.Before(g.current.expiresAt) && now.Before(g.hardEnd),
	}
	if n := len(g.access); n > 0 {
		a := g.access[n-1]
		out.AccessToken, out.AccessTokenExpiresAt = a.value, a.expiresAt
		out.AccessValid = a.valid(now, s.behaviour.EarlyExpiry)
	}
	return out
}

// Connect makes a grant of the first client for a company, as if its user had
// consented and the code had been exchanged. A company that does not exist is
// added. Without scopes it is accounting and payments.
func (s *Server) Connect(realm string, scopes ...string) Grant {
	grant, _ := s.ConnectAs(s.defaultID, realm, scopes...)
	return grant
}

// ConnectAs is Connect for a client; it fails if there is no such client.
func (s *Server) ConnectAs(clientID, realm string, scopes ...string) (Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[clientID] == nil {
		return Grant{}, fmt.Errorf("there is no client %q", clientID)
	}
	if len(scopes) == 0 {
		scopes = []string{ScopeAccounting, ScopePayment}
	}
	s.company(realm, "Company "+realm)
	g := s.issueGrant(clientID, realm, strings.Join(scopes, " "))
	s.issueAccess(g)
	return s.export(g), nil
}

// RevokeAccess makes all access tokens of a company die at once; the refresh
// tokens stay good. It returns how many it killed.
func (s *Server) RevokeAccess(realm string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, g := range s.grants[realm] {
		for _, a := range g.access {
			if a.valid(s.now(), s.behaviour.EarlyExpiry) {
				n++
			}
			a.revoked = true
		}
	}
	s.event("access_revoked", realm, "")
	return n
}

// KillGrant disconnects a company, as its user can in QuickBooks: access and
// refresh tokens die. It returns how many grants were alive.
func (s *Server) KillGrant(realm string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, g := range s.grants[realm] {
		if !g.dead {
			n++
		}
		s.kill(g, "disconnected by the user")
	}
	return n
}

// Tokens returns a company's newest grant, dead or alive; false if there has
// been none.
func (s *Server) Tokens(realm string) (Grant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.grants[realm]
	if len(all) == 0 {
		return Grant{}, false
	}
	return s.export(all[len(all)-1]), true
}

// Grants returns all grants of a company, oldest first.
func (s *Server) Grants(realm string) []Grant {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Grant
	for _, g := range s.grants[realm] {
		all = append(all, s.export(g))
	}
	return all
}
