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

package reliability_test

// What keeps the browser side to its people, its app and its host.
func init() {
	allMutants = append(allMutants, []mutant{
		{
			"return URLs of any origin",
			[]edit{{"return_url.go", "	_, ok := origins[originOf(u)]\n	return ok\n", "	return true\n"}},
			"caddytest", []string{"TestReturnURLPayloads"},
		},
		{
			"return URLs that readers may read differently",
			[]edit{{"return_url.go", " || u.String() != raw {", " {"}},
			".", []string{"FuzzReturnURL"},
		},
		{
			"return URLs with characters that browsers change",
			[]edit{{"return_url.go", "return c <= ' ' || c == '\\\\' || c >= 0x7f", "return c == 0"}},
			".", []string{"FuzzReturnURL"},
		},
		{
			"return URLs with a user",
			[]edit{{"return_url.go", "u.User != nil || ", ""}},
			".", []string{"FuzzReturnURL"},
		},
		{
			"pages under any host name",
			[]edit{{"connect.go", "	if !sameHost(r.Host, h.integration.redirect) {\n", "	if false {\n"}},
			"caddytest", []string{"TestHostMatrix"},
		},
		{
			"a GET refreshes",
			[]edit{{"connect.go", "/refresh\": {http.MethodPost: aboutConnection((*ConnectHandler).refreshConnection)}", "/refresh\": {http.MethodPost: aboutConnection((*ConnectHandler).refreshConnection), http.MethodGet: aboutConnection((*ConnectHandler).refreshConnection)}"}},
			"caddytest", []string{"TestSweepByGET"},
		},
		{
			"what a company calls itself is markup",
			[]edit{{"pages/pages.go", "template.New(\"page\").Parse(source)",
				"template.New(\"page\").Funcs(template.FuncMap{\"raw\": func(s string) template.HTML { return template.HTML(s) }}).Parse(" +
					"string(bytes.ReplaceAll([]byte(source), []byte(\"<dd>{{.Value}}\"), []byte(\"<dd>{{raw .Value}}\"))))"}},
			"caddytest", []string{"TestHostileTexts"},
		},
		{
			"any authorization server may answer",
			[]edit{{"grant/callback.go", "	if !single || query.Has(\"iss\") && known != \"\" && issuer != known {\n", "	if _, _ = issuer, known; !single {\n"}},
			"grant", []string{"TestAnswerOfAnotherServer"},
		},
		{
			"sign-ins without end",
			[]edit{{"grant/starts.go", "	if s.begun >= maxBegun {\n", "	if false {\n"}},
			"grant", []string{"TestFloodOfStarts"},
		},
	}...)
}
