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
	"context"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// exposure is who can get at a listener.
type exposure int

const (
	// exposedLocally: programs of this machine.
	exposedLocally exposure = iota
	// exposedUnknown: the listener was inherited.
	exposedUnknown
	// exposedPrivately: a network with private addresses.
	exposedPrivately
	// exposedPublicly: the internet, as far as no firewall is before it.
	exposedPublicly
)

// exposure tells who can get at an address. A name, or none, means every
// interface for it: names are not resolved, because they may be others tomorrow.
func (d *doctor) exposure(address caddy.NetworkAddress) exposure {
	switch {
	case address.IsUnixNetwork():
		return exposedLocally
	case address.IsFdNetwork():
		return exposedUnknown
	case loopback(address.Host):
		return exposedLocally
	}
	if ip := net.ParseIP(address.Host); ip != nil && !ip.IsUnspecified() {
		return exposureOf(ip)
	}
	interfaces, err := d.interfaces()
	if err != nil {
		return exposedPublicly // as far as anybody knows
	}
	most := exposedPrivately
	for _, a := range interfaces {
		if network, ok := a.(*net.IPNet); ok {
			most = max(most, exposureOf(network.IP))
		}
	}
	return most
}

// sharedSpace is what providers use inside their networks (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

func exposureOf(ip net.IP) exposure {
	a, ok := netip.AddrFromSlice(ip)
	a = a.Unmap()
	switch {
	case !ok:
		return exposedPublicly // as far as anybody knows
	case a.IsLoopback():
		return exposedLocally
	case a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a):
		return exposedPublicly
	}
	return exposedPrivately
}

// listeners looks for clear text, in which proxy keys and company data would
// travel.
func (d *doctor) listeners() []finding {
	const check = "listener"
	var found []finding
	seen := make(map[*caddyhttp.Server]bool)
	served := make(map[string]bool)
	var servers []*caddyhttp.Server
	for _, s := range d.app.sites {
		served[s.integration] = true
		if !seen[s.server] {
			seen[s.server] = true
			servers = append(servers, s.server)
		}
	}
	// They are provisioned in the order of a map.
	slices.SortFunc(servers, func(a, b *caddyhttp.Server) int { return slices.Compare(a.Listen, b.Listen) })
	for _, server := range servers {
		for _, listen := range server.Listen {
			address, err := caddy.ParseNetworkAddress(listen)
			if err != nil {
				continue // Caddy could not have started
			}
			found = append(found, d.listener(check, listen, address, d.tls(server, address)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.app.Integrations)) {
		switch in := d.app.Integrations[name]; {
		case !served[name]:
			found = append(found, warning(check, name, "no site has this integration, so nobody can reach it",
				"add the directive to a site: freshbearer "+name))
		case !d.leadsHere(in):
			origin := in.redirect.Scheme + "://" + in.redirect.Host
			found = append(found, warning("redirect url", name, "no site of this configuration has "+origin+", where browsers are sent back to",
				"let redirect_url begin with a site's address; if something in front of Caddy changes host names, let it keep them"))
		}
	}
	return found
}

// leadsHere tells whether a site of the integration takes the host of its
// redirect_url. The port says something on this machine only: elsewhere it may
// be that of a proxy in front of Caddy.
func (d *doctor) leadsHere(in *Integration) bool {
	r := (&http.Request{Host: in.redirect.Host}).WithContext(context.WithValue(context.Background(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	for _, s := range d.app.sites {
		if s.integration != in.name || loopback(in.redirect.Hostname()) && !listensOn(s.server, in.redirect.Port()) {
			continue
		}
		if slices.ContainsFunc(s.server.Routes, func(route caddyhttp.Route) bool { return takesHost(route, r) }) {
			return true
		}
	}
	return false
}

func listensOn(server *caddyhttp.Server, port string) bool {
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return true // the scheme's own, which another program may hand on
	}
	return slices.ContainsFunc(server.Listen, func(listen string) bool {
		address, err := caddy.ParseNetworkAddress(listen)
		return err == nil && (address.IsUnixNetwork() || address.IsFdNetwork() || address.StartPort <= uint(number) && uint(number) <= address.EndPort)
	})
}

// takesHost tells whether a route is for the host of a request, whatever else it
// asks for.
func takesHost(route caddyhttp.Route, r *http.Request) bool {
	for _, set := range route.MatcherSets {
		other := func(matcher any) bool {
			hosts, ok := matcher.(*caddyhttp.MatchHost)
			if !ok {
				return false
			}
			match, err := hosts.MatchWithError(r)
			return err == nil && !match
		}
		if !slices.ContainsFunc(set, other) {
			return true
		}
	}
	return len(route.MatcherSets) == 0
}

// tls tells whether a server encrypts on an address, by Caddy's own rule: if
// it has a policy and the port is not that of plain HTTP.
func (d *doctor) tls(server *caddyhttp.Server, address caddy.NetworkAddress) bool {
	httpPort := caddyhttp.DefaultHTTPPort
	if d.http != nil && d.http.HTTPPort != 0 {
		httpPort = d.http.HTTPPort
	}
	if len(server.TLSConnPolicies) == 0 {
		return false
	}
	return int(address.StartPort) > httpPort || int(address.EndPort) < httpPort
}

func (d *doctor) listener(check, listen string, address caddy.NetworkAddress, encrypted bool) finding {
	if encrypted {
		return fine(check, listen, "TLS")
	}
	switch d.exposure(address) {
	case exposedLocally:
		return fine(check, listen, "clear text, for programs of this machine only")
	case exposedUnknown:
		return warning(check, listen, "clear text, on a socket that was inherited: who can reach it is not known",
			"make sure that it is a Unix socket or on loopback")
	case exposedPrivately:
		return warning(check, listen, "clear text: proxy keys and company data can be read on the private network",
			"use https for the site; or bind 127.0.0.1 if what ends TLS is on this machine, or keep the network between them to yourself")
	}
	return fault(check, listen, "clear text, and strangers can reach it: proxy keys and company data can be read on the way",
		"use https for the site, or put bind 127.0.0.1 into it if what ends TLS is on this machine")
}

// adminAddress returns where the admin API listens that a request came to, nil
// if that is the remote one, which asks for a client certificate.
func adminAddress(r *http.Request) *caddy.NetworkAddress {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if !ok || r.TLS != nil {
		return nil
	}
	address, err := caddy.ParseNetworkAddress(server.Addr)
	if err != nil {
		return nil
	}
	return &address
}

// adminListener says who can change the configuration and get a backup.
func (d *doctor) adminListener() []finding {
	const check = "admin"
	if d.admin == nil {
		return nil
	}
	listen := d.admin.String()
	if e := d.exposure(*d.admin); e > exposedUnknown {
		return []finding{fault(check, listen, "whoever reaches Caddy's admin API can change its configuration, and this address is not of this machine only",
			"let it listen on localhost:2019 or a Unix socket: the global option admin")}
	}
	return []finding{fine(check, listen, "Caddy's admin API is for programs of this machine only")}
}
