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

	"github.com/freshbearer/freshbearer/audit"
)

func auditCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
		limit  int
	)
	cmd := &cobra.Command{
		Use:   "audit [--json] [--limit <n>] " + adminUsage,
		Short: "Shows who connected, disconnected, refreshed and rekeyed by hand, and who was refused",
		Long: `
Prints the newest entries of the audit log, the oldest of them first. A
connection is shown by the pseudonym that Caddy's log calls connection_hash.
Refusals of one kind are counted, and written once a minute at most.

With --json, each entry is a line of JSON.

Nothing is verified: 'caddy freshbearer audit verify' does that.
` + adminHelp,
		Example: "  caddy freshbearer audit\n  caddy freshbearer audit --json --limit 10000 | jq 'select(.what == \"disconnected\")'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			resp, err := admin.requestFor(http.MethodGet, "audit", url.Values{"limit": {strconv.Itoa(limit)}})
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var answer auditShown
			if err := decodeAdmin(resp.Body, &answer); err != nil {
				return err
			}
			if asJSON {
				return errors.Join(encodeLines(cmd.OutOrStdout(), answer.Entries)...)
			}
			return printAudit(cmd.OutOrStdout(), answer.Entries)
		},
	}
	admin.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print lines of JSON")
	cmd.Flags().IntVar(&limit, "limit", 100, fmt.Sprintf("How many entries, at most %d", maxAuditEntries))
	cmd.AddCommand(auditVerifyCommand())
	return cmd
}

func decodeAdmin(r io.Reader, answer any) error {
	if err := json.NewDecoder(r).Decode(answer); err != nil {
		return fmt.Errorf("reading the answer of Caddy's admin API: %w", err)
	}
	return nil
}

func encodeLines(w io.Writer, entries []audit.Entry) (errs []error) {
	encoder := json.NewEncoder(w)
	for _, e := range entries {
		errs = append(errs, encoder.Encode(e))
	}
	return errs
}

func printAudit(w io.Writer, entries []audit.Entry) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintln(table, "NUMBER\tTIME\tWHAT\tBY\tWHO\tINTEGRATION\tCONNECTION\tOUTCOME\tCOUNT")
	for _, e := range entries {
		count := ""
		if e.Count > 0 {
			count = strconv.Itoa(e.Count)
		}
		// A name that somebody has chosen must not move the terminal.
		_, lineErr := fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Number, e.Time.Format(time.RFC3339), e.What, e.By,
			printable(e.Who), printable(e.Integration), e.Connection, printable(e.Outcome), count)
		err = errors.Join(err, lineErr)
	}
	return errors.Join(err, table.Flush())
}

// printable quotes a text that is not plain.
func printable(s string) string {
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` || strings.ContainsAny(s, " \t") {
		return quoted
	}
	return s
}

func auditVerifyCommand() *cobra.Command {
	var (
		admin  adminFlags
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "verify [--json] " + adminUsage,
		Short: "Finds out whether the audit log is whole and unaltered",
		Long: `
Reads the whole audit log. Every entry proves the one before it with a key that
is in the sealed token store, and the store knows the last entry: an entry that
was altered, removed or added by somebody without the encryption key is found,
wherever it is. If the log is broken, the places are named.

Who has the encryption key and the store can write another log; and a copy of
store and log, put back together, is like any restored backup.
` + adminHelp + `

Exit code: 0 if the log is whole and unaltered; 1 otherwise.`,
		Example: "  caddy freshbearer audit verify",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			resp, err := admin.request(http.MethodGet, "audit/verify")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var answer auditVerified
			if err := decodeAdmin(resp.Body, &answer); err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
			} else {
				err = printVerified(cmd.OutOrStdout(), &answer)
			}
			if err == nil && !answer.Intact {
				err = errors.New("the audit log is broken")
			}
			return err
		},
	}
	admin.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	return cmd
}

func printVerified(w io.Writer, answer *auditVerified) error {
	var text strings.Builder
	if answer.Report == nil {
		answer.Report = new(audit.Report)
	}
	if answer.Intact && answer.Entries > 0 {
		fmt.Fprintf(&text, "the audit log of %s is whole and unaltered: entries %d to %d, from %s to %s\n", answer.Store,
			answer.First, answer.Last, answer.From.Format(time.RFC3339), answer.To.Format(time.RFC3339))
	} else if answer.Intact {
		fmt.Fprintf(&text, "the audit log of %s is empty\n", answer.Store)
	}
	for _, b := range answer.Breaks {
		place := "end of the log"
		if b.File != "" {
			place = fmt.Sprintf("%s line %d", b.File, b.Line)
		}
		fmt.Fprintf(&text, "%s, entry %d: %s\n", place, b.Entry, b.What)
	}
	if answer.MoreBreaks > 0 {
		fmt.Fprintf(&text, "and %d more\n", answer.MoreBreaks)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
