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
	"fmt"
	"net/http"
	"strings"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
)

// failureWords say to a human what happened and who can repair it.
var failureWords = map[grant.Failure]struct {
	status       int
	lead, repair string
}{
	grant.FailureState: {
		http.StatusBadRequest,
		"This sign-in was not started in this browser, or it is long over.",
		"Go back to the app and start again, in one browser window.",
	},
	grant.FailureUsed: {
		http.StatusGone,
		"This sign-in was used before, and each works once. Nothing has changed now.",
		"If the app says that the company is connected, nothing is left to do. Otherwise go back to the app and start again, in one browser window.",
	},
	grant.FailureExpired: {
		http.StatusGone,
		"This sign-in took longer than ten minutes, so it is not valid any more.",
		"Nothing was connected. Go back to the app and start again.",
	},
	grant.FailureChanged: {
		http.StatusConflict,
		"The keys of this app were changed while you signed in.",
		"Nothing was connected. Go back to the app and start again.",
	},
	grant.FailureDenied: {
		http.StatusOK,
		"The connection was not allowed.",
		"Nothing has changed. If that was a mistake, go back to the app and start again.",
	},
	grant.FailureProvider: {
		http.StatusBadGateway,
		"%s did not allow the connection.",
		"The person who runs the app should check its scopes and its registration at %s.",
	},
	grant.FailureCallback: {
		http.StatusBadRequest,
		"%s sent this browser back in a way that cannot be understood.",
		"Go back to the app and start again.",
	},
	grant.FailureClient: {
		http.StatusBadGateway,
		"%s does not accept this app's client ID or secret.",
		"The person who runs the app must correct client_id, client_secret or environment.",
	},
	grant.FailureUnavailable: {
		http.StatusServiceUnavailable,
		"%s did not answer.",
		"Please go back to the app and start again in a few minutes.",
	},
	grant.FailureAccount: {
		http.StatusBadGateway,
		"It could not be proven which company was connected.",
		"Go back to the app and start again, and choose a company that you are an administrator of.",
	},
	grant.FailureOtherAccount: {
		http.StatusConflict,
		"Another company was chosen than the one to be reconnected.",
		"The existing connection is unchanged. Start again and choose the same company as before.",
	},
	grant.FailureOwned: {
		http.StatusConflict,
		"This company is already connected to another app here.",
		"The existing connection is unchanged. The person who runs this proxy can allow both apps to use it.",
	},
	grant.FailureNotConnected: {
		http.StatusNotFound,
		"This company is not connected here.",
		"Nothing was connected. Connect it from the app first.",
	},
	grant.FailureStorage: {
		http.StatusServiceUnavailable,
		"The connection could not be stored.",
		"Please go back to the app and start again in a few minutes. The proxy's log says why.",
	},
}

// donePage makes the page that ends an authorization.
func (h *ConnectHandler) donePage(r grant.Result) (pages.Page, int) {
	title := h.integration.provider.Title()
	technical := []pages.Field{
		{Name: "integration", Value: r.Integration},
		{Name: "connection", Value: r.Connection},
		{Name: "error", Value: string(r.Failure)},
		{Name: "detail", Value: r.Detail},
		{Name: "intuit_tid", Value: r.TraceID},
	}
	back := pages.Action{}
	if r.ReturnURL != "" {
		back = pages.Action{Label: "Back to the app", URL: r.ReturnURL}
	}
	if r.Failure == "" {
		name := r.Account
		if name == "" {
			name = r.Connection
		}
		return pages.Page{
			Kind: pages.Success, Title: "Connected to " + title,
			Lead:   fmt.Sprintf("%s is connected.", name),
			Detail: []string{"You can close this window."}, Technical: technical, Action: back,
		}, http.StatusOK
	}
	if r.Failure == grant.FailureCode {
		return codePage(r, title, technical, back)
	}
	words, ok := failureWords[r.Failure]
	if !ok {
		words = failureWords[grant.FailureCallback]
	}
	kind, heading := pages.Failure, "Not connected to "+title
	if r.Failure == grant.FailureUsed {
		// The first time may have been a success.
		kind, heading = pages.Info, "Already used"
	}
	return pages.Page{
		Kind: kind, Title: heading,
		Lead:   named(words.lead, title),
		Detail: []string{named(words.repair, title)}, Technical: technical, Action: back,
	}, words.status
}

// named puts the provider's title into a text that asks for it.
func named(text, title string) string {
	return strings.ReplaceAll(text, "%s", title)
}
