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
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// api stands in for the API: 2 KiB of JSON for everything.
type api struct {
	*http.Server
	address string
}

// startAPI starts the API at the address that the stores in a directory are
// bound to.
func startAPI(stores string) (*api, error) {
	if err := os.MkdirAll(stores, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(stores, "api")
	address, err := os.ReadFile(file)
	if err != nil {
		address = []byte("127.0.0.1:0")
	}
	listener, err := net.Listen("tcp", string(address))
	if err != nil {
		return nil, err
	}
	a := &api{address: listener.Addr().String()}
	if err := os.WriteFile(file, []byte(a.address), 0o600); err != nil {
		return nil, err
	}
	body := []byte(`{"CompanyInfo":{"CompanyName":"` + strings.Repeat("x", 2048-49) + `","Id":"1"},"time":1}`)
	a.Server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})}
	go func() { _ = a.Serve(listener) }()
	return a, nil
}

// caddyfile is the configuration: ADDRESS, ADMIN, API and OWN are replaced.
const caddyfile = `{
	admin ADMIN
	persist_config off
	auto_https off
	storage file_system OWN/caddy-storage
	metrics
	log {
		level ERROR
	}
	freshbearer {
		store badger {
			path OWN/store
		}
		encryption_key {file.OWN/encryption-key}
		integration quickbooks {
			environment sandbox
			client_id bench
			client_secret {env.BENCH_KEY}
			redirect_url http://ADDRESS/oauth/callback
			scopes com.intuit.quickbooks.accounting
			authorize_url http://API/authorize
			token_url http://API/token
			revoke_url http://API/revoke
			api_url http://API
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
`

// caddy is a running one.
type caddy struct {
	cmd            *exec.Cmd
	address, admin string
	key            string
	// took is the time from the start of the process to the first answer.
	took time.Duration
}

func build(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(dir, "caddy"), "./cmd/caddy")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building Caddy, from the module's directory: %w", err)
	}
	return nil
}

// startCaddy starts Caddy with the store in a directory, and waits for the
// first answer of the API's.
func startCaddy(ctx context.Context, program, own, api string) (*caddy, error) {
	c := &caddy{key: rand.Text() + rand.Text()}
	for _, address := range []*string{&c.address, &c.admin} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*address = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	text := strings.NewReplacer("ADDRESS", c.address, "ADMIN", c.admin, "API", api, "OWN", own).Replace(caddyfile)
	file := filepath.Join(own, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	c.cmd = exec.CommandContext(ctx, program, "run", "--adapter", "caddyfile", "--config", file)
	c.cmd.Cancel = func() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
	c.cmd.WaitDelay = time.Minute
	c.cmd.Env = append(os.Environ(), "HOME="+own, "XDG_DATA_HOME="+own, "XDG_CONFIG_HOME="+own, "BENCH_KEY="+c.key)
	c.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	client := c.client(1)
	for {
		_, err := client.get(ctx, 0)
		if err == nil {
			c.took = time.Since(began)
			return c, nil
		}
		if time.Since(began) > 2*time.Minute || ctx.Err() != nil {
			return nil, fmt.Errorf("no answer came: %w", err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// rest waits until the process has done what it does after a start: it has a
// second without work.
func (c *caddy) rest(ctx context.Context) error {
	for range 120 {
		before, err := c.cpu()
		if err != nil {
			return err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := c.cpu()
		if err != nil || after-before <= 2*time.Second/ticks {
			return err
		}
	}
	return errors.New("it has work to do all the time")
}

func (c *caddy) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// memory is what a process holds: Own is what it has made, Files is what it has
// mapped of files, which the system takes back when it needs it.
type memory struct {
	RSS   int `json:"rss_kib"`
	Own   int `json:"own_kib"`
	Files int `json:"files_kib"`
}

func (c *caddy) memory() (m memory, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		to := map[string]*int{"VmRSS": &m.RSS, "RssAnon": &m.Own, "RssFile": &m.Files, "RssShmem": &m.Files}[name]
		if to == nil {
			continue
		}
		n, err := strconv.Atoi(strings.Fields(value)[0])
		if err != nil {
			return m, err
		}
		*to += n
	}
	return m, nil
}

// ticks is how many of the kernel's ticks are a second: USER_HZ, which is 100 on
// everything that Linux runs on.
const ticks = 100

// cpu is what the process has used: proc_pid_stat(5).
func (c *caddy) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	var sum int
	// The name, in parentheses, may hold spaces.
	for _, field := range strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}
