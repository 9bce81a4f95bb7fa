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

package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"text/template"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/freshbearer/freshbearer/secret"
)

const canary = "AB11-canary-refresh-token"

// Exported and hidden are the places where a secret sits in a struct.
type Exported struct {
	Name  string
	Token secret.String
}

// Attribute is a secret in an XML attribute.
type Attribute struct {
	Token secret.String `xml:",attr"`
}

type hidden struct {
	name  string
	token secret.String
	list  []secret.String
	inner struct{ token secret.String }
	keyed map[string]secret.String
	any   any
	ptr   *secret.String
}

func holders() map[string]any {
	s := secret.New(canary)
	h := hidden{name: "n", token: s, list: []secret.String{s}, keyed: map[string]secret.String{"k": s}, any: s, ptr: &s}
	h.inner.token = s
	return map[string]any{
		"value":            s,
		"pointer":          &s,
		"exported field":   Exported{"n", s},
		"pointer to it":    &Exported{"n", s},
		"unexported field": h,
		"behind a pointer": &h,
		"slice":            []secret.String{s},
		"array":            [1]secret.String{s},
		"map value":        map[string]secret.String{"k": s},
		"map key":          map[secret.String]int{s: 1},
		"any":              []any{s, &s},
		"error":            fmt.Errorf("wrapped: %w, %v", errors.New("e"), s),
	}
}

func wantHidden(t *testing.T, how, got string) {
	t.Helper()
	for _, leak := range []string{canary, canary[5:], fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary)[:8])[1:20]} {
		if strings.Contains(got, leak) {
			t.Errorf("%s gives %s", how, got)
		}
	}
}

func TestVerbs(t *testing.T) {
	for what, v := range holders() {
		for _, verb := range []string{
			"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%#x", "%d", "%t", "%c", "%U", "%p", "%b", "%o", "%e", "%T", "%10s", "%.3s", "%-5v", "%z", "%w",
		} {
			wantHidden(t, verb+" of "+what, fmt.Sprintf(verb, v))
		}
		wantHidden(t, "Sprint of "+what, fmt.Sprint(v))
		tooFew := "no verb"
		wantHidden(t, "too few verbs for "+what, fmt.Sprintf(tooFew, v))
	}
	s := secret.New(canary)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if got := fmt.Sprintf(verb, s); got != "[redacted]" {
			t.Errorf("%s gives %s", verb, got)
		}
	}
	if got := fmt.Sprintf("%v", secret.String{}); got != "[redacted]" {
		t.Errorf("an empty secret gives %s, which tells that it is empty", got)
	}
}

func TestEncoders(t *testing.T) {
	for what, v := range holders() {
		if got, err := json.Marshal(v); err == nil {
			wantHidden(t, "json of "+what, string(got))
		}
		if got, err := xml.Marshal(v); err == nil {
			wantHidden(t, "xml of "+what, string(got))
		}
		var out bytes.Buffer
		if err := template.Must(template.New("").Parse("{{.}} {{printf `%q` .}} {{html .}}")).Execute(&out, v); err == nil {
			wantHidden(t, "template of "+what, out.String())
		}
	}
	got, err := json.Marshal(map[secret.String]Exported{secret.New(canary): {"n", secret.New(canary)}})
	if want := `{"[redacted]":{"Name":"n","Token":"[redacted]"}}`; err != nil || string(got) != want {
		t.Errorf("json is %s (%v)", got, err)
	}
	if got, err := xml.Marshal(Attribute{secret.New(canary)}); err != nil || !strings.Contains(string(got), `Token="[redacted]"`) {
		t.Errorf("xml is %s (%v)", got, err)
	}
}

func TestLoggers(t *testing.T) {
	for what, v := range holders() {
		var out bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).With("with", v).Info("message", "attr", v, slog.Group("group", "attr", v))
		}
		wantHidden(t, "slog of "+what, out.String())

		out.Reset()
		for _, encoder := range []zapcore.Encoder{
			zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
		} {
			l := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zapcore.DebugLevel)).With(zap.Any("with", v))
			l.Info("message", zap.Any("any", v), zap.Reflect("reflect", v), zap.Inline(zapcore.ObjectMarshalerFunc(func(enc zapcore.ObjectEncoder) error {
				return enc.AddReflected("inline", v)
			})))
			l.Sugar().Infow("message", "key", v)
			l.Sugar().Info(v)
			l.Sugar().Infof("%v %+v %#v", v, v, v)
		}
		if out.Len() == 0 {
			t.Fatal("nothing was logged")
		}
		wantHidden(t, "zap of "+what, out.String())
	}
}

func TestValue(t *testing.T) {
	s, empty := secret.New(canary), secret.New("")
	if s.Reveal() != canary || s.Empty() {
		t.Error("a secret does not hold its text")
	}
	if empty.Reveal() != "" || !empty.Empty() || empty != (secret.String{}) || !(secret.String{}).Empty() {
		t.Error("the empty secret is not the zero value")
	}
	for _, test := range []struct {
		a, b string
		want bool
	}{{canary, canary, true}, {canary, canary[:5], false}, {canary, strings.ToLower(canary), false}, {"", canary, false}, {canary, "", false}, {"", "", true}} {
		if got := secret.New(test.a).Equal(secret.New(test.b)); got != test.want {
			t.Errorf("%q equals %q: %t", test.a, test.b, got)
		}
	}
}
