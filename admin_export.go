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
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// exported is what is said of an export, in a field that follows its body. It is
// there only if the export is whole.
type exported struct {
	Store       string                   `json:"store"`
	Connections int                      `json:"connections"`
	States      map[tokenstore.State]int `json:"states"`
	LeftOut     map[grant.LeftOut]int    `json:"left_out"`
	// Doubtful is how many may have a token that the provider has replaced.
	Doubtful int `json:"doubtful,omitempty"`
	// Hold is nil if the store is not on hold.
	Hold *releasedHold `json:"hold"`
}

const (
	// exportTrailer is the field.
	exportTrailer = "Freshbearer-Export"
	// exportAgain says what to do after an export with a hold that failed.
	exportAgain = "export again, or go on here with caddy freshbearer resume"
	// maxRecipients bounds the header of an export.
	maxRecipients = 20
)

var (
	errNoRecipient       = errors.New("an export is sealed: name at least one age recipient to seal it to, which begins with age1")
	errManyRecipients    = fmt.Errorf("an export is sealed to %d recipients at most", maxRecipients)
	errRecipientIsSecret = errors.New("a recipient is the public key, which begins with age1; what was given holds the secret one, " +
		"and has now been where it should not be: make another pair of keys")
	errRecipient = errors.New("a recipient is an age X25519 public key: age1 and 58 letters and digits, as age-keygen prints it; " +
		"others, such as those of SSH or of plugins, are not taken")
)

// parseRecipients reads whom an export is sealed to. No error quotes what was
// given, because people confuse keys.
func parseRecipients(texts []string) ([]age.Recipient, []string, error) {
	switch {
	case len(texts) == 0:
		return nil, nil, errNoRecipient
	case len(texts) > maxRecipients:
		return nil, nil, errManyRecipients
	}
	var (
		recipients []age.Recipient
		names      []string
	)
	for _, text := range texts {
		if strings.Contains(strings.ToUpper(text), "AGE-SECRET-KEY") {
			return nil, nil, errRecipientIsSecret
		}
		r, err := age.ParseX25519Recipient(text)
		if err == nil {
			// Not every text of that form is a point that can be sealed to.
			_, err = r.Wrap(make([]byte, 16))
		}
		if err != nil {
			return nil, nil, errRecipient
		}
		recipients, names = append(recipients, r), append(names, r.String())
	}
	return recipients, names, nil
}

// exportGrants sends the grants as lines of the form that importGrants takes,
// sealed to the recipients that are named; there is no other way to have a
// token. One that cannot be finished is broken off, and cannot be opened to its
// end either.
func (a *adminAPI) exportGrants(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	recipients, names, err := parseRecipients(query["recipient"])
	if err != nil {
		return badParameter(err.Error())
	}
	hold, err := switched(r, "hold")
	if err != nil {
		return err
	}
	// The end of the client is not the end of the log.
	told := context.WithoutCancel(r.Context())
	tell := func(outcome string, connections int) {
		for _, name := range names {
			record(told, k, audit.Entry{
				What: audit.Exported, By: audit.ByAdmin, Who: name, Integration: query.Get("integration"), Outcome: outcome, Count: connections,
			})
		}
	}
	// Before the first token leaves, whatever becomes of this process.
	tell("begun", 0)
	out := &download{ResponseWriter: w, control: http.NewResponseController(w), name: exportName(time.Now()), trailer: exportTrailer}
	x, err := exportTo(r.Context(), k, grant.Export{Integration: query.Get("integration"), Hold: hold}, out, recipients)
	if x.PutOnHold {
		record(told, k, audit.Entry{What: audit.PutOnHold, By: audit.ByAdmin})
	}
	summary := summaryOf(identity, x)
	fields := []zap.Field{zap.String("store", identity), zap.Strings("recipients", names), zap.Int("connections", summary.Connections),
		zap.Any("left_out", x.LeftOut), zap.Bool("on_hold", x.Hold != nil)}
	if err == nil {
		tell("", summary.Connections)
		a.logger.Warn("grants exported: whoever has the key of a recipient has the tokens", fields...)
		// No more than numbers and words: it can be encoded.
		text, _ := json.Marshal(summary)
		w.Header().Set(exportTrailer, string(text))
		return nil
	}
	if errors.Is(err, grant.ErrNothingToExport) {
		tell(outcomeOf(err), 0)
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: err}
	}
	a.logger.Error("export broken off", append(fields, zap.Error(err))...)
	if out.size == 0 {
		tell(outcomeOf(err), 0)
		if x.PutOnHold {
			err = fmt.Errorf("%w; the token store is on hold: %s", err, exportAgain)
		}
		return adminError(err)
	}
	tell("broken_off", summary.Connections)
	panic(http.ErrAbortHandler)
}

func summaryOf(identity string, x grant.Exported) exported {
	summary := exported{Store: identity, States: x.States, LeftOut: x.LeftOut, Doubtful: x.Doubtful}
	for _, n := range x.States {
		summary.Connections += n
	}
	if x.Hold != nil {
		summary.Hold = &releasedHold{x.Hold.Reason, x.Hold.Since, x.Hold.BackupAt}
	}
	return summary
}

// exportTo writes a sealed export. Unless it returns nil, what it has written
// cannot be opened to its end.
func exportTo(ctx context.Context, k *grant.Keeper, e grant.Export, to io.Writer, recipients []age.Recipient) (grant.Exported, error) {
	buffered := bufio.NewWriterSize(to, 64<<10)
	sealed, err := age.Encrypt(buffered, recipients...)
	if err != nil {
		return grant.Exported{}, fmt.Errorf("sealing an export: %w", err)
	}
	lines := json.NewEncoder(sealed)
	x, err := k.Export(ctx, e, func(r *tokenstore.Record) error {
		return lines.Encode(lineOf(r))
	})
	if err == nil {
		err = errors.Join(sealed.Close(), buffered.Flush())
	}
	return x, err
}

// lineOf is the line of a grant.
func lineOf(r *tokenstore.Record) grantLine {
	line := grantLine{
		Integration: r.Integration, Connection: r.Connection, RefreshToken: r.RefreshToken.Reveal(),
		RefreshExpiresAt: r.RefreshExpiresAt, Owner: r.Owner, Company: r.Account,
	}
	if time.Now().Before(r.AccessExpiresAt) {
		line.AccessToken, line.ExpiresAt = r.AccessToken.Reveal(), r.AccessExpiresAt
	}
	return line
}

// exportName is the name of a file with an export.
func exportName(t time.Time) string {
	return "freshbearer-" + t.UTC().Format("20060102T150405Z") + ".ndjson.age"
}
