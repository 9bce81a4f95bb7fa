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
			return admin.ask(cmd, "recheck", args)
		},
	}
	admin.register(cmd)
	return cmd
}

func refreshCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "refresh " + adminUsage + " <integration> <connection>",
		Short: "Gets a connection a fresh access token now",
		Long: `
Refreshes the tokens of one connection now, although they may be good: once a
minute at most. No app needs this; tokens are refreshed in time by themselves.
A connection that must be authorized again is not asked about; recheck does that.
` + adminHelp + `

Exit code: 0 if the connection has a fresh token, 1 otherwise.`,
		Example: "  caddy freshbearer refresh quickbooks 9130347957983546",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return admin.ask(cmd, "connections/refresh", args)
		},
	}
	admin.register(cmd)
	return cmd
}

// ask has the provider asked about the connection that the arguments name.
func (f *adminFlags) ask(cmd *cobra.Command, endpoint string, args []string) error {
	cmd.SilenceUsage = true
	resp, err := f.requestFor(http.MethodPost, endpoint, keyQuery(args))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer rechecked
	if err := decodeAdmin(resp.Body, &answer); err != nil {
		return err
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
}

// keyQuery are the parameters that name a connection.
func keyQuery(args []string) url.Values {
	return url.Values{"integration": {args[0]}, "connection": {args[1]}}
}
