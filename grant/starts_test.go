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
	"errors"
	"testing"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/intuittest"
)

// Strangers of one address soon have to wait; those who have links do not.
func TestStartsOfOneAddress(t *testing.T) {
	w := expired(t, intuittest.Behaviour{})
	start := func(purpose grant.Purpose, from string) error {
		_, err := w.keeper.BeginAuthorization(t.Context(), grant.Start{
			Link: grant.Link{Integration: key.Integration, Purpose: purpose, Connection: key.Connection}, From: from,
		})
		return err
	}
	for i := range 100 {
		if err := start(grant.PurposeConnect, "192.0.2.1"); err != nil {
			t.Fatalf("link %d: %v", i, err)
		}
	}
	for i := range 30 {
		if err := start(grant.PurposeReconnect, "192.0.2.1"); err != nil {
			t.Fatalf("stranger %d: %v", i, err)
		}
	}
	var tooMany *grant.TooManyError
	if err := start(grant.PurposeReconnect, "192.0.2.1"); !errors.As(err, &tooMany) || !errors.Is(err, grant.ErrTooMany) || tooMany.RetryAfter <= 0 {
		t.Errorf("one too many: %v", err)
	}
	if err := errors.Join(start(grant.PurposeReconnect, "192.0.2.2"), start(grant.PurposeConnect, "192.0.2.1")); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}
