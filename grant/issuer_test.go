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

package grant_test

import (
	"net/url"
	"testing"

	"github.com/jonboulle/clockwork"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
)

// An answer that names another authorization server than the one that the
// human was sent to brings that server nothing (RFC 9207 §2.4).
func TestAnswerOfAnotherServer(t *testing.T) {
	w := newWorld(t, clockwork.NewRealClock(), intuittest.Behaviour{})
	const issuer = "https://as.example.com/op/v1"
	w.client.Endpoints.Issuer = issuer
	for _, named := range [][]string{
		{"https://evil.example.net"}, {""}, {issuer + "/"}, {"HTTPS://as.example.com/op/v1"}, {issuer, issuer}, {issuer, "https://evil.example.net"},
	} {
		a := w.begin(grant.Link{Caller: "billing"})
		query := w.consent(a)
		query["iss"] = named
		_, err := w.finish(a, query)
		wantFailure(t, err, grant.FailureCallback)
	}
	if n := w.intuit.Counters().CodeExchanges; n != 0 {
		t.Errorf("%d codes were redeemed", n)
	}
	for _, query := range []func(url.Values){func(q url.Values) { q.Set("iss", issuer) }, func(url.Values) {}} {
		a := w.begin(grant.Link{Caller: "billing"})
		q := w.consent(a)
		query(q)
		if _, err := w.finish(a, q); err != nil {
			t.Errorf("the right server: %v", err)
		}
	}
}
