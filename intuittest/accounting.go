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
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// accounting answers a request below /v3/company/{realm}.
func (s *Server) accounting(c *call) reply {
	segments := strings.Split(strings.Trim(c.rest, "/"), "/")
	first := strings.ToLower(segments[0])
	switch {
	case first == "query":
		return s.serveQuery(c)
	case first == "batch" && c.r.Method == http.MethodPost:
		return s.batch(c)
	case first == "cdc" && c.r.Method == http.MethodGet:
		return s.changes(c)
	case first == "reports" && len(segments) == 2 && c.r.Method == http.MethodGet:
		return s.report(c, segments[1])
	case first == "upload" && c.r.Method == http.MethodPost:
		return s.upload(c)
	case first == "download" && len(segments) == 2 && c.r.Method == http.MethodGet:
		return s.download(c, segments[1])
	}
	name := entityNames[first]
	if name == "" {
		return s.unsupported(c)
	}
	switch c.r.Method {
	case http.MethodGet:
		return s.read(c, name, segments[1:])
	case http.MethodPost:
		if len(segments) == 3 && strings.EqualFold(segments[2], "send") {
			return s.read(c, name, segments[1:2])
		}
		if len(segments) > 1 {
			return s.unsupported(c)
		}
		return s.write(c, name)
	default:
		return s.unsupported(c)
	}
}

func (s *Server) unsupported(c *call) reply {
	return s.validation(c, "500", "Unsupported Operation", "Operation "+c.r.Method+" "+c.rest+" is not supported.")
}

var errNotFound = errors.New("there is no such object")

// read answers GET /{entity}/{id}, and /pdf below it.
func (s *Server) read(c *call, name string, rest []string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	co := s.companies[c.realm]
	now := s.now()
	switch {
	case name == "CompanyInfo":
		if len(rest) == 1 && rest[0] != c.realm {
			return validationAt(now, c, "610", "Object Not Found", "Object Not Found : Something you're trying to use has been made inactive.")
		}
		return render(now, c, map[string]any{name: co.info(now)})
	case name == "Preferences":
		return render(now, c, map[string]any{name: preferences()})
	case len(rest) == 0:
		return validationAt(now, c, "500", "Unsupported Operation", "An id is missing.")
	}
	s.seed(co)
	i := co.find(name, rest[0])
	if i < 0 {
		return validationAt(now, c, "610", "Object Not Found", "Object Not Found : Something you're trying to use has been made inactive.")
	}
	if len(rest) == 2 && strings.EqualFold(rest[1], "pdf") {
		return reply{status: http.StatusOK, ctype: "application/pdf", body: []byte("%PDF-1.4\n% " + name + " " + rest[0] + "\n%%EOF\n")}
	}
	return render(now, c, map[string]any{name: co.entities[name][i]})
}

// validationAt is Server.validation for callers that hold s.mu.
func validationAt(now time.Time, c *call, code, message, detail string) reply {
	rep := reply{status: http.StatusBadRequest, code: code, ctype: jsonType}
	if wantsXML(c.r) {
		rep.ctype, rep.body = xmlType, xmlFault(now, code, "ValidationFault", message, detail)
		return rep
	}
	rep.body = encode(faultData(now, code, message, detail))
	return rep
}

// write answers POST /{entity}: create, update, delete or void.
func (s *Server) write(c *call, name string) reply {
	body, err := io.ReadAll(io.LimitReader(c.body, maxEntity))
	var in map[string]any
	if err == nil {
		if strings.Contains(c.r.Header.Get("Content-Type"), "xml") {
			in, err = parseXML(body)
		} else {
			in, err = parseJSON(body)
		}
	}
	if err != nil {
		return s.validation(c, "2010", "Request has invalid or unsupported property", "The body cannot be read.")
	}
	q := c.r.URL.Query()
	requestID := q.Get("requestid")
	if requestID == "" {
		requestID = q.Get("requestId")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	e, code, err := s.apply(c, name, strings.ToLower(q.Get("operation")), requestID, in)
	if err != nil {
		return validationAt(now, c, code, "Invalid request", err.Error())
	}
	return render(now, c, map[string]any{name: e})
}

// apply does one write. The caller holds s.mu.
func (s *Server) apply(c *call, name, operation, requestID string, in map[string]any) (e map[string]any, code string, err error) {
	co, now := s.companies[c.realm], s.now()
	s.seed(co)
	id := text(in["Id"])
	if id == "" && (operation == "" || operation == "create") {
		return s.create(c, co, name, requestID, in, now), "", nil
	}
	i := co.find(name, id)
	if i < 0 {
		return nil, "610", errNotFound
	}
	old := co.entities[name][i]
	if in["SyncToken"] == nil {
		return nil, "2020", errors.New("the SyncToken is missing")
	}
	if text(in["SyncToken"]) != text(old["SyncToken"]) {
		return nil, "5010", errors.New("stale object: you and another were working on it at the same time")
	}
	switch operation {
	case "delete":
		co.entities[name] = slices.Delete(co.entities[name], i, i+1)
		return map[string]any{"Id": id, "domain": "QBO", "status": "Deleted"}, "", nil
	case "", "update", "void":
		e = maps.Clone(in)
		if sparse, _ := strconv.ParseBool(text(in["sparse"])); sparse || operation == "void" {
			e = maps.Clone(old)
			maps.Copy(e, in)
		}
		if operation == "void" {
			e["TotalAmt"], e["Balance"], e["PrivateNote"] = 0, 0, "Voided"
		}
		n, _ := strconv.Atoi(text(old["SyncToken"]))
		e["SyncToken"], e["sparse"], e["domain"] = strconv.Itoa(n+1), false, "QBO"
		created := now
		if meta, ok := old["MetaData"].(map[string]any); ok {
			if t, err := time.Parse("2006-01-02T15:04:05.000-07:00", text(meta["CreateTime"])); err == nil {
				created = t
			}
		}
		e["MetaData"] = map[string]any{"CreateTime": stamp(created), "LastUpdatedTime": stamp(now)}
		co.entities[name][i] = e
		co.changed[name+" "+id] = now
		return e, "", nil
	default:
		return nil, "500", fmt.Errorf("the operation %s is not supported", operation)
	}
}

func (s *Server) create(c *call, co *company, name, requestID string, in map[string]any, now time.Time) map[string]any {
	log := Create{
		Realm: c.realm, Entity: name, DocNumber: text(in["DocNumber"]), RequestID: requestID, BodySHA256: c.body.hex(),
	}
	key := name + " " + requestID
	if id, ok := co.requestIDs[key]; ok && requestID != "" {
		if i := co.find(name, id); i >= 0 {
			log.ID, log.Repeated = id, true
			s.logCreate(log)
			return co.entities[name][i]
		}
	}
	e := s.store(co, name, maps.Clone(in), now)
	log.ID = text(e["Id"])
	if requestID != "" {
		co.requestIDs[key] = log.ID
	}
	s.logCreate(log)
	return e
}

// text is a JSON value as text; empty for none.
func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// batch does each item and answers 200 whatever becomes of them.
func (s *Server) batch(c *call) reply {
	body, err := io.ReadAll(io.LimitReader(c.body, maxEntity))
	if err != nil {
		return s.validation(c, "2010", "Request has invalid or unsupported property", "The body cannot be read.")
	}
	in, err := parseJSON(body)
	items, ok := in["BatchItemRequest"].([]any)
	if err != nil || !ok {
		return s.validation(c, "2010", "Request has invalid or unsupported property", "The BatchItemRequest cannot be read.")
	}
	if len(items) > 30 {
		return s.validation(c, "1040", "Batch has too many items", "A batch has 30 items at most.")
	}
	requestID := c.r.URL.Query().Get("requestid")
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var out []any
	for _, raw := range items {
		item, _ := raw.(map[string]any)
		answer := map[string]any{}
		if query := text(item["Query"]); query != "" {
			result, err := s.query(c.realm, query)
			if err != nil {
				answer["Fault"] = faultData(now, "4000", "Error parsing query", err.Error())["Fault"]
			} else {
				answer["QueryResponse"] = result
			}
		}
		for name, value := range item {
			entity, ok := value.(map[string]any)
			proper := entityNames[strings.ToLower(name)]
			if !ok || proper == "" {
				continue
			}
			id := requestID
			if id != "" {
				id += "/" + text(item["bId"])
			}
			e, code, err := s.apply(c, proper, strings.ToLower(text(item["operation"])), id, entity)
			if err != nil {
				answer["Fault"] = faultData(now, code, "Invalid request", err.Error())["Fault"]
			} else {
				answer[proper] = e
			}
		}
		if len(answer) == 0 {
			answer["Fault"] = faultData(now, "500", "Unsupported Operation", "The item holds neither an entity nor a query.")["Fault"]
		}
		answer["bId"] = text(item["bId"])
		out = append(out, answer)
	}
	return render(now, c, map[string]any{"BatchItemResponse": out})
}

// changes answers the change data capture.
func (s *Server) changes(c *call) reply {
	q := c.r.URL.Query()
	since, err := time.Parse(time.RFC3339, q.Get("changedSince"))
	if err != nil {
		// A plus sign in a query is a space once decoded, and clients send it
		// as it is.
		since, err = time.Parse(time.RFC3339, strings.ReplaceAll(q.Get("changedSince"), " ", "+"))
	}
	if err != nil {
		since, err = time.Parse(time.DateOnly, q.Get("changedSince"))
	}
	if err != nil {
		return s.validation(c, "2050", "Invalid date", "The changedSince is no date.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	co, now := s.companies[c.realm], s.now()
	var responses []any
	for entity := range strings.SplitSeq(q.Get("entities"), ",") {
		name := entityNames[strings.ToLower(strings.TrimSpace(entity))]
		if name == "" {
			return validationAt(now, c, "2010", "Invalid entity", "There is no entity "+entity+".")
		}
		found := []any{}
		for _, e := range s.all(co, name) {
			if at, ok := co.changed[name+" "+text(e["Id"])]; ok && !at.Before(since) {
				found = append(found, e)
			}
		}
		response := map[string]any{}
		if len(found) > 0 {
			response = map[string]any{name: found, "startPosition": 1, "maxResults": len(found)}
		}
		responses = append(responses, response)
	}
	return render(now, c, map[string]any{"CDCResponse": []any{map[string]any{"QueryResponse": responses}}})
}

func (s *Server) report(c *call, name string) reply {
	q := c.r.URL.Query()
	now := s.Now()
	day := now.In(pacific).Format(time.DateOnly)
	start, end := q.Get("start_date"), q.Get("end_date")
	if start == "" {
		start = day
	}
	if end == "" {
		end = day
	}
	return render(now, c, map[string]any{
		"Header": map[string]any{
			"Time": stamp(now), "ReportName": name, "ReportBasis": "Accrual", "StartPeriod": start, "EndPeriod": end,
			"Currency": "USD", "Option": []any{map[string]any{"Name": "NoReportData", "Value": "false"}},
		},
		"Columns": map[string]any{"Column": []any{
			map[string]any{"ColTitle": "", "ColType": "Account"}, map[string]any{"ColTitle": "Total", "ColType": "Money"},
		}},
		"Rows": map[string]any{"Row": []any{map[string]any{
			"ColData": []any{map[string]any{"value": "Services"}, map[string]any{"value": "724.14"}}, "type": "Data", "group": "Income",
		}}},
	})
}
