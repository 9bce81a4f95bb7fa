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
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func recheckCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "recheck " + adminUsage + " <integration> <connection>",
		Short: "Asks the provider about a connection now, also if it was pronounced dead",
		Long: `
Refreshes the tokens of one connection now. If its grant was pronounced dead and
the provider accepts it after all, it works again, without a human. That is also
tried by itself, 10 minutes, 1 hour and 24 hours after the verdict; this does
not count as one of those.
` + adminHelp + `

Exit code: 0 if the connection works, 1 otherwise.`,
		Example: "  caddy freshbearer recheck quickbooks 9130347957983546",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			resp, err := admin.requestFor(http.MethodPost, "recheck", url.Values{"integration": {args[0]}, "connection": {args[1]}})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var answer rechecked
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				return fmt.Errorf("reading the answer of Caddy's admin API: %w", err)
			}
			name := answer.Integration + " " + answer.Connection
			switch answer.State {
			case tokenstore.StateConnected:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s works; it has a fresh token\n", name)
				return err
			case tokenstore.StateSuspect:
				return fmt.Errorf("%s is refused by the provider, but that is not believed yet; it is tried again by itself", name)
			}
			text := fmt.Sprintf("%s must be authorized again: %s since %s", name, answer.Cause, answer.Since.Format(time.RFC3339))
			if answer.TraceID != "" {
				text += ", intuit_tid " + answer.TraceID
			}
			return errors.New(text)
		},
	}
	admin.register(cmd)
	return cmd
}
