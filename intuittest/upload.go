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
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
)

// keepFile is the most of an uploaded file that is kept for download. All of
// it is counted and hashed.
const keepFile = 8 << 20

// upload takes a multipart body as it streams in: file_content_N with an
// optional file_metadata_N (Intuit, "Attachable"). Each AttachableResponse
// also tells the sha256 (hex) of what arrived.
func (s *Server) upload(c *call) reply {
	parts, err := c.r.MultipartReader()
	if err != nil {
		return s.validation(c, "2010", "Request has invalid or unsupported property", "The body is not multipart.")
	}
	type uploaded struct {
		file
		size   int64
		sha256 string
		meta   map[string]any
	}
	var files []uploaded
	meta := map[string]map[string]any{}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s.validation(c, "2010", "Request has invalid or unsupported property", "The multipart body cannot be read.")
		}
		kind, number, _ := strings.Cut(strings.TrimPrefix(part.FormName(), "file_"), "_")
		switch kind {
		case "metadata":
			body, err := io.ReadAll(io.LimitReader(part, maxForm))
			if err != nil {
				return s.validation(c, "2010", "Request has invalid or unsupported property", "The multipart body cannot be read.")
			}
			in, err := parseJSON(body)
			if err != nil {
				in, err = parseXML(body)
			}
			if err != nil {
				return s.validation(c, "2010", "Request has invalid or unsupported property", "The metadata cannot be read.")
			}
			meta[number] = in
			if n := len(files); n > 0 && files[n-1].meta == nil {
				files[n-1].meta = in
			}
		case "content":
			sum := sha256.New()
			all := io.TeeReader(part, sum)
			content, err := io.ReadAll(io.LimitReader(all, keepFile))
			rest, restErr := io.Copy(io.Discard, all)
			if err != nil || restErr != nil {
				return s.validation(c, "2010", "Request has invalid or unsupported property", "The multipart body cannot be read.")
			}
			files = append(files, uploaded{
				file: file{name: part.FileName(), ctype: part.Header.Get("Content-Type"), content: content},
				size: int64(len(content)) + rest, sha256: hex.EncodeToString(sum.Sum(nil)), meta: meta[number],
			})
		}
	}
	if len(files) == 0 {
		return s.validation(c, "2020", "Required param missing", "There is no file_content part.")
	}
	// What follows the last part belongs to the body that the creates name.
	_, _ = io.Copy(io.Discard, c.body)

	s.mu.Lock()
	defer s.mu.Unlock()
	co, now := s.companies[c.realm], s.now()
	s.seed(co)
	requestID := c.r.URL.Query().Get("requestid")
	var out []any
	for _, f := range files {
		in := map[string]any{"FileName": f.name, "ContentType": f.ctype}
		for name, value := range f.meta {
			in[name] = value
		}
		in["Size"], in["sha256"] = f.size, f.sha256
		id := requestID
		if id != "" {
			id += "/" + f.name
		}
		e := s.create(c, co, "Attachable", id, in, now)
		uri := "/v3/company/" + c.realm + "/download/" + text(e["Id"])
		e["FileAccessUri"], e["TempDownloadUri"] = uri, s.origin(c.r)+uri
		co.files[text(e["Id"])] = f.file
		out = append(out, map[string]any{"Attachable": e})
	}
	return render(now, c, map[string]any{"AttachableResponse": out})
}

// download answers an uploaded file's content.
func (s *Server) download(c *call, id string) reply {
	s.mu.Lock()
	f, ok := s.companies[c.realm].files[id]
	s.mu.Unlock()
	if !ok {
		return s.validation(c, "610", "Object Not Found", "There is no such file.")
	}
	ctype := f.ctype
	if ctype == "" {
		ctype = "application/octet-stream"
	}
	return reply{status: http.StatusOK, ctype: ctype, body: f.content}
}
