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
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// patient returns the doctor of provisionCaddyfile with a change, which asks
// nobody until it is told to.
func patient(t *testing.T, input string) *doctor {
	t.Helper()
	ctx, _ := provisioned(t, input)
	d, err := newDoctor(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d.now = func() time.Time { return doctorNow }
	d.interfaces = func() ([]net.Addr, error) { return nil, nil }
	return d
}

var doctorNow = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

// want compares findings with "level check subject: a part of the message"
// each, and makes sure that what is not ok has a repair.
func want(t *testing.T, found []finding, want ...string) {
	t.Helper()
	if len(found) != len(want) {
		t.Errorf("%d findings, want %d: %+v", len(found), len(want), found)
		return
	}
	for i, f := range found {
		head, part, _ := strings.Cut(want[i], ": ")
		got := strings.TrimSpace(string(f.Level) + " " + f.Check + " " + f.Subject)
		if got != head || !strings.Contains(f.Message, part) {
			t.Errorf("got  %s: %s\nwant %s", got, f.Message, want[i])
		}
		if (f.Level == levelOK) != (f.Repair == "") {
			t.Errorf("%s has the repair %q", got, f.Repair)
		}
		checkHides(t, "a finding", f.Message+f.Repair)
	}
}

func TestDoctorSecrets(t *testing.T) {
	store := provisionEnv(t)
	file := filepath.Join(filepath.Dir(store), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("sentinel-from-a-file")
	d := patient(t, withChange(t, "{env.FRESHBEARER_TEST_SECRET}", "{file."+file+"}"))
	want(t, d.secrets(), "ok secrets: 3 placeholders")

	write("sentinel-from-another-file")
	want(t, d.secrets(), "warning secrets quickbooks: client_secret: {file."+file+"} has changed since")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	want(t, d.secrets(), "fault secrets quickbooks: is empty, unreadable or unknown")
	write("sentinel-from-a-file")

	t.Setenv("FRESHBEARER_TEST_KEY", sentinels["FRESHBEARER_TEST_KEY2"])
	want(t, d.secrets(), "warning secrets billing-app: key: {env.FRESHBEARER_TEST_KEY} has changed")
	t.Setenv("FRESHBEARER_TEST_KEY", "")
	want(t, d.secrets(), "fault secrets billing-app: {env.FRESHBEARER_TEST_KEY} is empty")
	t.Setenv("FRESHBEARER_TEST_KEY", sentinels["FRESHBEARER_TEST_KEY"])

	t.Setenv("FRESHBEARER_TEST_SEAL", strings.Repeat("0", 64))
	want(t, d.secrets(), "fault secrets: the encryption key has changed")
	t.Setenv("FRESHBEARER_TEST_SEAL", "sentinel")
	want(t, d.secrets(), "fault secrets: encryption_key: the first encryption key has 6 bytes")
}

// Keys that changed places open other doors than before.
func TestDoctorSwappedKeys(t *testing.T) {
	provisionEnv(t)
	d := patient(t, withChange(t, "connections *\n\t\t}", "connections *\n\t\t}\n\t\tcaller reports {\n\t\t\tkey {env.FRESHBEARER_TEST_KEY2}\n\t\t}"))
	want(t, d.secrets(), "ok secrets: 4 placeholders")
	t.Setenv("FRESHBEARER_TEST_KEY", sentinels["FRESHBEARER_TEST_KEY2"])
	t.Setenv("FRESHBEARER_TEST_KEY2", sentinels["FRESHBEARER_TEST_KEY"])
	want(t, d.secrets(), "warning secrets billing-app: has changed", "warning secrets reports: has changed")
}

func TestDoctorNotifySecret(t *testing.T) {
	provisionEnv(t)
	t.Setenv("FRESHBEARER_TEST_NOTIFY", "whsec_"+sentinels["FRESHBEARER_TEST_SEAL"])
	d := patient(t, withChange(t, "scopes com", "notify https://app.example.com/hook {\n\t\t\t\tsecret {env.FRESHBEARER_TEST_NOTIFY}\n\t\t\t}\n\t\t\tscopes com"))
	want(t, d.secrets(), "ok secrets: 4 placeholders")
	t.Setenv("FRESHBEARER_TEST_NOTIFY", "whsec_"+strings.Repeat("A", 44))
	want(t, d.secrets(), "warning secrets quickbooks: notify secret: {env.FRESHBEARER_TEST_NOTIFY} has changed")
}

func TestDoctorEncryptionKey(t *testing.T) {
	const configured = "encryption_key {env.FRESHBEARER_TEST_SEAL}"
	store := provisionEnv(t)
	file := func(t *testing.T, path string, mode os.FileMode) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(sentinels["FRESHBEARER_TEST_SEAL"]), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
		return path
	}
	key := file(t, filepath.Join(filepath.Dir(store), "key"), 0o640)
	open := file(t, filepath.Join(filepath.Dir(store), "open"), 0o644)
	inside := file(t, filepath.Join(store, "sub", "key"), 0o600)
	link := filepath.Join(filepath.Dir(store), "link")
	if err := os.Symlink(inside, link); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		setting string
		want    []string
	}{
		"by variable":   {configured, []string{"ok encryption_key: configured, apart"}},
		"in a file":     {"encryption_key {file." + key + "}", []string{"ok encryption_key: configured, apart"}},
		"two":           {configured + " {env.FRESHBEARER_TEST_OTHER}", []string{"ok encryption_key: 2 keys"}},
		"for everybody": {"encryption_key {file." + open + "}", []string{"warning encryption_key: every user of this machine can read or change " + open + " (mode 0644)"}},
		"with the data": {"encryption_key {file." + inside + "}", []string{"warning encryption_key: in the directory of the data"}},
		"by a link":     {"encryption_key {file." + link + "}", []string{"warning encryption_key: " + inside + " is in the directory of the data"}},
		"none":          {"", []string{"warning encryption_key: one will be generated"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("FRESHBEARER_TEST_OTHER", strings.Repeat("0", 64))
			want(t, patient(t, withChange(t, configured, c.setting)).encryptionKey(t.Context()), c.want...)
		})
	}
}

func TestDoctorRegistration(t *testing.T) {
	provisionEnv(t)
	for name, c := range map[string]struct {
		old, new string
		want     []string
	}{
		"good": {"", "", []string{
			"ok environment quickbooks: production",
			"ok redirect_url quickbooks: https://qb.example.com/oauth/callback fits the rules of QuickBooks",
			"ok scopes quickbooks: com.intuit.quickbooks.accounting",
		}},
		"localhost": {"https://qb.example.com/oauth", "http://localhost/oauth", []string{
			"ok environment quickbooks: production", "fault redirect_url quickbooks: no localhost", "ok scopes quickbooks: com",
		}},
		"no company": {"scopes com.intuit.quickbooks.accounting", "scopes openid emial", []string{
			"ok environment quickbooks: production", "ok redirect_url quickbooks: fits", "warning scopes quickbooks: emial",
		}},
		"mixed": {"scopes com", "token_url http://127.0.0.1:1/token\n\t\t\tapi_url http://127.0.0.1:1\n\t\t\tscopes com", []string{
			"warning environment quickbooks: token_url, api_url are set, and authorize_url, revoke_url are not",
			"ok redirect_url quickbooks: fits", "ok scopes quickbooks: com",
		}},
		"one missing": {"scopes com", "token_url http://127.0.0.1:1/\n\t\t\tauthorize_url http://127.0.0.1:1/\n\t\t\tapi_url http://127.0.0.1:1\n\t\t\tscopes com", []string{
			"warning environment quickbooks: authorize_url, token_url, api_url are set, and revoke_url is not",
			"ok redirect_url quickbooks: fits", "ok scopes quickbooks: com",
		}},
		"another host": {"scopes com", "api_url https://sandbox-quickbooks.api.intuit.com\n\t\t\tscopes com", []string{
			"fault environment quickbooks: host of sandbox", "ok redirect_url quickbooks: fits", "ok scopes quickbooks: com",
		}},
		"regional host": {"scopes com", "api_url https://api.example.com\n\t\t\tscopes com", []string{
			"ok environment quickbooks: production", "ok redirect_url quickbooks: fits", "ok scopes quickbooks: com",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			input := provisionCaddyfile
			if c.old != "" {
				input = withChange(t, c.old, c.new)
			}
			d := patient(t, input)
			want(t, d.registration(d.app.Integrations["quickbooks"]), c.want...)
		})
	}
}

func TestDoctorListeners(t *testing.T) {
	provisionEnv(t)
	addresses := func(all ...string) func() ([]net.Addr, error) {
		return func() ([]net.Addr, error) {
			var list []net.Addr
			for _, a := range all {
				ip, network, err := net.ParseCIDR(a)
				if err != nil {
					return nil, err
				}
				list = append(list, &net.IPNet{IP: ip, Mask: network.Mask})
			}
			return list, nil
		}
	}
	private := addresses("127.0.0.1/8", "10.0.0.5/24", "fe80::1/64", "100.64.1.1/10", "::1/128")
	public := addresses("127.0.0.1/8", "10.0.0.5/24", "203.0.113.7/24")
	for name, c := range map[string]struct {
		site       string
		interfaces func() ([]net.Addr, error)
		want       []string
	}{
		"https":             {"https://qb.example.com {\n\tfreshbearer quickbooks", public, []string{"ok listener :443: TLS"}},
		"clear, private":    {"http://qb.example.com {\n\tfreshbearer quickbooks", private, []string{"warning listener :80: private network"}},
		"clear, public":     {"http://qb.example.com:8080 {\n\tfreshbearer quickbooks", public, []string{"fault listener :8080: strangers can reach it"}},
		"clear, unknown":    {"http://qb.example.com:8080 {\n\tfreshbearer quickbooks", addresses("what"), []string{"fault listener :8080: strangers can reach it"}},
		"loopback":          {"http://qb.example.com:8080 {\n\tbind 127.0.0.1\n\tfreshbearer quickbooks", public, []string{"ok listener 127.0.0.1:8080: programs of this machine only"}},
		"a private address": {"http://qb.example.com:8080 {\n\tbind 10.0.0.5\n\tfreshbearer quickbooks", public, []string{"warning listener 10.0.0.5:8080: private network"}},
		"a public address":  {"http://qb.example.com:8080 {\n\tbind 203.0.113.7\n\tfreshbearer quickbooks", private, []string{"fault listener 203.0.113.7:8080: strangers"}},
		"every address":     {"http://qb.example.com:8080 {\n\tbind 0.0.0.0\n\tfreshbearer quickbooks", public, []string{"fault listener 0.0.0.0:8080: strangers"}},
		"a name":            {"http://qb.example.com:8080 {\n\tbind qb.example.com\n\tfreshbearer quickbooks", public, []string{"fault listener qb.example.com:8080: strangers"}},
		"a socket":          {"http://qb.example.com {\n\tbind unix//run/qb.sock\n\tfreshbearer quickbooks", public, []string{"ok listener unix//run/qb.sock: programs of this machine only"}},
		"inherited":         {"http://qb.example.com {\n\tbind fd/3\n\tfreshbearer quickbooks", public, []string{"warning listener fd/3: inherited"}},
		"two":               {"http://qb.example.com:8080 {\n\tbind 127.0.0.1 203.0.113.7\n\tfreshbearer quickbooks", public, []string{"ok listener 127.0.0.1:8080: programs", "fault listener 203.0.113.7:8080: strangers"}},
		"another site":      {"http://qb.example.com:8080 {\n\trespond hello\n}\nhttps://qb.example.com {\n\tfreshbearer quickbooks", public, []string{"ok listener :443: TLS"}},
		"deep in a route":   {"http://qb.example.com:8080 {\n\thandle /qb/* {\n\t\troute {\n\t\t\tfreshbearer quickbooks\n\t\t}\n\t}", public, []string{"fault listener :8080: strangers"}},
		"no site":           {"http://qb.example.com:8080 {\n\trespond hello", public, []string{"warning listener quickbooks: no site has this integration"}},
		"another name": {"https://b.example.com {\n\tfreshbearer quickbooks", public, []string{
			"ok listener :443: TLS", "warning redirect url quickbooks: no site of this configuration has https://qb.example.com",
		}},
		"another name with it":  {"https://a.example.com, https://qb.example.com {\n\tfreshbearer quickbooks", public, []string{"ok listener :443: TLS"}},
		"any name":              {"https://*.example.com {\n\tfreshbearer quickbooks", public, []string{"ok listener :443: TLS"}},
		"no name":               {"http:// {\n\tbind 127.0.0.1\n\tfreshbearer quickbooks", public, []string{"ok listener 127.0.0.1:80: programs"}},
		"two sites, one server": {"http://a.example.com:8080 {\n\tfreshbearer quickbooks\n}\nhttp://qb.example.com:8080 {\n\tfreshbearer quickbooks", public, []string{"fault listener :8080: strangers"}},
	} {
		t.Run(name, func(t *testing.T) {
			input := withChange(t, "http://qb.example.com {\n\tfreshbearer quickbooks", c.site)
			input = strings.Replace(input, "\tauto_https off\n", "\tauto_https disable_redirects\n\tskip_install_trust\n\tlocal_certs\n", 1)
			config := loadConfig(t, input, "freshbearer", "http", "tls")
			ctx, err := caddy.ProvisionContext(config)
			if err != nil {
				t.Fatal(err)
			}
			d, err := newDoctor(ctx)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.app.Cleanup() })
			if d.http == nil {
				t.Error("the HTTP app is not known, and so not its ports")
			}
			d.interfaces = c.interfaces
			want(t, d.listeners(), c.want...)
		})
	}
}

// Caddy's own rule: a server with TLS does not encrypt on the port of HTTP.
func TestDoctorTLSByPort(t *testing.T) {
	encrypted := &caddyhttp.Server{TLSConnPolicies: slices.Grow(caddyhttp.Server{}.TLSConnPolicies, 1)[:1]}
	for listen, want := range map[string]bool{":443": true, ":80": false, ":8080": true, ":79-81": false, ":81-90": true, "unix//x": true} {
		address, err := caddy.ParseNetworkAddress(listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&doctor{}).tls(encrypted, address); got != want {
			t.Errorf("%s: %v", listen, got)
		}
		if (&doctor{}).tls(&caddyhttp.Server{}, address) {
			t.Errorf("%s: encrypted without a policy", listen)
		}
	}
	address, _ := caddy.ParseNetworkAddress(":8080")
	if (&doctor{http: &caddyhttp.App{HTTPPort: 8080}}).tls(encrypted, address) {
		t.Error("http_port is not known")
	}
}

func TestDoctorAdmin(t *testing.T) {
	d := &doctor{interfaces: func() ([]net.Addr, error) { return nil, nil }}
	want(t, d.adminListener())
	for listen, expected := range map[string]string{
		"localhost:2019":       "ok admin localhost:2019: programs of this machine",
		"unix//run/admin.sock": "ok admin unix//run/admin.sock: programs of this machine",
		":2019":                "fault admin :2019: can change its configuration",
		"0.0.0.0:2019":         "fault admin 0.0.0.0:2019: can change",
		"10.0.0.5:2019":        "fault admin 10.0.0.5:2019: can change",
	} {
		address, err := caddy.ParseNetworkAddress(listen)
		if err != nil {
			t.Fatal(err)
		}
		d.admin = &address
		want(t, d.adminListener(), expected)
	}
}

func TestReportText(t *testing.T) {
	r := new(report)
	r.add(fine("store", "", "open"), warning("status_page", "quickbooks", "has an incident", "wait"), fault("client", "quickbooks", "is refused", "copy it again"))
	r.skip("clock", "quickbooks", "nobody told the time")
	const plain = `ok       store: open
warning  status page quickbooks: has an incident
         repair: wait
fault    client quickbooks: is refused
         repair: copy it again
-        clock quickbooks: not examined: nobody told the time

1 ok, 1 warning, 1 fault, 1 not examined
`
	var out bytes.Buffer
	if err := r.write(&out, false); err != nil || out.String() != plain {
		t.Errorf("%v\n%s", err, out.String())
	}
	out.Reset()
	if err := r.write(&out, true); err != nil || !strings.Contains(out.String(), "\x1b[31mfault  \x1b[0m  client") {
		t.Errorf("%v\n%q", err, out.String())
	}
	const shape = `{"ok":1,"warnings":1,"faults":1,"findings":[` +
		`{"check":"store","level":"ok","message":"open"},` +
		`{"check":"status_page","subject":"quickbooks","level":"warning","message":"has an incident","repair":"wait"},` +
		`{"check":"client","subject":"quickbooks","level":"fault","message":"is refused","repair":"copy it again"}],` +
		`"not_run":[{"check":"clock","subject":"quickbooks","reason":"nobody told the time"}]}`
	if text, err := json.Marshal(r); err != nil || string(text) != shape {
		t.Errorf("%v\n%s", err, text)
	}
	if colourful(&out) {
		t.Error("a buffer is no terminal")
	}
}
