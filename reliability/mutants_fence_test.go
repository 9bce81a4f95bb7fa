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

// What keeps strangers out, callers apart, and tokens on their way.
func init() {
	allMutants = append(allMutants, []mutant{
		{
			"read_only is not looked at",
			[]edit{{"caller_scope.go", "if c.ReadOnly && !reads(method) &&", "if false && c.ReadOnly && !reads(method) &&"}},
			"caddytest", []string{"TestCallerScope"},
		},
		{
			"any POST is a query",
			[]edit{{"caller_scope.go", "!(method == http.MethodPost && target.Query)", "method != http.MethodPost"}},
			"caddytest", []string{"TestCallerScope"},
		},
		{
			"a caller's paths end in the middle of a segment",
			[]edit{{"caller_scope.go", "ok && (rest == \"\" || rest[0] == '/')", "ok && len(rest) >= 0"}},
			"caddytest", []string{"TestCallerScope"},
		},
		{
			"a caller that may only read makes links and disconnects",
			[]edit{{"caller_scope.go", "if caller.ReadOnly && !reads(r.Method) {", "if false {"}},
			"caddytest", []string{"TestCallerScope"},
		},
		{
			"a scope is looked at after the company",
			[]edit{{"handler.go", "	if err := caller.inScope(r.Method, target); err != nil {\n		h.app.outOfScope(caller, h.integration)\n		return nil, target, err\n	}\n", ""},
				{"handler.go", "	return x, target, nil\n", "	return x, target, caller.inScope(r.Method, target)\n"}},
			"caddytest", []string{"TestCallerScope"},
		},
		{
			"the rate limit lets all through",
			[]edit{{"caller_scope.go", "	if wait <= 0 {\n", "	if true {\n"}},
			"caddytest", []string{"TestCallerLimits"},
		},
		{
			"a refused request takes a later one's turn",
			[]edit{{"caller_scope.go", "	turn.CancelAt(now)\n", ""}},
			".", []string{"TestRateLimit"},
		},
		{
			"no limit of requests at once",
			[]edit{{"caller_scope.go", "l.concurrent > 0 && n > l.concurrent", "l.concurrent < 0 && n > l.concurrent"}},
			"caddytest", []string{"TestCallerConcurrency"},
		},
		{
			"who leaves is not counted out",
			[]edit{{"caller_scope.go", "{ c.limits.underWay.Add(-1) }", "{}"}},
			"caddytest", []string{"TestCallerConcurrency"},
		},
		{
			"whatever a name leads to is dialled",
			[]edit{{"provider/dialer.go", "		if outside(ip.Addr(), named) {\n", "		if _ = outside(ip.Addr(), named); true {\n"}},
			"provider", []string{"TestRebinding"},
		},
		{
			"an IPv4 address in IPv6 is not looked at",
			[]edit{{"provider/dialer.go", "		if t.Contains(ip) {\n", "		if t.Contains(ip) && false {\n"}},
			"provider", []string{"TestDialerRefusesAddresses"},
		},
		{
			"a named host may be the metadata",
			[]edit{{"provider/dialer.go", "slices.ContainsFunc(never, holds) {", "!named && slices.ContainsFunc(never, holds) {"}},
			"provider", []string{"TestNamedHost"},
		},
		{
			"all share the connections to named hosts",
			[]edit{{"provider/transport.go", "	key := strings.Join(named, \" \")\n", "	key := strings.Join(named[:0], \" \")\n"}},
			"provider", []string{"TestNamedHost"},
		},
		{
			"the API is dialled by Go's own dialer",
			[]edit{{"forward.go", "		DialContext:      dialer.DialContext,\n", "		DialContext:      dialer.Dialer.DialContext,\n"}},
			".", []string{"TestUpstreamTransport"},
		},
		{
			"a reverse_proxy takes the environment's proxy",
			[]edit{{"reverseproxy.go", "		transport[\"network_proxy\"] = json.RawMessage(`{\"from\":\"none\"}`)\n", ""}},
			".", []string{"TestEnvironmentNamesNoProxy"},
		},
		{
			"a refresh token goes to any host that is configured",
			[]edit{{"grant/refresh.go", "	if err := bound(record.Hosts, in.Hosts); err != nil {\n", "	if err := bound(in.Hosts, in.Hosts); err != nil {\n"}},
			"grant", []string{"TestTokensAreBoundToTheirHosts", "TestRebind"},
		},
		{
			"an access token goes to any API that is configured",
			[]edit{{"transport.go", "	if err := x.snapshot.Bound(x.integration.hosts); err != nil {\n", "	if err := x.snapshot.Bound(nil); err != nil {\n"}},
			"caddytest", []string{"TestHostIsBound"},
		},
		{
			"an authorization binds to nothing",
			[]edit{{"grant/callback.go", "	r.Hosts = in.Hosts\n", ""}},
			"caddytest", []string{"TestHostIsBound"},
		},
		{
			"an upstream's certificate need not be right",
			[]edit{{"reverseproxy.go", "if verification.Off && !loopback(host) {", "if false && !loopback(host) {"}},
			".", []string{"TestDirectiveProvisionErrors"},
		},
		{
			"an import replaces what works",
			[]edit{{"grant/import.go", "	case replace, r.State == tokenstore.StateNeedsReauth:\n", "	case true:\n"}},
			"grant", []string{"TestImport"},
		},
		{
			"an import goes back to a token that was replaced",
			[]edit{{"grant/import.go", "r.RefreshToken.Equal(i.RefreshToken), k.wasSuperseded(r, i.RefreshToken):\n", "r.RefreshToken.Equal(i.RefreshToken):\n"}},
			"grant", []string{"TestImport", "TestImportOfSupersededTokens"},
		},
		{
			"an import takes another company's access token",
			[]edit{{"grant/import.go", "		return \"\", ErrImportAccount\n", "		return Unproven, nil\n"}},
			"grant", []string{"TestImportRefuses"},
		},
		{
			"an import keeps an access token that the API does not take",
			[]edit{{"grant/import.go", "	i.AccessToken = secret.String{}\n	return Unproven, nil\n}\n\n// installImport", "	return Unproven, nil\n}\n\n// installImport"}},
			"grant", []string{"TestImportWithoutAccessToken"},
		},
		{
			"a promised body takes its memory at once",
			[]edit{{"body.go", "held := make([]byte, 0, min(n, bodyFirst))", "held := make([]byte, 0, n)"}},
			"caddytest", []string{"TestSlowBodies"},
		},
		{
			"strangers are looked at after the company",
			[]edit{{"handler.go", "	if caller == nil {\n		return nil, unauthorized()\n	}\n	return caller, caller.enter(time.Now)\n", "	if caller == nil {\n		if k, err := h.app.keeper(); err == nil {\n			_, _ = k.Peek(r.Context(), h.integration.key(r.RequestURI))\n		}\n		return nil, unauthorized()\n	}\n	return caller, caller.enter(time.Now)\n"}},
			"caddytest", []string{"TestStrangersCostNothing", "TestWrongKey"},
		},
		{
			"the grammar lets dots through",
			[]edit{{"provider/quickbooks/target.go", "			if !unreserved(c) || c == '.' {\n", "			if !unreserved(c) {\n"}},
			"caddytest", []string{"TestTargets", "TestTargetsOverH2", "TestTargetsOverH3"},
		},
		{
			"the grammar lets escapes through",
			[]edit{{"provider/quickbooks/target.go", "strings.IndexByte(\"._~-\", byte(c))", "strings.IndexByte(\"._~-%\", byte(c))"}},
			"caddytest", []string{"TestTargets", "TestTargetsOverH2", "TestTargetsOverH3"},
		},
		{
			"another path goes up than the one that was checked",
			[]edit{{"forward.go", "Opaque: out.RequestURI}", "Path: out.URL.Path + \"/\", RawQuery: out.URL.RawQuery}"}},
			"caddytest", []string{"TestTargets"},
		},
		{
			"the Connection field also strips the token",
			[]edit{{"transport.go", "	out.Header[\"Authorization\"] = field\n", "	if !slices.Contains(connectionNamed(req.Header), \"Authorization\") {\n		out.Header[\"Authorization\"] = field\n	}\n"},
				{"transport.go", "\t\"io\"\n", "\t\"io\"\n\t\"slices\"\n"}},
			"caddytest", []string{"TestConnectionLists"},
		},
		{
			"what Connection lists goes up",
			[]edit{{"header.go", "if named != nil && slices.Contains(named, name) {", "if false && slices.Contains(named, name) {"}},
			"caddytest", []string{"TestConnectionLists", "TestHeadersUp"},
		},
		{
			"a caller's Authorization in another spelling goes up",
			[]edit{{"header.go", "c == '_' || c == '.' || c == ' '", "c == ' '"}},
			".", []string{"TestUpstreamHeader", "FuzzHeader"},
		},
		{
			"upgrades are passed on",
			[]edit{{"handler.go", "	if len(r.Header[\"Upgrade\"]) > 0 {\n", "	if false {\n"}},
			"caddytest", []string{"TestMethods"},
		},
		{
			"TRACE and CONNECT are passed on",
			[]edit{{"handler.go", "	default:\n		return methodNotAllowed(", "	case \"TRACE\", \"CONNECT\":\n	default:\n		return methodNotAllowed("}},
			"caddytest", []string{"TestMethods", "TestFrames"},
		},
		{
			"the path and the field may name different connections",
			[]edit{{"handler.go", "case target.Connection != \"\" && target.Connection != named[0]:", "case false:"}},
			"caddytest", []string{"TestConnectionField"},
		},
		{
			"cookies go up",
			[]edit{{"header.go", "\"Authorization\", connectionHeader, \"Cookie\", \"Expect\",", "\"Authorization\", connectionHeader, \"Expect\","}},
			"caddytest", []string{"TestHeadersUp"},
		},
		{
			"the token of the last request is used for the next one",
			[]edit{
				{"transport.go", "	\"strings\"\n	\"time\"\n", "	\"strings\"\n	\"sync/atomic\"\n	\"time\"\n"},
				{"transport.go", "// send sends a request with a token,", "var kept atomic.Pointer[grant.Snapshot]\n\n// send sends a request with a token,"},
				{"transport.go", "	if x.snapshot, err = x.keeper.TokenFor(ctx, x.key, least); err != nil {\n", "	if x.snapshot = kept.Load(); x.snapshot != nil {\n	} else if x.snapshot, err = x.keeper.TokenFor(ctx, x.key, least); err != nil {\n"},
				{"transport.go", "	header := upstreamHeader(req.Header)\n", "	kept.Store(x.snapshot)\n	header := upstreamHeader(req.Header)\n"},
			},
			"caddytest", []string{"TestIsolation"},
		},
		{
			"any caller may use any company",
			[]edit{{"caller.go", "	if c.all {\n", "	if true {\n"}},
			"caddytest", []string{"TestIsolation", "TestForbidden"},
		},
		{
			"a callback is taken from any browser",
			[]edit{{"grant/callback.go", "	case !b.sameBrowser(cb.Cookie):\n", "	case false:\n"}},
			"grant", []string{"FuzzCallback"},
		},
		{
			"a refresh token in a refusal is not scrubbed",
			[]edit{{"provider/quickbooks/scrub.go", "		if run(rest[4:], tokenByte) >= minRefresh {\n", "		if run(rest[4:], tokenByte) >= 10*minRefresh {\n"}},
			"provider/quickbooks", []string{"FuzzScrub"},
		},
		{
			"a token is sent to another environment",
			[]edit{{"transport.go", "	if x.snapshot.Environment != x.integration.Environment {\n", "	if false {\n"}},
			"caddytest", []string{"TestEnvironmentIsBound"},
		},
	}...)
}
