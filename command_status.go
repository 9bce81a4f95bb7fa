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
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func statusCommand() *cobra.Command {
	var (
		admin  adminFlags
		listen string
		noOpen bool
	)
	cmd := &cobra.Command{
		Use:   "status [--listen <address>] [--no-open] " + adminUsage,
		Short: "Shows all connections in a browser, with what can be done about them",
		Long: `
Serves the status page of the running Caddy on the loopback interface, prints its
address, and opens it in a browser: the state of every connection and its cause,
the refreshes of the last hours, the provider's incidents, and buttons to
connect, refresh, check and disconnect.

The address holds a key that works once, in one browser. From then on that
browser can do all of it, until the command is ended with Ctrl-C. Nothing else
of Caddy's admin API can be reached that way.
` + adminHelp + `

On a machine without a browser, choose a port and forward it:
  ssh -L 8081:127.0.0.1:8081 <machine> caddy freshbearer status --no-open --listen 127.0.0.1:8081

To have the page on a site of your own, behind your own authentication, use the
freshbearer_status directive in the Caddyfile.

Exit code: 0 when it is ended, 1 if no Caddy answers.`,
		Example: "  caddy freshbearer status\n" +
			"  caddy freshbearer status --no-open --listen 127.0.0.1:8081\n" +
			"  caddy freshbearer status --address unix//run/caddy/admin.sock",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SilenceUsage = true
			if err := loopbackOnly(listen); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return admin.showStatus(ctx, cmd, listen, !noOpen)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "Where to serve the pages: an address of the loopback interface; port 0 is any free one")
	cmd.Flags().BoolVar(&noOpen, "no-open", false, "Open no browser")
	admin.register(cmd)
	return cmd
}

// showStatus serves the pages until ctx ends.
func (f *adminFlags) showStatus(ctx context.Context, cmd *cobra.Command, listen string, open bool) error {
	// A Caddy that does not answer is told here, and not in a browser.
	resp, err := f.request(http.MethodGet, "")
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	address, err := caddycmd.DetermineAdminAPIAddress(f.address, nil, f.config, f.adapter)
	if err != nil {
		return fmt.Errorf("finding the address of Caddy's admin API: %w", err)
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("serving the pages: %w", err)
	}
	b, err := newBridge(listener.Addr(), address, f.store)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: b, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "The status page is open for one browser, until Ctrl-C:\n  %s\n", b.url()); err != nil {
		return errors.Join(err, listener.Close())
	}
	if open {
		openBrowser(b.url())
	}
	ended := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer ended()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// openBrowser opens an address if there is a browser. If not, the address was
// printed.
func openBrowser(address string) {
	var opener *exec.Cmd
	switch {
	case runtime.GOOS == "darwin":
		opener = exec.Command("open", address)
	case runtime.GOOS == "windows":
		opener = exec.Command("rundll32", "url.dll,FileProtocolHandler", address)
	case os.Getenv("DISPLAY") != "" || os.Getenv("WAYLAND_DISPLAY") != "":
		opener = exec.Command("xdg-open", address)
	default:
		return
	}
	if opener.Start() == nil {
		go func() { _ = opener.Wait() }()
	}
}
