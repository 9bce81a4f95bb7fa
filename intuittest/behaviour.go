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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Rotation says when a refresh gives a new refresh token value.
type Rotation string

// The rotations. Intuit's OAuth FAQ: the value changes about every 24 hours,
// at the next refresh; until then a refresh returns the same value.
const (
	// RotateByAge replaces a value that is older than RotationAge plus a
	// jitter chosen for that value.
	RotateByAge Rotation = ""
	// RotateAlways replaces the value at every refresh.
	RotateAlways Rotation = "always"
	// RotateNever always returns the same value.
	RotateNever Rotation = "never"
	// RotateAfterUses replaces the value at the RotationUses-th refresh with
	// it.
	RotateAfterUses Rotation = "uses"
)

// Description says how the errors of the token endpoint describe themselves.
type Description string

// The descriptions. All of them have been seen from Intuit; a client must
// parse, not compare.
const (
	// DescriptionFirst is {"error_description":"…","error":"…"}.
	DescriptionFirst Description = ""
	// DescriptionSwapped is {"error":"…","error_description":"…"}.
	DescriptionSwapped Description = "swapped"
	// DescriptionAbsent is {"error":"…"}: 25 bytes for invalid_grant.
	DescriptionAbsent Description = "absent"
)

// Consent is what the simulated user does at the authorize endpoint.
type Consent string

// The consents.
const (
	// ConsentApprove redirects back at once, with Behaviour.ConsentRealm or
	// else the first company.
	ConsentApprove Consent = ""
	// ConsentPage shows a page where a human chooses a company or refuses.
	ConsentPage Consent = "page"
	// ConsentDeny redirects back with access_denied.
	ConsentDeny Consent = "deny"
	// ConsentInvalidScope redirects back with invalid_scope.
	ConsentInvalidScope Consent = "invalid_scope"
)

// Detail is the detail of the API's 401 about a token.
type Detail string

// The details.
const (
	// DetailPlain is "Token expired".
	DetailPlain Detail = ""
	// DetailTokenID is "Token expired: AB0…": it identifies the token, so it
	// must not reach a log.
	DetailTokenID Detail = "token_id"
	// DetailNull is null.
	DetailNull Detail = "null"
)

// Shape is the format of an API error.
type Shape string

// The shapes.
const (
	// ShapeUsual is what Intuit usually sends for that error: JSON for 401
	// (code 3200) and 403, XML for 429.
	ShapeUsual Shape = ""
	// ShapeAccept is XML or JSON as the request's Accept asks.
	ShapeAccept Shape = "accept"
	ShapeXML    Shape = "xml"
	ShapeJSON   Shape = "json"
)

// Behaviour is everything about the simulated Intuit that can be switched. The
// zero value of every field is Intuit's usual behaviour. In JSON a duration is
// a string such as "90m" or a number of seconds.
type Behaviour struct {
	// AccessTokenTTL is how long an access token lives; 0 is 3600 s.
	AccessTokenTTL time.Duration `json:"access_token_ttl"`
	// EarlyExpiry refuses an access token this long before its announced end.
	EarlyExpiry time.Duration `json:"early_expiry"`
	// OldAccessDies makes the access tokens of a grant die when it is
	// refreshed; otherwise they live to their own end.
	OldAccessDies bool `json:"old_access_dies"`

	// Rotation says when the refresh token value changes.
	Rotation Rotation `json:"rotation"`
	// RotationAge is for RotateByAge; 0 is 24 h.
	RotationAge time.Duration `json:"rotation_age"`
	// RotationJitter is the most that is added to RotationAge; 0 is 2 h,
	// negative is none.
	RotationJitter time.Duration `json:"rotation_jitter"`
	// RotationUses is for RotateAfterUses; 0 is 1.
	RotationUses int `json:"rotation_uses"`
	// Grace is how long a superseded value still works; 0 is not at all
	// (Intuit's FAQ; its older SDK documents say 24 h).
	Grace time.Duration `json:"grace"`
	// RevokeFamily makes the grant's refresh tokens die when a superseded
	// value is used, or when one value is used twice at once (the winner is
	// still answered; its next refresh fails). Access tokens live on.
	RevokeFamily bool `json:"revoke_family"`
	// AllowParallel lets two refreshes with one value at once both succeed;
	// otherwise the second is refused with invalid_grant.
	AllowParallel bool `json:"allow_parallel"`
	// RefreshTTL is the life of a refresh token value; 0 is 8726400 s (101
	// days).
	RefreshTTL time.Duration `json:"refresh_ttl"`
	// HardTTL is the life of a grant from its consent; 0 is 5 years. What is
	// left of it is only told to requests with the header
	// x-include-refresh-token-hard-expires-in: true.
	HardTTL time.Duration `json:"hard_ttl"`

	// CodeTTL is the life of an authorization code; 0 is 600 s.
	CodeTTL time.Duration `json:"code_ttl"`
	// CodeReuseHarmless refuses a code's second use without revoking the
	// tokens of the first.
	CodeReuseHarmless bool `json:"code_reuse_harmless"`
	// IgnorePKCE does not check code_verifier.
	IgnorePKCE bool `json:"ignore_pkce"`
	// ReconsentReplaces makes a consent kill earlier grants of the same client
	// and company.
	ReconsentReplaces bool `json:"reconsent_replaces"`

	// Consent is what the user does at the authorize endpoint.
	Consent Consent `json:"consent"`
	// ConsentRealm is the company that ConsentApprove chooses; empty is the
	// first.
	ConsentRealm string `json:"consent_realm"`

	// Descriptions is how token endpoint errors look.
	Descriptions Description `json:"descriptions"`
	// RevokeThrottled answers revocations with an empty 429.
	RevokeThrottled bool `json:"revoke_throttled"`

	// RevokeEndsAll makes a revocation kill every grant of the same client and
	// company, and not only the token's own.
	RevokeEndsAll bool `json:"revoke_ends_all"`
	// RevokeCurrentOnly answers the revocation of a superseded refresh token as
	// if there were no such token, and leaves its grant alone.
	RevokeCurrentOnly bool `json:"revoke_current_only"`

	// IncidentOpen opens an incident on the status page.
	IncidentOpen bool `json:"incident_open"`
	// IncidentInvalidGrant refuses every refresh with invalid_grant while the
	// incident is open. The grants are not touched.
	IncidentInvalidGrant bool `json:"incident_invalid_grant"`

	// TokenDetail is the detail of the API's 401 with code 3200.
	TokenDetail Detail `json:"token_detail"`
	// Shape401, Shape403 and Shape429 are the formats of the gateway's errors.
	Shape401 Shape `json:"shape_401"`
	Shape403 Shape `json:"shape_403"`
	Shape429 Shape `json:"shape_429"`
	// WrongEnvironment answers every API request that has a good token with
	// 403 and code 3100, as for development keys at the production host.
	WrongEnvironment bool `json:"wrong_environment"`
	// EnforceLimits answers 429 with code 3001 above 500 requests a minute and
	// company, 10 a second and company and client, or 40 batches a minute.
	// Unlike Intuit's, the usual is off: a test that works fast is no fault.
	EnforceLimits bool `json:"enforce_limits"`

	// NoGzip sends API answers plain even if the client accepts gzip.
	NoGzip bool `json:"no_gzip"`
	// FixedLength sends API answers with a Content-Length instead of chunked.
	FixedLength bool `json:"fixed_length"`

	// Latency is real time that passes before a token, revocation or API
	// request is processed. If the client gives up first, the request is not
	// processed.
	Latency time.Duration `json:"latency"`
}

func or(v, def time.Duration) time.Duration {
	if v == 0 {
		return def
	}
	return v
}

func (b *Behaviour) accessTTL() time.Duration  { return or(b.AccessTokenTTL, time.Hour) }
func (b *Behaviour) refreshTTL() time.Duration { return or(b.RefreshTTL, 8726400*time.Second) }
func (b *Behaviour) hardTTL() time.Duration    { return or(b.HardTTL, 5*365*24*time.Hour) }
func (b *Behaviour) codeTTL() time.Duration    { return or(b.CodeTTL, 10*time.Minute) }

// rotates tells whether this refresh with the value must replace it.
func (b *Behaviour) rotates(v *refreshToken, now time.Time) bool {
	switch b.Rotation {
	case RotateAlways:
		return true
	case RotateNever:
		return false
	case RotateAfterUses:
		return v.uses+1 >= max(b.RotationUses, 1)
	default:
		jitter := max(or(b.RotationJitter, 2*time.Hour), 0)
		age := or(b.RotationAge, 24*time.Hour) + time.Duration(v.luck*float64(jitter))
		return now.Sub(v.issuedAt) >= age
	}
}

// allowed are the words each of the string types may hold.
var allowed = map[reflect.Type][]string{
	reflect.TypeFor[Rotation]():    {"", "always", "never", "uses"},
	reflect.TypeFor[Description](): {"", "swapped", "absent"},
	reflect.TypeFor[Consent]():     {"", "page", "deny", "invalid_scope"},
	reflect.TypeFor[Detail]():      {"", "token_id", "null"},
	reflect.TypeFor[Shape]():       {"", "accept", "xml", "json"},
}

var durationType = reflect.TypeFor[time.Duration]()

// MarshalJSON writes durations as text.
func (b Behaviour) MarshalJSON() ([]byte, error) {
	out := map[string]any{}
	v := reflect.ValueOf(b)
	for i := range v.NumField() {
		value := v.Field(i).Interface()
		if d, ok := value.(time.Duration); ok {
			value = d.String()
		}
		out[v.Type().Field(i).Tag.Get("json")] = value
	}
	return json.Marshal(out)
}

// UnmarshalJSON changes the fields that the JSON object names and leaves the
// others. A name or word it does not know is an error, and then nothing
// changes: a misspelt switch must not make a test pass.
func (b *Behaviour) UnmarshalJSON(data []byte) error {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	next := *b
	v := reflect.ValueOf(&next).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		raw, ok := in[name]
		if !ok {
			continue
		}
		delete(in, name)
		if err := setField(v.Field(i), raw); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name := range in {
		return fmt.Errorf("there is no behaviour called %q", name)
	}
	*b = next
	return nil
}

func setField(field reflect.Value, raw json.RawMessage) error {
	if field.Type() == durationType {
		d, err := parseDuration(raw)
		if err != nil {
			return err
		}
		field.SetInt(int64(d))
		return nil
	}
	if bytes.Equal(raw, []byte("null")) {
		return errors.New("null is not a value")
	}
	if err := json.Unmarshal(raw, field.Addr().Interface()); err != nil {
		return err
	}
	words, ok := allowed[field.Type()]
	if !ok {
		return nil
	}
	for _, word := range words {
		if field.String() == word {
			return nil
		}
	}
	return fmt.Errorf("%q is none of %q", field.String(), words)
}

// parseDuration reads "90m" or a number of seconds.
func parseDuration(raw json.RawMessage) (time.Duration, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return time.ParseDuration(text)
	}
	var seconds float64
	if err := json.Unmarshal(raw, &seconds); err != nil {
		return 0, errors.New(`a duration is text like "90m" or a number of seconds`)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
