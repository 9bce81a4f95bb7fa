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
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func healthCommand() *cobra.Command {
	var (
		admin         adminFlags
		ready, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "health [--ready] [--json] " + adminUsage,
		Short: "Tells whether the running Caddy is healthy, for probes",
		Long: `
Healthy is a Caddy that answers and whose token store is open, and can be read
and written. What a new start does not repair, or would make worse, is printed
and is not unhealthy: a full disk, a store on hold, an encryption key that does
not fit, tokens that are only in memory. So it can be what a container is
restarted by.

With --ready, all of these fail: then it says that every grant can be kept
alive. Wait for that after an upgrade or a restore. It is no reason to restart,
and none to send no requests: tokens that are valid are served.

Neither asks the provider, nor looks at grants; 'caddy freshbearer doctor' does.
` + adminHelp + `

Exit code: 0 if it is healthy (with --ready: ready), 1 if it is not or does not
answer within 10 seconds.`,
		Example: "  caddy freshbearer health\n  caddy freshbearer health --ready --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			word, endpoint := "healthy", "health"
			if ready {
				word, endpoint = "ready", "ready"
			}
			answer, err := admin.askHealth(cmd.Context(), endpoint)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(answer)
			} else {
				err = printHealth(cmd.OutOrStdout(), answer, word)
			}
			if err == nil && !answer.OK {
				cmd.SilenceErrors = true // it was printed
				err = errors.New("not " + word)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&ready, "ready", false, "Ask whether every grant can be kept alive")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON")
	admin.register(cmd)
	// Its address says which store is meant: the one of the running
	// configuration.
	_ = cmd.Flags().MarkHidden("store")
	return cmd
}

func printHealth(w io.Writer, answer *healthAnswer, word string) error {
	var text strings.Builder
	if !answer.OK {
		text.WriteString("not ")
	}
	text.WriteString(word + "\n")
	for _, a := range answer.Reasons {
		fmt.Fprintf(&text, "%s: %s\n", a.Reason, a.Message)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// healthLimit is how long an answer may take: more than the store may.
const healthLimit = 10 * time.Second

// askHealth asks an endpoint whose answer has a meaning with status 503, too.
func (f *adminFlags) askHealth(ctx context.Context, endpoint string) (*healthAnswer, error) {
	address, off, err := f.adminAddress()
	if err != nil {
		return nil, err
	}
	if off {
		return nil, errors.New("this configuration has no admin API (admin off), so there is nobody to ask")
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	resp, err := askAdmin(ctx, address, http.MethodGet, adminPath+endpoint, nil, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer := new(healthAnswer)
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusServiceUnavailable {
		return nil, notOurs(address, resp)
	}
	return answer, decodeAdmin(io.LimitReader(resp.Body, 1<<20), answer)
}
