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

package intuittest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/freshbearer/freshbearer/intuittest"
)

// An application's test of its own reconnect path: the connection works, the
// user disconnects the app inside QuickBooks, and from then on the API refuses
// the token and a refresh gives invalid_grant.
func Example() {
	srv := intuittest.NewServer(intuittest.Config{})
	defer srv.Close()
	const realm = intuittest.DefaultRealm
	grant := srv.Connect(realm)

	call := func() int {
		req, _ := http.NewRequest("GET", srv.URL()+"/v3/company/"+realm+"/companyinfo/"+realm, nil)
		req.Header.Set("Authorization", "Bearer "+grant.AccessToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	refresh := func() string {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {grant.RefreshToken}}
		form.Set("client_id", intuittest.DefaultClientID)
		form.Set("client_secret", intuittest.DefaultClientSecret)
		res, err := http.PostForm(srv.TokenURL(), form)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		var answer struct {
			TokenType string `json:"token_type"`
			Error     string `json:"error"`
		}
		_ = json.NewDecoder(res.Body).Decode(&answer)
		return answer.TokenType + answer.Error
	}

	fmt.Println(call(), refresh())
	srv.KillGrant(realm)
	fmt.Println(call(), refresh())
	// Output:
	// 200 bearer
	// 401 invalid_grant
}
