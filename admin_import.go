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
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/freshbearer/freshbearer/audit"
	"github.com/freshbearer/freshbearer/grant"
	"github.com/freshbearer/freshbearer/secret"
	"github.com/freshbearer/freshbearer/tokenstore"
)

// grantLine is a line of what is imported, and of what is exported. Times are in
// RFC 3339.
type grantLine struct {
	// Integration may be left out if the configuration has only one.
	Integration  string `json:"integration"`
	Connection   string `json:"connection"`
	RefreshToken string `json:"refresh_token"`
	// AccessToken needs ExpiresAt, or ExpiresIn in seconds from now.
	AccessToken string    `json:"access_token,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	ExpiresIn   int64     `json:"expires_in,omitempty"`
	// RefreshExpiresAt is when the refresh token ends unused.
	RefreshExpiresAt time.Time `json:"refresh_expires_at,omitzero"`
	// Owner is the caller that the connection is to belong to; Company its name.
	Owner   string `json:"owner,omitempty"`
	Company string `json:"company,omitempty"`
}

// importAnswer is a line of the answer: what came of a line.
type importAnswer struct {
	Line        int                 `json:"line,omitempty"`
	Integration string              `json:"integration,omitempty"`
	Connection  string              `json:"connection,omitempty"`
	Outcome     grant.ImportOutcome `json:"outcome,omitempty"`
	Proof       grant.Proof         `json:"proof,omitempty"`
	Error       string              `json:"error,omitempty"`
}

// importSummary is the last line of the answer. Error is why it is not about
// all of the lines.
type importSummary struct {
	Lines  int                         `json:"lines"`
	Counts map[grant.ImportOutcome]int `json:"counts"`
	Error  string                      `json:"error,omitempty"`
}

// importFailed counts the lines that could not be imported.
const importFailed grant.ImportOutcome = "failed"

const (
	// importAtOnce lines are under way at once: they share synced writes, and
	// as many access tokens are proven at the API.
	importAtOnce = 32
	// maxImportLine bounds a line: two tokens, and some words.
	maxImportLine = 32 << 10
)

// importGrants stores grants that another program has kept until now, a line
// of JSON each, and answers each with a line, in no order. Nothing is asked of
// the token endpoint. It may be broken off, and run again.
func (a *adminAPI) importGrants(w http.ResponseWriter, r *http.Request) error {
	k, identity, err := adminKeeper(r)
	if err != nil {
		return err
	}
	app, err := inForceOn(k, identity)
	if err != nil {
		return err
	}
	replace, err := switched(r, "replace")
	if err != nil {
		return err
	}
	// Lines are answered while others are still being sent.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return adminError(err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	im := &importing{keeper: k, app: app, replace: replace, out: json.NewEncoder(w), counts: make(map[grant.ImportOutcome]int)}
	im.run(r)
	record(r.Context(), k, audit.Entry{What: audit.Imported, By: audit.ByAdmin, Count: im.counts[grant.Imported], Outcome: im.outcome()})
	a.logger.Info("grants imported", zap.String("store", identity), zap.Any("outcomes", im.counts))
	return nil
}

// importing is one import.
type importing struct {
	keeper  *grant.Keeper
	app     *App
	replace bool

	mu     sync.Mutex
	out    *json.Encoder
	lines  int
	counts map[grant.ImportOutcome]int
	broken error
}

func (im *importing) run(r *http.Request) {
	var group errgroup.Group
	group.SetLimit(importAtOnce)
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(make([]byte, 0, 4<<10), maxImportLine)
	number := 0
	for r.Context().Err() == nil && lines.Scan() {
		number++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		at := number
		line, err := decodeImport(lines.Bytes())
		group.Go(func() error {
			answer := importAnswer{Line: at, Connection: line.Connection}
			if err == nil {
				answer.Outcome, answer.Proof, err = im.one(r.Context(), &line)
				answer.Integration = line.Integration
			}
			if err != nil {
				answer.Outcome, answer.Error = importFailed, err.Error()
			}
			im.tell(answer)
			return nil
		})
	}
	_ = group.Wait()
	last := importSummary{Lines: im.lines, Counts: im.counts}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		im.broken = fmt.Errorf("line %d is longer than %d bytes; it and what follows it were not imported", number+1, maxImportLine)
	case err != nil || r.Context().Err() != nil:
		im.broken = errors.New("it was broken off")
	}
	if im.broken != nil {
		last.Error = im.broken.Error()
	}
	_ = im.out.Encode(last)
}

func (im *importing) tell(answer importAnswer) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.lines++
	im.counts[answer.Outcome]++
	// A client that is gone gets no answer; what it has sent is imported.
	_ = im.out.Encode(answer)
}

func (im *importing) outcome() string {
	switch {
	case im.broken != nil:
		return "broken_off"
	case im.counts[importFailed] > 0:
		return "some_failed"
	}
	return ""
}

// decodeImport reads a line. The decoder's own error could quote a token.
func decodeImport(text []byte) (line grantLine, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&line) != nil || decoder.More() {
		return grantLine{}, errors.New("not a JSON object with integration, connection, refresh_token, and optionally " +
			"access_token, expires_at or expires_in, refresh_expires_at, owner and company")
	}
	return line, nil
}

func (im *importing) one(ctx context.Context, line *grantLine) (grant.ImportOutcome, grant.Proof, error) {
	if line.Integration == "" && len(im.app.Integrations) == 1 {
		line.Integration = slices.Collect(maps.Keys(im.app.Integrations))[0]
	}
	if _, err := im.app.integration(line.Integration); err != nil {
		return "", "", err
	}
	if _, ok := im.app.Callers[line.Owner]; line.Owner != "" && !ok {
		return "", "", fmt.Errorf("the running configuration has no caller %q to own it", line.Owner)
	}
	switch {
	case line.ExpiresIn != 0 && !line.ExpiresAt.IsZero():
		return "", "", errors.New("expires_at and expires_in exclude each other")
	case line.ExpiresIn < 0 || line.ExpiresIn > int64(24*time.Hour/time.Second):
		return "", "", errors.New("expires_in is a number of seconds from 0 to a day")
	case line.ExpiresIn > 0:
		line.ExpiresAt = time.Now().Add(time.Duration(line.ExpiresIn) * time.Second)
	}
	outcome, proof, err := im.keeper.Import(ctx, grant.Import{
		Key:          tokenstore.Key{Integration: line.Integration, Connection: line.Connection},
		RefreshToken: secret.New(line.RefreshToken), AccessToken: secret.New(line.AccessToken), ExpiresAt: line.ExpiresAt,
		RefreshExpiresAt: line.RefreshExpiresAt, Owner: line.Owner, Account: line.Company,
	}, im.replace)
	if errors.Is(err, context.Canceled) {
		err = errors.New("it was broken off")
	}
	return outcome, proof, err
}
