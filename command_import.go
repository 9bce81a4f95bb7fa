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
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshbearer/freshbearer/grant"
)

func importCommand() *cobra.Command {
	var (
		im      importer
		replace bool
	)
	cmd := &cobra.Command{
		Use:   "import [--replace] [--json] " + adminUsage + " <file>|-",
		Short: "Takes over grants that another program has kept until now",
		Long: `
Reads lines of JSON, one for each grant, and stores them:

  {"integration": "quickbooks", "connection": "9130347957983546", "refresh_token": "…"}

connection is the company's realm ID. Optional are access_token with expires_at
(RFC 3339) or expires_in (seconds from now), refresh_expires_at, owner (the caller
that the connection is to belong to) and company (its name).

No refresh token is used: the one that is imported stays good for the program
that it comes from, until one of the two refreshes. Stop the other one first. An
access token is kept if the API accepts it for that company.

A connection that works here stays as it is (exists), unless --replace is given;
what was imported before is unchanged, as is a token that was replaced here since.
So it may be stopped at any time, and run again. Lines that fail are named, by number, on standard error; progress and the
result go there, too. With --json, what came of each line is printed as JSON.
` + adminHelp + `

Exit code: 0 if no line failed, 1 otherwise.`,
		Example: "  caddy freshbearer import grants.ndjson\n" +
			"  psql -AtXf grants.sql | caddy freshbearer import -",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			cmd.SilenceUsage = true
			in := cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(filepath.Clean(args[0]))
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			if replace {
				im.query = url.Values{"replace": {""}}
			}
			im.out, im.told = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return im.run(in)
		},
	}
	cmd.Flags().BoolVar(&replace, "replace", false, "Replace the grants of connections that work here")
	cmd.Flags().BoolVar(&im.json, "json", false, "Print what came of each line, as lines of JSON")
	im.admin.register(cmd)
	return cmd
}

// importer sends lines to the running Caddy.
type importer struct {
	admin     adminFlags
	query     url.Values
	json      bool
	out, told io.Writer

	// sent lines have been answered, skipped are the empty ones and those
	// before them.
	sent   int
	lines  int
	counts map[grant.ImportOutcome]int
	spoke  time.Time
}

// importChunk is how many lines are sent at once. An import that is stopped has
// all chunks but the last one answered.
const importChunk = 500

func (im *importer) run(in io.Reader) error {
	im.counts, im.spoke = make(map[grant.ImportOutcome]int), time.Now()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 4<<10), maxImportLine)
	var chunk bytes.Buffer
	for n := 0; ; {
		more := lines.Scan()
		if more {
			chunk.Write(lines.Bytes())
			chunk.WriteByte('\n')
			n++
		}
		if n == importChunk || !more && n > 0 {
			if err := im.send(&chunk, n); err != nil {
				return fmt.Errorf("%d lines are done: %w", im.sent, err)
			}
			n = 0
			chunk.Reset()
		}
		if !more {
			break
		}
	}
	text := fmt.Sprintf("%s: %d imported, %d unchanged, %d left as they are, %d failed", count(im.lines, "line"),
		im.counts[grant.Imported], im.counts[grant.ImportUnchanged], im.counts[grant.ImportExists], im.counts[importFailed])
	_, err := fmt.Fprintln(im.told, text)
	switch {
	case errors.Is(lines.Err(), bufio.ErrTooLong):
		return fmt.Errorf("line %d is longer than %d bytes; it and what follows it were not imported", im.sent+1, maxImportLine)
	case lines.Err() != nil:
		return fmt.Errorf("reading line %d: %w", im.sent+1, lines.Err())
	case err == nil && im.counts[importFailed] > 0:
		return errors.New("not all lines could be imported; correct those that are named, and run it again")
	}
	return err
}

// send sends some lines, and tells what came of them.
func (im *importer) send(chunk io.Reader, n int) error {
	resp, err := im.admin.send(http.MethodPost, "import", im.query, http.Header{"Content-Type": {"application/x-ndjson"}}, chunk)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	decoder, encoder := json.NewDecoder(resp.Body), json.NewEncoder(im.out)
	for {
		var answer importAnswer
		if err := decodeNext(decoder, &answer); err != nil {
			return err
		}
		if answer.Line == 0 {
			if answer.Error != "" {
				return errors.New(answer.Error)
			}
			im.sent += n
			return im.progress()
		}
		answer.Line += im.sent
		im.lines++
		im.counts[answer.Outcome]++
		if answer.Error != "" {
			_, err = fmt.Fprintf(im.told, "line %d: %s\n", answer.Line, answer.Error)
		}
		if im.json {
			err = errors.Join(err, encoder.Encode(answer))
		}
		if err != nil {
			return err
		}
	}
}

func decodeNext(decoder *json.Decoder, answer *importAnswer) error {
	if err := decoder.Decode(answer); err != nil {
		return fmt.Errorf("reading the answer of Caddy's admin API, which has broken off: %w", err)
	}
	return nil
}

func (im *importer) progress() error {
	if time.Since(im.spoke) < progressTold {
		return nil
	}
	im.spoke = time.Now()
	_, err := fmt.Fprintf(im.told, "%s so far\n", count(im.lines, "line"))
	return err
}
