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

package grant

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// startSpan makes a refresh a part of the trace of the request that starts it.
// One that the request waits for is a span inside the request's. One in the
// background outlives the request: it is a trace of its own, with a link to it.
//
// The request brings the tracer, because Caddy has no global one. So a refresh
// that no request has started has no span, nor has one of a request that is not
// sampled.
func startSpan(ctx context.Context, integration string, urgent bool) trace.Span {
	asking := trace.SpanFromContext(ctx)
	if !asking.IsRecording() {
		return trace.SpanFromContext(context.Background())
	}
	options := []trace.SpanStartOption{
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("freshbearer.integration", integration)),
	}
	// Nothing else of the request's context: it ends with the request.
	parent := trace.ContextWithSpan(context.Background(), asking)
	if !urgent {
		options = append(options, trace.WithNewRoot(), trace.WithLinks(trace.Link{SpanContext: asking.SpanContext()}))
	}
	_, span := asking.TracerProvider().Tracer("github.com/freshbearer/freshbearer").Start(parent, "freshbearer refresh", options...)
	return span
}

// endSpan ends the span of a flight. Errors are told by their kind alone: their
// texts are for the log.
func (k *Keeper) endSpan(c *connection, f *flight) {
	defer f.span.End()
	if !f.span.IsRecording() {
		return
	}
	f.span.SetAttributes(attribute.String("freshbearer.connection_hash", k.Pseudonym(c.key)))
	var dead *ReauthorizationError
	var unavailable *UnavailableError
	switch {
	case f.snapshot != nil:
		f.span.SetAttributes(attribute.Int64("freshbearer.generation", int64(f.snapshot.Generation)))
	case errors.As(f.err, &dead):
		f.span.SetAttributes(attribute.String("freshbearer.cause", string(dead.Cause)))
		f.span.SetStatus(codes.Error, "reauthorization required")
	case errors.As(f.err, &unavailable):
		f.span.SetAttributes(attribute.String("freshbearer.cause", string(unavailable.Reason)))
		f.span.SetStatus(codes.Error, "no token for now")
	default:
		f.span.SetStatus(codes.Error, "no token")
	}
}
