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

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// progressTold is how often progress is told.
const progressTold = 2 * time.Second

// progress tells how much has gone through it.
type progress struct {
	told  io.Writer
	spoke time.Time
	size  uint64
}

// Write implements io.Writer.
func (p *progress) Write(b []byte) (int, error) {
	p.size += uint64(len(b))
	if p.spoke.IsZero() {
		p.spoke = time.Now()
	}
	if time.Since(p.spoke) >= progressTold {
		p.spoke = time.Now()
		if _, err := fmt.Fprintf(p.told, "%s so far\n", humanize.IBytes(p.size)); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// saveDownload asks for what is large, and has take write it to a file, or to
// standard output if that is "-". An interrupt ends it, and leaves nothing
// behind. Progress is told on standard error.
func saveDownload(cmd *cobra.Command, what, output string, ask func() (*http.Response, error), take func(io.Writer, *http.Response, io.Reader) error) error {
	resp, err := ask()
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// An interrupt ends the reading.
	defer context.AfterFunc(ctx, func() { _ = resp.Body.Close() })()
	body := io.TeeReader(resp.Body, &progress{told: cmd.ErrOrStderr()})
	if output == "-" {
		err = take(cmd.OutOrStdout(), resp, body)
	} else {
		err = writeWhole(what, output, func(w io.Writer) error { return take(w, resp, body) })
	}
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	return nil
}

// writeWhole writes a file that nobody else can read, durably, when it is
// complete, or not at all.
func writeWhole(what, path string, write func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".freshbearer-*") // mode 0600
	if err != nil {
		return fmt.Errorf("making the file for the %s: %w", what, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	err = write(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("putting the %s in its place: %w", what, err)
	}
	// Not every system can sync a directory.
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}
