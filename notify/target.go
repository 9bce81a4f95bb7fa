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

// Package notify delivers the notices of the token store's outbox as webhooks:
// signed as Standard Webhooks says, in order for each connection, at least
// once, and again until they arrive or are too old to matter.
//
// The package is plain Go and knows nothing of Caddy.
package notify

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// Target is where the notices of an integration go.
type Target struct {
	// URL receives the notices. It may hold a secret, so it is in no log.
	URL string
	// Signers sign every notice, each with its own secret: the receiver accepts
	// any of the signatures, so that a secret can be replaced.
	Signers []*Signer
	// Body returns what is sent for a notice. It is called for every try.
	Body func(*tokenstore.Notice) ([]byte, error)
}

// Signer signs with one secret, which it does not print.
type Signer struct {
	webhook *standardwebhooks.Webhook
}

// The sizes that Standard Webhooks allows for a secret, in bytes.
const (
	minSecret = 24
	maxSecret = 64

	secretPrefix = "whsec_"
	secretHint   = "make one with: echo whsec_$(openssl rand -base64 32)"
)

// NewSigner reads a secret: 24 to 64 bytes in base64, after `whsec_`. The error
// does not hold it.
func NewSigner(text secret.String) (*Signer, error) {
	encoded, ok := strings.CutPrefix(text.Reveal(), secretPrefix)
	if !ok {
		return nil, fmt.Errorf("it does not begin with %s; %s", secretPrefix, secretHint)
	}
	// The decoder's error is dropped because it quotes from the input.
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, errors.New("it is not base64 after " + secretPrefix + "; " + secretHint)
	}
	if len(raw) < minSecret || len(raw) > maxSecret {
		return nil, fmt.Errorf("it has %d bytes, not %d to %d; %s", len(raw), minSecret, maxSecret, secretHint)
	}
	webhook, err := standardwebhooks.NewWebhookRaw(raw)
	if err != nil {
		return nil, errors.New("it cannot be used for signing")
	}
	return &Signer{webhook: webhook}, nil
}

// Same tells whether two signers have the same secret: they sign alike.
func (s *Signer) Same(other *Signer) bool {
	mine, err := s.webhook.Sign("", time.Unix(0, 0), nil)
	theirs, err2 := other.webhook.Sign("", time.Unix(0, 0), nil)
	return err == nil && err2 == nil && mine == theirs
}

// Format implements fmt.Formatter, so that no verb reaches the secret.
func (*Signer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("Signer")) }

// Interface guards
var _ fmt.Formatter = (*Signer)(nil)
