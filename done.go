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
	"errors"
	"net/http"
	"strings"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/pages"
)

// failureWords say to a human what happened and who can repair it.
var failureWords = map[grant.Failure]struct {
	status            int
	lead, who, repair string
}{
	grant.FailureState: {
		http.StatusBadRequest,
		"This sign-in was not started in this browser, or it is long over.",
		whoUser,
		"Go back to the app and start again, in one browser window.",
	},
	grant.FailureUsed: {
		http.StatusGone,
		"This sign-in was used before, and each works once. Nothing has changed now.",
		whoUser,
		"If the app says that the company is connected, nothing is left to do. Otherwise go back to the app and start again, in one browser window.",
	},
	grant.FailureExpired: {
		http.StatusGone,
		"This sign-in took longer than ten minutes, so it is not valid any more.",
		whoUser,
		"Nothing was connected. Go back to the app and start again.",
	},
	grant.FailureChanged: {
		http.StatusConflict,
		"The keys of this app were changed while you signed in.",
		whoUser,
		"Nothing was connected. Go back to the app and start again.",
	},
	grant.FailureDenied: {
		http.StatusOK,
		"The connection was not allowed.",
		whoUser,
		"Nothing has changed. If that was a mistake, go back to the app and start again.",
	},
	grant.FailureProvider: {
		http.StatusBadGateway,
		"%s did not allow the connection.",
		whoOperator,
		"Check the app's scopes and its registration at %s. Nothing was connected.",
	},
	grant.FailureCallback: {
		http.StatusBadRequest,
		"%s sent this browser back in a way that cannot be understood.",
		whoUser,
		"Go back to the app and start again.",
	},
	grant.FailureClient: {
		http.StatusBadGateway,
		"%s does not accept this app's client ID or secret.",
		whoOperator,
		"Correct client_id, client_secret or environment. Nothing was connected.",
	},
	grant.FailureUnavailable: {
		http.StatusServiceUnavailable,
		"%s did not answer.",
		whoNobody,
		"It usually passes by itself. Nothing was connected; start again in a few minutes.",
	},
	grant.FailureAccount: {
		http.StatusBadGateway,
		"It could not be proven which company was connected.",
		whoUser,
		"Go back to the app and start again, and choose a company that you are an administrator of.",
	},
	grant.FailureOtherAccount: {
		http.StatusConflict,
		"Another company was chosen than the one to be reconnected.",
		whoUser,
		"The existing connection is unchanged. Try again, and choose the same company as before.",
	},
	grant.FailureOwned: {
		http.StatusConflict,
		"This company is already connected to another app here.",
		whoProxy,
		"The existing connection is unchanged. To let both apps use it, name the company in the settings of the second one.",
	},
	grant.FailureNotConnected: {
		http.StatusNotFound,
		"This company is not connected here.",
		whoUser,
		"Nothing was connected. Connect it from the app first.",
	},
	grant.FailureStorage: {
		http.StatusServiceUnavailable,
		"The connection could not be stored.",
		whoProxy,
		"The log says why. Start again in a few minutes.",
	},
}

// done tells what came of it, at a clean address.
func (h *ConnectHandler) done(w http.ResponseWriter, r *http.Request, keeper *grant.Keeper) error {
	result, err := keeper.OpenResult(r.URL.Query().Get("result"))
	if err != nil || result.Integration != h.integration.name {
		return h.linkProblem(grant.Link{}, err)
	}
	page, status := h.donePage(keeper, result)
	pages.Write(w, status, page)
	return nil
}

// donePage makes the page that ends an authorization, or a disconnection.
func (h *ConnectHandler) donePage(keeper *grant.Keeper, r grant.Result) (pages.Page, int) {
	if r.Purpose == grant.PurposeDisconnect {
		return h.disconnectedPage(r), http.StatusOK
	}
	title := h.integration.provider.Title()
	page := pages.Page{
		Kind: pages.Success, App: h.appName(r.Caller), Title: "Connected to " + title,
		Technical: []pages.Field{
			{Name: "integration", Value: r.Integration},
			{Name: "connection", Value: r.Connection},
			{Name: "error", Value: string(r.Failure)},
			{Name: "detail", Value: r.Detail},
			{Name: "intuit_tid", Value: r.TraceID},
		},
		Action: h.backWith(r),
	}
	status := http.StatusOK
	switch words, ok := failureWords[r.Failure]; {
	case r.Failure == "":
		page.Lead = companyName(r.Account, r.Connection) + " is connected."
		page.Detail = []string{"You can close this window."}
	case r.Failure == grant.FailureCode:
		page.Kind, page.Title = pages.Failure, "Not connected to "+title
		status = codePage(&page, r, title)
	default:
		if !ok {
			words = failureWords[grant.FailureCallback]
		}
		page.Kind, page.Title, status = pages.Failure, "Not connected to "+title, words.status
		if r.Failure == grant.FailureUsed {
			// The first time may have been a success.
			page.Kind, page.Title = pages.Info, "Already used"
		}
		page.Lead = named(words.lead, title)
		page.Facts = []pages.Field{{Name: "Who can repair it", Value: words.who}, {Name: "How", Value: named(words.repair, title)}}
	}
	if r.Again != nil {
		page.Other = pages.Action{Label: "Try again", URL: h.againURL(keeper, *r.Again)}
		if page.Action.URL == "" || againHelps(r.Failure) {
			page.Action, page.Other = page.Other, page.Action
		}
	}
	page.Message = h.message(r, page.Lead)
	return page, status
}

// againHelps tells whether the same human may have more luck with another try.
func againHelps(f grant.Failure) bool {
	switch failureWords[f].who {
	case whoOperator, whoProxy:
		return false
	}
	return f != grant.FailureNotConnected
}

// againURL is where to begin anew what has failed.
func (h *ConnectHandler) againURL(keeper *grant.Keeper, link grant.Link) string {
	if link.Purpose == grant.PurposeReconnect {
		return h.reconnectURL(link.Connection, false)
	}
	return h.integration.linkURL(keeper, link)
}

// linkProblem makes the answer to a link that cannot be used. The link is the
// one that has expired, if that is what is wrong.
func (h *ConnectHandler) linkProblem(link grant.Link, err error) *problem {
	p := &problem{Kind: kindLinkInvalid}
	if errors.Is(err, grant.ErrLinkExpired) {
		p.Kind = kindLinkExpired
	}
	p.BackURL = h.back(link.ReturnURL, "").URL
	return p
}

// named puts the provider's title into a text that asks for it.
func named(text, title string) string {
	return strings.ReplaceAll(text, "%s", title)
}
