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

package tokenstore_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func TestParseKeyring(t *testing.T) {
	raw := []byte("\xfb\xff\xfe0123456789abcdefghijklmnopq\xff\xfb")
	if len(raw) != 32 {
		t.Fatal(len(raw))
	}
	forms := map[string]string{
		"base64":              base64.StdEncoding.EncodeToString(raw),
		"base64 unpadded":     base64.RawStdEncoding.EncodeToString(raw),
		"base64 URL":          base64.URLEncoding.EncodeToString(raw),
		"base64 URL unpadded": base64.RawURLEncoding.EncodeToString(raw),
		"hex":                 hex.EncodeToString(raw),
		"hex upper case":      strings.ToUpper(hex.EncodeToString(raw)),
		"with white space":    "\n " + base64.StdEncoding.EncodeToString(raw) + " \r\n",
	}
	// All forms are the same key: each opens what one of them wrote.
	store := newStore(t)
	openVault(t, store, forms["hex"])
	for name, form := range forms {
		if _, err := tokenstore.OpenVault(t.Context(), store, ring(t, form)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}

	generated := tokenstore.GenerateKey()
	if generated.Equal(tokenstore.GenerateKey()) {
		t.Error("two generated keys are the same")
	}
	if r, err := tokenstore.ParseKeyring(generated, secret.New(forms["hex"])); err != nil || r.Len() != 2 {
		t.Errorf("a generated key and another: %v", err)
	}
}

func TestParseKeyringErrors(t *testing.T) {
	good := tokenstore.GenerateKey().Reveal()
	for _, test := range []struct {
		name string
		keys []string
		want string
	}{
		{"none", nil, "there is no encryption key"},
		{"empty", []string{""}, "the first encryption key is empty"},
		{"blank", []string{good, " \n"}, "the second encryption key is empty"},
		{"short", []string{good, base64.StdEncoding.EncodeToString([]byte("SHORTSHORTSHORT!"))}, "the second encryption key has 16 bytes, not 32"},
		{"long", []string{base64.StdEncoding.EncodeToString([]byte(strings.Repeat("LONG", 12)))}, "the first encryption key has 48 bytes, not 32"},
		{"password", []string{"correct horse battery staple"}, "the first encryption key is neither base64 nor 64 hexadecimal digits"},
		{"mixed alphabets", []string{strings.Repeat("+", 21) + strings.Repeat("-", 21) + "A="}, "is neither base64"},
		{"two lines", []string{good[:20] + "\n" + good[20:]}, "is neither base64"},
		{"spare bits", []string{strings.Repeat("A", 42) + "B="}, "is neither base64"},
		{"placeholder", []string{"{env.FRESHBEARER_KEY}"}, "is neither base64"},
		{"same twice", []string{tokenstore.GenerateKey().Reveal(), good, strings.TrimRight(good, "=")}, "the third encryption key is the same as the second"},
		{"sixth", []string{keyA, keyB, keyC, strings.Repeat("d", 42) + "A", strings.Repeat("e", 42) + "A", "x"}, "the 6th encryption key is neither"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var keys []secret.String
			for _, k := range test.keys {
				keys = append(keys, secret.New(k))
			}
			_, err := tokenstore.ParseKeyring(keys...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error is %v, want one with %q", err, test.want)
			}
			if !strings.Contains(err.Error(), "openssl rand -base64 32") {
				t.Errorf("error %q does not say how to make a key", err)
			}
			for _, k := range test.keys {
				if k = strings.TrimSpace(k); len(k) > 1 && strings.Contains(err.Error(), k) {
					t.Errorf("error %q holds the key", err)
				}
			}
		})
	}
}

func TestKeyringDoesNotPrint(t *testing.T) {
	text := strings.Repeat("K", 43)[:42] + "A"
	r := ring(t, text)
	raw, _ := base64.RawStdEncoding.DecodeString(text)
	holder := struct{ inner *tokenstore.Keyring }{r}
	for _, v := range []any{r, *r, holder, &holder, []*tokenstore.Keyring{r}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			got := fmt.Sprintf(verb, v)
			for _, leak := range []string{text, hex.EncodeToString(raw[:8]), fmt.Sprint(raw[:8])[1:20], string(raw[:8])} {
				if strings.Contains(strings.ToLower(got), strings.ToLower(leak)) {
					t.Errorf("%s of %T gives %s", verb, v, got)
				}
			}
		}
	}
}
