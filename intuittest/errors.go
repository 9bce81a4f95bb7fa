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

package intuittest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const xmlType = "application/xml;charset=UTF-8"

// pacific is what Intuit's services write their times in.
var pacific = time.FixedZone("", -8*3600)

func stamp(t time.Time) string { return t.In(pacific).Format("2006-01-02T15:04:05.000-07:00") }

// wantsXML tells whether an Accept field names XML before JSON.
func wantsXML(r *http.Request) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header["Accept"], ","), ",") {
		name, _, _ := strings.Cut(part, ";")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "application/xml", "text/xml":
			return true
		case "application/json", "text/json":
			return false
		}
	}
	return false
}

func (shape Shape) xml(r *http.Request, usual bool) bool {
	switch shape {
	case ShapeXML:
		return true
	case ShapeJSON:
		return false
	case ShapeAccept:
		return wantsXML(r)
	default:
		return usual
	}
}

// gatewayFault is an error of the gateway in front of the service: its JSON
// has lower-case keys and a numeric time.
func gatewayFault(now time.Time, asXML bool, status int, code, kind, message string, detail any) reply {
	rep := reply{status: status, code: code}
	if asXML {
		text, _ := detail.(string)
		rep.ctype, rep.body = xmlType, xmlFault(now, code, kind, message, text)
		return rep
	}
	rep.ctype = "application/json"
	rep.body = fmt.Appendf(nil, `{"warnings":null,"intuitObject":null,"fault":{"error":[{"message":%s,"detail":%s,"code":"%s","element":null}],"type":"%s"},`+
		`"report":null,"queryResponse":null,"batchItemResponse":[],"attachableResponse":[],"syncErrorResponse":null,"requestId":null,"time":%d,"status":null,"cdcresponse":[]}`,
		encode(message), encode(detail), code, kind, now.UnixMilli())
	return rep
}

func xmlFault(now time.Time, code, kind, message, detail string) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><IntuitResponse time="` + stamp(now) +
		`" xmlns="http://schema.intuit.com/finance/v3"><Fault type="` + kind + `"><Error code="` + code + `"><Message>`)
	_ = xml.EscapeText(&b, []byte(message))
	b.WriteString(`</Message><Detail>`)
	_ = xml.EscapeText(&b, []byte(detail))
	b.WriteString(`</Detail></Error></Fault></IntuitResponse>`)
	return []byte(b.String())
}

// tokenRefused is the one 401 that a newer token helps against: code 3200.
func (s *Server) tokenRefused(r *http.Request, detail, tokenID string) reply {
	b := s.Behaviour()
	var text any = detail
	switch {
	case b.TokenDetail == DetailNull:
		text = nil
	case b.TokenDetail == DetailTokenID && tokenID != "":
		text = detail + ": " + tokenID
	}
	rep := gatewayFault(s.Now(), b.Shape401.xml(r, false), http.StatusUnauthorized, "3200", "AUTHENTICATION",
		"message=AuthenticationFailed; errorCode=003200; statusCode=401", text)
	rep.header = http.Header{"Www-Authenticate": {`Bearer realm="Intuit", error="invalid_token"`}}
	return rep
}

func (s *Server) forbidden(r *http.Request, detail string) reply {
	var text any
	if detail != "" {
		text = detail
	}
	return gatewayFault(s.Now(), s.Behaviour().Shape403.xml(r, false), http.StatusForbidden, "3100", "SERVICE",
		"message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403", text)
}

func (s *Server) throttled(r *http.Request) reply {
	return gatewayFault(s.Now(), s.Behaviour().Shape429.xml(r, true), http.StatusTooManyRequests, "3001", "SERVICE",
		"message=ThrottleExceeded; errorCode=003001; statusCode=429", "The request limit was reached.  Try again later")
}

func (s *Server) serverError() reply {
	return gatewayFault(s.Now(), false, http.StatusInternalServerError, "10000", "SERVICE",
		"An application error has occurred while processing your request", "System Failure Error")
}

// serviceFault is a 401 of the service behind the gateway. It is XML whatever
// the request accepts, and the token is fine.
func serviceFault(now time.Time, code int) reply {
	kind, message, detail := "AuthenticationFault", "General Authentication Error", "AuthenticationErrorGeneral: SRV-110-Authentication Failure , statusCode: 401"
	switch code {
	case 120:
		// The misspelling is Intuit's.
		kind, message, detail = "AuthorizatonFault", "Authorization Failure", "AuthorizationFailure: --11014-You do not have access to use QuickBooks Online., statusCode: 401"
	case 130:
		message, detail = "Accessing Wrong Cluster", "WrongClusterError: -11017-You have accessed the wrong server.  You will now be redirected. , statusCode: 401"
	}
	text := strconv.Itoa(code)
	return reply{status: http.StatusUnauthorized, ctype: xmlType, code: text, body: xmlFault(now, text, kind, message, detail)}
}

// validation is a 400 of the service: capital keys, ISO time.
func (s *Server) validation(c *call, code, message, detail string) reply {
	return validationAt(s.Now(), c, code, message, detail)
}

func faultData(now time.Time, code, message, detail string) map[string]any {
	return map[string]any{
		"Fault": map[string]any{
			"Error": []any{map[string]any{"Message": message, "Detail": detail, "code": code, "element": ""}},
			"type":  "ValidationFault",
		},
		"time": stamp(now),
	}
}

func graphqlRefused() reply {
	return reply{
		status: http.StatusUnauthorized, ctype: "application/json", code: "AuthenticationFailed",
		body: []byte(`{"code":"AuthenticationFailed","type":"INPUT","message":null,"detail":"Malformed bearer token: too short or too long","moreInfo":null}`),
	}
}
