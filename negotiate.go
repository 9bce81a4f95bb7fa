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
	"net/http"
	"strings"

	"github.com/munnerz/goautoneg"
)

const (
	mediaProblem = "application/problem+json"
	mediaJSON    = "application/json"
	// The PHP SDK compares the whole string, and reads no other spelling.
	mediaXML  = "application/xml;charset=UTF-8"
	mediaHTML = "text/html"
)

// maxAccept bounds the work that a stranger can cause. Browsers send 200 bytes.
const maxAccept = 4 << 10

// negotiateProblem chooses the content type of a problem. goautoneg only parses: its
// Negotiate takes the first clause that fits anything, in an order that is not
// defined for clauses of the same quality, and reads q=0 as consent.
func negotiateProblem(h http.Header) string {
	field := strings.Join(h.Values("Accept"), ",")
	if len(field) > maxAccept {
		return mediaProblem
	}
	accept := goautoneg.ParseAccept(strings.ReplaceAll(strings.ToLower(field), "\t", " "))

	plain, plainNamed := acceptQuality(accept, "application", "json")
	own, ownNamed := acceptQuality(accept, "application", "problem+json")
	html, _ := acceptQuality(accept, "text", "html")
	xhtml, _ := acceptQuality(accept, "application", "xhtml+xml")
	appXML, _ := acceptQuality(accept, "application", "xml")
	textXML, _ := acceptQuality(accept, "text", "xml")

	jsonQ, htmlQ, xmlQ := max(plain, own), max(html, xhtml), max(appXML, textXML)
	switch {
	case htmlQ > jsonQ && htmlQ >= xmlQ:
		return mediaHTML
	case xmlQ > jsonQ:
		return mediaXML
	case plain > 0 && (own == 0 || plainNamed && !ownNamed):
		// An SDK that names application/json may read no other: the Java SDK
		// takes */json only, and turns anything else into an error without
		// the Fault. The members of RFC 9457 are in the body all the same.
		return mediaJSON
	default:
		return mediaProblem
	}
}

// acceptQuality is the weight of a media type, which the most specific range that
// covers it decides (RFC 9110 §12.5.1). named tells whether that was the type
// itself.
func acceptQuality(accept []goautoneg.Accept, typ, subtype string) (q float64, named bool) {
	best := 0
	for _, a := range accept {
		var specific int
		switch {
		case a.Type == typ && a.SubType == subtype:
			specific = 3
		case a.Type == typ && a.SubType == "*":
			specific = 2
		case a.Type == "*" && a.SubType == "*":
			specific = 1
		default:
			continue
		}
		if specific > best {
			best, q = specific, 0
		}
		// A q that is no number is no consent.
		if specific == best && a.Q > q {
			q = min(a.Q, 1)
		}
	}
	return q, best == 3
}
