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

package grant

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Purpose says what a link is for.
type Purpose string

// The purposes.
const (
	// PurposeConnect: to authorize, for the first time or again.
	PurposeConnect Purpose = ""
	// PurposeReconnect: to authorize again, for people whom the provider sends
	// and nobody gave a link. It is bound to a connection, which must be known
	// here, whatever its state.
	PurposeReconnect Purpose = "reconnect"
	// PurposeDisconnect: to give up a grant. No authorization begins with it.
	PurposeDisconnect Purpose = "disconnect"
)

// Link is what a link stands for. It carries no secret: whoever has one may
// start an authorization, which ends at the provider's consent page, or give up
// the grant that a link of PurposeDisconnect names.
type Link struct {
	Purpose Purpose `json:"p,omitempty"`
	// Integration is the integration to connect.
	Integration string `json:"i"`
	// Caller is the caller that the link was made for; a new connection will
	// belong to it. Empty for the operator's links.
	Caller string `json:"c,omitempty"`
	// Connection binds the link to a connection: no other account may be
	// granted with it. Empty: any account.
	Connection string `json:"n,omitempty"`
	// ReturnURL is where the browser may go in the end.
	ReturnURL string `json:"r,omitempty"`
	// ExpiresAt is when the link ends, in Unix seconds.
	ExpiresAt int64 `json:"e"`
}

// Errors of OpenLink.
var (
	ErrLinkInvalid = errors.New("this link was not made by this proxy, or was changed")
	ErrLinkExpired = errors.New("this link has expired")
)

// SignLink returns the link as a text that is safe in a URL.
func (k *Keeper) SignLink(l Link) string { return k.sign("link", l) }

// OpenLink reads a text that SignLink made. It returns ErrLinkInvalid or
// ErrLinkExpired, the latter together with the link.
func (k *Keeper) OpenLink(text string) (Link, error) {
	var l Link
	if err := k.open("link", text, &l); err != nil {
		return Link{}, err
	}
	if k.clock.Now().Unix() >= l.ExpiresAt {
		return l, ErrLinkExpired
	}
	return l, nil
}

// Result is what came of an authorization, or of giving one up, for the page
// that tells the human.
type Result struct {
	Purpose     Purpose `json:"p,omitempty"`
	Integration string  `json:"i"`
	Connection  string  `json:"n,omitempty"`
	Account     string  `json:"a,omitempty"`
	// Caller is whose link it was, as far as that is known.
	Caller string `json:"c,omitempty"`
	// Failure is empty after a success.
	Failure Failure `json:"f,omitempty"`
	// Causes and CodeAge, in seconds, are those of an AuthorizationError.
	Causes  []CodeCause `json:"k,omitempty"`
	CodeAge int64       `json:"o,omitempty"`
	// Detail is a cleaned text from the provider, TraceID its id.
	Detail    string `json:"d,omitempty"`
	TraceID   string `json:"t,omitempty"`
	ReturnURL string `json:"r,omitempty"`
	// Again is the link to begin anew with, after a failure.
	Again *Link `json:"l,omitempty"`
	// Popup says that a window which another page opened waits for it.
	Popup bool `json:"w,omitempty"`
	// Pending says of a grant that was given up that the provider has not
	// confirmed its end yet.
	Pending   bool  `json:"q,omitempty"`
	ExpiresAt int64 `json:"e"`
}

// resultLife is how long the page can be reloaded.
const resultLife = 15 * time.Minute

// SignResult returns the result as a text that is safe in a URL.
func (k *Keeper) SignResult(r Result) string {
	r.ExpiresAt = k.clock.Now().Add(resultLife).Unix()
	return k.sign("result", r)
}

// OpenResult reads a text that SignResult made.
func (k *Keeper) OpenResult(text string) (Result, error) {
	var r Result
	if err := k.open("result", text, &r); err != nil {
		return Result{}, err
	}
	if k.clock.Now().Unix() >= r.ExpiresAt {
		return Result{}, ErrLinkExpired
	}
	return r, nil
}

// maxSigned bounds what is read before the signature is known to be ours.
const maxSigned = 8 << 10

func (k *Keeper) sign(purpose string, v any) string {
	payload, err := json.Marshal(v)
	if err != nil {
		// Structs of strings and numbers always marshal.
		panic(fmt.Sprintf("marshalling a %s: %v", purpose, err))
	}
	text := base64.RawURLEncoding.EncodeToString(payload)
	return text + "." + base64.RawURLEncoding.EncodeToString(k.mac(purpose, text))
}

func (k *Keeper) open(purpose, signed string, v any) error {
	if len(signed) > maxSigned {
		return ErrLinkInvalid
	}
	text, tag, ok := strings.Cut(signed, ".")
	if !ok {
		return ErrLinkInvalid
	}
	// Strict: a second spelling of the same signature would be a second link.
	mac, err := base64.RawURLEncoding.Strict().DecodeString(tag)
	if err != nil || !hmac.Equal(mac, k.mac(purpose, text)) {
		return ErrLinkInvalid
	}
	payload, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(payload, v) != nil {
		return ErrLinkInvalid
	}
	return nil
}

// mac binds the text to its purpose, so that a result is never taken for a
// link.
func (k *Keeper) mac(purpose, text string) []byte {
	mac := hmac.New(sha256.New, k.linkKey)
	mac.Write([]byte(purpose + "\x00" + text))
	return mac.Sum(nil)
}
