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

package caddytest_test

import (
	"flag"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"
)

var timing = flag.Int("timing", 0, "how many pairs TestForbiddenTakesTheSameTime compares, such as 5000; it needs a quiet machine")

// Whoever may not use a connection cannot tell by the clock whether it exists.
// Compared are a company that nobody has connected, and one of another caller,
// in turns; beyond 4 of Welch's t one could be told from the other.
func TestForbiddenTakesTheSameTime(t *testing.T) {
	if *timing == 0 {
		t.Skip("with -timing only")
	}
	s := newSystem(t)
	s.addCaller("other", realmTwo)
	s.Callers[0].Connections = realmNone
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	connectAt(t, s.Sites[0], s.Callers[1].Key, realmTwo)
	c := client(t)
	realms := [2]string{realmOne, realmTwo}
	var samples [2][]float64
	take := func(i int) float64 {
		began := time.Now()
		a := s.get(c, realms[i])
		took := time.Since(began)
		if p := a.problem(t); p.Error != "connection_forbidden" || a.Status != http.StatusForbidden {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		return float64(took)
	}
	for range 2 * *timing {
		take(0)
		take(1)
	}
	for n := range *timing {
		first := n % 2 // neither is always the second
		for _, i := range [2]int{first, 1 - first} {
			samples[i] = append(samples[i], take(i))
		}
	}
	m0, v0 := moments(samples[0])
	m1, v1 := moments(samples[1])
	n := float64(len(samples[0]) * 9 / 10)
	welch := (m1 - m0) / math.Sqrt((v0+v1)/n)
	t.Logf("nobody's: %.1f µs, another caller's: %.1f µs, t = %.2f", m0/1000, m1/1000, welch)
	if math.Abs(welch) > 4 {
		t.Error("they can be told apart")
	}
}

// moments returns mean and variance without the largest tenth, which is the
// collector's and the machine's.
func moments(samples []float64) (mean, variance float64) {
	slices.Sort(samples)
	samples = samples[:len(samples)*9/10]
	for _, x := range samples {
		mean += x
	}
	mean /= float64(len(samples))
	for _, x := range samples {
		variance += (x - mean) * (x - mean)
	}
	return mean, variance / float64(len(samples)-1)
}
