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
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestTokenRefused(t *testing.T) {
	for _, tc := range []struct {
		name     string
		b        Behaviour
		accept   string
		auth     func(token string) []string
		detail   string
		wantsXML bool
	}{
		{name: "expired", detail: `"detail":"Token expired"`},
		{name: "with the token's id", b: Behaviour{TokenDetail: DetailTokenID}, detail: `"detail":"Token expired: AB0`},
		{name: "null", b: Behaviour{TokenDetail: DetailNull}, detail: `"detail":null`},
		{name: "xml accepted, json usual", accept: "application/xml", detail: `"detail":"Token expired"`},
		{name: "xml accepted", b: Behaviour{Shape401: ShapeAccept}, accept: "application/xml", detail: "<Detail>Token expired</Detail>", wantsXML: true},
		{name: "json accepted", b: Behaviour{Shape401: ShapeAccept}, accept: "application/json, application/xml", detail: `"detail":"Token expired"`},
		{name: "always xml", b: Behaviour{Shape401: ShapeXML}, detail: "<Detail>Token expired</Detail>", wantsXML: true},
		{name: "none", auth: func(string) []string { return nil }, detail: "Malformed bearer token"},
		{name: "two lines", auth: func(s string) []string { return []string{"Bearer " + s, "Bearer " + s} }, detail: "Malformed bearer token"},
		{name: "basic", auth: func(s string) []string { return []string{"Basic " + s} }, detail: "Malformed bearer token"},
		{name: "unknown", auth: func(string) []string { return []string{"Bearer x"} }, detail: "Malformed bearer token"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := start(t, tc.b)
			g := h.Connect(realmA)
			req := h.apiRequest("GET", "/v3/company/"+realmA+"/companyinfo/"+realmA, g.AccessToken, "")
			if tc.accept != "" {
				req.Header.Set("Accept", tc.accept)
			}
			if tc.auth != nil {
				req.Header["Authorization"] = tc.auth(g.AccessToken)
			} else {
				h.RevokeAccess(realmA)
			}
			a := h.must(req)
			if a.status != 401 || !strings.Contains(a.body, tc.detail) || a.header.Get("Www-Authenticate") != `Bearer realm="Intuit", error="invalid_token"` {
				t.Fatalf("%d %v %s", a.status, a.header, a.body)
			}
			if !tc.wantsXML {
				fault := a.json(t)["fault"].(map[string]any)
				if fault["type"] != "AUTHENTICATION" || a.json(t)["time"] != float64(h.Now().UnixMilli()) {
					t.Errorf("%s", a.body)
				}
			} else if err := xml.Unmarshal([]byte(a.body), new(struct{ XMLName xml.Name })); err != nil {
				t.Error(err)
			}
			if tc.name == "two lines" && h.Counters().DuplicateAuthorization != 1 {
				t.Error("not counted")
			}
		})
	}
}

func TestTokenAllows(t *testing.T) {
	h := start(t, Behaviour{})
	g, openID := h.Connect(realmA), h.Connect(realmA, ScopeOpenID)
	if a := h.must(h.apiRequest("GET", "/v3/company/"+realmB+"/companyinfo/"+realmB, g.AccessToken, "")); a.status != 401 || !strings.Contains(a.body, `<Error code="100">`) {
		t.Errorf("wrong realm: %d %s", a.status, a.body)
	}
	if a := h.info(openID.AccessToken); a.status != 403 || !strings.Contains(a.body, "sufficient scope") {
		t.Errorf("wrong scope: %d %s", a.status, a.body)
	}
	h.SetBehaviour(func(b *Behaviour) { b.WrongEnvironment = true })
	if a := h.info(g.AccessToken); a.status != 403 || !strings.Contains(a.body, `"code":"3100"`) {
		t.Errorf("wrong environment: %d %s", a.status, a.body)
	}
	h.SetBehaviour(func(b *Behaviour) { b.Shape403 = ShapeXML })
	if a := h.info(g.AccessToken); a.status != 403 || !strings.Contains(a.body, `<Error code="3100">`) {
		t.Errorf("xml: %d %s", a.status, a.body)
	}
	last := h.APIRequests()
	if r := last[len(last)-1]; r.Status != 403 || r.Code != "3100" || r.TokenRealm != realmA || !strings.HasPrefix(r.TokenID, "AB0") {
		t.Errorf("%+v", r)
	}
}

func TestLimits(t *testing.T) {
	h := start(t, Behaviour{EnforceLimits: true})
	token := h.Connect(realmA).AccessToken
	for range 10 {
		h.wantInfo(token, 200)
	}
	if a := h.info(token); a.status != 429 || !strings.Contains(a.body, "ThrottleExceeded") || a.header.Get("Retry-After") != "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.SetBehaviour(func(b *Behaviour) { b.Shape429 = ShapeJSON })
	if a := h.info(token); a.status != 429 || !strings.Contains(a.body, `"code":"3001"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.Advance(time.Second)
	h.wantInfo(token, 200)
}

func TestEntities(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).AccessToken
	a := h.company("POST", "/salesreceipt?requestid=r1&minorversion=75", token, `{"DocNumber":"D1","TotalAmt":12.30}`)
	entity, _ := a.json(t)["SalesReceipt"].(map[string]any)
	if a.status != 200 || entity["SyncToken"] != "0" || entity["Id"] == "" || !strings.Contains(a.body, `"TotalAmt":12.30`) {
		t.Fatalf("create: %d %s", a.status, a.body)
	}
	id := entity["Id"].(string)
	again := h.company("POST", "/salesreceipt?requestid=r1", token, `{"DocNumber":"D1"}`)
	if again.json(t)["SalesReceipt"].(map[string]any)["Id"] != id || len(h.ExecutedTwice()) != 0 {
		t.Errorf("the requestid was not honoured: %s", again.body)
	}
	if c := h.Creates(); len(c) != 2 || c[0].Repeated || !c[1].Repeated || c[0].DocNumber != "D1" || c[0].RequestID != "r1" || c[0].Entity != "SalesReceipt" {
		t.Errorf("creates: %+v", c)
	}
	h.company("POST", "/salesreceipt", token, `{"DocNumber":"D1"}`)
	if twice := h.ExecutedTwice(); len(twice) != 1 || twice[0].DocNumber != "D1" {
		t.Errorf("executed twice: %+v", twice)
	}
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		want                     string
	}{
		{"read", "GET", "/salesreceipt/" + id, "", 200, `"DocNumber":"D1"`},
		{"read in SDK's case", "GET", "/SalesReceipt/" + id, "", 200, `"DocNumber":"D1"`},
		{"pdf", "GET", "/salesreceipt/" + id + "/pdf", "", 200, "%PDF"},
		{"send", "POST", "/salesreceipt/" + id + "/send?sendTo=a@example.com", "", 200, `"SalesReceipt":{`},
		{"read nothing", "GET", "/salesreceipt/999", "", 400, `"code":"610"`},
		{"sparse update", "POST", "/salesreceipt?operation=update", `{"Id":"` + id + `","SyncToken":"0","sparse":true,"PrivateNote":"n"}`, 200, `"SyncToken":"1"`},
		{"stale update", "POST", "/salesreceipt?operation=update", `{"Id":"` + id + `","SyncToken":"0","sparse":true}`, 400, `"code":"5010"`},
		{"update without token", "POST", "/salesreceipt", `{"Id":"` + id + `"}`, 400, `"code":"2020"`},
		{"still whole", "GET", "/salesreceipt/" + id, "", 200, `"DocNumber":"D1"`},
		{"void", "POST", "/salesreceipt?operation=void", `{"Id":"` + id + `","SyncToken":"1"}`, 200, `"Voided"`},
		{"delete", "POST", "/salesreceipt?operation=delete", `{"Id":"` + id + `","SyncToken":"2"}`, 200, `"status":"Deleted"`},
		{"gone", "GET", "/salesreceipt/" + id, "", 400, `"code":"610"`},
		{"no JSON", "POST", "/customer", `{`, 400, "ValidationFault"},
		{"no entity", "GET", "/nothing/1", "", 400, "Unsupported Operation"},
		{"method", "PUT", "/customer", `{}`, 400, "Unsupported Operation"},
		{"company info", "GET", "/companyinfo/" + realmA, "", 200, `"CompanyName":"Company A"`},
		{"company info in SDK's case", "GET", "/CompanyInfo/" + realmA, "", 200, `{"CompanyInfo":{`},
		{"preferences", "GET", "/preferences", "", 200, `"Preferences"`},
		{"report", "GET", "/reports/ProfitAndLoss?start_date=2026-01-01", "", 200, `"StartPeriod":"2026-01-01"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if a := h.company(tc.method, tc.path, token, tc.body); a.status != tc.status || !strings.Contains(a.body, tc.want) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestQuery(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).AccessToken
	for _, tc := range []struct {
		query  string
		status int
		want   string
	}{
		{"select * from Customer startposition 1 maxresults 1000", 200, `"maxResults":3`},
		{"SELECT * FROM customer STARTPOSITION 3 MAXRESULTS 1", 200, `"maxResults":1`},
		{"select * from Customer startposition 99999999999999999999", 200, `{"QueryResponse":{"query":`},
		{"select count(*) from Invoice", 200, `"totalCount":2`},
		{"select * from Item", 200, `"Rock Fountain"`},
		{"select * from CompanyInfo", 200, `"CompanyName"`},
		{`select * from Customer where DisplayName = 'Amy\'s Bird Sanctuary'`, 200, `"maxResults":1`},
		{"select * from Estimate", 200, `{"QueryResponse":{"query":`},
		{"select * from Nothing", 400, `"code":"4000"`},
		{"delete from Customer", 400, `"code":"4000"`},
	} {
		t.Run(tc.query, func(t *testing.T) {
			get := h.company("GET", "/query?query="+url.QueryEscape(tc.query), token, "")
			req := h.apiRequest("POST", "/v3/company/"+realmA+"/query", token, tc.query)
			req.Header.Set("Content-Type", "application/text")
			for _, a := range []answer{get, h.must(req)} {
				if a.status != tc.status || !strings.Contains(a.body, tc.want) {
					t.Errorf("%d %s", a.status, a.body)
				}
				if a.status == 200 && a.json(t)["QueryResponse"].(map[string]any)["query"] != tc.query {
					t.Errorf("the query is not repeated: %s", a.body)
				}
			}
		})
	}
}

func TestXML(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).AccessToken
	send := func(method, path, body string) answer {
		req := h.apiRequest(method, "/v3/company/"+realmA+path, token, body)
		req.Header.Set("Accept", "application/xml")
		if body != "" {
			req.Header.Set("Content-Type", "application/xml")
		}
		a := h.must(req)
		if err := xml.Unmarshal([]byte(a.body), new(struct{ XMLName xml.Name })); err != nil || a.header.Get("Content-Type") != xmlType {
			t.Fatalf("%v: %v %s", err, a.header, a.body)
		}
		return a
	}
	if a := send("GET", "/companyinfo/"+realmA, ""); a.status != 200 || !strings.Contains(a.body, "<CompanyName>Company A</CompanyName>") {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := send("POST", "/customer", `<Customer xmlns="http://schema.intuit.com/finance/v3"><DisplayName>X &amp; Y</DisplayName><PrimaryEmailAddr><Address>a@example.com</Address></PrimaryEmailAddr></Customer>`)
	if a.status != 200 || !strings.Contains(a.body, "<DisplayName>X &amp; Y</DisplayName>") || !strings.Contains(a.body, "<Address>a@example.com</Address>") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := send("GET", "/query?query=select%20*%20from%20Invoice", ""); !strings.Contains(a.body, `<CustomerRef name="Amy&#39;s Bird Sanctuary">1</CustomerRef>`) {
		t.Errorf("%s", a.body)
	}
	if a := send("GET", "/customer/999", ""); a.status != 400 || !strings.Contains(a.body, `<Error code="610">`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestBatchAndChanges(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).AccessToken
	h.company("GET", "/query?query=select%20*%20from%20Customer", token, "") // the books exist from here on
	h.Advance(time.Minute)
	since := h.Now()
	a := h.company("POST", "/batch", token, `{"BatchItemRequest":[
		{"bId":"1","operation":"create","Customer":{"DisplayName":"New"}},
		{"bId":"2","Query":"select * from Item"},
		{"bId":"3","operation":"delete","Customer":{"Id":"999","SyncToken":"0"}},
		{"bId":"4"}]}`)
	items, _ := a.json(t)["BatchItemResponse"].([]any)
	if a.status != 200 || len(items) != 4 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for i, member := range []string{"Customer", "QueryResponse", "Fault", "Fault"} {
		item := items[i].(map[string]any)
		if item[member] == nil || item["bId"] != fmt.Sprint(i+1) {
			t.Errorf("item %d: %v", i, item)
		}
	}
	// node-quickbooks does not escape the plus of a time zone.
	for _, stamp := range []string{url.QueryEscape(since.Format(time.RFC3339)), since.In(time.FixedZone("", 3600)).Format(time.RFC3339)} {
		a = h.company("GET", "/cdc?entities=Customer,Invoice&changedSince="+stamp, token, "")
		if a.status != 200 || strings.Count(a.body, `"DisplayName"`) != 1 || !strings.Contains(a.body, `"CDCResponse":[{"QueryResponse":[{"Customer":[`) {
			t.Errorf("%s: %d %s", stamp, a.status, a.body)
		}
	}
	if a := h.company("GET", "/cdc?entities=Customer&changedSince=yesterday", token, ""); a.status != 400 {
		t.Errorf("%d", a.status)
	}
}

func TestUploadAndDownload(t *testing.T) {
	h := start(t, Behaviour{})
	token := h.Connect(realmA).AccessToken
	content := bytes.Repeat([]byte("0123456789abcdef"), 40000)
	var form bytes.Buffer
	m := multipart.NewWriter(&form)
	_ = m.WriteField("file_metadata_01", `{"Note":"a note"}`)
	part, _ := m.CreateFormFile("file_content_01", "scan.bin")
	_, _ = part.Write(content)
	m.Close()
	sum, whole := sha256.Sum256(content), sha256.Sum256(form.Bytes())
	req := h.apiRequest("POST", "/v3/company/"+realmA+"/upload", token, form.String())
	req.Header.Set("Content-Type", m.FormDataContentType())
	a := h.must(req)
	list, _ := a.json(t)["AttachableResponse"].([]any)
	if a.status != 200 || len(list) != 1 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	e := list[0].(map[string]any)["Attachable"].(map[string]any)
	if e["Size"] != float64(len(content)) || e["sha256"] != hex.EncodeToString(sum[:]) || e["FileName"] != "scan.bin" || e["Note"] != "a note" {
		t.Errorf("%v", e)
	}
	log := h.APIRequests()[0]
	if log.BodySHA256 != hex.EncodeToString(whole[:]) || log.BodyLength != int64(form.Len()) || !log.BodyComplete {
		t.Errorf("%+v", log)
	}
	if c := h.Creates(); len(c) != 1 || c[0].BodySHA256 != log.BodySHA256 {
		t.Errorf("%+v", c)
	}
	if a := h.company("GET", "/download/"+e["Id"].(string), token, ""); a.status != 200 || a.body != string(content) {
		t.Errorf("download: %d, %d bytes", a.status, len(a.body))
	}
	if a := h.company("GET", "/download/999", token, ""); a.status != 400 {
		t.Errorf("download: %d", a.status)
	}
}

func TestPaymentsAndGraphQL(t *testing.T) {
	h := start(t, Behaviour{})
	g, payments := h.Connect(realmA), h.Connect(realmA, ScopePayment)
	charge := h.apiRequest("POST", "/quickbooks/v4/payments/charges", g.AccessToken, `{"amount":"1.00"}`)
	charge.Header.Set("Request-Id", "q1")
	if a := h.must(charge); a.status != 201 || !strings.Contains(a.body, `"CAPTURED"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if c := h.Creates(); len(c) != 1 || c[0].RequestID != "q1" {
		t.Errorf("%+v", c)
	}
	graph := func(token string) answer {
		return h.must(h.apiRequest("POST", "/graphql", token, `{"query":"{company{id}}"}`))
	}
	if a := graph(g.AccessToken); a.status != 200 || !strings.Contains(a.body, `{"company":{"id":"`+realmA+`"}`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := graph(payments.AccessToken); a.status != 200 || !strings.Contains(a.body, "AHZ-0010") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := graph("x"); a.status != 401 || !strings.Contains(a.body, `"code":"AuthenticationFailed"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}
