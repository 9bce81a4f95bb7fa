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

// problemKind is a sort of answer. The zero value is an internal error.
type problemKind uint8

const (
	kindInternal problemKind = iota
	kindCallerUnknown
	kindConnectionForbidden
	kindBadTarget
	kindBadRequest
	kindMethodNotAllowed
	kindNotImplemented
	kindBodyTooLarge
	kindReauthorization
	kindTokenUnavailable
	kindGrantSuspect
	kindClientRefused
	kindStorage
	kindUpstreamUnreachable
	kindUpstreamFailed
	kindUpstreamTimeout
	kindUpstreamRedirect
	kindMisdirected
	kindLinkInvalid
	kindLinkExpired
	kindNotFound
	kindTooEarly
	kindHold
	kindTooSoon
	kindFormRefused
	kindRateLimited
	kindCallerLimited
	kindOutOfScope
	kindHosts
)

// The Fault types that Intuit uses. The .NET SDK chooses its exception by them.
const (
	faultAuthentication = "AuthenticationFault"
	faultAuthorization  = "AuthorizationFault"
	faultValidation     = "ValidationFault"
	faultService        = "ServiceFault"
)

// problemDoc documents every kind, as RFC 9457 §4 demands of a type.
const problemDoc = "https://github.com/freshbearer/freshbearer/blob/main/docs/problems.md#"

// problemKinds says what is the same for all problems of a kind. code is the
// OAuth-style error, the details of Proxy-Status and, with hyphens, the anchor
// of the documentation; title has the same words. via is an error type of
// RFC 9209 §2.3. detail is for problems that bring none of their own.
var problemKinds = [...]struct {
	status                          int
	code, title, fault, via, detail string
}{
	kindInternal: {
		500, "internal_error", "Internal error", faultService, "proxy_internal_error",
		"The proxy failed. Its log says why.",
	},
	kindCallerUnknown: {
		401, "invalid_proxy_key", "Invalid proxy key", faultAuthentication, "http_request_denied",
		"This request needs a proxy key of this proxy: Authorization: Bearer <proxy key>. A QuickBooks access token is not one.",
	},
	kindConnectionForbidden: {
		403, "connection_forbidden", "Connection forbidden", faultAuthorization, "http_request_denied",
		"This proxy key may not use this connection.",
	},
	kindBadTarget: {
		400, "bad_target", "Bad target", faultValidation, "http_request_error",
		"The request target does not have the form of an API request of this integration.",
	},
	kindBadRequest: {
		400, "bad_request", "Bad request", faultValidation, "http_request_error",
		"The request is not well-formed.",
	},
	kindMethodNotAllowed: {
		405, "method_not_allowed", "Method not allowed", faultValidation, "http_request_error",
		"This method is not allowed here. The Allow header names those that are.",
	},
	kindNotImplemented: {
		501, "not_implemented", "Not implemented", faultService, "http_request_denied",
		"The proxy carries plain requests only: no CONNECT and no protocol upgrade.",
	},
	kindBodyTooLarge: {
		413, "body_too_large", "Body too large", faultValidation, "http_request_error",
		"The request body is larger than the proxy accepts.",
	},
	kindReauthorization: {
		428, "reauthorization_required", "Reauthorization required", faultAuthentication, "proxy_internal_response",
		"This connection must be authorized again, by a person.",
	},
	kindTokenUnavailable: {
		503, "token_unavailable", "Token unavailable", faultService, "proxy_internal_response",
		"No token can be had from the provider at the moment. The connection is not lost; try again later.",
	},
	kindGrantSuspect: {
		503, "grant_suspect", "Grant suspect", faultService, "proxy_internal_response",
		"The provider refuses this connection's grant, but there is reason not to believe it yet. Nobody has to reconnect; try again later.",
	},
	kindClientRefused: {
		503, "client_refused", "Client refused", faultService, "proxy_configuration_error",
		"The provider refuses the client id or secret of this proxy. Its operator must correct them; the connection is not lost.",
	},
	kindStorage: {
		503, "storage_unavailable", "Storage unavailable", faultService, "proxy_internal_error",
		"The proxy cannot read or write its token store. Its log says why.",
	},
	kindUpstreamUnreachable: {
		502, "upstream_unreachable", "Upstream unreachable", faultService, "destination_unavailable",
		"The API cannot be reached. The request was not sent.",
	},
	kindUpstreamFailed: {
		502, "upstream_failed", "Upstream failed", faultService, "connection_terminated",
		"The API gave no usable answer. It may have carried out the request.",
	},
	kindUpstreamTimeout: {
		504, "upstream_timeout", "Upstream timeout", faultService, "http_response_timeout",
		"The API did not answer in time. It may have carried out the request.",
	},
	kindUpstreamRedirect: {
		502, "upstream_redirect", "Upstream redirect", faultService, "http_protocol_error",
		"The API answered with a redirect to another host, which the proxy does not pass on.",
	},
	kindMisdirected: {
		421, "misdirected_request", "Misdirected request", faultValidation, "http_request_denied",
		"This proxy does not serve this host name.",
	},
	kindLinkInvalid: {
		400, "link_invalid", "Link invalid", faultValidation, "http_request_error",
		"This link was not made by this proxy, or was changed on its way. Ask the app that gave it to you for a new one.",
	},
	kindLinkExpired: {
		410, "link_expired", "Link expired", faultValidation, "http_request_error",
		"This link has expired. Ask the app that gave it to you for a new one.",
	},
	kindTooEarly: {
		425, "too_early", "Too early", faultValidation, "http_request_denied",
		"A request that changes something is not accepted in TLS early data. Send it again.",
	},
	kindHold: {
		503, "on_hold", "On hold", faultService, "proxy_configuration_error",
		"This proxy's token store was restored from a backup, or copied, or its grants were exported. No token is refreshed until its operator " +
			"has made sure that nobody else uses them, and has run: caddy freshbearer resume. The connection is not lost.",
	},
	kindHosts: {
		503, "host_unconfirmed", "Host unconfirmed", faultService, "proxy_configuration_error",
		"This proxy is configured to send tokens to a host that this connection's tokens are not bound to. None is sent until its operator " +
			"has made sure that the host is meant, and has run: caddy freshbearer rebind. The connection is not lost.",
	},
	kindTooSoon: {
		429, "too_soon", "Too soon", faultService, "http_request_denied",
		"This was asked for too often. Try again later.",
	},
	kindRateLimited: {
		429, "rate_limited", "Rate limited", faultService, "http_request_denied",
		"There are more requests of this company than the API allows, and too many of them wait already. This one was not sent; try again later.",
	},
	kindCallerLimited: {
		429, "caller_limited", "Caller limited", faultService, "http_request_denied",
		"This proxy key has sent more requests than it may. Try again later.",
	},
	kindOutOfScope: {
		403, "out_of_scope", "Out of scope", faultAuthorization, "http_request_denied",
		"This proxy key may not send this request.",
	},
	kindFormRefused: {
		403, "form_refused", "Form refused", faultAuthorization, "http_request_denied",
		"This form was not shown by this proxy in this browser, or is too old. Open the link again; the browser must accept cookies.",
	},
	kindNotFound: {
		404, "not_found", "Not found", faultValidation, "http_request_error",
		"There is nothing here.",
	},
}
