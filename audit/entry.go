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

// Package audit keeps the log of who did what by hand: connected, disconnected,
// refreshed, restored, rekeyed, and who was refused. Its entries name no
// customer and hold no secret.
//
// An entry is a line of JSON in a file that is only ever appended to. It ends
// with a MAC over the line and over the MAC of the line before, with a key that
// is not in the files: who can write them can neither change, remove, insert
// nor swap a line unseen. The number and the MAC of the last line are also kept
// elsewhere (see Heads), so that a shortened log is noticed as well.
package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Action is what was done.
type Action string

// The actions.
const (
	Connected    Action = "connected"
	Reconnected  Action = "reconnected"
	Disconnected Action = "disconnected"
	Imported     Action = "imported"
	Refreshed    Action = "refreshed"
	Rechecked    Action = "rechecked"
	// LinkMade: a human was given a link to connect or reconnect a company.
	LinkMade Action = "link_made"
	// PutOnHold: nothing is refreshed from then on, until it is resumed.
	PutOnHold Action = "put_on_hold"
	Resumed   Action = "resumed"
	BackedUp  Action = "backed_up"
	// Exported: grants were, sealed to Who, an age recipient: an entry for each
	// when it begins (the outcome is begun), and one with their number in Count
	// at its end.
	Exported Action = "exported"
	Rekeyed  Action = "rekeyed"
	// Rebound: tokens were bound to the hosts that are configured, Count of them.
	Rebound Action = "rebound"
	// KeyCreated, KeyRevoked: a proxy key was, at run time. Who is the caller
	// that it is for, the outcome names the key by its ID.
	KeyCreated Action = "key_created"
	KeyRevoked Action = "key_revoked"
	// Opened: the store was opened. The outcome says if it was on hold, as it
	// is after a restore.
	Opened Action = "opened"
	// Refused: somebody was not let in. The outcome says why, Count how often
	// since the last such entry.
	Refused Action = "refused"
	// LogDamaged and EntriesLost are about the log itself: it was not as it was
	// left, and so many entries could not be written.
	LogDamaged  Action = "log_damaged"
	EntriesLost Action = "entries_lost"
)

// Actor is in what part somebody acted. Entry.Who is the name.
type Actor string

// The actors.
const (
	// ByCaller: an app, which proved itself with its key. Who is its name.
	ByCaller Actor = "caller"
	// ByLink: a human in a browser. Who is the caller that made the link; empty
	// for the operator's links and for Intuit's Reconnect URL.
	ByLink Actor = "link"
	// ByStatusPage: a user of the status page. Who is the user that Caddy has
	// authenticated.
	ByStatusPage Actor = "status_page"
	// ByAdmin: somebody who may use Caddy's admin API.
	ByAdmin Actor = "admin"
	// ByStranger: somebody unknown.
	ByStranger Actor = "stranger"
	// BySystem: this program, at a start or after a change of its configuration.
	BySystem Actor = "system"
)

// Entry is one line of the log.
type Entry struct {
	// Number counts the entries from 1. Number and Time are set when the entry
	// is recorded, by the clock of this machine.
	Number uint64    `json:"n"`
	Time   time.Time `json:"time"`
	What   Action    `json:"what"`
	By     Actor     `json:"by"`
	Who    string    `json:"who,omitempty"`

	Integration string `json:"integration,omitempty"`
	// Connection is a pseudonym, the same as in Caddy's log.
	Connection string `json:"connection_hash,omitempty"`
	// Outcome is a word for what came of it; empty if it was done.
	Outcome string `json:"outcome,omitempty"`
	Count   int    `json:"count,omitempty"`
}

const (
	macSize = sha256.Size
	// maxText bounds the texts of an entry, in bytes, and maxLine its line.
	maxText = 128
	maxLine = 8 << 10
)

type mac [macSize]byte

// chain returns the MAC of a line, without its own, that follows another one.
func chain(key []byte, before mac, line []byte) (sum mac) {
	h := hmac.New(sha256.New, key)
	h.Write(before[:])
	h.Write(line)
	copy(sum[:], h.Sum(nil))
	return sum
}

// The end of a line: the MAC as the last member of the object.
const (
	macPrefix = `,"mac":"`
	macSuffix = `"}`
	macLength = len(macPrefix) + 2*macSize + len(macSuffix)
)

// encode returns the line of an entry, with the line feed.
func (e Entry) encode(key []byte, before mac) ([]byte, mac, error) {
	e.Who, e.Outcome, e.Integration = shorten(e.Who), shorten(e.Outcome), shorten(e.Integration)
	line, err := json.Marshal(e)
	if err != nil {
		return nil, mac{}, fmt.Errorf("encoding an entry of the audit log: %w", err)
	}
	sum := chain(key, before, line)
	line = append(line[:len(line)-1], macPrefix...)
	line = append(hex.AppendEncode(line, sum[:]), macSuffix+"\n"...)
	return line, sum, nil
}

func shorten(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "")
}

var errLine = errors.New("not a line of the audit log")

// decode splits a line, without the line feed: the entry, what its MAC is over,
// and the MAC that it claims.
func decode(line []byte) (e Entry, covered []byte, claimed mac, err error) {
	at := len(line) - macLength
	if at < 1 || !bytes.HasPrefix(line[at:], []byte(macPrefix)) || !bytes.HasSuffix(line, []byte(macSuffix)) {
		return Entry{}, nil, mac{}, errLine
	}
	digits := line[at+len(macPrefix) : len(line)-len(macSuffix)]
	// Of its spellings, only the one that is written.
	if _, err := hex.Decode(claimed[:], digits); err != nil || hex.EncodeToString(claimed[:]) != string(digits) {
		return Entry{}, nil, mac{}, errLine
	}
	covered = append(bytes.Clone(line[:at]), '}')
	if json.Unmarshal(covered, &e) != nil || e.Number == 0 {
		return Entry{}, nil, mac{}, errLine
	}
	return e, covered, claimed, nil
}
