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
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
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
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			resp, err := admin.request(http.MethodGet, "backup")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			// An interrupt ends the reading, so that nothing is left behind.
			defer context.AfterFunc(ctx, func() { _ = resp.Body.Close() })()
			told, to := cmd.OutOrStdout(), output
			var info tokenstore.BackupInfo
			if output == "-" {
				told, to = cmd.ErrOrStderr(), "standard output"
				info, err = tokenstore.CopyBackup(cmd.OutOrStdout(), resp.Body)
			} else {
				info, err = writeBackup(output, resp.Body)
			}
			if err != nil {
				return errors.Join(ctx.Err(), err)
			}
			_, err = fmt.Fprintf(told, "backed up %s to %s\n", count(info.Connections, "connection"), to)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "The file to write, - for standard output (default: freshbearer-<time>.backup)")
	admin.register(cmd)
	return cmd
}

// writeBackup writes a backup to a file, durably, when it is complete, or not
// at all.
func writeBackup(path string, r io.Reader) (info tokenstore.BackupInfo, err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".freshbearer-*.backup") // mode 0600
	if err != nil {
		return info, fmt.Errorf("making the file for the backup: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	info, err = tokenstore.CopyBackup(f, r)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return info, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return info, fmt.Errorf("putting the backup in its place: %w", err)
	}
	// Not every system can sync a directory.
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return info, nil
}
