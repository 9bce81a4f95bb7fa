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
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/freshbearer/freshbearer/grant"
)

// linkRequest is the body of POST links.
type linkRequest struct {
	// Purpose is "connect", the default, or "disconnect".
	Purpose string `json:"purpose"`
	// Connection binds the link to one connection; empty for any.
	Connection string `json:"connection"`
	ReturnURL  string `json:"return_url"`
}

const maxLinkRequest = 16 << 10

// links makes a link for a caller, to give to a human.
func (h *ConnectHandler) links(w http.ResponseWriter, r *http.Request, caller *Caller, _ string) (*exchange, error) {
	request, err := readLinkRequest(r)
	if err != nil {
		return nil, err
	}
	keeper, err := h.keeper()
	if err != nil {
		return nil, err
	}
	if request.Connection != "" {
		if !h.integration.provider.ValidConnection(request.Connection) {
			return nil, badRequest("The connection is not a connection ID of this provider.")
		}
		x := h.exchange(keeper, caller, request.Connection)
		if err := x.entitled(r.Context()); err != nil {
			return nil, err
		}
	}
	if err := h.checkReturnURL(request.ReturnURL); err != nil {
		return nil, err
	}
	expires := time.Now().Add(time.Duration(h.integration.LinkLifetime)).Truncate(time.Second)
	link := h.integration.linkURL(keeper, grant.Link{
		Purpose:     request.purpose(),
		Integration: h.integration.name,
		Caller:      caller.name,
		Connection:  request.Connection,
		ReturnURL:   request.ReturnURL,
		ExpiresAt:   expires.Unix(),
	})
	writeJSON(w, http.StatusCreated, madeLink{link, expires.UTC()})
	return nil, nil
}

func (l *linkRequest) purpose() grant.Purpose {
	if l.Purpose == string(grant.PurposeDisconnect) {
		return grant.PurposeDisconnect
	}
	return grant.PurposeConnect
}

// writeJSON answers a caller. One that is gone gets no second answer.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v)
}

func (h *ConnectHandler) exchange(keeper *grant.Keeper, caller *Caller, connection string) *exchange {
	return &exchange{keeper: keeper, integration: h.integration, caller: caller, key: h.integration.key(connection)}
}

// readLinkRequest reads the body; an empty one asks for a link for any account.
func readLinkRequest(r *http.Request) (*linkRequest, error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxLinkRequest))
	if err != nil {
		return nil, &bodyError{err}
	}
	request := new(linkRequest)
	if len(body) == 0 {
		return request, nil
	}
	decoder := json.NewDecoder(strings.NewReader(string(body)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(request); err != nil || decoder.More() {
		words := `The body must be a JSON object with "connection", "return_url" and "purpose", all optional texts.`
		if number := new(json.UnmarshalTypeError); errors.As(err, &number) && number.Field == "connection" {
			words = `The connection must be a text, in quotes: {"connection":"9130…"}. JavaScript would round a number of that length.`
		}
		return nil, badRequest(words)
	}
	switch {
	case request.Purpose != "" && request.Purpose != "connect" && request.Purpose != string(grant.PurposeDisconnect):
		return nil, badRequest(`The purpose is "connect" or "disconnect".`)
	case request.purpose() == grant.PurposeDisconnect && request.Connection == "":
		return nil, badRequest("A link to disconnect needs the connection.")
	}
	return request, nil
}
