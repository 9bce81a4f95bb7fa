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
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshbearer/freshbearer/intuittest"
)

// replay is what an SDK that cannot be installed here does, read from its
// source; the guide names the commit.
type replay struct {
	guide, name string
	// request is what it sends, but for the lines in which Host, bearer and
	// company are put: {host} {hostname} {key} {realm}.
	head, body string
	// surface is what the developer gets to see of an answer that is an error,
	// by the SDK's own rules.
	surface func(a answer) (string, error)
	// dropped tells that the developer sees the status and no text.
	dropped bool
	// site is where it is sent: 0 has the default status for a dead grant, 1 has
	// reauth_status 400.
	site int
}

var replays = []replay{
	{
		guide: "python-quickbooks", name: "get",
		head: "GET /v3/company/{realm}/companyinfo/{realm}?minorversion=75\nHost: {host}\nUser-Agent: python-quickbooks V3 library\n" +
			"Accept-Encoding: gzip, deflate\nAccept: application/json\nConnection: keep-alive\nContent-Type: application/json\nAuthorization: Bearer {key}",
		surface: pythonQuickBooks,
	},
	{
		guide: "python-quickbooks", name: "query",
		head: "POST /v3/company/{realm}/query?minorversion=75\nHost: {host}\nUser-Agent: python-quickbooks V3 library\n" +
			"Accept-Encoding: gzip, deflate\nAccept: application/json\nConnection: keep-alive\nContent-Type: application/text\nAuthorization: Bearer {key}",
		body:    "SELECT * FROM Customer WHERE DisplayName = 'O''Brien'",
		surface: pythonQuickBooks,
	},
	{
		guide: "php", name: "getCompanyInfo", // curl sends its lines as they were given: no space, and no port in Host
		head: "GET /v3/company/{realm}/companyinfo/{realm}?minorversion=75\nAuthorization:Bearer {key}\nhost:{hostname}\nuser-agent:V3PHPSDK6.3.1\n" +
			"accept:application/xml\nconnection:close\ncontent-type:application/xml\ncontent-length:0",
		surface: phpSDK,
	},
	{
		guide: "php", name: "Query",
		head: "POST /v3/company/{realm}/query?minorversion=75\nAuthorization:Bearer {key}\nhost:{hostname}\nuser-agent:V3PHPSDK6.3.1\n" +
			"accept:*/*\nconnection:close\ncontent-type:application/text",
		body:    "SELECT * FROM Customer",
		surface: phpSDK,
	},
	{
		guide: "dotnet", name: "FindAll",
		head: "POST /v3/company/{realm}/query?minorversion=75&requestid=5f0c7bd4a3174a52a3cf5d21d7b3e0aa\nAccept: application/json\nUser-Agent: V3DotNetSDK14.7.0.0\n" +
			"Content-Type: application/text\nAuthorization: Bearer {key}\nHost: {host}\nExpect: 100-continue",
		body:    "Select * From CompanyInfo startPosition 1 maxResults 500",
		surface: dotNetSDK, dropped: true,
	},
	{
		guide: "dotnet", name: "FindAll with reauth_status 400", site: 1,
		head: "POST /v3/company/{realm}/query?minorversion=75&requestid=5f0c7bd4a3174a52a3cf5d21d7b3e0ab\nAccept: application/json\nUser-Agent: V3DotNetSDK14.7.0.0\n" +
			"Content-Type: application/text\nAuthorization: Bearer {key}\nHost: {host}\nExpect: 100-continue",
		body:    "Select * From CompanyInfo startPosition 1 maxResults 500",
		surface: dotNetSDK,
	},
	{
		guide: "java", name: "findById, HttpClient", // its Host has no port either
		head: "GET /v3/company/{realm}/companyinfo/{realm}?requestid=2f5a0d52bd294b0c8d0f1b7b2a6f77f3&minorversion=73&\nContent-Type: application/json\n" +
			"Content-Encoding: gzip\nAccept-Encoding: gzip\nAccept: application/json\nUser-Agent: V3JavaSDK6.4.2\nAuthorization: Bearer {key}\nHost: {hostname}\nConnection: Keep-Alive",
		surface: javaSDK,
	},
	{
		guide: "java", name: "findById, HttpURLConnection",
		head: "GET /v3/company/{realm}/companyinfo/{realm}?requestid=2f5a0d52bd294b0c8d0f1b7b2a6f77f4&minorversion=73&\nContent-Type: application/json\n" +
			"Content-Encoding: gzip\nAccept-Encoding: gzip\nAccept: application/json\nUser-Agent: V3JavaSDK6.4.2\nAuthorization: Bearer {key}\nHost: {host}\nConnection: keep-alive",
		surface: javaSDK,
	},
	{
		guide: "quickbooks-ruby", name: "fetch_by_id",
		head: "GET /v3/company/{realm}/companyinfo/{realm}?minorversion=75\nContent-Type: application/xml\nAccept: application/xml\n" +
			"Accept-Encoding: gzip, deflate\nAuthorization: Bearer {key}\nUser-Agent: Faraday v2.9.0\nConnection: close\nHost: {host}",
		surface: quickbooksRuby,
	},
	{
		guide: "qbo_api", name: "get",
		head: "GET /v3/company/{realm}/companyinfo/{realm}\nAccept: application/json\nContent-Type: application/json;charset=UTF-8\n" +
			"User-Agent: Faraday v2.9.0\nAuthorization: Bearer {key}\nAccept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3\nHost: {host}",
		surface: qboAPI,
	},
	{
		guide: "quickbooks-go", name: "FindCompanyInfo",
		head: "GET /v3/company/{realm}/companyinfo/{realm}?minorversion=75\nHost: {host}\nUser-Agent: Go-http-client/1.1\nAccept: application/json\n" +
			"Authorization: Bearer {key}\nContent-Type: application/json\nAccept-Encoding: gzip",
		surface: quickbooksGo,
	},
}

// replayedGuides are the guides that are replayed.
func replayedGuides() map[string]bool {
	guides := make(map[string]bool)
	for _, r := range replays {
		guides[r.guide] = true
	}
	return guides
}

// What the SDKs that cannot be installed here send is served, and what they
// make of a 428 leads the developer to the address that repairs it.
func TestReplayedSDKs(t *testing.T) {
	s := start(t, func(s *system) {
		s.addSite("visible", s.Sites[0].Intuit.Behaviour()).Options = []string{"reauth_status 400"}
	})
	for _, site := range s.Sites {
		connectAt(t, site, s.Key, realmOne)
		connectAt(t, site, s.Key, realmTwo)
		site.Intuit.KillGrant(realmTwo)
	}
	for _, r := range replays {
		t.Run(r.guide+"/"+r.name, func(t *testing.T) {
			site := s.Sites[r.site]
			if a := r.send(t, site, s.Key, realmOne); a.Status != http.StatusOK || a.Header.Get("Proxy-Status") != "" {
				t.Errorf("with a living grant: %d %s", a.Status, a.Body)
			}
			requests := site.Intuit.APIRequests()
			target, _, _ := strings.Cut(strings.ReplaceAll(r.head, "{realm}", realmOne), "\n")
			if !slices.ContainsFunc(requests, func(got intuittest.APIRequest) bool { return got.Method+" "+got.Target == target }) {
				t.Errorf("the API did not get %s", target)
			}

			a := r.send(t, site, s.Key, realmTwo)
			if want := []int{428, 400}[r.site]; a.Status != want {
				t.Fatalf("with a dead grant: %d, not %d: %s", a.Status, want, a.Body)
			}
			text, err := r.surface(a)
			if err != nil {
				t.Fatalf("the SDK cannot read the answer: %v\n%s", err, a.Body)
			}
			if r.dropped {
				if text != "" {
					t.Errorf("the guide says that the text is dropped, and this is seen: %s", text)
				}
				// What the guide does instead.
				text = link(t, client(t), site.Origin, s.Key, `{"connection":"`+realmTwo+`"}`)
			}
			url := regexp.MustCompile(`https?://\S+$`).FindString(text)
			if !strings.HasPrefix(url, site.Origin+"/oauth/connect?link=") {
				t.Fatalf("the developer sees %q, which does not end with the address", text)
			}
			if page := mustDo(t, client(t), http.MethodGet, url, nil); page.Status != http.StatusOK {
				t.Errorf("the address answers %d", page.Status)
			}
		})
	}
}

// send writes the request byte by byte.
func (r replay) send(t *testing.T, at *site, key, realm string) answer {
	t.Helper()
	host := strings.TrimPrefix(at.Origin, "http://")
	hostname, _, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))

	first, lines, _ := strings.Cut(r.head, "\n")
	text := first + " HTTP/1.1\r\n" + strings.ReplaceAll(lines, "\n", "\r\n") + "\r\n"
	if r.body != "" {
		text += "Content-Length: " + strconv.Itoa(len(r.body)) + "\r\n"
	}
	text = strings.NewReplacer("{host}", host, "{hostname}", hostname, "{key}", key, "{realm}", realm).Replace(text)
	if _, err := conn.Write([]byte(text + "\r\n" + r.body)); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if resp.StatusCode == http.StatusContinue {
			continue
		}
		a, err := read(resp)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// jsonFault is Intuit's Fault, in the keys that all SDKs read.
type jsonFault struct {
	Fault *struct {
		Error []struct {
			Message string
			Detail  string
			Code    string `json:"code"`
		}
		Type string `json:"type"`
	}
	Time string `json:"time"`
}

func readFault(body []byte) (jsonFault, error) {
	var f jsonFault
	if err := json.Unmarshal(body, &f); err != nil {
		return f, err
	}
	if f.Fault == nil || len(f.Fault.Error) == 0 {
		return f, errors.New("no Fault")
	}
	return f, nil
}

// client.py: any status but 401 is parsed as JSON, and the code as an integer.
func pythonQuickBooks(a answer) (string, error) {
	if a.Status == http.StatusUnauthorized {
		return "", errors.New("the text of a 401 is in detail only")
	}
	f, err := readFault(a.Body)
	if err != nil {
		return "", err
	}
	code, err := strconv.Atoi(f.Fault.Error[0].Code)
	if err != nil {
		return "", fmt.Errorf("ValueError: %w", err)
	}
	if code <= 0 || code > 499 {
		return "", fmt.Errorf("code %d is no AuthorizationException", code)
	}
	if code != 428 {
		return "", fmt.Errorf("the guide looks for 428, and this is %d", code)
	}
	return f.Fault.Error[0].Message, nil
}

type xmlFault struct {
	XMLName xml.Name `xml:"http://schema.intuit.com/finance/v3 IntuitResponse"`
	Error   struct {
		Message, Detail string
		Code            string `xml:"code,attr"`
	} `xml:"Fault>Error"`
}

// IntuitResponse.php and FaultHandler.php: XML is parsed if its content type is
// one of three strings; else only the body is there. After it comes the
// function of the guide.
func phpSDK(a answer) (string, error) {
	contentType := a.Header.Get("Content-Type")
	for _, parsed := range []string{"application/xml", "text/xml", "application/xml;charset=UTF-8"} {
		if strings.EqualFold(contentType, parsed) {
			var f xmlFault
			err := xml.Unmarshal(a.Body, &f)
			return f.Error.Message, err
		}
	}
	var problem struct {
		Detail string `json:"detail"`
	}
	if !bytes.Contains(a.Body, []byte("reauthorization_required")) {
		return "", errors.New("the guide's condition does not hold")
	}
	err := json.Unmarshal(a.Body, &problem)
	return problem.Detail, err
}

// FaultHandler.cs and IntuitConverter.cs: only 400 and 401 are read, status
// must be convertible to a string and time to a date.
func dotNetSDK(a answer) (string, error) {
	if a.Status != http.StatusBadRequest && a.Status != http.StatusUnauthorized {
		return "", nil
	}
	f, err := readFault(a.Body)
	if err != nil {
		return "", err
	}
	if _, err := time.Parse(time.RFC3339Nano, f.Time); err != nil {
		return "", err
	}
	switch f.Fault.Type {
	case "Authentication", "AuthenticationFault", "Authorization", "AuthorizationFault":
	default:
		return "", fmt.Errorf("a Fault of type %s is no SecurityException", f.Fault.Type)
	}
	if !strings.Contains(f.Fault.Error[0].Detail, "reauthorization_required") {
		return "", fmt.Errorf("the guide looks in Detail, which is %q", f.Fault.Error[0].Detail)
	}
	return f.Fault.Error[0].Message, nil
}

// DeserializeInterceptor.java and HandleResponseInterceptor.java.
func javaSDK(a answer) (string, error) {
	if a.Header.Get("Content-Encoding") != "" {
		return "", errors.New("the answer is encoded")
	}
	for part := range strings.SplitSeq(a.Header.Get("Content-Type"), ";") {
		if _, format, ok := strings.Cut(part, "/"); ok && !strings.EqualFold(format, "json") {
			return "", fmt.Errorf("an exception without a Fault: Content-Type is %s", part)
		}
	}
	f, err := readFault(a.Body)
	if err != nil {
		return "", fmt.Errorf("no exception at all: %w", err)
	}
	if !strings.EqualFold(f.Fault.Type, "AuthenticationFault") || f.Fault.Error[0].Code != "428" {
		return "", fmt.Errorf("type %s, code %s", f.Fault.Type, f.Fault.Error[0].Code)
	}
	return f.Fault.Error[0].Message, nil
}

// base_service.rb: the body behind a status that it does not know, which the
// guide takes apart.
func quickbooksRuby(a answer) (string, error) {
	text := "HTTP Error Code: " + strconv.Itoa(a.Status) + ", Msg: " + string(a.Body)
	if !strings.HasPrefix(text, "HTTP Error Code: 428") {
		return "", errors.New(text)
	}
	_, document, ok := strings.Cut(text, "<?xml")
	if !ok {
		return "", errors.New("the answer is no XML: " + text)
	}
	var f xmlFault
	err := xml.Unmarshal([]byte("<?xml"+document), &f)
	return f.Error.Message, err
}

// raise_http_exception.rb: Faraday::ClientError, with the body as text.
func qboAPI(a answer) (string, error) {
	var problem struct {
		Error     string `json:"error"`
		ReauthURL string `json:"reauth_url"`
	}
	if err := json.Unmarshal(a.Body, &problem); err != nil || problem.Error != "reauthorization_required" {
		return "", fmt.Errorf("error is %q: %w", problem.Error, err)
	}
	return problem.ReauthURL, nil
}

// errors.go and defs.go: a Failure only if time has one of two forms.
func quickbooksGo(a answer) (string, error) {
	f, err := readFault(a.Body)
	if err != nil {
		return "", err
	}
	if _, err := time.Parse("2006-01-02T15:04:05-07:00", f.Time); err != nil {
		return "", fmt.Errorf("no Failure: %w", err)
	}
	if f.Fault.Error[0].Code != "428" {
		return "", fmt.Errorf("code %s", f.Fault.Error[0].Code)
	}
	_, link, _ := strings.Cut(f.Fault.Error[0].Message, " Open ")
	return link, nil
}
