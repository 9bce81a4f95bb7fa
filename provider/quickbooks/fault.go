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

package quickbooks

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strings"
)

const (
	// gatewayRefusal is the code with which Intuit's gateway refuses a token.
	// The service behind it uses 401 for codes 100, 120 and 130 as well (wrong
	// realm, user without access, wrong cluster), with a token that is good.
	gatewayRefusal = "3200"
	// graphQLRefusal is the same in the words of the GraphQL gateway.
	graphQLRefusal = "AuthenticationFailed"
)

// TokenRefused implements provider.Provider. The code in the body decides; the
// WWW-Authenticate field does only if the body holds none.
func (Provider) TokenRefused(status int, header http.Header, body []byte) bool {
	if status != http.StatusUnauthorized {
		return false
	}
	codes := faultCodes(body)
	for _, code := range codes {
		if code == gatewayRefusal || code == graphQLRefusal {
			return true
		}
	}
	return len(codes) == 0 && invalidToken(header)
}

// faultCodes reads the error codes of a fault, in JSON or XML. Intuit chooses
// the form itself, whatever the request accepted and the answer's type says.
func faultCodes(body []byte) []string {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case bytes.HasPrefix(body, []byte("{")):
		return jsonCodes(body)
	case bytes.HasPrefix(body, []byte("<")):
		return xmlCodes(body)
	}
	return nil
}

// jsonCodes relies on encoding/json matching names in any case: the gateway
// writes fault.error[].code, the service Fault.Error[].code. It also relies on
// it reading on after a member of another type than expected.
func jsonCodes(body []byte) []string {
	var answer struct {
		Code  json.RawMessage
		Fault struct {
			Error []struct{ Code json.RawMessage }
		}
	}
	_ = json.Unmarshal(body, &answer)
	var codes []string
	for _, entry := range answer.Fault.Error {
		codes = appendCode(codes, strings.Trim(string(entry.Code), `"`))
	}
	return appendCode(codes, strings.Trim(string(answer.Code), `"`))
}

func xmlCodes(body []byte) []string {
	var codes []string
	decoder := xml.NewDecoder(bytes.NewReader(body))
	for {
		token, err := decoder.RawToken()
		if err != nil {
			return codes
		}
		element, isStart := token.(xml.StartElement)
		if !isStart || !strings.EqualFold(element.Name.Local, "Error") {
			continue
		}
		for _, attribute := range element.Attr {
			if strings.EqualFold(attribute.Name.Local, "code") {
				codes = appendCode(codes, attribute.Value)
			}
		}
	}
}

// appendCode adds a code without the zeros that the gateway pads it with.
func appendCode(codes []string, code string) []string {
	code = strings.TrimLeft(strings.TrimSpace(code), "0")
	if code == "" || code == "null" {
		return codes
	}
	return append(codes, code)
}

// invalidToken tells whether a Bearer challenge says error="invalid_token"
// (RFC 6750 §3).
func invalidToken(header http.Header) bool {
	for _, field := range header.Values("WWW-Authenticate") {
		scheme := ""
		for _, part := range splitQuoted(field) {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			// A part of two words begins the next challenge.
			if first, second, two := strings.Cut(strings.TrimSpace(name), " "); two {
				scheme, name = first, strings.TrimSpace(second)
			}
			if strings.EqualFold(scheme, "Bearer") && strings.EqualFold(strings.TrimSpace(name), "error") &&
				strings.Trim(strings.TrimSpace(value), `"`) == "invalid_token" {
				return true
			}
		}
	}
	return false
}

// splitQuoted splits at the commas outside of quoted strings (RFC 9110 §5.6.4).
func splitQuoted(field string) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(field); i++ {
		switch c := field[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			parts = append(parts, field[start:i])
			start = i + 1
		}
	}
	return append(parts, field[start:])
}
