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
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/freshbearer/freshbearer/bench/results"
)

// setup is everything that runs during a measurement.
type setup struct {
	dir     string
	proxies map[proxyKey]*proxy
	running []*exec.Cmd
	// apiProcess is the API's.
	apiProcess *exec.Cmd
	// apis are the addresses of the API, by how it is spoken to.
	apis map[string]string
	key  string
}

type proxyKey struct{ name, upstream string }

// proxy is a running one, on an address that speaks plain HTTP/1.1.
type proxy struct {
	name, address string
	cmd           *exec.Cmd
}

func (p *proxy) pid() int { return p.cmd.Process.Pid }

// setUp starts the API, and each proxy once for each way to speak to it.
func setUp(ctx context.Context, dir string, with []string, cells []results.Cell) (*setup, error) {
	s := &setup{dir: dir, proxies: make(map[proxyKey]*proxy), apis: make(map[string]string), key: rand.Text() + rand.Text()}
	if err := errors.Join(writeScripts(dir, s.key), writeCertificate(dir)); err != nil {
		return s, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, "caddy"), "./cmd/caddy")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return s, fmt.Errorf("building Caddy, from the module's directory: %w", err)
	}
	if err := s.startAPI(ctx); err != nil {
		return s, err
	}
	wanted := make(map[string]bool)
	for _, c := range cells {
		wanted[c.Upstream] = true
	}
	for _, name := range with {
		k, ok := kindOf(name)
		if !ok {
			return s, fmt.Errorf("there is no proxy %q; there are %s", name, strings.Join(proxyNames(), ", "))
		}
		for _, upstream := range upstreams {
			if !wanted[upstream] || upstream == "tls2" && k.onlyHTTP1 {
				continue
			}
			if err := s.startProxy(ctx, k, upstream); err != nil {
				return s, fmt.Errorf("starting %s: %w", name, err)
			}
			if err := s.visit(ctx, s.proxies[proxyKey{name, upstream}]); err != nil {
				return s, fmt.Errorf("asking %s for every company: %w", name, err)
			}
		}
	}
	return s, nil
}

// end ends all that was started.
func (s *setup) end() {
	for _, cmd := range s.running {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range s.running {
		_ = cmd.Wait()
	}
}

// start starts a program on a core. taskset becomes the program: the process
// is the same.
func (s *setup) start(ctx context.Context, core, program string, args ...string) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", core, program}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(),
		"HOME="+s.dir, "XDG_DATA_HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir, "SSL_CERT_FILE="+filepath.Join(s.dir, "cert.pem"),
		"NODE_EXTRA_CA_CERTS="+filepath.Join(s.dir, "cert.pem"), "BENCH_KEY="+s.key, "NODE_ENV=production")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s.running = append(s.running, cmd)
	return cmd, nil
}

// await waits until a program accepts connections.
func await(ctx context.Context, address string) error {
	for deadline := time.Now().Add(20 * time.Second); ; {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			return connection.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freeAddress finds a port that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// writeCertificate writes one for localhost that everybody here trusts.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), secret, 0o600),
		os.WriteFile(filepath.Join(dir, "both.pem"), append(cert, secret...), 0o600))
}

// startAPI starts nginx in the API's place: 2 KiB of JSON for everything, 1 MiB
// for a PDF.
func (s *setup) startAPI(ctx context.Context) error {
	for _, upstream := range upstreams {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		s.apis[upstream] = address
	}
	// As a printed one, it does not compress.
	pdf := make([]byte, 1<<20)
	_, _ = rand.Read(pdf) // never fails
	body := `{"CompanyInfo":{"CompanyName":"` + strings.Repeat("x", 2048-49) + `","Id":"1"},"time":1}`
	token := `{"access_token":"` + strings.Repeat("a", 900) + `","refresh_token":"` + strings.Repeat("r", 50) + `","expires_in":3600,"token_type":"bearer"}`
	const listen = `
	server {
		listen %s;
		%s
		location = /token { default_type application/json; return 200 '%s'; }
		location / { default_type application/json; return 200 '%s'; }
		location ~ /pdf$ { root %s; default_type application/pdf; try_files /api.pdf =404; }
	}`
	tls := "ssl_certificate cert.pem; ssl_certificate_key key.pem;"
	text := `daemon off; master_process off; pid api.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 100000000; keepalive_timeout 1h; client_max_body_size 1m; client_body_buffer_size 64k;
	client_body_temp_path api-body; proxy_temp_path api-proxy; fastcgi_temp_path api-f; uwsgi_temp_path api-u; scgi_temp_path api-s;` +
		fmt.Sprintf(listen, s.apis["plain"], "", token, body, s.dir) +
		fmt.Sprintf(listen, s.apis["tls1"]+" ssl", tls, token, body, s.dir) +
		fmt.Sprintf(listen, s.apis["tls2"]+" ssl http2", tls+" http2_max_concurrent_streams 1024;", token, body, s.dir) + "\n}\n"
	file := filepath.Join(s.dir, "api.conf")
	if err := errors.Join(os.WriteFile(file, []byte(text), 0o600), os.WriteFile(filepath.Join(s.dir, "api.pdf"), pdf, 0o600)); err != nil {
		return err
	}
	var err error
	if s.apiProcess, err = s.start(ctx, loadCore, "nginx", "-p", s.dir, "-c", file); err != nil {
		return err
	}
	for _, address := range s.apis {
		if err := await(ctx, address); err != nil {
			return fmt.Errorf("the API: %w", err)
		}
	}
	return nil
}

// api is the API's origin.
func (s *setup) api(upstream string) string {
	_, port, _ := strings.Cut(s.apis[upstream], ":")
	if upstream == "plain" {
		return "http://127.0.0.1:" + port
	}
	return "https://localhost:" + port
}

// serveHTTPUtil is Go's own reverse proxy, with a static header and enough idle
// connections.
func serveHTTPUtil(address, api string) error {
	to, err := url.Parse(api)
	if err != nil {
		return err
	}
	handler := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Set("Authorization", staticBearer)
		},
		// When the load ends, requests are under way.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		Transport:    &http.Transport{MaxIdleConnsPerHost: 512, ForceAttemptHTTP2: true, DisableCompression: true},
	}
	return http.ListenAndServe(address, handler)
}
