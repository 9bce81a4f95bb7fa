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
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func backupCommand() *cobra.Command {
	var (
		admin  adminFlags
		output string
	)
	cmd := &cobra.Command{
		Use:   "backup [--output <file>|-] " + adminUsage,
		Short: "Backs up the token store of the running Caddy",
		Long: `
Writes a backup of the token store to a file that nobody else can read. The
store is used meanwhile, and the backup is consistent in itself. It is sealed
like the store: keep the encryption key, without which it is worth nothing, in
a backup of its own.

The file appears, or takes the place of a former one, when it is complete.
` + adminHelp + `

Exit code: 0 if the backup is complete, 1 if there is none.`,
		Example: "  caddy freshbearer backup\n" +
			"  caddy freshbearer backup --output /var/backups/freshbearer.backup\n" +
			"  caddy freshbearer backup --output - | ssh vault 'cat > freshbearer.backup'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// From here on an error is not one of usage.
			cmd.SilenceUsage = true
			if output == "" {
				output = backupName(time.Now())
			}
			told, to := cmd.OutOrStdout(), output
			if output == "-" {
				told, to = cmd.ErrOrStderr(), "standard output"
			}
			var info tokenstore.BackupInfo
			err := saveDownload(cmd, "backup", output, func() (*http.Response, error) {
				return admin.request(http.MethodGet, "backup")
			}, func(w io.Writer, _ *http.Response, body io.Reader) (err error) {
				info, err = tokenstore.CopyBackup(w, body)
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(told, "backed up %s to %s\n", count(info.Connections, "connection"), to)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "The file to write, - for standard output (default: freshbearer-<time>.backup)")
	admin.register(cmd)
	return cmd
}
