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

package intuittest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// render makes the answer of the accounting service in the format that the
// request accepts. It encodes at once, while the caller holds s.mu: entities
// change later.
func render(now time.Time, c *call, data map[string]any) reply {
	if !wantsXML(c.r) {
		data["time"] = stamp(now)
		return reply{status: http.StatusOK, ctype: jsonType, body: encode(data)}
	}
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?><IntuitResponse xmlns="http://schema.intuit.com/finance/v3" time="` + stamp(now) + `">`)
	for _, name := range slices.Sorted(maps.Keys(data)) {
		writeXML(&b, name, data[name])
	}
	b.WriteString(`</IntuitResponse>`)
	return reply{status: http.StatusOK, ctype: xmlType, body: []byte(b.String())}
}

// attributes are the members that Intuit's XML has as attributes.
var attributes = []string{"domain", "sparse", "startPosition", "maxResults", "totalCount", "query", "bId", "status", "name", "type"}

func writeXML(b *strings.Builder, name string, value any) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			writeXML(b, name, item)
		}
	case []map[string]any:
		for _, item := range v {
			writeXML(b, name, item)
		}
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		b.WriteString("<" + name)
		for _, key := range keys {
			if slices.Contains(attributes, key) {
				b.WriteString(" " + key + `="`)
				_ = xml.EscapeText(b, []byte(fmt.Sprint(v[key])))
				b.WriteString(`"`)
			}
		}
		b.WriteString(">")
		for _, key := range keys {
			switch {
			case slices.Contains(attributes, key):
			case key == "value":
				_ = xml.EscapeText(b, []byte(fmt.Sprint(v[key])))
			default:
				writeXML(b, key, v[key])
			}
		}
		b.WriteString("</" + name + ">")
	case nil:
	default:
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(b, []byte(fmt.Sprint(v)))
		b.WriteString("</" + name + ">")
	}
}

// parseJSON reads one JSON object and keeps numbers as they are written.
func parseJSON(body []byte) (map[string]any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var out map[string]any
	if err := d.Decode(&out); err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if out == nil {
		return nil, errors.New("reading JSON: it is no object")
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("reading JSON: something follows the object")
	}
	return out, nil
}

// parseXML reads an entity from XML: elements with elements inside are
// objects, the rest is text; a repeated element is a list.
func parseXML(body []byte) (map[string]any, error) {
	d := xml.NewDecoder(bytes.NewReader(body))
	for {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("reading XML: %w", err)
		}
		if start, ok := t.(xml.StartElement); ok {
			v, err := xmlValue(d, start, 0)
			if err != nil {
				return nil, fmt.Errorf("reading XML: %w", err)
			}
			out, ok := v.(map[string]any)
			if !ok {
				return nil, errors.New("reading XML: the entity is empty")
			}
			return out, nil
		}
	}
}

func xmlValue(d *xml.Decoder, start xml.StartElement, depth int) (any, error) {
	if depth > 50 {
		return nil, errors.New("the elements are nested too deep")
	}
	out := map[string]any{}
	var text strings.Builder
	for _, a := range start.Attr {
		if a.Name.Local != "xmlns" && a.Name.Space == "" {
			out[a.Name.Local] = a.Value
		}
	}
	for {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.CharData:
			text.Write(t)
		case xml.StartElement:
			v, err := xmlValue(d, t, depth+1)
			if err != nil {
				return nil, err
			}
			name := t.Name.Local
			switch old := out[name].(type) {
			case nil:
				out[name] = v
			case []any:
				out[name] = append(old, v)
			default:
				out[name] = []any{old, v}
			}
		case xml.EndElement:
			if len(out) == 0 {
				return strings.TrimSpace(text.String()), nil
			}
			if trimmed := strings.TrimSpace(text.String()); trimmed != "" {
				out["value"] = trimmed
			}
			return out, nil
		}
	}
}
