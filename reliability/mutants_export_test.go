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

// What a move to another store must not lose or give away.
func init() {
	allMutants = append(allMutants, []mutant{
		{
			"an import knows only the token before",
			[]edit{{"grant/superseded.go", "supersededKept = 8\n", "supersededKept = 1\n"}},
			"grant", []string{"TestImportOfSupersededTokens"},
		},
		{
			"an export leaves in the clear",
			[]edit{{"admin_export.go", "json.NewEncoder(sealed)", "json.NewEncoder(buffered)"}},
			".", []string{"TestExportIsSealed"},
		},
		{
			"a recipient need not be a point that can be sealed to",
			[]edit{{"admin_export.go", "_, err = r.Wrap(make([]byte, 16))", ""}},
			".", []string{"TestExportRefuses"},
		},
		{
			"an export that breaks off ends like a whole one",
			[]edit{{"admin_export.go", "	panic(http.ErrAbortHandler)\n", "	return nil\n"}},
			".", []string{"TestExportBrokenOff"},
		},
		{
			"a query that cannot be read is one without a hold",
			[]edit{{"admin.go", "err != nil {\n		return badParameter(\"the query", "false && err != nil {\n		return badParameter(\"the query"}},
			".", []string{"TestExportRefuses"},
		},
		{
			"the audit log has an export when it is over",
			[]edit{{"admin_export.go", "	tell(\"begun\", 0)\n", ""}},
			".", []string{"TestExportIsAudited"},
		},
		{
			"an export with a hold does not hold",
			[]edit{{"grant/export.go", "if x.Hold = k.Hold(); e.Hold {", "if x.Hold = k.Hold(); false {"}},
			"grant", []string{"TestExportOnHold", "TestExportOnHoldUnderLoad"},
		},
		{
			"an export does not wait for refreshes under way",
			[]edit{{"grant/hold.go", "return hold, fresh, k.landed(ctx)", "return hold, fresh, nil"}},
			"grant", []string{"TestExportOnHold", "TestExportOnHoldUnderLoad"},
		},
		{
			"a refresh that stood in line begins on hold",
			[]edit{{"grant/flight.go", "if f.err = k.held(); f.err != nil {", "if false {"}},
			"grant", []string{"TestExportOnHold"},
		},
		{
			"the hold may end during an export",
			[]edit{{"grant/export.go", "if err == nil && x.Hold != nil && k.Hold() != x.Hold {", "if false {"}},
			"grant", []string{"TestReleaseDuringExport"},
		},
		{
			"a hold is only in memory",
			[]edit{{"tokenstore/hold.go", "		err = v.store.Apply(ctx, change)\n	}\n	if err != nil {\n		return nil, fmt.Errorf(\"putting", "		_ = change\n	}\n	if err != nil {\n		return nil, fmt.Errorf(\"putting"}},
			"tokenstore", []string{"TestPutOnHold"},
		},
		{
			"an export has the tokens on the disk, be they superseded",
			[]edit{{"grant/export.go", "	if c.unsaved() == nil && ", "	if true || "}},
			"grant", []string{"TestExportOfWhatIsOnlyInMemory"},
		},
		{
			"an export has the tokens that were on the disk when it read a page",
			[]edit{{"grant/export.go", " && !c.snapshot.Load().after(r) {", " {"}},
			"grant", []string{"TestExportOfWhatIsStoredMeanwhile"},
		},
		{
			"what was disconnected is exported",
			[]edit{{"grant/export.go", "case r.State == tokenstore.StateDisconnected:", "case false:"}},
			"grant", []string{"TestExport"},
		},
		{
			"grants are revoked by themselves on hold",
			[]edit{{"grant/schedule.go", "	if k.Hold() != nil {\n		return nil\n	}\n", ""}},
			"grant", []string{"TestHoldRevokesNothingByItself"},
		},
	}...)
}
