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

package freshbearer

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/tokenstore"
	"github.com/freshbearer/freshbearer/tokenstore/storetest"
)

func withKey(key string) *http.Request {
	return &http.Request{Header: http.Header{"Authorization": {"Bearer " + key}}}
}

// A key lets its caller in from when it is made until it is revoked, while
// others ask, and also if the store fails meanwhile. What is kept of it is not
// the key.
func TestIssuedKeys(t *testing.T) {
	store := storetest.NewMemory()
	k, _ := openAdminStore(t, t.Name(), store)
	issued := new(issuedKeys)
	opened := 0
	cs := &callers{named: map[string]*Caller{"app": {name: "app"}, "other": {name: "other", User: "u"}}, issued: issued}
	cs.open = func() error { opened++; return issued.load(t.Context(), k.Vault(), zap.NewNop()) }
	if cs.authenticate(withKey("nobody's")) != nil || opened != 1 {
		t.Errorf("the store was opened %d times for the first request", opened)
	}
	if got := fmt.Sprint(cs.keyless()); got != "[app]" {
		t.Errorf("without a key: %s", got)
	}
	key, text, err := issued.create(t.Context(), k.Vault(), "app", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(text.Reveal()) != len(issuedPrefix)+43 || len(key.ID) != 16 || cs.keyless() != nil {
		t.Errorf("a key of %d characters with the ID %s, %v", len(text.Reveal()), key.ID, cs.keyless())
	}
	stored, _, err := k.Vault().ProxyKeys(t.Context())
	if err != nil || len(stored) != 1 || stored[0].Hash != sha256.Sum256([]byte(text.Reveal())) {
		t.Errorf("stored: %v %v", stored, err)
	}
	if kept := fmt.Sprintf("%s %q", fmt.Sprint(stored), stored[0].Hash[:]); bytes.Contains([]byte(kept), []byte(text.Reveal()[:16])) {
		t.Error("the key itself is stored")
	}
	if c := cs.authenticate(withKey(text.Reveal())); c == nil || c.name != "app" {
		t.Errorf("the key is %v's", c)
	}
	if cs.authenticate(withKey(key.ID)) != nil || cs.authenticate(withKey("")) != nil {
		t.Error("the ID, or nothing, is a key")
	}
	// A start finds it.
	again := &callers{named: cs.named, issued: new(issuedKeys)}
	again.open = func() error { return again.issued.load(t.Context(), k.Vault(), zap.NewNop()) }
	if again.authenticate(withKey(text.Reveal())) == nil {
		t.Error("the key is lost by a start")
	}
	// The caller leaves the configuration.
	without := &callers{named: map[string]*Caller{"other": cs.named["other"]}, issued: issued, open: cs.open}
	if without.authenticate(withKey(text.Reveal())) != nil {
		t.Error("the key of a caller that is not configured works")
	}

	// Others make and revoke theirs, and nobody loses his.
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			other, _, err := issued.create(t.Context(), k.Vault(), "other", time.Now())
			if err == nil {
				_, err = issued.revoke(t.Context(), k.Vault(), other.ID)
			}
			if err != nil {
				t.Error(err)
			}
		})
		busy.Go(func() {
			for range 1000 {
				if cs.authenticate(withKey(text.Reveal())) == nil {
					t.Error("the key does not work while others are made")
					return
				}
			}
		})
	}
	busy.Wait()

	disk := errors.New("disk on fire")
	store.FailApply(1, storetest.BeforeApply, disk)
	if _, err := issued.revoke(t.Context(), k.Vault(), key.ID); !errors.Is(err, disk) {
		t.Errorf("revoking with a disk on fire: %v", err)
	}
	if cs.authenticate(withKey(text.Reveal())) != nil {
		t.Error("a key that could not be deleted works on")
	}
	if revoked, err := issued.revoke(t.Context(), k.Vault(), key.ID); err != nil || revoked.Caller != "app" {
		t.Errorf("revoking again: %v %v", revoked, err)
	}
	if _, err := issued.revoke(t.Context(), k.Vault(), key.ID); !errors.Is(err, errNoSuchKey) {
		t.Errorf("revoking a third time: %v", err)
	}
	if cs.authenticate(withKey(text.Reveal())) != nil {
		t.Error("a revoked key works")
	}
	if opened != 1 {
		t.Errorf("the store was opened %d times", opened)
	}
	store.Full(true)
	if _, _, err := issued.create(t.Context(), k.Vault(), "app", time.Now()); !errors.Is(err, tokenstore.ErrFull) {
		t.Errorf("with a full disk: %v", err)
	}
	store.Full(false)
	for i := range maxIssued {
		err := k.Vault().PutProxyKey(t.Context(), tokenstore.ProxyKey{ID: fmt.Sprint(i), Caller: "app", Hash: sha256.Sum256(fmt.Append(nil, i))})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := issued.create(t.Context(), k.Vault(), "app", time.Now()); !errors.Is(err, errTooManyKeys) {
		t.Errorf("one too many: %v", err)
	}
}
