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

// Package intuittest is a simulated Intuit for tests and demonstrations: the
// OAuth 2.0 servers (authorize, token, revoke, user info, discovery), the
// QuickBooks Online API, and the developer status page, all under one origin
// and all in memory.
//
// It imitates what Intuit documents and what its users report, including the
// parts that are hard to provoke with the real thing: refresh tokens that
// change value once a day, an old value that is refused from then on, two
// refreshes at once, a rotated token whose answer is lost, an outage that says
// invalid_grant, a 401 that a fresh token does not help against. Every such
// behaviour is a field of Behaviour whose zero value is Intuit's usual one;
// one-off failures are queued as a Fault. Both can be changed while it runs,
// from Go or over HTTP under /control.
//
// The package needs nothing but the standard library. An application that
// wants to test how it behaves when a customer's connection dies points its
// endpoints at a Server:
//
//	srv := intuittest.NewServer(intuittest.Config{})
//	defer srv.Close()
//	grant := srv.Connect("9130347957983546")
//	// … let the application work with grant.AccessToken …
//	srv.KillGrant("9130347957983546") // the user disconnected
//	// … the application must now ask its user to reconnect …
//
// Time is Config.Now plus what Server.Advance added, so that "25 hours later"
// costs nothing. Only delays (Behaviour.Latency, Fault.Delay) pass in real
// time.
//
// What Intuit does not publish is a choice here, made the way its users report
// it; it is not a promise about Intuit.
package intuittest
