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
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Descriptions of token endpoint errors, as seen from Intuit.
const (
	descBadRefresh  = "Incorrect or invalid refresh token"
	descDeadRefresh = "Token invalid"
	descOtherClient = "Incorrect Token type or clientID"
	descBadCode     = "Invalid authorization code"
)

const (
	maxForm   = 1 << 20
	jsonType  = "application/json;charset=UTF-8"
	oauthType = "application/json;charset=utf-8"
)

// hardExpiryHeader asks for x_refresh_token_hard_expires_in (Intuit's SDK
// change logs, 2025).
const hardExpiryHeader = "X-Include-Refresh-Token-Hard-Expires-In"

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	rec := TokenRequest{Time: s.Now(), Lines: linesOf(r)}
	if r.Method != http.MethodPost {
		s.deliver(w, r, nil, reply{status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {"POST"}}}, nil)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	formErr := r.ParseForm()
	form := r.PostForm
	rec.GrantType = form.Get("grant_type")
	rec.Realm = s.realmOfForm(form)

	f := s.takeFault(EndpointToken, rec.Realm)
	rec.Fault = f.kind()
	land := func() {}
	var fl *flight
	if rec.GrantType == "refresh_token" {
		rec.RefreshToken = form.Get("refresh_token")
		fl, rec.Overlapping = s.takeOff(r.Context(), rec.RefreshToken, rec.Realm)
		land = fl.land
	}
	defer land()

	if !s.before(r, f) {
		rec.Outcome = "abandoned"
		s.record(rec)
		land()
		panic(http.ErrAbortHandler)
	}
	var rep reply
	switch {
	case !f.processes():
		rep = s.faultReply(r, EndpointToken, f)
		rec.Outcome = "fault:" + string(f.Kind)
		rec.Status = rep.status
		s.record(rec)
	case formErr != nil:
		rep = s.oauthError(http.StatusBadRequest, "invalid_request", "The form cannot be read")
		rec.Outcome, rec.Status = "invalid_request", rep.status
		s.record(rec)
	default:
		s.mu.Lock()
		rep = s.token(r, form, fl, &rec)
		rec.Status = rep.status
		s.logTokenRequest(rec)
		s.mu.Unlock()
	}
	s.deliver(w, r, f, rep, land)
}

func (s *Server) record(rec TokenRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logTokenRequest(rec)
}

// realmOfForm finds out which company a token request is about.
func (s *Server) realmOfForm(form url.Values) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.refresh[form.Get("refresh_token")]; v != nil {
		return v.grant.realm
	}
	if c := s.codes[form.Get("code")]; c != nil {
		return c.realm
	}
	return ""
}

// token processes a token request. The caller holds s.mu.
func (s *Server) token(r *http.Request, form url.Values, fl *flight, rec *TokenRequest) reply {
	refuse := func(status int, code, description string) reply {
		rec.Outcome = code
		return s.oauthErrorAs(s.behaviour.Descriptions, status, code, description)
	}
	client := s.authenticate(r, form.Get("client_id"), form.Get("client_secret"))
	if client == nil {
		rec.Outcome = "invalid_client"
		return invalidClient()
	}
	rec.ClientID = client.ID
	// OAuth 2.0 (RFC 6749 §3.2): parameters must not be repeated.
	for name, values := range form {
		if len(values) > 1 {
			return refuse(http.StatusBadRequest, "invalid_request", "The parameter "+name+" is repeated")
		}
	}
	hard, _ := strconv.ParseBool(r.Header.Get(hardExpiryHeader))
	var g *grant
	var code, description string
	switch rec.GrantType {
	case "refresh_token":
		if form.Get("refresh_token") == "" {
			return refuse(http.StatusBadRequest, "invalid_request", "The refresh_token is missing")
		}
		fl.processed = true
		g, code, description = s.useRefresh(client, fl, rec)
	case "authorization_code":
		if form.Get("code") == "" || form.Get("redirect_uri") == "" {
			return refuse(http.StatusBadRequest, "invalid_request", "The code or redirect_uri is missing")
		}
		g, code, description = s.useCode(client, form)
	case "":
		return refuse(http.StatusBadRequest, "invalid_request", "The grant_type is missing")
	default:
		return refuse(http.StatusBadRequest, "unsupported_grant_type", "The grant_type is not supported")
	}
	if code != "" {
		return refuse(http.StatusBadRequest, code, description)
	}
	rec.Outcome, rec.Realm = "ok", g.realm
	return s.tokenAnswer(g, hard, rec.GrantType == "authorization_code")
}

// authenticate returns the client that a request proves to be, by Basic or by
// id and secret in the body; nil if none. The caller holds s.mu.
func (s *Server) authenticate(r *http.Request, id, secret string) *Client {
	if len(r.Header["Authorization"]) > 1 {
		return nil
	}
	if r.Header.Get("Authorization") != "" {
		var ok bool
		if id, secret, ok = r.BasicAuth(); !ok {
			return nil
		}
		// RFC 6749 §2.3.1 wants both form-encoded first; Intuit's own ids and
		// secrets read the same either way.
		if decoded, err := url.QueryUnescape(id); err == nil && s.clients[id] == nil {
			id = decoded
		}
	}
	c := s.clients[id]
	if c == nil {
		return nil
	}
	if subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1 {
		return c
	}
	if decoded, err := url.QueryUnescape(secret); err == nil && decoded == c.Secret {
		return c
	}
	return nil
}

// useRefresh checks and uses a refresh token. The caller holds s.mu.
func (s *Server) useRefresh(client *Client, fl *flight, rec *TokenRequest) (g *grant, code, description string) {
	now, b := s.now(), &s.behaviour
	if s.access[fl.value] != nil {
		return nil, "invalid_grant", descOtherClient
	}
	v := s.refresh[fl.value]
	if v == nil {
		return nil, "invalid_grant", descBadRefresh
	}
	g = v.grant
	if g.clientID != client.ID {
		return nil, "invalid_grant", descOtherClient
	}
	if b.IncidentOpen && b.IncidentInvalidGrant {
		return nil, "invalid_grant", descBadRefresh
	}
	if rec.Overlapping && !b.AllowParallel {
		s.punish(fl)
		return nil, "invalid_grant", descBadRefresh
	}
	superseded := !v.supersededAt.IsZero()
	if superseded && (b.Grace <= 0 || now.Sub(v.supersededAt) >= b.Grace) {
		rec.Superseded = true
		s.event("superseded", g.realm, "")
		if b.RevokeFamily {
			s.revokeFamily(g)
		}
		return nil, "invalid_grant", descBadRefresh
	}
	if g.dead || !now.Before(g.hardEnd) || !now.Before(v.expiresAt) {
		return nil, "invalid_grant", descDeadRefresh
	}
	if !superseded {
		if b.rotates(v, now) {
			rec.Rotated = true
			s.issueRefresh(g)
			s.event("rotate", g.realm, "")
		}
		v.uses++
	}
	if g.doomed {
		s.revokeFamily(g)
	}
	return g, "", ""
}

// useCode checks and uses an authorization code. The caller holds s.mu.
func (s *Server) useCode(client *Client, form url.Values) (g *grant, code, description string) {
	now, b := s.now(), &s.behaviour
	c := s.codes[form.Get("code")]
	if c == nil {
		return nil, "invalid_grant", descBadCode
	}
	// Reported not to consume the code.
	if c.clientID != client.ID {
		return nil, "invalid_grant", descOtherClient
	}
	// Intuit's FAQ: it must be the one of the consent, and still be registered.
	if uri := form.Get("redirect_uri"); c.redirectURI != uri || client.redirectProblem(uri) != "" {
		return nil, "invalid_grant", "Invalid redirect_uri"
	}
	if c.grant != nil {
		s.log.counters.CodeReuses++
		s.event("code", c.realm, "reused")
		if !b.CodeReuseHarmless {
			s.kill(c.grant, "its code was used again")
		}
		return nil, "invalid_grant", descBadCode
	}
	if !now.Before(c.expiresAt) {
		return nil, "invalid_grant", "Authorization code expired"
	}
	if !b.IgnorePKCE && !c.verifies(form.Get("code_verifier")) {
		return nil, "invalid_grant", "Invalid code_verifier"
	}
	c.grant = s.issueGrant(client.ID, c.realm, c.scope)
	c.grant.nonce = c.nonce
	s.event("code", c.realm, "exchanged")
	return c.grant, "", ""
}

// verifies checks a PKCE verifier (RFC 7636 §4.6).
func (c *authCode) verifies(verifier string) bool {
	if c.challenge == "" {
		return true
	}
	if c.challengeMethod == "S256" {
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return subtle.ConstantTimeCompare([]byte(verifier), []byte(c.challenge)) == 1
}

// tokenAnswer issues an access token. The caller holds s.mu.
func (s *Server) tokenAnswer(g *grant, hard, first bool) reply {
	now := s.now()
	a := s.issueAccess(g)
	left := func(t time.Time) int64 { return max(int64(t.Sub(now)/time.Second), 0) }
	answer := map[string]any{
		"token_type":                 "bearer",
		"access_token":               a.value,
		"expires_in":                 left(a.expiresAt),
		"refresh_token":              g.current.value,
		"x_refresh_token_expires_in": left(g.current.expiresAt),
	}
	if hard {
		answer["x_refresh_token_hard_expires_in"] = left(g.hardEnd)
	}
	if first && hasScope(g.scope, ScopeOpenID) {
		if token, err := s.idToken(g); err == nil {
			answer["id_token"] = token
		}
	}
	return reply{status: http.StatusOK, ctype: oauthType, data: answer, header: http.Header{"Cache-Control": {"no-store"}}}
}

func hasScope(scopes, scope string) bool {
	for s := range strings.FieldsSeq(scopes) {
		if s == scope {
			return true
		}
	}
	return false
}

func invalidClient() reply {
	return reply{status: http.StatusUnauthorized, ctype: oauthType, body: []byte(`{"error":"invalid_client"}`)}
}

func (s *Server) oauthError(status int, code, description string) reply {
	return s.oauthErrorAs(s.Behaviour().Descriptions, status, code, description)
}

func (s *Server) oauthErrorAs(form Description, status int, code, description string) reply {
	text := string(encode(description))
	body := `{"error_description":` + text + `,"error":"` + code + `"}`
	switch form {
	case DescriptionSwapped:
		body = `{"error":"` + code + `","error_description":` + text + `}`
	case DescriptionAbsent:
		body = `{"error":"` + code + `"}`
	}
	return reply{status: status, ctype: oauthType, body: []byte(body), header: http.Header{"Cache-Control": {"no-store"}}}
}
