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

package caddytest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/freshbearer/freshbearer/intuittest"
)

// collector takes traces, as OpenTelemetry's own would.
type collector struct {
	mu    sync.Mutex
	spans []*tracepb.Span
	raw   []byte
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	// The request to export is the same on the wire.
	var traces tracepb.TracesData
	if err == nil {
		err = proto.Unmarshal(body, &traces)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body...)
	for _, resource := range traces.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func attribute(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == "freshbearer."+key {
			if a.Value.GetStringValue() != "" {
				return a.Value.GetStringValue()
			}
			return fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return ""
}

// A refresh is in the trace of the request that waits for it, and linked to
// the one that began it in the background. There is nothing secret in a trace.
func TestTracing(t *testing.T) {
	received := new(collector)
	server := httptest.NewServer(received)
	defer server.Close()
	for name, value := range map[string]string{
		"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_ENDPOINT": server.URL,
		"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_TRACES_SAMPLER": "always_on",
	} {
		t.Setenv(name, value)
	}
	s := start(t, func(s *system) {
		s.Sites[0].Routes = []string{"tracing {", "span api", "}"}
		// The first half of a token's life is before its window.
		s.Sites[0].Intuit.SetBehaviour(func(b *intuittest.Behaviour) { b.AccessTokenTTL = 4 * time.Second })
	})
	s.connect(realmOne)
	c := client(t)
	s.get(c, realmOne)
	// In the window, which is a sixth of the life and half of that more at most.
	if err := eventually(10*time.Second, func() error {
		if a := s.get(c, realmOne); a.Status != http.StatusOK {
			return fmt.Errorf("answered %d", a.Status)
		}
		if s.Intuit.Counters().Refreshes < 1 {
			return fmt.Errorf("not refreshed in the background")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.Intuit.RevokeAccess(realmOne)
	s.get(c, realmOne)
	p := s.dies(c)

	if err := eventually(10*time.Second, func() error {
		received.mu.Lock()
		defer received.mu.Unlock()
		byID := map[string]*tracepb.Span{}
		for _, span := range received.spans {
			byID[string(span.SpanId)] = span
		}
		var inside, linked, dead int
		for _, span := range received.spans {
			if span.Name != "freshbearer refresh" {
				continue
			}
			if attribute(span, "integration") != "quickbooks" || len(attribute(span, "connection_hash")) != 16 {
				t.Fatalf("attributes: %v", span.Attributes)
			}
			parent := byID[string(span.ParentSpanId)]
			switch {
			case attribute(span, "cause") == p.Cause && span.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR:
				dead++
			case len(span.ParentSpanId) == 0 && len(span.Links) == 1 && byID[string(span.Links[0].SpanId)] != nil && attribute(span, "generation") != "":
				linked++
			case parent != nil && parent.Name == "api" && bytes.Equal(parent.TraceId, span.TraceId) && attribute(span, "generation") != "":
				inside++
			}
		}
		if inside == 0 || linked == 0 || dead != 1 {
			return fmt.Errorf("of %d spans, %d are refreshes inside a request, %d linked to one, %d of the dead grant", len(received.spans), inside, linked, dead)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	received.mu.Lock()
	defer received.mu.Unlock()
	for _, secret := range append(tokensOf(s.Intuit), s.Key, intuittest.DefaultClientSecret) {
		if bytes.Contains(received.raw, []byte(secret)) {
			t.Errorf("a secret is in a trace: %.12s…", secret)
		}
	}
}

// The access log says on whose behalf and with which token a request went.
func TestAccessLog(t *testing.T) {
	for name, change := range map[string]func(*system){"forwarder": func(*system) {}, "reverse_proxy": viaReverseProxy} {
		t.Run(name, func(t *testing.T) {
			s, c := connectedAndAccepted(t, change)
			s.Intuit.RevokeAccess(realmOne)
			s.get(c, realmOne)
			s.get(c, realmNone)
			s.get(c, realmOne, "Authorization: Bearer 0123456789012345678901234567890123456789")
			type entry struct {
				Status      int     `json:"status"`
				Integration string  `json:"integration"`
				Caller      string  `json:"caller"`
				Generation  *uint64 `json:"generation"`
				Replayed    *bool   `json:"replayed"`
			}
			show := func(e entry) string {
				b, _ := json.Marshal(e)
				return string(b)
			}
			want := []string{
				`{"status":200,"integration":"quickbooks","caller":"app","generation":1,"replayed":false}`,
				`{"status":200,"integration":"quickbooks","caller":"app","generation":2,"replayed":true}`,
				`{"status":428,"integration":"quickbooks","caller":"app","generation":null,"replayed":false}`,
				`{"status":401,"integration":"","caller":"","generation":null,"replayed":null}`,
			}
			if err := eventually(10*time.Second, func() error {
				log, err := os.ReadFile(filepath.Join(s.Dir, "caddy.log"))
				if err != nil {
					return err
				}
				var got []string
				for line := range bytes.Lines(log) {
					var e entry
					if bytes.Contains(line, []byte(`"logger":"http.log.access`)) && bytes.Contains(line, []byte(`"uri":"/v3/`)) && json.Unmarshal(line, &e) == nil {
						got = append(got, show(e))
					}
				}
				if strings.Join(got, "\n") != strings.Join(want, "\n") {
					return fmt.Errorf("the access log says\n%s", strings.Join(got, "\n"))
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
