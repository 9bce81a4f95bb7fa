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
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// exportFrom runs the command against an admin API, and returns what it prints.
func exportFrom(t *testing.T, serve http.HandlerFunc, args ...string) (out, told string, err error) {
	t.Helper()
	server := httptest.NewServer(serve)
	defer server.Close()
	var stdout, stderr bytes.Buffer
	cmd := freshbearerCommand()
	cmd.SetArgs(append([]string{"export", "--address", strings.TrimPrefix(server.URL, "http://"), "--recipient", newIdentity(t).Recipient().String()}, args...))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err = cmd.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// The file is there when the export is whole, and not before. What was there
// stays until then.
func TestExportCommandWritesAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "grants.age")
	if err := os.WriteFile(path, []byte("the one before"), 0o600); err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("sealed"), 100_000)
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"the connection breaks": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(body)
			panic(http.ErrAbortHandler)
		}, "broken off"},
		"a proxy ends it": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(body)
		}, "its summary is missing"},
		"it is refused": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, `{"error":"disk on fire"}`, http.StatusInternalServerError)
		}, "disk on fire"},
	} {
		for _, hold := range []bool{false, true} {
			args := []string{"--output", path}
			if hold {
				args = append(args, "--hold")
			}
			_, _, err := exportFrom(t, c.serve, args...)
			// Whoever has asked for a hold is told how to get out of it, unless
			// the server has said what there is to say.
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), exportAgain) != (hold && name != "it is refused") {
				t.Errorf("%s: %v", name, err)
			}
			if data, err := os.ReadFile(path); err != nil || string(data) != "the one before" {
				t.Errorf("%s: the file has %d bytes, %v", name, len(data), err)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
				t.Errorf("%s: it left %v behind, %v", name, files, err)
			}
		}
	}
	out, told, err := exportFrom(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !r.URL.Query().Has("hold") || r.URL.Query().Get("integration") != "quickbooks" {
			t.Errorf("it asks %s %s", r.Method, r.URL)
		}
		w.Header().Set("Trailer", exportTrailer)
		_, _ = w.Write(body)
		w.Header().Set(exportTrailer, `{"store":"/s","connections":7,"states":{"connected":4,"suspect":1,"needs_reauth":2},`+
			`"left_out":{"damaged":1,"disconnected":3},"doubtful":1,"hold":{"reason":"restored","since":"2026-11-28T12:00:00Z"}}`)
	}, "--output", path, "--hold", "--integration", "quickbooks")
	if err == nil || !strings.Contains(err.Error(), "1 connection cannot be read") {
		t.Errorf("with a damaged record: %v", err)
	}
	if out != "exported 7 connections (2 needs_reauth, 1 suspect) to "+path+"\n" {
		t.Errorf("printed %q", out)
	}
	for _, want := range []string{"left out: 1 damaged, 3 disconnected\n", "1 connection in mid refresh", "because it was restored: the store that it comes from may have newer tokens"} {
		if !strings.Contains(told, want) {
			t.Errorf("it does not say %q: %s", want, told)
		}
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, body) {
		t.Errorf("the file has %d bytes, %v", len(data), err)
	}
	if info, err := os.Stat(path); runtime.GOOS != "windows" && (err != nil || info.Mode().Perm() != 0o600) {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}
