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
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/tokenstore"
)

func rekeyCommand() *cobra.Command {
	var admin adminFlags
	cmd := &cobra.Command{
		Use:   "rekey " + adminUsage,
		Short: "Seals all records with the first encryption key, and says which key can go",
		Long: `
To replace the encryption key, without a request that fails:

  1. make a new key: caddy freshbearer keygen --output <file>
  2. put it before the old one: encryption_key {file.<new>} {file.<old>}
  3. reload Caddy; what is written is sealed with the new key from then on, and
     what is there is sealed anew, in the background
  4. run this command; it does the same, waits for it, and tells when no record
     needs the old key any more
  5. remove the old key from encryption_key, reload Caddy, and destroy the key
     when no backup needs it

It can be interrupted and run again at any time, and goes on by itself after a
restart.
` + adminHelp + `

Exit code: 0 if the first key is all that the store needs; 1 otherwise.`,
		Example: "  caddy freshbearer rekey",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			resp, err := admin.request(http.MethodPost, "rekey")
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			return followRekey(cmd.OutOrStdout(), cmd.ErrOrStderr(), resp.Body)
		},
	}
	admin.register(cmd)
	return cmd
}

// followRekey prints what the endpoint tells, up to its last line; progress goes
// to told.
func followRekey(w, told io.Writer, r io.Reader) error {
	decoder := json.NewDecoder(r)
	for {
		var line rekeyed
		if err := decoder.Decode(&line); err != nil {
			return fmt.Errorf("the answer of Caddy's admin API ended early (run it again, it goes on where it was): %w", err)
		}
		if line.Keys == nil && line.Error == "" {
			if _, err := fmt.Fprintf(told, "%d records sealed anew so far\n", line.Sealed); err != nil {
				return err
			}
			continue
		}
		needed, err := printKeys(w, &line)
		switch {
		case err != nil:
			return err
		case line.Error != "":
			return errors.New(line.Error)
		case needed:
			return errors.New("not all records could be sealed with the first key; keep the others in encryption_key")
		}
		return nil
	}
}

// printKeys tells what is sealed with which key, and returns whether the store
// needs another one than the first.
func printKeys(w io.Writer, line *rekeyed) (needed bool, err error) {
	var text strings.Builder
	fmt.Fprintf(&text, "%d records of token store %s were sealed anew\n", line.Sealed, line.Store)
	for _, k := range line.Keys {
		name := fmt.Sprintf("key %d of encryption_key (%s)", k.Position, k.ID)
		switch {
		case k.Position == 0:
			fmt.Fprintf(&text, "%d records are under key %s, which is not in encryption_key: they cannot be read\n", k.Records, k.ID)
		case k.Seals:
			fmt.Fprintf(&text, "%d records are under %s, which seals all that is written\n", k.Records, name)
		case k.Needed || k.Records > 0:
			needed = true
			fmt.Fprintf(&text, "%d records remain under %s: it must stay\n", k.Records, name)
		default:
			fmt.Fprintf(&text, "0 records remain under %s: it may be removed from encryption_key\n", name)
		}
		needed = needed || k.Seals && k.Position != 1
	}
	_, err = io.WriteString(w, text.String())
	return needed, err
}

func keygenCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "keygen [--output <file>]",
		Short: "Makes a key for encryption_key",
		Long: `
Makes 32 random bytes, in base64, and prints them. With --output they go into a
new file that nobody else can read; a file that exists is never overwritten.

Keep a copy of the key apart from the data: without it, every company must be
connected again.`,
		Example: "  caddy freshbearer keygen --output /etc/freshbearer/key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			key := tokenstore.GenerateKey()
			if output == "" {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), key.Reveal())
				return err
			}
			if err := writeKey(output, key); err != nil {
				return fmt.Errorf("writing the key: %w", err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote a new key to %s; name it in the Caddyfile: encryption_key {file.%s}\n", output, output)
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "The new file")
	return cmd
}
