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

package caddytest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// canaries are secrets that must not come out, in any spelling.
type canaries struct {
	// named are the secrets by what they are.
	named map[string]string
	// byStart are their spellings by the bytes that they start with.
	byStart map[[canaryStart]byte][]spelling
	// starts tells which two bytes a spelling starts with.
	starts [1 << 16]bool
}

type spelling struct{ name, text string }

// canaryStart is how many bytes of a spelling are looked up at once. No secret
// is shorter.
const canaryStart = 12

func newCanaries() *canaries {
	return &canaries{named: make(map[string]string), byStart: make(map[[canaryStart]byte][]spelling)}
}

// add adds a secret. A second one of the same kind gets a number.
func (c *canaries) add(kind, secret string) {
	if len(secret) < canaryStart+4 {
		return
	}
	for _, known := range c.named {
		if known == secret {
			return
		}
	}
	name := kind
	for n := 2; c.named[name] != ""; n++ {
		name = fmt.Sprint(kind, " ", n)
	}
	c.named[name] = secret
	for _, text := range spellings(secret) {
		start := [canaryStart]byte([]byte(text))
		c.byStart[start] = append(c.byStart[start], spelling{name, text})
		c.starts[int(text[0])<<8|int(text[1])] = true
	}
}

// spellings are how a secret can come out of a program.
func spellings(secret string) []string {
	quoted, err := json.Marshal(secret)
	if err != nil {
		panic(err) // strings always marshal
	}
	all := []string{
		secret, strings.Trim(string(quoted), `"`), strings.Trim(strconv.Quote(secret), `"`),
		url.QueryEscape(secret), url.PathEscape(secret), lowerEscapes(url.QueryEscape(secret)),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	// In base64, what stands before it shifts it; what depends on its
	// neighbours is left out.
	for shift := range 3 {
		shifted := append(make([]byte, shift), secret...)
		from, to := (shift*8+5)/6, len(shifted)*8/6
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, alphabet.EncodeToString(shifted)[from:to])
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func lowerEscapes(s string) string {
	out := []byte(s)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:i+3], bytes.ToLower(out[i+1:i+3]))
		}
	}
	return string(out)
}

// find returns where secrets are in an output.
func (c *canaries) find(output []byte) (found []string) {
	for i := 0; i+canaryStart <= len(output); i++ {
		if !c.starts[int(output[i])<<8|int(output[i+1])] {
			continue
		}
		for _, s := range c.byStart[[canaryStart]byte(output[i:])] {
			if bytes.HasPrefix(output[i:], []byte(s.text)) {
				found = append(found, fmt.Sprintf("%s in …%q…", s.name, output[max(0, i-120):min(len(output), i+len(s.text)+20)]))
			}
		}
	}
	return found
}

// absent checks that no secret is in an output.
func (c *canaries) absent(t *testing.T, where string, output []byte) {
	t.Helper()
	if len(output) == 0 {
		t.Errorf("%s: there is no output to look at", where)
	}
	found := c.find(output)
	for _, f := range found[:min(5, len(found))] {
		t.Errorf("%s: %s", where, f)
	}
	if len(found) > 5 {
		t.Errorf("%s: and %d more", where, len(found)-5)
	}
}

// A scanner that finds nothing is no proof before it has found something: each
// spelling of each kind of secret, at each place in an output.
func TestCanariesAreFound(t *testing.T) {
	secrets := map[string]string{
		"token": "RT1-42-H0-1799999999abcdefghijklmnop", "base64": "p+q/rS7uVwXyZ0123456789abcdefghijklmnopqrs=",
		"url": "abc-def_ghi-jkl_mno-pqr_stu-vwx_yz0-123_456", "odd": `quote" and \ <b>&</b> ü end`,
	}
	noise := []byte(strings.Repeat(`{"level":"debug","msg":"nothing to see, RT1-42-H0 alone is none"} `, 20))
	for name, secret := range secrets {
		c := newCanaries()
		c.add(name, secret)
		if found := c.find(noise); len(found) > 0 {
			t.Errorf("%s was found where it is not: %q", name, found)
		}
		quoted, err := json.Marshal(map[string]string{"text": "before " + secret + " after"})
		if err != nil {
			t.Fatal(err)
		}
		outputs := [][]byte{
			[]byte(secret), []byte("x" + secret + "y"), quoted, []byte(fmt.Sprintf("%q", "x"+secret)),
			[]byte("?a=" + url.QueryEscape(secret) + "&b"), []byte("/" + url.PathEscape(secret)),
			[]byte(lowerEscapes(url.QueryEscape(secret))), []byte(fmt.Sprintf("%x", "ab"+secret)), []byte(fmt.Sprintf("%X", secret)),
		}
		for _, before := range []string{"", "a", "ab", "abc", "id:"} {
			for _, after := range []string{"", "z", "zz", "zzz"} {
				text := []byte(before + secret + after)
				outputs = append(outputs, []byte("Basic "+base64.StdEncoding.EncodeToString(text)), []byte(base64.RawURLEncoding.EncodeToString(text)))
			}
		}
		for _, output := range outputs {
			if len(c.find(slices.Concat(noise, output, noise))) == 0 {
				t.Errorf("%s was not found in %q", name, output)
			}
			if len(c.find(output)) == 0 {
				t.Errorf("%s was not found in %q alone", name, output)
			}
		}
	}
}
