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
	"crypto/hmac"
	"crypto/sha256"

	"github.com/freshbearer/freshbearer/secret"
)

// kind is the first byte of a name in the store.
type kind byte

const (
	kindMeta   kind = 'm'
	kindGrant  kind = 'g'
	kindIntent kind = 'i'
	kindOnce   kind = 'o'
	kindHold   kind = 'h'
	kindPlace  kind = 'p'
	// kindRestoring is there while a backup is being restored, see Restore.
	kindRestoring kind = 'r'
	kindNotice    kind = 'n'
	kindAudit     kind = 'a'
	kindProxyKey  kind = 'k'
	// kindProbe is never there, see Probe.
	kindProbe kind = 'w'
)

// The parts of the name of a grant or an intent: the kind, then two
// pseudonyms. The integration comes first so that its connections are one
// range of names.
const (
	integrationSize = 8
	connectionSize  = 24
)

// The names of what a store has one of. metaName is the store's own record's.
var (
	metaName      = []byte{byte(kindMeta)}
	holdName      = []byte{byte(kindHold)}
	placeName     = []byte{byte(kindPlace)}
	restoringName = []byte{byte(kindRestoring)}
	auditName     = []byte{byte(kindAudit)}
	probeName     = []byte{byte(kindProbe)}
)

// namer makes names that tell nothing about what they name. Its key is kept in
// the store, so that names outlive an encryption key.
type namer struct {
	key secret.String
}

func (n namer) mac(fields ...string) []byte {
	m := hmac.New(sha256.New, []byte(n.key.Reveal()))
	m.Write(joinFields(fields...))
	return m.Sum(nil)
}

// integration returns the prefix of all names of one kind and integration.
func (n namer) integration(k kind, integration string) []byte {
	name := make([]byte, 0, 1+integrationSize+connectionSize)
	name = append(name, byte(k))
	return append(name, n.mac("integration", integration)[:integrationSize]...)
}

// connection returns the name of the grant or intent of a connection.
func (n namer) connection(k kind, key Key) []byte {
	return append(n.integration(k, key.Integration),
		n.mac("connection", key.Integration, key.Connection)[:connectionSize]...)
}

// once returns the name of a one-time value.
func (n namer) once(onceKind, id string) []byte {
	return append([]byte{byte(kindOnce)}, n.mac("once", onceKind, id)...)
}
