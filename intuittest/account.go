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
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
)

// The parts of Intuit's OpenID Connect and OAuth service around the token
// endpoint.

const keyID = "intuittest"

// idToken signs an id_token. Intuit's aud is an array. The caller holds s.mu.
func (s *Server) idToken(g *grant) (string, error) {
	key, err := s.idKey()
	if err != nil {
		return "", err
	}
	now := s.now().Unix()
	claims := map[string]any{
		"iss": "https://oauth.platform.intuit.com/op/v1", "aud": []string{g.clientID}, "sub": subject(g.realm),
		"realmid": g.realm, "auth_time": g.consentedAt.Unix(), "iat": now, "exp": now + 3600,
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	b64 := base64.RawURLEncoding.EncodeToString
	signed := b64(encode(map[string]any{"alg": "RS256", "kid": keyID})) + "." + b64(encode(claims))
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing the id_token: %w", err)
	}
	return signed + "." + b64(sig), nil
}

func subject(realm string) string {
	sum := sha256.Sum256([]byte("subject " + realm))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func (s *Server) serveKeys(w http.ResponseWriter, r *http.Request) {
	key, err := s.idKey()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	b64 := base64.RawURLEncoding.EncodeToString
	s.deliver(w, r, nil, reply{status: http.StatusOK, ctype: jsonType, data: map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "kid": keyID, "use": "sig", "alg": "RS256",
		"n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
	}}}}, nil)
}

// origin is the server's own origin as this client should address it.
func (s *Server) origin(r *http.Request) string {
	if url := s.URL(); url != "" {
		return url
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func (s *Server) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	o := s.origin(r)
	s.deliver(w, r, nil, reply{status: http.StatusOK, ctype: jsonType, data: map[string]any{
		"issuer":                                "https://oauth.platform.intuit.com/op/v1",
		"authorization_endpoint":                o + "/connect/oauth2",
		"token_endpoint":                        o + "/oauth2/v1/tokens/bearer",
		"userinfo_endpoint":                     o + "/v1/openid_connect/userinfo",
		"revocation_endpoint":                   o + "/v2/oauth2/tokens/revoke",
		"jwks_uri":                              o + "/op/v1/jwks",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"scopes_supported":                      []string{"openid", "email", "profile", "address", "phone"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"claims_supported":                      []string{"aud", "exp", "iat", "iss", "realmid", "sub"},
	}}, nil)
}

// serveRevoke takes JSON and form bodies, because Intuit's own SDKs send both.
func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		s.deliver(w, r, nil, reply{status: http.StatusMethodNotAllowed, header: http.Header{"Allow": {"POST"}}}, nil)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	in := struct {
		Token        string `json:"token"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}{}
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType == "application/json" {
		if jsonErr := json.Unmarshal(body, &in); err == nil {
			err = jsonErr
		}
	} else if form, formErr := url.ParseQuery(string(body)); formErr == nil {
		in.Token, in.ClientID, in.ClientSecret = form.Get("token"), form.Get("client_id"), form.Get("client_secret")
	} else if err == nil {
		err = formErr
	}

	s.mu.Lock()
	g := s.grantOf(in.Token)
	s.mu.Unlock()
	realm := ""
	if g != nil {
		realm = g.realm
	}
	f := s.takeFault(EndpointRevoke, realm)
	if !s.before(r, f) {
		panic(http.ErrAbortHandler)
	}
	var rep reply
	switch {
	case !f.processes():
		rep = s.faultReply(r, EndpointRevoke, f)
	case err != nil:
		rep = reply{status: http.StatusBadRequest}
	default:
		rep = s.revoke(r, in.Token, in.ClientID, in.ClientSecret)
	}
	s.deliver(w, r, f, rep, nil)
}

func (s *Server) revoke(r *http.Request, token, clientID, clientSecret string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behaviour.RevokeThrottled {
		return reply{status: http.StatusTooManyRequests}
	}
	client := s.authenticate(r, clientID, clientSecret)
	if client == nil {
		return invalidClient()
	}
	g := s.grantOf(token)
	if v := s.refresh[token]; v != nil && !v.supersededAt.IsZero() && s.behaviour.RevokeCurrentOnly {
		g = nil
	}
	if g == nil || g.clientID != client.ID || g.dead {
		return reply{status: http.StatusBadRequest}
	}
	s.log.counters.Revocations++
	s.event("revoke", g.realm, "")
	s.kill(g, "revoked by the client")
	if s.behaviour.RevokeEndsAll {
		for _, other := range s.grants[g.realm] {
			if other.clientID == g.clientID {
				s.kill(other, "another grant of the client was revoked")
			}
		}
	}
	return reply{status: http.StatusOK}
}

// grantOf finds the grant of an access or refresh token. The caller holds s.mu.
func (s *Server) grantOf(token string) *grant {
	if v := s.refresh[token]; v != nil {
		return v.grant
	}
	if a := s.access[token]; a != nil {
		return a.grant
	}
	return nil
}
