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
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func connectCommand() *cobra.Command {
	var (
		admin             adminFlags
		caller, returnURL string
		asJSON            bool
	)
	cmd := &cobra.Command{
		Use:   "connect [--caller <name>] [--return-url <url>] [--json] " + adminUsage + " <integration> [<connection>]",
		Short: "Prints a link at which a human connects a company",
		Long: `
Prints a link to the page where a person of a company allows the access. With a
connection, the link is for that company only, to connect or reconnect it. A
company that was not known belongs to the caller that --caller names, whose key
may then use it, or else to the operator.

Whoever has the link can open it until it ends. It holds no secret.
` + adminHelp,
		Example: "  caddy freshbearer connect quickbooks\n" +
			"  caddy freshbearer connect quickbooks --caller billing-app\n" +
			"  caddy freshbearer connect quickbooks 9130347957983546",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			query := url.Values{"integration": args[:1]}
			if len(args) == 2 {
				query["connection"] = args[1:]
			}
			for name, value := range map[string]string{"caller": caller, "return_url": returnURL} {
				if value != "" {
					query.Set(name, value)
				}
			}
			resp, err := admin.requestFor(http.MethodPost, "links", query)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var link madeLink
			if err := decodeAdmin(resp.Body, &link); err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(link)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", link.URL)
			return errors.Join(err, told(cmd, "the link can be opened until "+moment(link.ExpiresAt)))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&caller, "caller", "", "The caller that a new connection belongs to")
	flags.StringVar(&returnURL, "return-url", "", "Where the browser may go in the end, under one of return_urls")
	flags.BoolVar(&asJSON, "json", false, "Print JSON")
	admin.register(cmd)
	return cmd
}

// told tells people something beside the output.
func told(cmd *cobra.Command, text string) error {
	_, err := fmt.Fprintln(cmd.ErrOrStderr(), text)
	return err
}

func disconnectCommand() *cobra.Command {
	var (
		admin adminFlags
		yes   bool
	)
	cmd := &cobra.Command{
		Use:   "disconnect [--yes] " + adminUsage + " <integration> <connection>",
		Short: "Gives a connection up, and has its tokens revoked",
		Long: `
Ends the access to one company: from now on its requests are refused, and the
provider is asked to revoke its tokens, again every hour until it confirms that.
A person of the company can connect it again.

It asks before it does that, unless --yes is given.
` + adminHelp + `

Exit code: 0 if the connection is given up, 1 otherwise.`,
		Example: "  caddy freshbearer disconnect quickbooks 9130347957983546\n  caddy freshbearer disconnect --yes quickbooks 9130347957983546",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			if !yes {
				if err := confirmed(cmd, args); err != nil {
					return err
				}
			}
			resp, err := admin.requestFor(http.MethodPost, "connections/disconnect", keyQuery(args))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var c shownConnection
			if err := decodeAdmin(resp.Body, &c); err != nil {
				return err
			}
			name := c.Integration + " " + c.Connection
			switch c.State {
			case tokenstore.StateDisconnected:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is disconnected; the provider has confirmed that its tokens are revoked\n", name)
			case grant.StateRevokePending:
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is disconnected; the provider has not confirmed yet that its tokens are revoked, and is asked again every hour\n", name)
			default:
				err = fmt.Errorf("%s was authorized again meanwhile, and is %s", name, c.State)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "Do not ask")
	admin.register(cmd)
	return cmd
}

// confirmed asks a human to repeat the connection.
func confirmed(cmd *cobra.Command, args []string) error {
	if info, err := os.Stdin.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return errors.New("nobody is there to ask; give --yes to disconnect without")
	}
	if err := told(cmd, "This ends the access to company "+args[1]+" of "+args[0]+". Type its ID to go on:"); err != nil {
		return err
	}
	answer, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if strings.TrimSpace(answer) != args[1] {
		return errors.New("nothing was done")
	}
	return nil
}
