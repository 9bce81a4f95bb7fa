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
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func doctorCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "doctor [--json] " + adminUsage,
		Short: "Looks for what is wrong, and says how to repair it",
		Long: `
Examines the running configuration and its token store, and asks the provider
whether it can be reached and knows this client. Each line is ok, a warning or a
fault, with its repair. It never uses a refresh token: the client is tried with
one that never existed.
` + adminHelp + `

If no Caddy answers, the configuration that --config names is examined without
starting it, with the environment of this command; what needs the open store is
left out then, and said to be.

Exit code: 0 if there is no fault, 1 if there is one.`,
		Example: "  caddy freshbearer doctor\n" +
			"  caddy freshbearer doctor --json\n" +
			"  caddy freshbearer doctor --config /etc/caddy/Caddyfile",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			report := admin.consult(cmd)
			out := cmd.OutOrStdout()
			write := func() error { return report.write(out, colourful(out)) }
			if asJSON {
				encoder := json.NewEncoder(out)
				encoder.SetIndent("", "  ")
				write = func() error { return encoder.Encode(report) }
			}
			if err := write(); err != nil {
				return err
			}
			if report.Faults > 0 {
				cmd.SilenceErrors = true // the report says it
				return errors.New("there are faults")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Write the report as JSON")
	admin.register(cmd)
	return cmd
}

// consult gets a report from the running Caddy, or makes one of a configuration
// that does not run.
func (f *adminFlags) consult(cmd *cobra.Command) *report {
	address, off, err := f.adminAddress()
	if err != nil {
		return failed("configuration", err.Error(), "correct the configuration; caddy validate looks at all of it")
	}
	f.address = address
	if !off && listening(address) {
		r, err := f.askDoctor()
		if err != nil {
			return failed("admin", err.Error(), "if it is another Caddy that answers, name the right one with --address; "+
				"if it is an older build, restart Caddy with this one")
		}
		return r
	}
	if f.config == "" {
		return failed("admin", "no Caddy answers at its admin address "+address,
			"start Caddy, or name its address with --address; to examine a configuration that does not run, name it with --config")
	}
	var r *report
	d, err := offlineDoctor(f.config, f.adapter)
	if err != nil {
		r = failed("configuration", err.Error(), "correct this; placeholders are filled from the environment of this command")
	} else {
		r = d.examine(cmd.Context())
	}
	why := "no Caddy answers at " + address
	if off {
		why = "the configuration has no admin API (admin off)"
	}
	r.skip("caddy", "", why+", so the configuration was examined without it")
	return r
}

// failed is the report if there is nothing to examine.
func failed(check, message, repair string) *report {
	r := &report{Findings: []finding{}}
	r.add(fault(check, "", message, repair))
	return r
}

// adminAddress returns where Caddy's admin API should be. off tells that the
// named configuration has none; then another Caddy may be at the default.
func (f *adminFlags) adminAddress() (address string, off bool, err error) {
	var config []byte
	if f.config != "" {
		if config, _, _, err = caddycmd.LoadConfig(f.config, f.adapter); err != nil {
			return "", false, fmt.Errorf("loading the configuration: %w", err)
		}
		var admin struct {
			Admin caddy.AdminConfig `json:"admin"`
		}
		if err := json.Unmarshal(config, &admin); err != nil {
			return "", false, fmt.Errorf("reading the configuration: %w", err)
		}
		off = admin.Admin.Disabled && f.address == ""
	}
	address, err = caddycmd.DetermineAdminAPIAddress(f.address, config, f.config, f.adapter)
	return address, off, err
}

// listening tells whether somebody is at an address.
func listening(address string) bool {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 {
		return true // the request says what is wrong
	}
	if parsed.IsUnixNetwork() {
		parsed.Host, _, _ = strings.Cut(parsed.Host, "|") // the socket's mode
	}
	connection, err := net.DialTimeout(parsed.Network, parsed.JoinHostPort(0), 5*time.Second)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

// askDoctor gets the report of the running Caddy.
func (f *adminFlags) askDoctor() (*report, error) {
	resp, err := f.request(http.MethodGet, "doctor")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r := new(report)
	if err := json.NewDecoder(resp.Body).Decode(r); err != nil {
		return nil, fmt.Errorf("reading the answer of Caddy's admin API: %w", err)
	}
	return r, nil
}

// offlineDoctor provisions a configuration as 'caddy validate' does. It is not
// cleaned up, because the process ends after it.
func offlineDoctor(file, adapter string) (*doctor, error) {
	text, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, fmt.Errorf("loading the configuration: %w", err)
	}
	var config *caddy.Config
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(text), &config); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		return nil, err
	}
	return newDoctor(ctx)
}

// colourful tells whether what is written is seen on a terminal.
func colourful(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// colours are those of the levels on a terminal: green, yellow and red.
var colours = map[level]string{levelOK: "32", levelWarning: "33", levelFault: "31"}

// write writes a line for each finding, its repair below it, and what they add
// up to.
func (r *report) write(out io.Writer, colour bool) error {
	var text strings.Builder
	line := func(marker, code, check, subject, message string) {
		marker = fmt.Sprintf("%-7s", marker)
		if colour && code != "" {
			marker = "\x1b[" + code + "m" + marker + "\x1b[0m"
		}
		what := strings.ReplaceAll(check, "_", " ")
		if subject != "" {
			what += " " + subject
		}
		fmt.Fprintf(&text, "%s  %s: %s\n", marker, what, message)
	}
	for _, f := range r.Findings {
		line(string(f.Level), colours[f.Level], f.Check, f.Subject, f.Message)
		if f.Repair != "" {
			fmt.Fprintf(&text, "         repair: %s\n", f.Repair)
		}
	}
	for _, n := range r.NotRun {
		line("-", "", n.Check, n.Subject, "not examined: "+n.Reason)
	}
	fmt.Fprintf(&text, "\n%d ok, %s, %s", r.OK, count(r.Warnings, "warning"), count(r.Faults, "fault"))
	if n := len(r.NotRun); n > 0 {
		fmt.Fprintf(&text, ", %d not examined", n)
	}
	text.WriteByte('\n')
	_, err := io.WriteString(out, text.String())
	return err
}

// count writes a number of things.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
