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
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/freshbearer/freshbearer/intuittest"
)

// scrape reads the metrics from Caddy's admin endpoint.
func (s *system) scrape(c *http.Client) map[string]*dto.MetricFamily {
	s.t.Helper()
	a := mustDo(s.t, c, http.MethodGet, "http://"+s.Admin+"/metrics", nil, "Accept: text/plain")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(a.Body))
	if a.Status != http.StatusOK || err != nil {
		s.t.Fatalf("scraping: %d, %v", a.Status, err)
	}
	return families
}

// value returns a sample: of a histogram, its count. It is written as in
// queries, without the prefix that all have, with the labels in order.
func value(families map[string]*dto.MetricFamily, sample string) float64 {
	name, labels, _ := strings.Cut(strings.TrimSuffix(sample, "}"), "{")
	for _, m := range families["caddy_freshbearer_"+name].GetMetric() {
		var have []string
		for _, l := range m.GetLabel() {
			have = append(have, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
		}
		slices.Sort(have)
		if strings.Join(have, ",") != labels {
			continue
		}
		switch {
		case m.Histogram != nil:
			return float64(m.GetHistogram().GetSampleCount())
		case m.Counter != nil:
			return m.GetCounter().GetValue()
		}
		return m.GetGauge().GetValue()
	}
	return -1
}

// expect scrapes until the samples are what is wanted. Some are counted after
// the answer has gone out.
func (s *system) expect(c *http.Client, want map[string]float64) {
	s.t.Helper()
	if err := eventually(10*time.Second, func() error {
		families := s.scrape(c)
		for sample, n := range want {
			if got := value(families, sample); got != n {
				return fmt.Errorf("%s is %v, want %v", sample, got, n)
			}
		}
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

const (
	requests  = `requests_total{integration="quickbooks",outcome="%s"}`
	refreshes = `refreshes_total{cause="%s",integration="quickbooks",outcome="%s"}`
	grants    = `grants{integration="quickbooks",state="%s"}`
	breaker   = `breaker_state{integration="quickbooks",state="%s"}`
)

// What happens is counted, once, and stays counted when the configuration is
// loaded again.
func TestMetrics(t *testing.T) {
	s := start(t, func(s *system) { s.Admin = freeAddress(t) })
	c := client(t)
	s.expect(c, map[string]float64{
		fmt.Sprintf(requests, "served"): 0, fmt.Sprintf(refreshes, "", "refreshed"): 0, fmt.Sprintf(grants, "connected"): 0,
		fmt.Sprintf(breaker, "closed"): 1, "store_hold": 0, "store_unsaved_grants": 0,
		`grant_deaths_total{cause="revoked_or_replaced",integration="quickbooks"}`: 0,
	})
	s.connect(realmOne)
	s.connect(realmTwo)
	for range 3 {
		s.get(c, realmTwo)
	}
	s.expect(c, map[string]float64{
		fmt.Sprintf(requests, "served"): 3, fmt.Sprintf(grants, "connected"): 2,
		`grant_events_total{event="grant_connected",integration="quickbooks"}`: 2,
		`authorizations_ending{days="30",integration="quickbooks"}`:            0,
	})

	// A token dies early: one refresh, one replay.
	s.get(c, realmOne)
	s.Intuit.RevokeAccess(realmOne)
	if a := s.get(c, realmOne); a.Status != http.StatusOK {
		t.Fatalf("not replayed: %d", a.Status)
	}
	// What is not the proxy's doing.
	for outcome, fault := range map[string]intuittest.FaultKind{
		"api_throttled": intuittest.FaultThrottled, "api_failed": intuittest.FaultServerError, "api_refused": intuittest.FaultForbidden,
		"upstream_failed": intuittest.FaultReset,
	} {
		s.Intuit.FailAPI(intuittest.Fault{Kind: fault})
		mustDo(t, c, http.MethodPost, s.Proxy+"/v3/company/"+realmOne+"/customer", customer(outcome, 10), s.bearer())
	}
	s.Intuit.FailAPI(intuittest.Fault{Kind: intuittest.FaultTruncated})
	if a, err := s.raw(s.rawGet(http.MethodGet, companyInfo(realmOne))); err == nil {
		t.Errorf("half an answer was passed on: %d", a.Status)
	}
	// Whom the proxy refuses.
	mustDo(t, c, http.MethodGet, s.Proxy+companyInfo(realmOne), nil, "Authorization: Bearer 0123456789012345678901234567890123456789")
	mustDo(t, c, http.MethodGet, s.Proxy+"/v3/company/x/companyinfo/x", nil, s.bearer())
	s.get(c, realmNone)
	s.expect(c, map[string]float64{
		fmt.Sprintf(requests, "served"): 4, fmt.Sprintf(requests, "replayed"): 1, fmt.Sprintf(requests, "cut"): 1,
		fmt.Sprintf(requests, "api_throttled"): 1, fmt.Sprintf(requests, "api_failed"): 1, fmt.Sprintf(requests, "api_refused"): 1,
		fmt.Sprintf(requests, "upstream_failed"): 1, fmt.Sprintf(requests, "invalid_proxy_key"): 1, fmt.Sprintf(requests, "bad_target"): 1,
		fmt.Sprintf(requests, "reauthorization_required"):    1,
		`replays_total{integration="quickbooks"}`:            1,
		fmt.Sprintf(refreshes, "", "refreshed"):              1,
		`refresh_duration_seconds{integration="quickbooks"}`: 1, `refresh_wait_seconds{integration="quickbooks"}`: 1,
		`refreshes_in_flight{integration="quickbooks"}`: 0,
	})

	// The operator's keys, an outage and a death.
	s.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultInvalidClient})
	s.Intuit.RevokeAccess(realmOne)
	s.get(c, realmOne)
	s.Intuit.RevokeAccess(realmTwo)
	s.Intuit.KillGrant(realmTwo)
	if err := eventually(20*time.Second, func() error {
		if a := s.get(c, realmTwo); a.Status != http.StatusPreconditionRequired {
			return fmt.Errorf("answered %d", a.Status)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.expect(c, map[string]float64{
		fmt.Sprintf(refreshes, "client_refused", "failed"): 1, fmt.Sprintf(requests, "client_refused"): 1,
		fmt.Sprintf(refreshes, "invalid_grant", "refused"): 1, fmt.Sprintf(grants, "connected"): 1, fmt.Sprintf(grants, "needs_reauth"): 1,
		`grant_deaths_total{cause="revoked_or_replaced",integration="quickbooks"}`: 1,
	})

	// A reload neither panics nor begins anew, nor counts twice.
	before := s.scrape(c)
	for _, name := range []string{"one", "two"} {
		s.Sites[0].Options = []string{"return_urls https://" + name + ".example.com"}
		if err := s.load(); err != nil {
			t.Fatal(err)
		}
		after := map[string]float64{}
		for _, sample := range []string{
			fmt.Sprintf(requests, "served"), fmt.Sprintf(requests, "replayed"), fmt.Sprintf(refreshes, "", "refreshed"), fmt.Sprintf(grants, "connected"), "store_write_seconds",
		} {
			after[sample] = value(before, sample)
		}
		s.expect(c, after)
	}
	if n := value(before, "store_write_seconds"); n < 5 {
		t.Errorf("%v writes were timed", n)
	}
	text := mustDo(t, c, http.MethodGet, "http://"+s.Admin+"/metrics", nil).Body
	for _, realm := range []string{realmOne, realmTwo, realmNone} {
		if bytes.Contains(text, []byte(realm)) {
			t.Errorf("the metrics name the company %s", realm)
		}
	}
}

// An outage opens the breaker, and that can be seen.
func TestMetricsOfAnOutage(t *testing.T) {
	s := start(t, func(s *system) { s.Admin = freeAddress(t) }, viaReverseProxy)
	c := client(t)
	for _, realm := range []string{realmOne, realmTwo} {
		s.connect(realm)
		s.get(c, realm)
	}
	s.Intuit.FailToken(intuittest.Fault{Kind: intuittest.FaultReset, Times: -1})
	if err := eventually(20*time.Second, func() error {
		for _, realm := range []string{realmOne, realmTwo} {
			s.Intuit.RevokeAccess(realm)
			s.get(c, realm)
		}
		if value(s.scrape(c), fmt.Sprintf(breaker, "open")) != 1 {
			return fmt.Errorf("the breaker is not open")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s.expect(c, map[string]float64{fmt.Sprintf(breaker, "closed"): 0, fmt.Sprintf(grants, "connected"): 2, fmt.Sprintf(requests, "served"): 2})
	families := s.scrape(c)
	for _, sample := range []string{fmt.Sprintf(refreshes, "no_answer", "failed"), fmt.Sprintf(requests, "token_unavailable")} {
		if value(families, sample) < 2 {
			t.Errorf("%s is %v", sample, value(families, sample))
		}
	}
}

// docs/metrics.md documents every metric that there is, and no other.
func TestMetricsDocumented(t *testing.T) {
	s := start(t, func(s *system) { s.Admin = freeAddress(t) })
	s.connect(realmOne)
	page, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(caddy_freshbearer_\\w+)`[ ¹]*\\| (\\w+) \\|(.*?)\\|").FindAllSubmatch(page, -1) {
		documented[string(row[1])+" "+string(row[2])+" "+strings.TrimSpace(strings.ReplaceAll(string(row[3]), "`", ""))] = true
	}
	// The census needs the store, which is read when the first scrape asks.
	var scraped map[string]bool
	if err := eventually(10*time.Second, func() error {
		scraped = map[string]bool{}
		for name, family := range s.scrape(client(t)) {
			if !strings.HasPrefix(name, "caddy_freshbearer_") {
				continue
			}
			var labels []string
			for _, l := range family.GetMetric()[0].GetLabel() {
				labels = append(labels, l.GetName())
			}
			// As the page writes them: the integration first.
			slices.SortFunc(labels, func(a, b string) int { return strings.Compare(order(a), order(b)) })
			scraped[name+" "+strings.ToLower(family.GetType().String())+" "+strings.Join(labels, ", ")] = true
		}
		for name := range documented {
			if !scraped[name] {
				return fmt.Errorf("docs/metrics.md documents %q; there are\n%q", name, slices.Sorted(maps.Keys(scraped)))
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	for name := range scraped {
		if !documented[name] {
			t.Errorf("docs/metrics.md does not document %q", name)
		}
	}
	if len(documented) < 15 {
		t.Errorf("%d metrics are documented", len(documented))
	}
}

func order(label string) string {
	for i, name := range []string{"integration", "outcome"} {
		if label == name {
			return fmt.Sprint(i)
		}
	}
	return label
}
