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

package reliability_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// An operator asks again by hand for a grant that was wrongly pronounced dead.
func TestRecheck(t *testing.T) {
	gate(t)
	s := newSystem(t, strict())
	s.Admin = freeAddress(t)
	at := s.Sites[0]
	s.start()
	realm := s.connectAll(at, 1)[0]
	at.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidGrant, Times: -1})
	if err := eventually(30*time.Second, func() error {
		a, err := s.get(at, realm)
		if err != nil || a.Status != http.StatusPreconditionRequired {
			return fmt.Errorf("%v %v", a, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	recheck := func(connection string) (stdout, stderr string, code int) {
		return s.command("recheck", "--address", s.Admin, at.Name, connection)
	}
	if out, told, code := recheck(realm); code != 1 || !strings.Contains(told, "must be authorized again: revoked_or_replaced since") || out != "" {
		t.Errorf("while it is refused: %d, %s%s", code, out, told)
	}
	at.Intuit.ClearFaults(intuittest.EndpointToken)
	if out, told, code := recheck(realm); code != 0 || !strings.Contains(out, "works; it has a fresh token") {
		t.Errorf("when it is accepted: %d, %s%s", code, out, told)
	}
	s.serves(at, []string{realm})
	if _, told, code := recheck("404"); code != 1 || !strings.Contains(told, "has no connection 404") {
		t.Errorf("of an unknown one: %d, %s", code, told)
	}
	if _, told, code := s.command("recheck", at.Name); code != 1 || !strings.Contains(told, "accepts 2 arg(s), received 1") {
		t.Errorf("without a connection: %d, %s", code, told)
	}
}
