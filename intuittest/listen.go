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

package intuittest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"time"
)

// Start listens on Config.Addr and serves until Close.
func (s *Server) Start() error {
	if s.listener != nil {
		return errors.New("the server is already started")
	}
	addr := s.cfg.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	s.httpd = &http.Server{Handler: s.handler, ReadHeaderTimeout: 30 * time.Second, ErrorLog: quietLog()}
	s.listener, s.served = ln, make(chan struct{})
	scheme := "http"
	if s.cfg.TLS {
		scheme = "https"
		cert, err := selfSigned(s.cfg.Now())
		if err != nil {
			ln.Close()
			return fmt.Errorf("making a certificate: %w", err)
		}
		s.cert = cert.Leaf
		s.httpd.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	} else {
		s.httpd.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, wireKey{}, c)
		}
	}
	s.url = scheme + "://" + ln.Addr().String()
	go func() {
		defer close(s.served)
		if s.cfg.TLS {
			_ = s.httpd.ServeTLS(ln, "", "")
		} else {
			_ = s.httpd.Serve(wireListener{ln})
		}
	}()
	return nil
}

// Close stops the server, ends every delay and hang, and closes all
// connections.
func (s *Server) Close() {
	s.close.Do(func() {
		close(s.closed)
		if s.httpd != nil {
			_ = s.httpd.Close()
			<-s.served
		}
	})
}

// Certificate is the server's own certificate; nil without TLS or before
// Start.
func (s *Server) Certificate() *x509.Certificate { return s.cert }

// Client makes an HTTP client that trusts the server's certificate. Each call
// gives one with connections of its own.
func (s *Server) Client() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	if s.cert != nil {
		pool := x509.NewCertPool()
		pool.AddCert(s.cert)
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t}
}

func selfSigned(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	// The clock under test may be far from the one that checks the
	// certificate, so it is valid around both.
	real := time.Now()
	first, last := real, real
	if now.Before(first) {
		first = now
	}
	if now.After(last) {
		last = now
	}
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(real.UnixNano()),
		Subject:               pkix.Name{CommonName: "intuittest"},
		NotBefore:             first.Add(-24 * time.Hour),
		NotAfter:              last.Add(10 * 365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
