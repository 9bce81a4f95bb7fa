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

package main

import (
	"context"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/freshbearer/freshbearer/bench/internal/fill"
)

// companies is how many there are.
const companies = 1000

// staticBearer is what proxies without tokens of their own send.
const staticBearer = "Bearer 0123456789012345678901234567890123456789"

// kind is a proxy to compare with.
type kind struct {
	name string
	// onlyHTTP1 tells that it cannot speak HTTP/2 to the API.
	onlyHTTP1 bool
	// config is the text of its configuration file. ADDRESS, API, HOST, DIR and
	// so on are replaced.
	config string
	// command starts it; FILE is the configuration.
	command []string
	// prepare does what must be done before.
	prepare func(ctx context.Context, dir, api string) error
}

const caddyCommand = "DIR/caddy run --adapter caddyfile --config FILE"

// kinds are the proxies. The first one is what the others are compared with.
var kinds = []kind{
	{
		name: "caddy", command: strings.Fields(caddyCommand),
		config: `{
	admin off
	persist_config off
	auto_https off
	storage file_system DIR/caddy-storage
	log {
		level ERROR
	}
}
http://ADDRESS {
	reverse_proxy API {
		header_up Host {upstream_hostport}
		header_up Authorization "` + staticBearer + `"
	}
}
`,
	},
	{
		name: "freshbearer", command: strings.Fields(caddyCommand),
		prepare: func(ctx context.Context, dir, api string) error {
			key, err := fill.Store(ctx, dir, api, companies)
			if err != nil {
				return err
			}
			return os.Rename(key, filepath.Join(dir, "encryption"))
		},
		config: `{
	admin off
	persist_config off
	auto_https off
	storage file_system DIR/caddy-storage
	log {
		level ERROR
	}
	freshbearer {
		store badger {
			path OWN/store
		}
		encryption_key {file.OWN/encryption}
		integration quickbooks {
			environment sandbox
			client_id bench
			client_secret {env.BENCH_KEY}
			redirect_url http://ADDRESS/oauth/callback
			scopes com.intuit.quickbooks.accounting
			authorize_url API/authorize
			token_url API/token
			revoke_url API/revoke
			api_url API
			status_page off
			pacing off
		}
		caller bench {
			key {env.BENCH_KEY}
			connections *
		}
	}
}
http://ADDRESS {
	freshbearer quickbooks
}
`,
	},
	{name: "httputil", command: []string{"SELF", "httputil", "ADDRESS", "API"}},
	{
		name: "nginx", onlyHTTP1: true, command: strings.Fields("nginx -p OWN -c FILE"),
		config: `daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 100000000; client_max_body_size 1m; client_body_buffer_size 64k;
	client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
	upstream api { server HOST; keepalive 512; keepalive_requests 100000000; }
	server {
		listen ADDRESS;
		location / {
			proxy_pass SCHEME://api;
			proxy_http_version 1.1;
			proxy_max_temp_file_size 0;
			proxy_ssl_server_name on;
			proxy_ssl_name localhost;
			proxy_ssl_verify on;
			proxy_ssl_trusted_certificate DIR/cert.pem;
			proxy_set_header Connection "";
			proxy_set_header Host HOST;
			proxy_set_header Authorization "` + staticBearer + `";
		}
	}
}
`,
	},
	{
		name: "haproxy", command: strings.Fields("haproxy -db -f FILE"),
		config: `global
	nbthread 1
	maxconn 4096
defaults
	mode http
	timeout connect 10s
	timeout client 60s
	timeout server 60s
	http-reuse always
frontend app
	bind ADDRESS
	default_backend api
backend api
	http-request set-header Authorization "` + staticBearer + `"
	http-request set-header Host HOST
	server api HOST SERVER
`,
	},
	{
		name: "express", onlyHTTP1: true, prepare: installExpress,
		command: strings.Fields("node OWN/server.js ADDRESS API"),
	},
}

//go:embed express/package.json express/package-lock.json express/server.js
var expressFiles embed.FS

// installExpress installs what package-lock.json says; no script of a package
// runs.
func installExpress(ctx context.Context, dir, _ string) error {
	for _, name := range []string{"package.json", "package-lock.json", "server.js"} {
		data, err := expressFiles.ReadFile("express/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	install := exec.CommandContext(ctx, "npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir, install.Stderr = dir, os.Stderr
	if err := install.Run(); err != nil {
		return fmt.Errorf("npm ci: %w", err)
	}
	return nil
}

func kindOf(name string) (kind, bool) {
	for _, k := range kinds {
		if k.name == name {
			return k, true
		}
	}
	return kind{}, false
}

func proxyNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// startProxy starts a proxy, and waits until it listens.
func (s *setup) startProxy(ctx context.Context, k kind, upstream string) error {
	own := filepath.Join(s.dir, k.name+"-"+upstream)
	if err := os.Mkdir(own, 0o700); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if k.prepare != nil {
		if err := k.prepare(ctx, own, s.api(upstream)); err != nil {
			return err
		}
	}
	api := s.api(upstream)
	scheme, host, _ := strings.Cut(api, "://")
	file := filepath.Join(own, "config")
	server := map[string]string{
		"plain": "", "tls1": "ssl verify required ca-file DIR/cert.pem sni str(localhost) alpn http/1.1",
		"tls2": "ssl verify required ca-file DIR/cert.pem sni str(localhost) alpn h2",
	}[upstream]
	values := strings.NewReplacer("SERVER", strings.ReplaceAll(server, "DIR", s.dir),
		"ADDRESS", address, "API", api, "HOST", host, "SCHEME", scheme, "DIR", s.dir, "OWN", own, "FILE", file, "SELF", self)
	if err := os.WriteFile(file, []byte(values.Replace(k.config)), 0o600); err != nil {
		return err
	}
	var command []string
	for _, word := range k.command {
		command = append(command, values.Replace(word))
	}
	cmd, err := s.start(ctx, proxyCore, command[0], command[1:]...)
	if err != nil {
		return err
	}
	s.proxies[proxyKey{k.name, upstream}] = &proxy{name: k.name, address: address, cmd: cmd}
	return await(ctx, address)
}
