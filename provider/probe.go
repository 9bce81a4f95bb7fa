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

package provider

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// probeTimeout is short: who asks wants to know whether to wait, not to wait.
const probeTimeout = 10 * time.Second

var errNotUp = errors.New("the token endpoint does not answer as it should")

// Probe asks whether the token endpoint is up again, with a request that no
// token or credential is in: whatever becomes of it, no grant is hurt. Any
// answer but 429 and 5xx shows it to be up. Errors are of type *RequestError.
func (c *Client) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Endpoints.TokenURL, nil)
	if err != nil {
		return &RequestError{Request: "probe", Err: errors.New("the token URL is not usable")}
	}
	answer, failure := c.carry(ctx, "probe", request, nil)
	if failure != nil {
		return failure
	}
	if answer.status == http.StatusTooManyRequests || answer.status >= http.StatusInternalServerError {
		return c.refusal("probe", answer, errNotUp, nil)
	}
	return nil
}
