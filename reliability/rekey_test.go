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
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/badger"
)

// keptRecords are connections that nobody uses, so that a change of the key
// takes its time.
const keptRecords = 3000

// vault opens the store while no process has it.
func (s *system) vault(work func(v *tokenstore.Vault)) {
	s.t.Helper()
	var keys []secret.String
	for _, path := range s.Keys {
		text, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		keys = append(keys, secret.New(string(text)))
	}
	ring, err := tokenstore.ParseKeyring(keys...)
	if err != nil {
		s.t.Fatal(err)
	}
	store, err := (&badger.Config{Path: s.Store}).Open(zap.NewNop())
	if err != nil {
		s.t.Fatal(err)
	}
	v, err := tokenstore.OpenVault(s.t.Context(), store, ring)
	if err != nil {
		_ = store.Close()
		s.t.Fatal(err)
	}
	work(v)
	if err := v.Close(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) keep(n int) {
	s.t.Helper()
	s.vault(func(v *tokenstore.Vault) {
		for i := range n {
			r := &tokenstore.Record{
				Key:      tokenstore.Key{Integration: s.Sites[0].Name, Connection: strconv.Itoa(9130000000000000 + i)},
				ClientID: "intuittest-client-id", Environment: "production", State: tokenstore.StateDisconnected, Epoch: 1, Generation: 1,
			}
			if err := v.Save(s.t.Context(), r); err != nil {
				s.t.Fatal(err)
			}
		}
	})
}

// under counts what is sealed with each key.
func (s *system) under() (counts []int) {
	s.t.Helper()
	s.vault(func(v *tokenstore.Vault) {
		all, err := v.KeyCounts(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, k := range all {
			counts = append(counts, k.Records)
		}
	})
	return counts
}

// A key is replaced under load, with kill -9 while the records are sealed anew:
// no request fails, the next start goes on, and without the former key all is
// there.
func TestRekey(t *testing.T) {
	gate(t)
	s := newSystem(t, graceful())
	s.Admin = freeAddress(t)
	s.keep(keptRecords)
	at := s.Sites[0]
	s.spawn()
	s.up()
	realms := s.connectAll(at, 20)
	l := s.busy(at, realms, pace)

	s.Keys = []string{s.newKey("new"), s.Keys[0]}
	if err := s.reload(); err != nil {
		t.Fatal(err)
	}
	// Again and again, until a kill has come in the middle.
	middle := false
	for wait := 20 * time.Millisecond; !middle; wait *= 2 {
		if wait > 10*time.Second {
			t.Fatal("no kill came in the middle of it")
		}
		time.Sleep(wait)
		s.proc.kill()
		counts := s.under()
		t.Logf("killed after %s: %d records are sealed with the new key, %d with the former", wait, counts[0], counts[1])
		if counts[1] == 0 {
			t.Fatal("it was over before it was killed: keep more records")
		}
		middle = counts[0] > 10
		s.spawn()
		s.up()
	}
	if err := l.reach(200); err != nil {
		t.Fatal(err)
	}
	out := s.must("rekey", "--address", s.Admin)
	if !strings.Contains(out, "0 records remain under key 2 of encryption_key") {
		t.Errorf("rekey says:\n%s", out)
	}
	former := s.Keys[1]
	s.Keys = s.Keys[:1]
	if err := os.Remove(former); err != nil {
		t.Fatal(err)
	}
	if err := s.reload(); err != nil {
		t.Fatalf("without the former key: %v", err)
	}
	if err := l.reach(200); err != nil {
		t.Fatal(err)
	}
	s.serves(at, realms)
	l.stop()
	if failed := l.failures(); len(failed) > 0 {
		t.Errorf("%d requests failed, such as %q", len(failed), failed[:min(3, len(failed))])
	}
	if dead := l.buried(); len(dead) > 0 {
		t.Errorf("%d connections were lost", len(dead))
	}
	t.Logf("%d requests served", l.served.Load())
	if out := s.must("audit", "verify", "--address", s.Admin); !strings.Contains(out, "is whole and unaltered") {
		t.Errorf("audit verify says:\n%s", out)
	}
	if _, err := s.proc.terminate(90 * time.Second); err != nil {
		t.Fatal(err)
	}
	s.vault(func(v *tokenstore.Vault) {
		for i := range keptRecords {
			key := tokenstore.Key{Integration: at.Name, Connection: strconv.Itoa(9130000000000000 + i)}
			if _, err := v.Load(t.Context(), key); err != nil {
				t.Fatal(fmt.Errorf("record %d: %w", i, err))
			}
		}
	})
}
