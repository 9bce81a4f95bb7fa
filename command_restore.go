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
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func restoreCommand() *cobra.Command {
	var config, adapter string
	cmd := &cobra.Command{
		Use:   "restore [--config <file> [--adapter <name>]] <backup>",
		Short: "Restores a backup into an empty token store, while Caddy is stopped",
		Long: `
Reads a backup that 'caddy freshbearer backup' has made, verifies all of it, and
writes it into the token store of the configuration, which must not exist yet or
be empty. Run it as the user who runs Caddy, with Caddy's environment, while
Caddy is stopped. The encryption key must be the one that the store was sealed
with when the backup was made; both, if it was just being changed.

The restored store is on hold: Caddy serves the access tokens that are valid,
and refreshes none, until 'caddy freshbearer resume' is run.

Exit code: 0 if the backup is restored; 1 otherwise.`,
		Example: "  caddy freshbearer restore freshbearer-20261123T141131Z.backup\n" +
			"  caddy freshbearer restore --config /etc/caddy/Caddyfile /var/backups/freshbearer.backup",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cmd.SilenceUsage = true
			done, err := restoreBackup(cmd.Context(), config, adapter, args[0])
			if err != nil {
				return err
			}
			return restoredText.Execute(cmd.OutOrStdout(), done)
		},
	}
	cmd.Flags().StringVarP(&config, "config", "c", "", "Configuration file (default: the Caddyfile in this directory)")
	cmd.Flags().StringVarP(&adapter, "adapter", "a", "", "Name of the config adapter to apply")
	return cmd
}

// restored is what restoredText tells.
type restored struct {
	Connections     int
	BackupAt, Store string
}

var restoredText = template.Must(template.New("restored").Parse(
	`restored {{.Connections}} connections, as they were at {{.BackupAt}}, to {{.Store}}

The store is on hold: no token is refreshed yet. Next:
  1. make sure that nothing uses the store that the backup was made of, or will
  2. start Caddy; valid access tokens are served from then on
  3. run: caddy freshbearer resume
Connections that were refreshed after the backup was made may have to be
authorized again.
`))

func restoreBackup(ctx context.Context, config, adapter, path string) (*restored, error) {
	// Cancelling it cleans up the store's module.
	caddyCtx, cancel := caddy.NewContext(caddy.Context{Context: ctx})
	defer cancel()
	opener, ring, err := configuredStore(caddyCtx, config, adapter)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the backup: %w", err)
	}
	defer f.Close()
	// All of it, before anything is made.
	backup, err := tokenstore.OpenBackup(ring, f)
	if err != nil {
		return nil, err
	}
	identity, err := opener.Identity()
	if err != nil {
		return nil, fmt.Errorf("naming the token store: %w", err)
	}
	store, err := opener.Open(caddy.Log().Named("freshbearer.store"))
	if errors.Is(err, tokenstore.ErrInUse) {
		return nil, fmt.Errorf("a backup is restored while Caddy is stopped: %w", err)
	}
	if err != nil {
		return nil, err
	}
	err = backup.Restore(ctx, store, time.Now())
	switch {
	case errors.Is(err, tokenstore.ErrNotEmpty):
		err = fmt.Errorf("%w: nothing was changed. Move %s away, or set another path, to restore into an empty one", err, identity)
	case err != nil:
		err = fmt.Errorf("%w; what was written cannot be used. Remove %s and try again", err, identity)
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	return &restored{backup.Connections, backup.CreatedAt.Format(time.RFC3339), identity}, nil
}

// configuredStore returns the store and the keys of a configuration file. The
// rest of it need not be usable here.
func configuredStore(ctx caddy.Context, file, adapter string) (tokenstore.Opener, *tokenstore.Keyring, error) {
	config, _, _, err := caddycmd.LoadConfig(file, adapter)
	if err != nil {
		return nil, nil, fmt.Errorf("loading the configuration: %w", err)
	}
	if len(config) == 0 {
		return nil, nil, errors.New("there is no Caddyfile here; name the configuration with --config")
	}
	var apps struct {
		Apps struct {
			Freshbearer json.RawMessage `json:"freshbearer"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &apps); err != nil {
		return nil, nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if len(apps.Apps.Freshbearer) == 0 {
		return nil, nil, errors.New("the configuration has no freshbearer global option, and so no token store")
	}
	app := new(App)
	if err := caddy.StrictUnmarshalJSON(apps.Apps.Freshbearer, app); err != nil {
		return nil, nil, fmt.Errorf("reading the configuration of freshbearer: %w", err)
	}
	opener, err := app.loadStore(ctx)
	if err != nil {
		return nil, nil, err
	}
	ring, err := expandKeys(caddy.NewReplacer(), app.EncryptionKeys)
	if ring == nil && err == nil {
		ring, err = keptKeys()
	}
	return opener, ring, err
}

// keptKeys reads the key of an installation that names none. None is made: it
// would not open the backup.
func keptKeys() (*tokenstore.Keyring, error) {
	if _, err := os.Stat(defaultKeyPath()); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the configuration has no encryption_key, and there is no %s; "+
			"put the key there that the store was sealed with when the backup was made", defaultKeyPath())
	}
	keys, _, err := defaultKeys(false)
	return keys, err
}
