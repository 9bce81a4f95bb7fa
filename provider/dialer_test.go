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

package provider_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/freshbearer/freshbearer/provider"
	"github.com/freshbearer/freshbearer/secret"
)

// resolver answers every name with the address that it holds.
type resolver struct {
	address atomic.Pointer[netip.Addr]
	asked   atomic.Int32
}

func (r *resolver) say(address string) {
	ip := netip.MustParseAddr(address)
	r.address.Store(&ip)
}

// startResolver makes a name server on loopback, and lets this process ask it
// until the test ends.
func startResolver(t *testing.T) *resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := new(resolver)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			r.asked.Add(1)
			m.Response, m.Additionals = true, nil
			header := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: m.Questions[0].Type, Class: m.Questions[0].Class}
			switch ip := *r.address.Load(); {
			case m.Questions[0].Type == dnsmessage.TypeA && ip.Is4():
				m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: ip.As4()}}}
			case m.Questions[0].Type == dnsmessage.TypeAAAA && !ip.Is4():
				m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}}}
			}
			if packed, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(packed, from)
			}
		}
	}()
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close()
		<-done
	})
	return r
}

// Addresses where no provider is are refused after the name was resolved, also
// those that are written in another way.
func TestDialerRefusesAddresses(t *testing.T) {
	names := startResolver(t)
	for _, address := range []string{
		"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::127.0.0.1",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::ffff:10.0.0.1",
		"fc00::1", "fd12:3456:789a::1",
		"100.64.0.1", "100.127.255.254",
		"192.0.0.8", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "2001:db8::1", "100::1", "3fff::1",
		"64:ff9b::10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:a00:1::1", "2002:7f00:1::1",
	} {
		names.say(address)
		dialer := &provider.Dialer{Dialer: net.Dialer{Timeout: time.Second}}
		if _, err := dialer.DialContext(t.Context(), "tcp", "provider.test:443"); !errors.Is(err, provider.ErrFenced) {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{
		"0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "ff02::1",
		"169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fe80::1", "fec0::1", "fd00:ec2::254",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
		"64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1",
	} {
		names.say(address)
		for _, named := range [][]string{nil, {"provider.test"}} {
			dialer := &provider.Dialer{Dialer: net.Dialer{Timeout: time.Second}, Named: named}
			if _, err := dialer.DialContext(t.Context(), "tcp", "provider.test:443"); !errors.Is(err, provider.ErrFenced) {
				t.Errorf("%s, named %q: %v", address, named, err)
			}
		}
	}
	if names.asked.Load() == 0 {
		t.Error("nobody was asked for the name")
	}
}

// fenced makes a client of a server on loopback by a name that its resolver
// leads there.
func fenced(t *testing.T, named ...string) (client *provider.Client, address string, names *resolver, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(http.StatusOK, goodAnswer(), nil)(w, r)
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	address = "http://provider.test:" + u.Port()
	client = clientOf(t, address)
	client.Endpoints.RevokeURL, client.Endpoints.Named, client.HTTP = address+"/revoke", named, nil
	names = startResolver(t)
	names.say("127.0.0.1")
	return client, address, names, connections
}

// A provider's name that suddenly leads into this machine gets no credential,
// whatever asks for it.
func TestRebinding(t *testing.T) {
	client, address, _, connections := fenced(t)
	_, refreshErr := client.Refresh(t.Context(), secret.New("refresh-token"))
	_, exchangeErr := client.Exchange(t.Context(), "code", provider.NewVerifier())
	revokeErr := client.Revoke(t.Context(), secret.New("refresh-token"))
	_, reachErr := client.Reach(t.Context(), address)
	_, statusErr := (&provider.StatusPage{URL: address}).Incident(t.Context())
	for what, err := range map[string]error{
		"refresh": refreshErr, "exchange": exchangeErr, "revoke": revokeErr, "reach": reachErr, "status page": statusErr,
	} {
		if !errors.Is(err, provider.ErrFenced) || !strings.Contains(err.Error(), "write the URL out") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if failure := tokenError(t, refreshErr); failure.Outcome != provider.OutcomeTransient {
		t.Errorf("a refresh that was not sent is %v", failure.Outcome)
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// A host that the operator has named may be in his own network, but not where
// clouds keep their credentials.
func TestNamedHost(t *testing.T) {
	client, address, names, connections := fenced(t, "provider.test")
	if _, err := client.Refresh(t.Context(), secret.New("refresh-token")); err != nil || connections.Load() != 1 {
		t.Errorf("%d connections, %v", connections.Load(), err)
	}
	names.say("169.254.169.254")
	if _, err := client.Reach(t.Context(), address); !errors.Is(err, provider.ErrFenced) {
		t.Errorf("named, and now the metadata: %v", err)
	}
	// Another integration that has not named it does not use its connections.
	client.Endpoints.Named = nil
	names.say("127.0.0.1")
	if _, err := client.Refresh(t.Context(), secret.New("refresh-token")); !errors.Is(err, provider.ErrFenced) || connections.Load() != 1 {
		t.Errorf("not named: %d connections, %v", connections.Load(), err)
	}
}
