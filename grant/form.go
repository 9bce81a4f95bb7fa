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

package grant

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// FormToken returns a text, safe in a URL, that proves of a form that it came
// from this proxy, for the browser that holds the cookie. about says what the
// form does, so that it does nothing else.
func (k *Keeper) FormToken(cookie, about string) string {
	return base64.RawURLEncoding.EncodeToString(k.formMAC(cookie, about))
}

// CheckFormToken tells whether FormToken made the token for the cookie and the
// purpose. Nobody has an empty cookie.
func (k *Keeper) CheckFormToken(token, cookie, about string) bool {
	// Strict: one token has one spelling.
	mac, err := base64.RawURLEncoding.Strict().DecodeString(token)
	return err == nil && cookie != "" && hmac.Equal(mac, k.formMAC(cookie, about))
}

func (k *Keeper) formMAC(cookie, about string) []byte {
	mac := hmac.New(sha256.New, k.formKey)
	// With its length, the cookie cannot run over into what follows.
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(cookie))))
	mac.Write([]byte(cookie + about))
	return mac.Sum(nil)
}
