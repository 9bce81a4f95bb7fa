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
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func rebindCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "rebind " + adminUsage,
		Short: "Lets the connections' tokens go to the hosts that are configured now",
		Long: `
Each connection's tokens are bound to the provider's own hosts, and to those that
token_url, revoke_url, api_url and the upstreams of reverse_proxy named when it
was authorized. If the configuration names another host, nothing is sent there:
requests are answered with 503 host_unconfirmed, and no token is refreshed.

Run this when the hosts that it prints are the ones that are meant, as after a
move of a test server. To go back to the provider's own hosts needs no rebind.
` + adminHelp + `

Exit code: 0 if all connections are bound to the hosts that are configured, 1
otherwise.`,
		Example: "  caddy freshbearer rebind",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			resp, err := admin.request(http.MethodPost, "rebind")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var answer rebound
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				return fmt.Errorf("reading the answer of Caddy's admin API: %w", err)
			}
			for _, name := range slices.Sorted(maps.Keys(answer.Hosts)) {
				hosts := "the provider's own hosts only"
				if len(answer.Hosts[name]) > 0 {
					hosts = "the provider's own hosts, and " + strings.Join(answer.Hosts[name], ", ")
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", name, hosts); err != nil {
					return err
				}
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "connections that were bound to others: %d\n", answer.Rebound); err != nil {
				return err
			}
			if answer.Error != "" {
				return errors.New(answer.Error)
			}
			return nil
		},
	}
	admin.register(cmd)
	return cmd
}
