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

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is one run of the binary.
type process struct {
	cmd     *exec.Cmd
	logPath string
	spawned time.Time
	ended   chan struct{}
	err     error // of Wait; valid once ended is closed
	former  bool
}

// spawn starts the binary with a Caddyfile. It ends with the test at the
// latest; if that has failed, the end of its log is shown.
func spawn(t *testing.T, dir, caddyfile string, env []string) *process {
	t.Helper()
	log, err := os.CreateTemp(dir, "log-*.json")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &process{logPath: log.Name(), ended: make(chan struct{})}
	p.cmd = exec.Command(binary, "run", "--config", caddyfile, "--adapter", "caddyfile")
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = log, log
	dieWithUs(p.cmd)
	p.spawned = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting the process: %v", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && !p.former {
			t.Logf("the last lines of process %d:\n%s", p.cmd.Process.Pid, p.lastLines(30))
		}
	})
	return p
}

// forget drops the log of a process that has done its part: a long run has
// hundreds of them.
func (p *process) forget() {
	select {
	case <-p.ended:
		p.former = true
		_ = os.Remove(p.logPath)
	default:
	}
}

// kill is kill -9. It returns when the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

// terminate is SIGTERM; it returns how long the end took.
func (p *process) terminate(limit time.Duration) (time.Duration, error) {
	start := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case <-p.ended:
		return time.Since(start), p.err
	case <-time.After(limit):
		return time.Since(start), fmt.Errorf("the process still runs %s after SIGTERM", limit)
	}
}

// up waits until the process answers a request, and returns when that was.
func (p *process) up(origin string) (time.Time, error) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	err := eventually(30*time.Second, func() error {
		select {
		case <-p.ended:
			return nil
		default:
		}
		resp, err := c.Get(origin + "/")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	select {
	case <-p.ended:
		return time.Now(), fmt.Errorf("the process ended at its start: %v\n%s", p.err, p.lastLines(30))
	default:
	}
	if err != nil {
		err = fmt.Errorf("the process does not answer: %w\n%s", err, p.lastLines(30))
	}
	return time.Now(), err
}

// log returns all that the process has written.
func (p *process) log() []byte {
	text, err := os.ReadFile(p.logPath)
	if err != nil {
		return []byte(err.Error())
	}
	return text
}

func (p *process) lastLines(n int) []byte {
	lines := bytes.SplitAfter(p.log(), []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-n-1):], nil)
}

// environment is what a child sees: nothing of the developer's but where the
// system finds its own things.
func environment(dir string, more ...string) []string {
	env := []string{"HOME=" + dir, "XDG_DATA_HOME=" + filepath.Join(dir, "data"), "XDG_CONFIG_HOME=" + filepath.Join(dir, "config")}
	for _, name := range []string{"PATH", "TMPDIR", "SystemRoot"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return append(env, more...)
}

// exitCode is that of a process that has ended, -1 for one ended by a signal.
func (p *process) exitCode() int {
	var e *exec.ExitError
	if errors.As(p.err, &e) {
		return e.ExitCode()
	}
	return 0
}
