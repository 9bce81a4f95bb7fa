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
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// bridge shows the operator's pages of Caddy's admin API to one browser. That
// API itself is not for browsers: it may be a socket, and it refuses an address
// that was typed. Nothing of it but these pages can be reached.
//
// Other users of this machine, and web pages in the browser, can reach the
// bridge's port. So a key opens it, once; from then on a cookie does. A browser
// sends the cookies of 127.0.0.1 to all its ports, but only for their path:
// that is random, and nobody else's.
type bridge struct {
	// host is the one Host field that is served: a name of somebody else's that
	// was made to lead here (DNS rebinding) is not.
	host        string
	key, cookie string
	// path ends in a slash.
	path, query string
	used        atomic.Bool
	proxy       *httputil.ReverseProxy
}

const bridgeCookie = "freshbearer_status"

// newBridge returns a bridge from a loopback address to an admin address. store
// is named in the first address; it may be empty.
func newBridge(listen net.Addr, admin, store string) (*bridge, error) {
	address, err := caddy.ParseNetworkAddress(admin)
	if err != nil || address.PortRangeSize() > 1 {
		return nil, fmt.Errorf("%q is not the address of an admin API", admin)
	}
	// As Caddy's own commands do: a socket has no host, and asks for no origin.
	host, origin := address.JoinHostPort(0), "http://"+address.JoinHostPort(0)
	if address.IsUnixNetwork() {
		address.Host, _, _ = strings.Cut(address.Host, "|") // the socket's mode
		host, origin = "127.0.0.1", ""
	}
	b := &bridge{host: listen.String(), key: rand.Text() + rand.Text(), cookie: rand.Text() + rand.Text(), path: "/" + rand.Text() + adminPath}
	if store != "" {
		b.query = "?" + url.Values{"store": {store}}.Encode()
	}
	b.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", host, host
			r.Out.URL.Path = adminPath + strings.TrimPrefix(r.In.URL.Path, b.path)
			r.Out.URL.RawPath = ""
			r.Out.Header = make(http.Header)
			for _, name := range []string{"Accept", "Content-Type"} {
				if value := r.In.Header.Get(name); value != "" {
					r.Out.Header.Set(name, value)
				}
			}
			for _, c := range r.In.CookiesNamed(statusCookie) {
				r.Out.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
			r.Out.Header.Set("User-Agent", "freshbearer")
			if origin != "" {
				r.Out.Header.Set("Origin", origin)
			}
		},
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, address.Network, address.JoinHostPort(0))
			},
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Del("Access-Control-Allow-Origin")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			refuse(w, r, http.StatusBadGateway, "No answer", "Caddy's admin API at "+admin+" does not answer. Is Caddy running?")
		},
	}
	return b, nil
}

// url is the address that opens the bridge, once.
func (b *bridge) url() string { return "http://" + b.host + "/?key=" + b.key }

// ServeHTTP implements http.Handler.
func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	page, ours := strings.CutPrefix(r.URL.Path, b.path)
	_, known := deskPages[page]
	cookies := r.CookiesNamed(bridgeCookie)
	mine := func(c *http.Cookie) bool { return same(c.Value, b.cookie) }
	switch {
	case r.Host != b.host:
		refuse(w, r, http.StatusMisdirectedRequest, "Another host", "The status page is at http://"+b.host+" and under no other name.")
	case r.URL.Path == "/":
		b.open(w, r)
	case !ours || !known:
		refuse(w, r, http.StatusNotFound, "Nothing here", "The address to open is the one that caddy freshbearer status has printed.")
	case !slices.ContainsFunc(cookies, mine):
		refuse(w, r, http.StatusForbidden, "Not this browser", "The address that caddy freshbearer status printed was opened in another browser, or not at all.",
			"End the command, and run it again.")
	case http.NewCrossOriginProtection().Check(r) != nil:
		refuse(w, r, http.StatusForbidden, "Nothing was done", "Another site has sent this form.")
	default:
		b.proxy.ServeHTTP(w, r)
	}
}

// open gives the browser that has the key the cookie in exchange for it.
func (b *bridge) open(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		refuse(w, r, http.StatusMethodNotAllowed, "Not like this", "Open the address that caddy freshbearer status has printed.")
	case strings.Contains(r.Header.Get("Sec-Purpose")+r.Header.Get("Purpose"), "prefetch"):
		// Nobody has asked for it yet, and it works once.
		refuse(w, r, http.StatusServiceUnavailable, "Not yet", "Open the address that caddy freshbearer status has printed.")
	case !same(r.URL.Query().Get("key"), b.key):
		refuse(w, r, http.StatusForbidden, "Wrong key", "Open the address that caddy freshbearer status has printed, all of it.")
	case b.used.Swap(true):
		refuse(w, r, http.StatusForbidden, "Used already", "This address works once, and was opened before.",
			"If it was not you, somebody else on this machine has seen it, and may do what you may: end the command now. In any case, run it again for another address.")
	default:
		http.SetCookie(w, &http.Cookie{Name: bridgeCookie, Value: b.cookie, Path: b.path, HttpOnly: true, SameSite: http.SameSiteStrictMode})
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Referrer-Policy", "no-referrer")
		redirect(w, http.StatusSeeOther, b.path+b.query)
	}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// loopbackOnly checks where the bridge is to listen: its pages are sent in the
// clear, and are nobody else's.
func loopbackOnly(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("--listen %s is not a host and a port, such as 127.0.0.1:0", listen)
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() || ip.Zone() != "" {
		return fmt.Errorf("--listen %s is not an address of the loopback interface, such as 127.0.0.1:0; "+
			"to see the pages from elsewhere, forward the port with ssh, or use the freshbearer_status directive", listen)
	}
	return nil
}
