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
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

const keysHelp = `
A key that is made at run time is for a caller that the configuration names, and
lets in like the keys of its key line, which may then be left out. It is valid
at once, and until it is revoked: a reload, a restart and a restored backup keep
it. The store holds its SHA-256 only. If the configuration names the caller no
more, the key opens nothing.
`

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys <command>",
		Short: "Creates, lists and revokes proxy keys of callers at run time",
		Long:  keysHelp,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("name a command: create, list, revoke")
		},
	}
	cmd.AddCommand(createKeyCommand(), listKeysCommand(), revokeKeyCommand())
	return cmd
}

func createKeyCommand() *cobra.Command {
	return keyCommand(&cobra.Command{
		Use:   "create [--json] " + adminUsage + " <caller>",
		Short: "Creates a proxy key, and shows it once",
		Long: keysHelp + `
The key alone goes to standard output, what is said about it to standard error.
It is not shown again.
` + adminHelp + `

Exit code: 0 if there is a new key, 1 otherwise.`,
		Example: "  caddy freshbearer keys create billing-app\n  caddy freshbearer keys create --json billing-app",
		Args:    cobra.ExactArgs(1),
	}, http.MethodPost, func(args []string) url.Values { return url.Values{"caller": args} }, printCreated)
}

func listKeysCommand() *cobra.Command {
	return keyCommand(&cobra.Command{
		Use:   "list [--json] " + adminUsage,
		Short: "Lists the proxy keys that were made at run time",
		Long: keysHelp + `
A key that is not usable is one of a caller that the running configuration does
not name.
` + adminHelp,
		Example: "  caddy freshbearer keys list",
		Args:    cobra.NoArgs,
	}, http.MethodGet, func([]string) url.Values { return url.Values{} }, printProxyKeys)
}

func revokeKeyCommand() *cobra.Command {
	return keyCommand(&cobra.Command{
		Use:   "revoke [--json] " + adminUsage + " <id>",
		Short: "Revokes a proxy key that was made at run time",
		Long: `
The next request with the key is answered 401; those under way are carried out.
'caddy freshbearer keys list' has the IDs. A key of a key line is revoked by
removing it there.
` + adminHelp + `

Exit code: 0 if the key is revoked, 1 otherwise.`,
		Example: "  caddy freshbearer keys revoke 9f86d081884c7d65",
		Args:    cobra.ExactArgs(1),
	}, http.MethodDelete, func(args []string) url.Values { return url.Values{"id": args} }, printRevoked)
}

// keyCommand completes a command that asks the endpoint for keys and prints the
// answer.
func keyCommand(cmd *cobra.Command, method string, query func(args []string) url.Values, print func(cmd *cobra.Command, answer json.RawMessage) error) *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cmd.SilenceUsage = true
		resp, err := admin.requestFor(method, "keys", query(args))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var answer json.RawMessage
		if err := decodeAdmin(resp.Body, &answer); err != nil {
			return err
		}
		if asJSON {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", answer)
			return err
		}
		return print(cmd, answer)
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	admin.register(cmd)
	return cmd
}

func printCreated(cmd *cobra.Command, answer json.RawMessage) error {
	var key keyShown
	if err := json.Unmarshal(answer, &key); err != nil {
		return err
	}
	_, outErr := fmt.Fprintln(cmd.OutOrStdout(), key.Key)
	_, errErr := fmt.Fprintf(cmd.ErrOrStderr(), "key %s of caller %s; it is not shown again\n", key.ID, printable(key.Caller))
	return errors.Join(outErr, errErr)
}

func printProxyKeys(cmd *cobra.Command, answer json.RawMessage) error {
	var shown keysShown
	if err := json.Unmarshal(answer, &shown); err != nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, err := io.WriteString(table, "ID\tCALLER\tCREATED\tUSABLE\n")
	for _, key := range shown.Keys {
		usable := "yes"
		if !key.Usable {
			usable = "no: the caller is not configured"
		}
		_, lineErr := fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", key.ID, printable(key.Caller), key.Created.Format(time.RFC3339), usable)
		err = errors.Join(err, lineErr)
	}
	return errors.Join(err, table.Flush())
}

func printRevoked(cmd *cobra.Command, answer json.RawMessage) error {
	var key keyShown
	if err := json.Unmarshal(answer, &key); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "key %s of caller %s is revoked\n", key.ID, printable(key.Caller))
	return err
}
