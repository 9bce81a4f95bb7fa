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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// adminFlags are the flags of a command that talks to the running Caddy.
type adminFlags struct {
	address, config, adapter, store string
}

const (
	adminUsage = "[--address <admin>] [--config <file> [--adapter <name>]] [--store <path>]"

	adminHelp = `
It asks the running Caddy through its admin API, at the default address unless
--address names another one, or --config the configuration to take it from. If
that Caddy has several token stores open, --store names the one that is meant.`
)

func (f *adminFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.address, "address", "", "Address of Caddy's admin API (if --config is not used)")
	flags.StringVarP(&f.config, "config", "c", "", "Configuration file to take the address from (if --address is not used)")
	flags.StringVarP(&f.adapter, "adapter", "a", "", "Name of the config adapter to apply (if --config is used)")
	flags.StringVar(&f.store, "store", "", "The token store that is meant, if several are open")
}

// request asks an endpoint of the running Caddy. An answer that is not a
// success is an error.
func (f *adminFlags) request(method, endpoint string) (*http.Response, error) {
	return f.requestFor(method, endpoint, nil)
}

// requestFor is request with parameters of the endpoint's own.
func (f *adminFlags) requestFor(method, endpoint string, query url.Values) (*http.Response, error) {
	return f.send(method, endpoint, query, nil, nil)
}

// send is requestFor with a body.
func (f *adminFlags) send(method, endpoint string, query url.Values, header http.Header, body io.Reader) (*http.Response, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(f.address, nil, f.config, f.adapter)
	if err != nil {
		return nil, fmt.Errorf("finding the address of Caddy's admin API: %w", err)
	}
	values := url.Values{}
	maps.Copy(values, query)
	if f.store != "" {
		values.Set("store", f.store)
	}
	uri := adminPath + endpoint
	if len(values) > 0 {
		uri += "?" + values.Encode()
	}
	resp, err := askAdmin(context.Background(), address, method, uri, header, body)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	defer resp.Body.Close()
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&refusal); err != nil || refusal.Error == "" {
		return nil, notOurs(address, resp)
	}
	return nil, errors.New(refusal.Error)
}

func notOurs(address string, resp *http.Response) error {
	return fmt.Errorf("the Caddy at %s answers %s: it is not one with freshbearer, or an older one, or the address is not its own", address, resp.Status)
}

// askAdmin sends a request to Caddy's admin API. Any answer is one: Caddy's own
// client takes what is not a success for an error, and shows it as JSON.
func askAdmin(ctx context.Context, address, method, uri string, header http.Header, body io.Reader) (*http.Response, error) {
	at, err := caddy.ParseNetworkAddress(address)
	if err != nil || at.PortRangeSize() > 1 {
		return nil, fmt.Errorf("the address of Caddy's admin API, %s, is not one address (%v)", address, err)
	}
	origin := "http://" + at.JoinHostPort(0)
	if at.IsUnixNetwork() {
		at.Host, _, _ = strings.Cut(at.Host, "|") // the socket's mode
		origin = "http://127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, method, origin+uri, body)
	if err != nil {
		return nil, err
	}
	if !at.IsUnixNetwork() {
		req.Header.Set("Origin", origin)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(req.Header, header)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, at.Network, at.JoinHostPort(0))
		},
	}}
	resp, err := client.Do(req)
	if err != nil {
		if request := new(url.Error); errors.As(err, &request) {
			err = request.Err
		}
		return nil, fmt.Errorf("asking Caddy's admin API at %s (is Caddy running? --address names another one): %w", address, err)
	}
	return resp, nil
}
