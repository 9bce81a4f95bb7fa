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

package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/freshbearer/freshbearer/tokenstore"
)

const (
	// sendTimeout bounds one try, from the dial to the end of the answer.
	sendTimeout = 10 * time.Second
	// maxAnswer is how much of an answer is read, so that its connection can
	// be used again.
	maxAnswer = 64 << 10
	// maxRetryAfter is the longest that a receiver may ask for.
	maxRetryAfter = time.Hour
)

// newClient returns a client that goes where the operator said and nowhere
// else: not to a proxy that the environment names, and not where a redirect
// leads.
func newClient() *http.Client {
	return &http.Client{
		Timeout: sendTimeout,
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    5 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    parallel,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// refusal is an answer that is not an acceptance.
type refusal struct {
	status int
	// retryAfter is what the receiver asked for, 0 if nothing.
	retryAfter time.Duration
}

func (r *refusal) Error() string { return fmt.Sprintf("the receiver answered %d", r.status) }

// send makes one try. The error is a *refusal if there was an answer; it holds
// neither the URL nor the body.
func (d *Deliverer) send(ctx context.Context, target *Target, n *tokenstore.Notice) error {
	body, err := target.Body(n)
	if err != nil {
		return fmt.Errorf("making the body of a notice: %w", err)
	}
	now := d.clock.Now()
	signatures := make([]string, len(target.Signers))
	for i, s := range target.Signers {
		if signatures[i], err = s.webhook.Sign(n.ID, now, body); err != nil {
			return errors.New("signing a notice failed")
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the receiver's URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "freshbearer")
	req.Header.Set(standardwebhooks.HeaderWebhookID, n.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	resp, err := d.client.Do(req)
	if err != nil {
		var withURL *url.Error
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return fmt.Errorf("sending a notice: %w", err)
	}
	defer resp.Body.Close()
	// What it says is nobody's business, and may be anything.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return nil
	}
	return &refusal{status: resp.StatusCode, retryAfter: retryAfter(resp.Header.Get("Retry-After"), now)}
}

// retryAfter reads a Retry-After field (RFC 9110 §10.2.3), 0 if there is none
// that makes sense.
func retryAfter(field string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(field, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(field); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
