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
	"encoding/hex"
	"net/http"
	"time"

	"github.com/freshbearer/freshbearer/connectjs"
)

var scriptTag = func() string {
	sum := sha256.Sum256(connectjs.Source)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}()

const scriptPath = "connect.js"

// script serves connect.js, which any page may load: it holds nothing that is
// anybody's.
func (h *ConnectHandler) script(w http.ResponseWriter, r *http.Request, _ *Caller, _ string) (*exchange, error) {
	header := w.Header()
	header.Set("Content-Type", "text/javascript; charset=utf-8")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("Cache-Control", "public, max-age=3600")
	header.Set("Etag", scriptTag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(connectjs.Source))
	return nil, nil
}
