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

package reliability_test

// What keeps answers, requests and connections to the API apart.
func init() {
	allMutants = append(allMutants, []mutant{
		{
			"an idle connection is used without a look at it",
			[]edit{{"upstream/pool.go", "		if c.quiet() {\n", "		if true {\n"}},
			"upstream", []string{"TestClosedWhileIdle", "TestUnaskedAnswer"},
		},
		{
			"what TLS has read ahead is not looked for",
			[]edit{{"upstream/conn.go", "	return errors.Is(err, os.ErrDeadlineExceeded)\n", "	return errors.Is(err, os.ErrDeadlineExceeded) || true\n"}},
			"upstream", []string{"TestReadAhead", "TestBlind"},
		},
		{
			"what comes after an answer begins the next one",
			[]edit{{"upstream/body.go", " || b.br.Buffered() > 0", ""}, {"upstream/pool.go", "		if c.quiet() {\n", "		if true {\n"}},
			"upstream", []string{"TestAnswers"},
		},
		{
			"a connection is used again that the API wants to close",
			[]edit{{"upstream/body.go", " || b.last", ""}},
			"upstream", []string{"TestAnswers"},
		},
		{
			"any request is sent again on a new connection",
			[]edit{{"upstream/conn.go", "c.written.Load() == 0 || req.Method == http.MethodGet || req.Method == http.MethodHead", "true"}},
			"upstream", []string{"TestClosedWhileSending"},
		},
		{
			"a body is sent again that may have come",
			[]edit{{"upstream/conn.go", "return c.written.Load() == 0 && req.GetBody != nil", "return req.GetBody != nil"}},
			"upstream", []string{"TestClosedWhileSending"},
		},
		{
			"a request is sent again after its answer has begun",
			[]edit{{"upstream/conn.go", "	if c.heard || ", "	if "}},
			"upstream", []string{"TestClosedWhileSending"},
		},
		{
			"a request that was not answered in time is sent again",
			[]edit{{"upstream/conn.go", "c.heard || errors.Is(err, os.ErrDeadlineExceeded)", "c.heard"}},
			"upstream", []string{"TestTimeoutIsNotRepeated"},
		},
		{
			"an answer that broke off looks whole",
			[]edit{{"upstream/body.go", "		return 0, b.err\n", "		return 0, io.EOF\n"}},
			"upstream", []string{"TestTruncatedBody"},
		},
		{
			"a field's value may end its line",
			[]edit{{"upstream/write.go", "			if !oneLine(value) {\n", "			if false {\n"}},
			"upstream", []string{"TestMalformedRequests"},
		},
		{
			"a target may end its line",
			[]edit{{"upstream/write.go", " || !plain(target)", ""}},
			"upstream", []string{"TestMalformedRequests"},
		},
		{
			"a field may frame the message",
			[]edit{{"upstream/write.go", "		if isFraming(name) {\n", "		if false {\n"}},
			"upstream", []string{"TestFraming"},
		},
		{
			"a header may be of any length",
			[]edit{{"upstream/conn.go", "	c.headerLeft = maxHeader\n", "	c.headerLeft = -1\n"}},
			"upstream", []string{"TestAnswers"},
		},
		{
			"a server's name needs no proof",
			[]edit{{"upstream/transport.go", "	config := t.TLS.Clone()\n", "	config := t.TLS.Clone()\n	config.InsecureSkipVerify = true\n"}},
			"upstream", []string{"TestTLS"},
		},
		{
			"any number of idle connections is kept",
			[]edit{{"upstream/pool.go", "	if len(list) >= t.MaxIdle {\n", "	if false {\n"}},
			"upstream", []string{"TestIdle"},
		},
		{
			"a slow body is late",
			[]edit{{"upstream/conn.go", "	c.answered = true\n	if more", "	c.answered = true\n	if false && more"}},
			"upstream", []string{"TestSlowBodies"},
		},
		{
			"a body that is too short is sent as it is",
			[]edit{{"upstream/write.go", "	if n < req.ContentLength {\n", "	if n < 0 {\n"}},
			"upstream", []string{"TestBrokenBody"},
		},
		{
			"an API that reads no more is waited for",
			[]edit{{"upstream/conn.go", "	if c.streams {\n		c.mu.Lock()", "	if false {\n		c.mu.Lock()"}},
			"upstream", []string{"TestSlowReader"},
		},
		{
			"a connection is used again after a body that nobody looks for",
			[]edit{{"upstream/conn.go", " || unexpected(req)}", "}"}},
			"upstream", []string{"TestUnexpectedBody"},
		},
		{
			"what is left of a body is the next request",
			[]edit{{"body.go", "	if x.to == nil && req.Body != nil {\n", "	if req.Body != nil {\n"}},
			"caddytest", []string{"TestUnreadBody"},
		},
	}...)
}
