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

package tokenstore

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/freshbearer/freshbearer/secret"
)

// fill sets every exported field below v to a value of its own, so that a
// field that the wire form forgets is found.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch p := v.Addr().Interface().(type) {
	case *secret.String:
		*p = secret.New(fmt.Sprintf("secret-%d-\xff\x00<>é", *n))
		return
	case *time.Time:
		*p = time.Date(2026, 11, 23, 6, 11, *n%60, 123456789, time.FixedZone("", -8*3600))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d <&> é \"", *n))
	case reflect.Uint8:
		v.SetUint(uint64(*n % 256))
	case reflect.Uint64:
		v.SetUint(1<<63 + uint64(*n)) // more than a float64 holds
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i), n)
			}
		}
	case reflect.Int:
		v.SetInt(int64(*n))
	default:
		t.Fatalf("a field has the kind %s: teach it to this test", v.Kind())
	}
}

var sameSecret = cmp.Comparer(func(a, b secret.String) bool { return a.Equal(b) })

func TestRecordRoundTrip(t *testing.T) {
	var r Record
	fill(t, reflect.ValueOf(&r).Elem(), new(int))
	payload, err := encodeRecord(&r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&r, got, sameSecret, cmpopts.IgnoreUnexported(Record{})); diff != "" {
		t.Errorf("-put +got:\n%s", diff)
	}

	empty, err := encodeRecord(&Record{})
	if err != nil {
		t.Fatal(err)
	}
	got, err = decodeRecord(empty)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, &Record{}) {
		t.Errorf("an empty record became %+v", got)
	}
	if want := `{"v":1,"integration":"","connection":"","write":"`; !strings.HasPrefix(string(empty), want) || len(empty) != len(want)+18 {
		t.Errorf("an empty record is stored as %s", empty)
	}
	if again, err := encodeRecord(&Record{}); err != nil || bytes.Equal(again, empty) {
		t.Errorf("two writes of one record cannot be told apart (%v)", err)
	}
}

func TestIntentRoundTrip(t *testing.T) {
	var i Intent
	fill(t, reflect.ValueOf(&i).Elem(), new(int))
	payload, err := encodeIntent(i)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeIntent(payload)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(i, got); diff != "" {
		t.Errorf("-put +got:\n%s", diff)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for payload, want := range map[string]error{
		"":                                  ErrAltered,
		"{":                                 ErrAltered,
		"null":                              ErrAltered,
		"[]":                                ErrAltered,
		"{}":                                ErrAltered,
		`{"v":0,"integration":"a"}`:         ErrAltered,
		`{"v":-1}`:                          ErrAltered,
		`{"v":2,"integration":"a"}`:         ErrNewerVersion,
		`{"v":1,"epoch":"one"}`:             ErrAltered,
		`{"v":1,"epoch":-1}`:                ErrAltered,
		`{"v":1,"refresh_token":"secret!"}`: ErrAltered,
		`{"v":1,"since":"yesterday"}`:       ErrAltered,
	} {
		if _, err := decodeRecord([]byte(payload)); !errors.Is(err, want) {
			t.Errorf("record %s: error is %v, want %v", payload, err, want)
		}
		if strings.Contains(payload, "epoch") || !strings.Contains(payload, "_") && !strings.Contains(payload, "since") {
			if _, err := decodeIntent([]byte(payload)); !errors.Is(err, want) {
				t.Errorf("intent %s: error is %v, want %v", payload, err, want)
			}
		}
	}
}

func TestEncodeForgetsHistoryBeforeTokens(t *testing.T) {
	r := Record{Key: Key{"quickbooks", "1"}, RefreshToken: secret.New("the token")}
	for i := range HistoryLimit {
		r.Note(HistoryEntry{Event: fmt.Sprint(i), Description: strings.Repeat("d", 20_000)})
	}
	payload, err := encodeRecord(&r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeRecord(payload)
	if err != nil {
		t.Fatal(err)
	}
	if got.RefreshToken.Reveal() != "the token" || len(got.History) == 0 || len(got.History) == HistoryLimit {
		t.Errorf("%d entries are left", len(got.History))
	}
	if last := got.History[len(got.History)-1].Event; last != fmt.Sprint(HistoryLimit-1) {
		t.Errorf("the last entry that is left is %s", last)
	}
	if len(r.History) != HistoryLimit {
		t.Error("the record itself lost its history")
	}

	r.Account = strings.Repeat("a", MaxValue)
	if _, err := encodeRecord(&r); err == nil || strings.Contains(err.Error(), "the token") {
		t.Errorf("a record that cannot fit: %v", err)
	}
	r = Record{Since: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := encodeRecord(&r); err == nil {
		t.Error("a time that cannot be encoded was")
	}
}

func TestNoteKeepsToItsLimitAndItsCopy(t *testing.T) {
	var r Record
	for i := range HistoryLimit + 5 {
		r.Note(HistoryEntry{Event: fmt.Sprint(i)})
	}
	if len(r.History) != HistoryLimit || r.History[0].Event != "5" {
		t.Errorf("%d entries from %s on", len(r.History), r.History[0].Event)
	}
	a, b := r, r
	a.Note(HistoryEntry{Event: "a"})
	b.Note(HistoryEntry{Event: "b"})
	if a.History[HistoryLimit-1].Event != "a" || r.History[HistoryLimit-1].Event != fmt.Sprint(HistoryLimit+4) {
		t.Error("copies of a record share their history")
	}
}
