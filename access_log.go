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

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// accessFields are what Caddy's access log says of a request in addition: which
// integration and caller, the generation of the token that was sent last, and
// whether the request was sent again.
type accessFields struct{ x *exchange }

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (f accessFields) MarshalLogObject(to zapcore.ObjectEncoder) error {
	to.AddString("integration", f.x.integration.name)
	to.AddString("caller", f.x.caller.name)
	if f.x.snapshot != nil {
		to.AddUint64("generation", f.x.snapshot.Generation)
	}
	to.AddBool("replayed", f.x.replayed)
	return nil
}

// accessLog adds them.
func (x *exchange) accessLog(ctx context.Context) {
	if extra, ok := ctx.Value(caddyhttp.ExtraLogFieldsCtxKey).(*caddyhttp.ExtraLogFields); ok {
		extra.Add(zap.Inline(accessFields{x}))
	}
}
