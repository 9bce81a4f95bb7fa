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

// What keeps secrets, and the log of who did what.
func init() {
	allMutants = append(allMutants, []mutant{
		{
			"a secret prints itself",
			[]edit{{"secret/secret.go", "_, _ = f.Write([]byte(redacted))", "_, _ = f.Write([]byte(s.Reveal()))"},
				{"secret/secret.go", "func (String) Format(", "func (s String) Format("}},
			"secret", []string{"TestVerbs"},
		},
		{
			"the proxy key is handed to Caddy's reverse proxy, which logs it",
			[]edit{{"handler.go", "	r.Header.Del(\"Authorization\")\n", ""}},
			"caddytest", []string{"TestCanary"},
		},
		{
			"links in events are plain texts, which Caddy logs",
			[]edit{{"events.go", "return []byte(\"[redacted]\"), nil", "return []byte(l), nil"},
				{"events.go", "func (signedLink) MarshalText", "func (l signedLink) MarshalText"}},
			"caddytest", []string{"TestCanary"},
		},
		{
			"a callback is in the access log",
			[]edit{{"connect.go", "caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)", "caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, false)"}},
			"caddytest", []string{"TestCanary"},
		},
		{
			"a token is logged when a company is connected",
			[]edit{{"grant/callback.go", "k.logger.Info(\"connected\", k.fields(record)...)", "k.logger.Info(\"connected \"+record.RefreshToken.Reveal(), k.fields(record)...)"}},
			"caddytest", []string{"TestCanary"},
		},
		{
			"the store is not sealed",
			[]edit{
				{"tokenstore/seal.go", "	return aead.Seal(out, nil, plaintext, associated(out[:sealHeaderSize], name)), nil\n",
					"	_ = aead\n	return append(append(out, make([]byte, 28)...), plaintext...), nil\n"},
				{"tokenstore/seal.go", "	plaintext, err := aead.Open(nil, nil, sealed[sealHeaderSize:], associated(header, name))\n",
					"	_ = aead\n	plaintext := sealed[sealOverhead:]\n"},
			},
			"caddytest", []string{"TestCanary"},
		},
		{
			"sealing anew never comes to its end",
			[]edit{{"tokenstore/reseal.go", "	if errors.Is(err, ErrConflict) {\n		return nil // the next pass looks at it again\n	}\n	if err != nil {\n		return err\n	}\n	p.done++\n",
				"	if err != nil {\n		return err\n	}\n	p.done++\n"}},
			"tokenstore", []string{"TestResealRace"},
		},
		{
			"a former key leaves the list before its records are sealed anew",
			[]edit{
				{"tokenstore/rotation.go", "		keys := m.Keys\n", "		var keys [][]byte\n"},
				{"tokenstore/rotation.go", "[]*masterKey{ring.keys[m.active], ring.first()}", "[]*masterKey{ring.first()}"},
			},
			"tokenstore", []string{"TestPromote"},
		},
		{
			"a start does not go on with a change of the key",
			[]edit{{"tokenstore/reseal.go", "v.ring.Len() == 1 && len(m.Keys) == 1, nil", "len(m.Keys) >= 0, nil"}},
			"reliability", []string{"TestRekey"},
		},
		{
			"the lines of the audit log do not prove each other",
			[]edit{{"audit/entry.go", "	h.Write(before[:])\n", ""}},
			"audit", []string{"TestLineOfAnotherHistory"},
		},
		{
			"the MAC of the audit log has no key",
			[]edit{{"audit/entry.go", "hmac.New(sha256.New, key)", "hmac.New(sha256.New, nil)"}},
			"audit", []string{"TestTampering"},
		},
		{
			"the end of the audit log is not looked at",
			[]edit{{"audit/verify.go", "	case v.next <= v.head.Last:\n", "	case false:\n"}, {"audit/verify.go", "	case !v.ended && v.head.Last > 0:\n", "	case false:\n"}},
			"audit", []string{"TestTampering"},
		},
		{
			"the audit log goes on as if nothing was missing",
			[]edit{{"audit/log.go", "	if !reached {\n		return \"shortened\", nil\n	}\n", ""}},
			"audit", []string{"TestShortened"},
		},
		{
			"half a line of the audit log is kept",
			[]edit{{"audit/log.go", "if l.size = whole; rest && reached {", "if l.size = whole; rest && reached && false {"}},
			"audit", []string{"TestCrash"},
		},
		{
			"every refusal is a line of the audit log",
			[]edit{{"audit/refusals.go", "case known.count > 0 && (all || wait <= 0):", "case known.count > 0:"}},
			"audit", []string{"TestRefusalInterval"},
		},
		{
			"refusals of any kind are told apart",
			[]edit{{"audit/refusals.go", "if !ok && len(r.waiting) >= maxRefusals {", "if false {"}},
			"audit", []string{"TestManyKindsOfRefusals"},
		},
		{
			"the audit log names companies",
			[]edit{{"audit.go", "e.Connection = k.Pseudonym(key)", "e.Connection = key.Connection"}},
			"caddytest", []string{"TestAudit"},
		},
		{
			"whoever is refused is not in the audit log",
			[]edit{{"audit.go", "		log.Refuse(by, who, integration, why)\n", "		_ = log\n"}},
			"caddytest", []string{"TestAudit"},
		},
	}...)
}
