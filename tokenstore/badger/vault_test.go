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

package badger

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// TestNothingInClear looks through all of Badger's files for what was stored.
func TestNothingInClear(t *testing.T) {
	ctx := t.Context()
	dir := newDir(t)
	key := tokenstore.GenerateKey()
	ring, err := tokenstore.ParseKeyring(key)
	if err != nil {
		t.Fatal(err)
	}
	vault, err := tokenstore.OpenVault(ctx, open(t, dir), ring)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{
		"encryption key": key.Reveal(), "raw encryption key": string(raw), "derived key": string(vault.DeriveKey("links")), "store id": vault.StoreID(),
		"integration": "quickbooks-of-acme", "realm": "9130354674010826", "access token": "canary-access-token", "refresh token": "canary-refresh-token",
		"previous token": "canary-previous-token", "client": "canary-client-id", "account": "Canary Company", "state": "canary-oauth-state", "verifier": "canary-pkce-verifier",
	}
	const records = 40
	expiresAt := time.Now().Add(time.Hour)
	for i := range records {
		r := &tokenstore.Record{
			Key:                  tokenstore.Key{Integration: words["integration"], Connection: fmt.Sprintf("%s%d", words["realm"], i)},
			ClientID:             words["client"],
			Account:              words["account"],
			Generation:           1,
			AccessToken:          secret.New(words["access token"]),
			RefreshToken:         secret.New(words["refresh token"]),
			PreviousRefreshToken: secret.New(words["previous token"]),
		}
		for range 3 {
			if err := vault.PutIntent(ctx, tokenstore.Intent{Key: r.Key, Generation: r.Generation}); err != nil {
				t.Fatal(err)
			}
			r.Generation++
			if err := vault.Save(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		if err := vault.PutIntent(ctx, tokenstore.Intent{Key: r.Key}); err != nil {
			t.Fatal(err)
		}
		if err := vault.PutOnce(ctx, "state", fmt.Sprint(words["state"], i), []byte(words["verifier"]), expiresAt); err != nil {
			t.Fatal(err)
		}
	}
	search := func(when string) {
		t.Helper()
		var searched int
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			searched += len(bytes.TrimRight(content, "\x00"))
			for what, word := range words {
				for _, form := range []string{word, hex.EncodeToString([]byte(word)), base64.RawStdEncoding.EncodeToString([]byte(word))} {
					if bytes.Contains(content, []byte(form)) {
						t.Errorf("%s, %s holds the %s", when, filepath.Base(path), what)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if searched < records*200 {
			t.Errorf("%s, only %d bytes were there to be searched", when, searched)
		}
	}
	search("while it is open")
	if err := vault.Close(); err != nil {
		t.Fatal(err)
	}
	search("when it is closed")

	// And all of it is there when the store is opened again.
	vault, err = tokenstore.OpenVault(ctx, open(t, dir), ring)
	if err != nil {
		t.Fatal(err)
	}
	defer vault.Close()
	listed, next, err := vault.List(ctx, words["integration"], "", 100)
	if err != nil || len(listed) != records || next != "" {
		t.Errorf("%d records are left (%v)", len(listed), err)
	}
	if value, err := vault.Take(ctx, "state", words["state"]+"7", time.Now()); err != nil || string(value) != words["verifier"] {
		t.Errorf("took %q (%v)", value, err)
	}
	if n, err := vault.SweepOnce(ctx, time.Now()); err != nil || n != records-1 {
		t.Errorf("%d one-time values are left (%v)", n, err)
	}
}
