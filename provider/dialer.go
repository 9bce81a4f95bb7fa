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

package provider

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// ErrFenced says that a name leads to an address where a provider cannot be.
// Nothing was sent there.
var ErrFenced = errors.New("refused: this is no address of a server on the internet; " +
	"if it is meant, write the URL out in the integration's settings")

// Dialer opens connections to a provider. It refuses, after the name was
// resolved and before a connection is made, the addresses where no provider
// can be, so that whoever controls the name leads no credential into the
// machine or its network (DNS rebinding).
type Dialer struct {
	net.Dialer
	// Named are the hosts that the operator has named: they may be in a private
	// network or on this machine, but not where clouds keep their metadata. An
	// IP address can only be named.
	Named []string
}

// DialContext is what http.Transport needs. The error matches ErrFenced if the
// address was refused.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return d.Dialer.DialContext(ctx, network, address)
	}
	named := slices.Contains(d.Named, host)
	fenced := d.Dialer
	fenced.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
		ip, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return err
		}
		if outside(ip.Addr(), named) {
			return nil
		}
		return fmt.Errorf("%s: %w", ip.Addr(), ErrFenced)
	}
	return fenced.DialContext(ctx, network, address)
}

// never are where nobody's server is, and where clouds keep the credentials of
// their machines.
var never = prefixes(
	"0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", // RFC 1122 §3.2.1.3, RFC 5771, RFC 1112 §4
	"::/128", "ff00::/8", // RFC 4291
	"169.254.0.0/16", "fe80::/10", "fec0::/10", // link-local, and metadata of most clouds
	"fd00:ec2::/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32", // metadata of AWS, Alibaba, Azure, Oracle
	"2001::/32", // Teredo, RFC 4380: the address in it is of the client's choice
)

// inside are networks of the operator's own, and those that are for
// documentation and tests (RFC 6890).
var inside = prefixes(
	"127.0.0.0/8", "::1/128",
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
	"100.64.0.0/10", // carrier-grade NAT, RFC 6598
	"192.0.0.0/24", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15",
	"100::/64", "2001:db8::/32", "3fff::/20",
)

func prefixes(texts ...string) []netip.Prefix {
	list := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		list[i] = netip.MustParsePrefix(text)
	}
	return list
}

// translated are prefixes that carry an IPv4 address, and where in it.
var translated = []struct {
	netip.Prefix
	at int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64, RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4, RFC 3056
	{netip.MustParsePrefix("::/96"), 12},        // IPv4-compatible, RFC 4291 §2.5.5.1
}

// localNAT64 is for translation within one network (RFC 8215): where in it the
// IPv4 address is, that network decides.
var localNAT64 = netip.MustParsePrefix("64:ff9b:1::/48")

// outside tells whether an address can be a server on the internet, or, if it
// was named, one of the operator's own.
func outside(ip netip.Addr, named bool) bool {
	ip = ip.WithZone("").Unmap()
	holds := func(p netip.Prefix) bool { return p.Contains(ip) }
	if !ip.IsValid() || slices.ContainsFunc(never, holds) {
		return false
	}
	if slices.ContainsFunc(inside, holds) || localNAT64.Contains(ip) {
		return named
	}
	for _, t := range translated {
		if t.Contains(ip) {
			all := ip.As16()
			var four [4]byte
			binary.BigEndian.PutUint32(four[:], binary.BigEndian.Uint32(all[t.at:]))
			return outside(netip.AddrFrom4(four), named)
		}
	}
	return true
}
