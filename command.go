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
	"errors"
	"fmt"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// command is `caddy freshbearer` with its subcommands.
func command() caddycmd.Command {
	return caddycmd.Command{
		Name:  "freshbearer",
		Usage: "<command>",
		Short: "Keeps the OAuth grants of a QuickBooks app alive",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(*cobra.Command, []string) error {
				var names []string
				for _, sub := range cmd.Commands() { // sorted by name
					names = append(names, sub.Name())
				}
				return errors.New("name a command: " + strings.Join(names, ", "))
			}
			cmd.AddCommand(auditCommand(), backupCommand(), connectCommand(), connectionsCommand(), demoCommand(), disconnectCommand(),
				doctorCommand(), exportCommand(), healthCommand(), importCommand(), keygenCommand(), keysCommand(), rebindCommand(), recheckCommand(), refreshCommand(),
				rekeyCommand(), restoreCommand(), resumeCommand(), showCommand(), statusCommand())
			explainArguments(cmd)
		},
	}
}

// explainArguments has each command say how it is called to whoever calls it
// otherwise.
func explainArguments(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		explainArguments(sub)
		if check := sub.Args; check != nil {
			sub.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return fmt.Errorf("%w; usage: %s", err, cmd.UseLine())
				}
				return nil
			}
		}
	}
}

func demoCommand() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo [--port <port>]",
		Short: "Shows the proxy at work with a simulated Intuit",
		Long: `
Starts a simulated Intuit and the proxy on the loopback interface, connects a
company, and prints commands to paste into another terminal: one that gets data
through the proxy, one that revokes the access token, one that ends the grant,
and the address where a human repairs it.

It needs no account anywhere, keeps nothing behind, and ends on Ctrl-C.`,
		Example: "  caddy freshbearer demo\n  caddy freshbearer demo --port 8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// From here on an error is not one of usage.
			cmd.SilenceUsage = true
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().IntVar(&d.port, "port", 0, "the proxy's port; 0 is any free one")
	return cmd
}
