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
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func resumeCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "resume " + adminUsage,
		Short: "Lets a restored, copied or exported token store refresh its tokens",
		Long: `
A token store that was restored from a backup, or copied, starts on hold: valid
access tokens are served, and none is refreshed. If the store that it comes from
were still in use, each refresh of the one could end the grant of the other. So
it is with a store whose grants were exported with --hold.

Run this when no other process uses the store that this one comes from, nor what
was exported, and none will. It is remembered: the store is not on hold after the next start.
` + adminHelp + `

Exit code: 0 if the store is not on hold any more, or was not; 1 otherwise.`,
		Example: "  caddy freshbearer resume\n  caddy freshbearer resume --address unix//run/caddy/admin.sock",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			resp, err := admin.request(http.MethodPost, "resume")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var answer released
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				return fmt.Errorf("reading the answer of Caddy's admin API: %w", err)
			}
			text := fmt.Sprintf("token store %s was not on hold; nothing was changed", answer.Store)
			if h := answer.Released; h != nil {
				text = fmt.Sprintf("token store %s is not on hold any more (it was %s; on hold since %s); tokens are refreshed",
					answer.Store, h.Reason, h.Since.Format(time.RFC3339))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	admin.register(cmd)
	return cmd
}
