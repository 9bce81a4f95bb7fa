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
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// admissions are the commands that ask the running Caddy, with what each must be
// given.
var admissions = map[string][]string{
	"audit": nil, "audit verify": nil, "backup": nil, "connect": {"quickbooks"}, "connections": nil,
	"disconnect": {"--yes", "quickbooks", "1"}, "doctor": nil,
	"export": {"--recipient", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"},
	"health": nil, "import": {"-"}, "keys create": {"app"}, "keys list": nil, "keys revoke": {"abc"}, "rebind": nil,
	"recheck": {"quickbooks", "1"}, "refresh": {"quickbooks", "1"}, "rekey": nil, "resume": nil, "show": {"quickbooks", "1"},
	"status": {"--no-open"},
}

// alone are the commands that ask nobody.
var alone = []string{"demo", "keygen", "restore"}

func freshbearerCommand() *cobra.Command {
	known := command()
	cmd := &cobra.Command{Use: known.Name, SilenceErrors: true}
	known.CobraFunc(cmd)
	return cmd
}

// leaves returns the names of the commands that do something.
func leaves(cmd *cobra.Command, before string) (names []string) {
	for _, sub := range cmd.Commands() {
		name := strings.TrimSpace(before + " " + sub.Name())
		if sub.RunE != nil && sub.Use != "keys <command>" {
			names = append(names, name)
		}
		names = append(names, leaves(sub, name)...)
	}
	return names
}

// Every command asks the Caddy whose admin API --address names: one at another
// machine's port, which a tunnel may lead to, or at a socket.
func TestEveryCommandHasAnAddress(t *testing.T) {
	wanted := slices.Sorted(slices.Values(leaves(freshbearerCommand(), "")))
	for name := range admissions {
		if !slices.Contains(wanted, name) {
			t.Errorf("there is no command %s", name)
		}
	}
	dir, err := os.MkdirTemp("", "fb") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "admin.sock")
	for network, at := range map[string]string{"tcp": "127.0.0.1:0", "unix": socket} {
		listener, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		var (
			mu    sync.Mutex
			asked []string
		)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, r.URL.Path+" of "+r.URL.Query().Get("store"))
			http.Error(w, "not now", http.StatusTeapot)
		}))
		server.Listener = listener
		server.Start()
		defer server.Close()
		addresses := []string{listener.Addr().String()}
		if network == "unix" {
			addresses = []string{"unix/" + socket, "unix/" + socket + "|0600"}
		}
		for _, address := range addresses {
			for _, name := range wanted {
				if slices.Contains(alone, name) {
					continue
				}
				args, ok := admissions[name]
				if !ok {
					t.Errorf("%s is not among the commands that are known here", name)
					continue
				}
				mu.Lock()
				asked = nil
				mu.Unlock()
				cmd := freshbearerCommand()
				cmd.SetArgs(append(append(strings.Fields(name), "--address", address, "--store", "/stores/one"), args...))
				cmd.SetIn(strings.NewReader(`{"connection":"1","refresh_token":"x"}` + "\n"))
				cmd.SetOut(io.Discard)
				cmd.SetErr(io.Discard)
				if err := cmd.ExecuteContext(t.Context()); err == nil {
					t.Errorf("%s %s: a refusal is a success", name, address)
				}
				mu.Lock()
				if len(asked) != 1 || !strings.HasPrefix(asked[0], adminPath) || name != "health" && !strings.HasSuffix(asked[0], " of /stores/one") {
					t.Errorf("%s --address %s has asked %q", name, address, asked)
				}
				mu.Unlock()
			}
		}
	}
}

// Long work is told of on standard error, and not more often than somebody reads.
func TestProgress(t *testing.T) {
	var out, told bytes.Buffer
	p := &progress{told: &told, spoke: time.Now().Add(-progressTold)}
	for range 3 {
		if n, err := p.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil {
			t.Fatal(n, err)
		}
	}
	if told.String() != "1.0 MiB so far\n" {
		t.Errorf("told %q", told.String())
	}
	told.Reset()
	lines := `{"store":"s","sealed":7}` + "\n" + `{"store":"s","sealed":9,"keys":[{"position":1,"id":"ab","seals":true,"records":9,"needed":true}]}` + "\n"
	if err := followRekey(&out, &told, strings.NewReader(lines)); err != nil || told.String() != "7 records sealed anew so far\n" || strings.Contains(out.String(), "so far") {
		t.Errorf("%v: told %q, printed %q", err, told.String(), out.String())
	}
}
