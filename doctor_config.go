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
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/freshbearer/freshbearer/notify"
	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// secrets finds placeholders that no longer hold what was loaded: a file can
// be replaced or lost, and only the next load would say so.
func (d *doctor) secrets() []finding {
	const check = "secrets"
	var found []finding
	repl := caddy.NewReplacer()
	count := 0
	examine := func(subject, setting, placeholder string, same func(string) bool) {
		count++
		value, err := expandSecret(repl, setting, placeholder)
		switch {
		case err != nil:
			found = append(found, fault(check, subject, err.Error()+"; Caddy still has the former value, and its next start or reload fails",
				"restore it, then run: caddy reload --force"))
		case !same(value.Reveal()):
			found = append(found, warning(check, subject, fmt.Sprintf("%s: %s has changed since the configuration was loaded", setting, placeholder),
				"run: caddy reload --force"))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.app.Integrations)) {
		in := d.app.Integrations[name]
		examine(name, "client_secret", in.ClientSecret, func(value string) bool { return value == in.client.ClientSecret.Reveal() })
		if in.Notify != nil {
			for i, placeholder := range in.Notify.Secrets {
				examine(name, "notify secret", placeholder, func(value string) bool {
					signer, err := notify.NewSigner(secret.New(value))
					return err == nil && signer.Same(in.Notify.signers[i])
				})
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.app.Callers)) {
		for _, placeholder := range d.app.Callers[name].Keys {
			examine(name, "key", placeholder, func(value string) bool {
				c := d.app.callers.byKey[sha256.Sum256([]byte(value))]
				return c != nil && c.name == name
			})
		}
	}
	if placeholders := d.app.EncryptionKeys; len(placeholders) > 0 {
		count += len(placeholders)
		ring, err := expandKeys(repl, placeholders)
		switch {
		case err != nil:
			found = append(found, fault(check, "", err.Error()+"; Caddy still has the former value, and its next start or reload fails",
				"restore the key, then run: caddy reload --force"))
		case !ring.Same(d.app.keys):
			found = append(found, fault(check, "", "the encryption key has changed since the configuration was loaded",
				"if it was replaced by mistake, put the former key back; to change keys, give both in encryption_key, the new one first"))
		}
	}
	if found == nil {
		found = append(found, fine(check, "", "%d placeholders hold what was loaded", count))
	}
	return found
}

// encryptionKey looks at where the key is kept, and how far a change of keys
// is. It does not look at what the store says if the store is not open.
func (d *doctor) encryptionKey(ctx context.Context) []finding {
	const check = "encryption_key"
	var found []finding
	if len(d.app.EncryptionKeys) == 0 {
		path := defaultKeyPath()
		found = append(found, d.keyFile(path)...)
		message := "none is configured, and one was generated: " + path
		_, err := os.Stat(path)
		switch gone := errors.Is(err, fs.ErrNotExist); {
		case gone && d.keeper != nil:
			return append(found, fault(check, "", "the generated key "+path+" is gone, and only the running Caddy still has it",
				"put the file back from your backup before Caddy ends; without it every connection must be authorized again"))
		case gone:
			message = "none is configured: one will be generated at the first start, in " + path
		}
		return append(found, warning(check, "", message,
			"back this file up apart from the data, without it every connection must be authorized again; then name it: encryption_key {file."+path+"}"))
	}
	for _, placeholder := range d.app.EncryptionKeys {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(placeholder, "}"), "{file."); ok {
			found = append(found, d.keyFile(path)...)
		}
	}
	if d.keeper != nil {
		found = append(found, keyChange(d.keeper.Vault().KeyUse(ctx))...)
	}
	if found == nil {
		found = append(found, fine(check, "", "%s", d.keysFine()))
	}
	return found
}

func (d *doctor) keysFine() string {
	n := d.app.keys.Len()
	switch {
	case n > 1 && d.keeper != nil:
		return "the first key seals all records; the others are needed no more, and may be removed from encryption_key"
	case n > 1:
		return fmt.Sprintf("%d keys are configured, apart from the data", n)
	}
	return "configured, apart from the data"
}

// keyChange says that a change of keys is not finished.
func keyChange(use tokenstore.KeyUse, err error) []finding {
	const check = "encryption_key"
	switch {
	case err != nil:
		return []finding{fault(check, "", "which keys the store needs cannot be read: "+err.Error(), "see what the check store says")}
	case use.Configured > 1 && !use.Done():
		return []finding{warning(check, "", "there are records that are still sealed with a former key",
			"keep all keys in encryption_key until the log says that all records are sealed with the first one; "+
				"if it says that some could not be, run: caddy reload --force")}
	}
	return nil
}

// keyFile looks at who can read a key, and what a backup of the data takes with
// it. That it can be read is not asked here.
func (d *doctor) keyFile(path string) []finding {
	const check = "encryption_key"
	var found []finding
	info, err := os.Stat(path)
	// Windows has no such modes.
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		found = append(found, warning(check, "", fmt.Sprintf("every user of this machine can read or change %s (mode %04o)", path, info.Mode().Perm()),
			"run: chmod o= "+path))
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if path, err = filepath.Abs(path); err == nil {
		if inside, err := filepath.Rel(d.app.sharedAs, path); err == nil && filepath.IsLocal(inside) {
			found = append(found, warning(check, "", path+" is in the directory of the data that it seals: who copies the one has the other",
				"keep the key elsewhere"))
		}
	}
	return found
}

// registration applies the provider's own rules to an integration.
func (d *doctor) registration(in *Integration) []finding {
	advice := in.provider.Examine(provider.Registration{
		Environment: in.Environment, RedirectURL: in.redirect, Scopes: in.Scopes, APIs: in.client.Endpoints.APIs,
	})
	title := in.provider.Title()
	goodNews := []struct{ about, text string }{
		{provider.AboutEnvironment, in.Environment},
		{provider.AboutRedirectURL, fmt.Sprintf("%s fits the rules of %s; register exactly this, character by character", in.client.RedirectURL, title)},
		{provider.AboutScopes, strings.Join(in.Scopes, " ")},
	}
	var found []finding
	for _, news := range goodNews {
		against := 0
		for _, a := range advice {
			if a.About != news.about {
				continue
			}
			against++
			f := warning(a.About, in.name, a.Message, a.Repair)
			if a.Fault {
				f.Level = levelFault
			}
			found = append(found, f)
		}
		if news.about == provider.AboutEnvironment {
			mixed := in.mixedEndpoints()
			against += len(mixed)
			found = append(found, mixed...)
		}
		if against == 0 {
			found = append(found, fine(news.about, in.name, "%s", news.text))
		}
	}
	return found
}

// mixedEndpoints says that some addresses are the provider's own and others
// are not, which sends tokens of the one to the other.
func (in *Integration) mixedEndpoints() []finding {
	var own, other []string
	for _, setting := range []struct{ name, value string }{
		{"authorize_url", in.AuthorizeURL}, {"token_url", in.TokenURL}, {"revoke_url", in.RevokeURL}, {"api_url", in.APIURL},
	} {
		if setting.value == "" {
			own = append(own, setting.name)
		} else {
			other = append(other, setting.name)
		}
	}
	// An API apart is what regional hosts have.
	if len(own) == 0 || len(other) == 0 || len(other) == 1 && in.APIURL != "" {
		return nil
	}
	return []finding{warning(provider.AboutEnvironment, in.name,
		fmt.Sprintf("%s set, and %s not: tokens of one server would be sent to another",
			plural(other, "is", "are"), plural(own, "is", "are")),
		"set all of them for a test, and none of them in production")}
}

// plural joins names with the verb that follows them.
func plural(names []string, one, many string) string {
	if len(names) == 1 {
		return names[0] + " " + one
	}
	return strings.Join(names, ", ") + " " + many
}
