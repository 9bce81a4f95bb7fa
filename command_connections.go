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
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/grant"
)

func connectionsCommand() *cobra.Command {
	var (
		admin                    adminFlags
		integration, state, text string
		limit                    int
		asJSON                   bool
	)
	cmd := &cobra.Command{
		Use:   "connections [--integration <name>] [--state <state>] [--text <text>] [--limit <n>] [--json] " + adminUsage,
		Short: "Lists the connections and their states",
		Long: `
Prints a line for each connection, the worst states first: suspect and
needs_reauth, then those that work. A summary goes to standard error.

States are connected, suspect, needs_reauth, revoke_pending and disconnected.
--text is a part of the company's name, its ID or the owner, in any case.
With --json, each connection is a line of JSON. There is no token in it.
` + adminHelp,
		Example: "  caddy freshbearer connections\n" +
			"  caddy freshbearer connections --state needs_reauth\n" +
			"  caddy freshbearer connections --json | jq -r 'select(.state != \"connected\") | .connection'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			query := url.Values{"limit": {strconv.Itoa(grant.MaxPage)}}
			for name, value := range map[string]string{"integration": integration, "state": state, "text": text} {
				if value != "" {
					query.Set(name, value)
				}
			}
			return admin.list(cmd, query, limit, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&integration, "integration", "", "Only those of this integration")
	flags.StringVar(&state, "state", "", "Only those in this state")
	flags.StringVar(&text, "text", "", "Only those with this text in the company's name, its ID or the owner")
	flags.IntVar(&limit, "limit", 0, "How many at most; 0 is all")
	flags.BoolVar(&asJSON, "json", false, "Print lines of JSON")
	admin.register(cmd)
	return cmd
}

// list prints the connections that a query means, page by page.
func (f *adminFlags) list(cmd *cobra.Command, query url.Values, limit int, asJSON bool) error {
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	encoder, printed := json.NewEncoder(cmd.OutOrStdout()), 0
	if !asJSON {
		fmt.Fprintln(out, "INTEGRATION\tCONNECTION\tCOMPANY\tOWNER\tSTATE\tCAUSE\tSINCE\tREFRESHED")
	}
	for {
		if limit > 0 {
			query.Set("limit", strconv.Itoa(min(limit-printed, grant.MaxPage)))
		}
		page, err := f.page(query)
		if err != nil {
			return err
		}
		for _, c := range page.Connections {
			printed++
			if asJSON {
				err = encoder.Encode(c)
			} else {
				_, err = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.Integration, c.Connection, printable(c.Company), printable(c.Owner),
					c.State, c.Cause, moment(c.Since), moment(c.RefreshedAt))
			}
			if err != nil {
				return err
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if page.Next == "" || limit > 0 && printed >= limit {
			return f.summary(cmd, page, printed)
		}
		query = nextPage(page.Next)
	}
}

func (f *adminFlags) page(query url.Values) (*shownConnections, error) {
	resp, err := f.requestFor(http.MethodGet, "connections", query)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	page := new(shownConnections)
	return page, decodeAdmin(resp.Body, page)
}

func (f *adminFlags) summary(cmd *cobra.Command, page *shownConnections, printed int) error {
	text := fmt.Sprintf("%d of %s", printed, count(page.Total, "connection"))
	if page.Damaged > 0 {
		text += fmt.Sprintf("; %s cannot be read: run caddy freshbearer doctor", count(page.Damaged, "record"))
	}
	_, err := fmt.Fprintln(cmd.ErrOrStderr(), text)
	return err
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func showCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "show [--json] " + adminUsage + " <integration> <connection>",
		Short: "Shows all that is known of one connection, with its history",
		Long: `
Prints the state of one connection and its cause, its times, what it was
authorized for, and the last things that happened to it. There is no token in
it. Nothing is asked of the provider: recheck does that.
` + adminHelp + `

Exit code: 0 if there is such a connection, 1 otherwise.`,
		Example: "  caddy freshbearer show quickbooks 9130347957983546",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			resp, err := admin.requestFor(http.MethodGet, "connections/show", keyQuery(args))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if asJSON {
				_, err := io.Copy(cmd.OutOrStdout(), resp.Body)
				return err
			}
			var one describedConnection
			if err := decodeAdmin(resp.Body, &one); err != nil {
				return err
			}
			return printDescribed(cmd.OutOrStdout(), &one)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	admin.register(cmd)
	return cmd
}

func printDescribed(w io.Writer, c *describedConnection) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	owner := c.Owner
	if owner == "" {
		owner = "(the operator)"
	}
	for _, line := range [][2]string{
		{"company", c.Company}, {"connection", c.Connection}, {"integration", c.Integration}, {"owner", owner},
		{"state", string(c.State)}, {"cause", string(c.Cause)}, {"provider error", c.ProviderError}, {"intuit_tid", c.TraceID},
		{"since", moment(c.Since)}, {"connected", moment(c.ConnectedAt)}, {"refreshed", moment(c.RefreshedAt)},
		{"access token until", moment(c.AccessExpiresAt)}, {"refresh token until", moment(c.RefreshExpiresAt)},
		{"authorization until", moment(c.AuthorizationExpiresAt)}, {"looked after at", moment(c.DueAt)},
		{"environment", c.Environment}, {"client id", c.ClientID}, {"scopes", strings.Join(c.Scopes, " ")}, {"hosts", strings.Join(c.Hosts, " ")},
		{"generation", strconv.FormatUint(c.Generation, 10)},
	} {
		if line[1] != "" && line[1] != "0" {
			fmt.Fprintf(table, "%s\t%s\n", line[0], printable(line[1]))
		}
	}
	err := table.Flush()
	if len(c.History) > 0 {
		fmt.Fprintln(table, "\nTIME\tEVENT\tGENERATION\tERROR\tINTUIT_TID\tTIMES")
	}
	for _, h := range c.History {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%d\n", moment(h.Time), h.Event, h.Generation, printable(h.Error), printable(h.TraceID), max(1, h.Count))
	}
	return errors.Join(err, table.Flush())
}
