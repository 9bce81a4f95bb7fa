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
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

func exportCommand() *cobra.Command {
	var e exporter
	cmd := &cobra.Command{
		Use:   "export --recipient <age1…> [--hold] [--integration <name>] [--output <file>|-] [--json] " + adminUsage,
		Short: "Hands the grants over to another program or store, sealed to a key",
		Long: `
Writes all grants, with their tokens, to a file that is encrypted with age
(https://age-encryption.org) to the keys that are named; nobody else can read it,
not even who has written it. Make a pair of keys where the grants are to go:

  age-keygen -o key.txt

(Debian, Ubuntu, Homebrew: the package age) and name the public key, age1…, here.
Opened, it is lines of JSON as 'caddy freshbearer import' reads them:

  age -d -i key.txt grants.ndjson.age | caddy freshbearer import -

A grant has one refresh token at a time. Two programs that refresh the same grant
end it. To move, use --hold: it puts the token store on hold, waits for refreshes
that are under way, and only then reads. From then on nothing is refreshed here;
access tokens that are valid are served until they end, within the hour. To come
back, if nobody has used what was exported: 'caddy freshbearer resume'. Without
--hold the export is a copy that is worth something until the next refresh.

What was disconnected is left out, as is what cannot be read. Grants that need a
human are not: the next program finds out by itself. Nothing is asked of the
provider, and no token is changed.

The file appears, or takes the place of a former one, when it is complete. It
may be made again at any time, also with --hold.
` + adminHelp + `

Exit code: 0 if the export is complete; 1 if there is none, or if there are
connections that cannot be read.`,
		// No public key here: somebody would export to it.
		Example: "  caddy freshbearer export --hold --recipient \"$(cat recipient.txt)\"\n" +
			"  caddy freshbearer export --hold --recipient \"$(ssh newhost age-keygen -y key.txt)\" --output - | ssh newhost 'age -d -i key.txt | caddy freshbearer import -'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			return e.run(cmd)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&e.recipients, "recipient", "r", nil, "The public key of who may open it (age1…); may be given several times")
	flags.BoolVar(&e.hold, "hold", false, "Put the token store on hold first: nothing is refreshed here any more")
	flags.StringVar(&e.integration, "integration", "", "Only the connections of this integration")
	flags.StringVarP(&e.output, "output", "o", "", "The file to write, - for standard output (default: freshbearer-<time>.ndjson.age)")
	flags.BoolVar(&e.json, "json", false, "Print what was exported as JSON")
	e.admin.register(cmd)
	return cmd
}

// exporter saves an export of the running Caddy.
type exporter struct {
	admin       adminFlags
	recipients  []string
	integration string
	output      string
	hold, json  bool
}

func (e *exporter) run(cmd *cobra.Command) error {
	// Before it is sent: what is not a public key may be a secret one.
	if _, _, err := parseRecipients(e.recipients); err != nil {
		return err
	}
	query := url.Values{"recipient": e.recipients}
	if e.integration != "" {
		query.Set("integration", e.integration)
	}
	if e.hold {
		query.Set("hold", "")
	}
	if e.output == "" {
		e.output = exportName(time.Now())
	}
	var summary exported
	asked := false
	err := saveDownload(cmd, "export", e.output, func() (*http.Response, error) {
		resp, err := e.admin.requestFor(http.MethodPost, "export", query)
		asked = err == nil
		return resp, err
	}, func(w io.Writer, resp *http.Response, body io.Reader) error {
		if _, err := io.Copy(w, body); err != nil {
			return fmt.Errorf("the export has broken off, and cannot be opened to its end: %w", err)
		}
		// It follows a whole export.
		if json.Unmarshal([]byte(resp.Trailer.Get(exportTrailer)), &summary) != nil {
			return errors.New("the export has broken off, and cannot be opened to its end: its summary is missing")
		}
		return nil
	})
	switch {
	case err != nil && asked && e.hold:
		return fmt.Errorf("%w; the token store is on hold: %s", err, exportAgain)
	case err != nil:
		return err
	}
	return e.tell(cmd, &summary)
}

// tell says what was exported, and what to beware of.
func (e *exporter) tell(cmd *cobra.Command, x *exported) error {
	told, warned, to := cmd.OutOrStdout(), cmd.ErrOrStderr(), e.output
	if e.output == "-" {
		told, to = warned, "standard output"
	}
	var err error
	if e.json {
		err = json.NewEncoder(told).Encode(x)
	} else {
		_, err = fmt.Fprintf(told, "exported %s%s to %s\n", count(x.Connections, "connection"), notConnected(x.States), to)
	}
	var warnings strings.Builder
	if len(x.LeftOut) > 0 {
		fmt.Fprintf(&warnings, "left out: %s\n", counts(x.LeftOut))
	}
	if x.Doubtful > 0 {
		fmt.Fprintf(&warnings, "%s in mid refresh, or without the answer to one: the provider may have replaced what was exported. To be sure, "+
			"run caddy freshbearer resume, which asks again, and export once more.\n", count(x.Doubtful, "connection"))
	}
	switch {
	case x.Hold == nil:
		warnings.WriteString("WARNING: these grants are still refreshed here. The first refresh, here or elsewhere, ends the other's token, " +
			"and with it perhaps the grant. To move, export with --hold.\n")
	case x.Hold.Reason == tokenstore.HoldExported:
		fmt.Fprintf(&warnings, "token store %s is on hold since %s: nothing is refreshed here any more. To go on here, if nobody has used the export: caddy freshbearer resume\n",
			x.Store, x.Hold.Since.Format(time.RFC3339))
	default:
		fmt.Fprintf(&warnings, "token store %s is on hold since %s, because it was %s: the store that it comes from may have newer tokens\n",
			x.Store, x.Hold.Since.Format(time.RFC3339), x.Hold.Reason)
	}
	_, warnErr := io.WriteString(warned, warnings.String())
	if err = errors.Join(err, warnErr); err == nil && x.LeftOut[grant.LeftDamaged] > 0 {
		err = fmt.Errorf("%s cannot be read, and not in the export: see caddy freshbearer doctor", count(x.LeftOut[grant.LeftDamaged], "connection"))
	}
	return err
}

// notConnected counts what was exported and does not work, as far as is known.
func notConnected(states map[tokenstore.State]int) string {
	others := maps.Clone(states)
	delete(others, tokenstore.StateConnected)
	if len(others) == 0 {
		return ""
	}
	return " (" + counts(others) + ")"
}

// counts writes numbers of things, by their names.
func counts[K ~string](of map[K]int) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		texts = append(texts, fmt.Sprintf("%d %s", of[name], name))
	}
	return strings.Join(texts, ", ")
}
