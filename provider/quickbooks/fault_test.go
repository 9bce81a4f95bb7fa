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
	"net/http"
	"testing"
)

const (
	gatewayJSON = `{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":"message=AuthenticationFailed; ` +
		`errorCode=003200; statusCode=401","detail":"Token expired: AB01730024136mqXyZ0123456789abcdef","code":"3200",` +
		`"element":null}],"type":"AUTHENTICATION"},"report":null,"time":1730024394085,"cdcresponse":[]}`
	gatewayXML = `<?xml version="1.0" encoding="UTF-8" standalone="yes"?>` + "\n" +
		`<IntuitResponse time="2017-01-17T11:30:52.326-08:00" xmlns="http://schema.intuit.com/finance/v3">` +
		`<Fault type="AUTHENTICATION"><Error code="3200"><Message>message=ApplicationAuthenticationFailed; errorCode=003200; ` +
		`statusCode=401</Message><Detail>Token expired: AB01730024136mqXyZ0123456789abcdef</Detail></Error></Fault></IntuitResponse>`
	challenge = `Bearer realm="Intuit", error="invalid_token"`
)

func serviceXML(code string) string {
	return `<?xml version="1.0" encoding="UTF-8" standalone="yes"?><IntuitResponse xmlns="http://schema.intuit.com/finance/v3">` +
		`<Fault type="AuthenticationFault"><Error code="` + code + `"><Message>General Authentication Error</Message>` +
		`<Detail>AuthenticationErrorGeneral: SRV-110-Authentication Failure , statusCode: 401</Detail></Error></Fault></IntuitResponse>`
}

func TestTokenRefused(t *testing.T) {
	for _, c := range []struct {
		name      string
		status    int
		challenge string
		body      string
		want      bool
	}{
		{"gateway, JSON", 401, challenge, gatewayJSON, true},
		{"gateway, JSON without a challenge", 401, "", gatewayJSON, true},
		{"gateway, XML", 401, "", gatewayXML, true},
		{"capital letters", 401, "", `{"Fault":{"Error":[{"Message":"x","code":"3200"}],"type":"AUTHENTICATION"}}`, true},
		{"code is a number", 401, "", `{"fault":{"error":[{"code":3200}]}}`, true},
		{"code is padded", 401, "", `{"fault":{"error":[{"code":"003200"}]}}`, true},
		{"second of two", 401, "", `{"fault":{"error":[{"code":"1"},{"code":"3200"}]}}`, true},
		{"another member is odd", 401, "", `{"code":{"x":1},"fault":{"type":7,"error":[{"code":"3200"}]}}`, true},
		{"XML with a prefix", 401, "", `<q:Fault xmlns:q="x"><q:Error code="3200"/></q:Fault>`, true},
		{"XML that is cut", 401, "", gatewayXML[:len(gatewayXML)-60], true},
		{"byte order mark", 401, "", "\xef\xbb\xbf " + gatewayXML, true},
		{"GraphQL", 401, "", `{"code":"AuthenticationFailed","type":"INPUT","message":null,"detail":"Malformed bearer token: too short or too long","moreInfo":null}`, true},
		{"empty with a challenge", 401, challenge, "", true},
		{"description in the challenge", 401, challenge + `, error_description="Token expired"`, "", true},
		{"page with a challenge", 401, challenge, "<html><body>no</body></html>", true},
		{"text with a challenge", 401, challenge, "no", true},
		{"cut JSON with a challenge", 401, challenge, gatewayJSON[:40], true},
		{"challenge without quotes", 401, "bearer error=invalid_token", "", true},
		{"challenge after another", 401, `Basic realm="a, b", Bearer realm="x", error="invalid_token"`, "", true},

		{"wrong realm", 401, "", serviceXML("100"), false},
		{"wrong realm with a challenge", 401, challenge, serviceXML("100"), false},
		{"user without access", 401, challenge, serviceXML("120"), false},
		{"wrong cluster", 401, challenge, serviceXML("130"), false},
		{"wrong realm, JSON", 401, challenge, `{"Fault":{"Error":[{"code":"100"}]}}`, false},
		{"another code of the gateway", 401, challenge, `{"fault":{"error":[{"code":"3100"}]}}`, false},
		{"GraphQL, another code", 401, challenge, `{"code":"AuthorizationFailed"}`, false},
		{"3200 in the text only", 401, "", `{"fault":{"error":[{"message":"3200","detail":"3200","code":"100"}]}}`, false},
		{"3200 in XML text only", 401, "", `<Fault><Error code="100"><Message>code="3200"</Message></Error></Fault>`, false},
		{"empty", 401, "", "", false},
		{"page", 401, "", "<html><body>401 code=3200</body></html>", false},
		{"empty JSON", 401, "", "{}", false},
		{"insufficient scope", 401, `Bearer error="insufficient_scope"`, "", false},
		{"error in a quoted string", 401, `Bearer realm="x, error=\"invalid_token\""`, "", false},
		{"error of another scheme", 401, `DPoP error="invalid_token"`, "", false},
		{"error_description only", 401, `Bearer error_description="invalid_token"`, "", false},
		{"403 with the code", 403, challenge, gatewayJSON, false},
		{"400 with the code", 400, challenge, gatewayJSON, false},
		{"200 with the code", 200, challenge, gatewayJSON, false},
	} {
		header := http.Header{}
		if c.challenge != "" {
			header.Set("WWW-Authenticate", c.challenge)
		}
		if got := (Provider{}).TokenRefused(c.status, header, []byte(c.body)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
